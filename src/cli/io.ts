import type { Readable, Writable } from 'node:stream';

/** What the command reads from and writes to; the process's own, or a test's. */
export interface CliIo {
  readonly stdin: Readable & { readonly isTTY?: boolean | undefined };
  readonly stdout: Writable & { readonly isTTY?: boolean | undefined };
  readonly stderr: Writable;
  /** Folder that relative paths start from. */
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts when the user gives up. */
  readonly signal?: AbortSignal | undefined;
}

/** Whether someone is there to be asked. */
export function isInteractive(io: CliIo): boolean {
  return io.stdin.isTTY === true && io.stdout.isTTY === true && (io.env['CI'] ?? '') === '';
}

/** Writes a line to standard output. */
export function print(io: CliIo, line: string): void {
  io.stdout.write(`${line}\n`);
}

/** A mistake in how the command was called: exit code 2, where a failure of what it does is 1. */
export class UsageError extends Error {}

/** The user left the questions: exit code 130, as for Ctrl-C anywhere else. */
export class GivenUp extends Error {}
