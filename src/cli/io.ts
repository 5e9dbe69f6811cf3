import type { Readable, Writable } from 'node:stream';

/** The streams, folder and environment that a command works with: those of the process, or of a test. */
export interface CliIo {
  readonly stdin: Readable & { readonly isTTY?: boolean | undefined };
  readonly stdout: Writable & { readonly isTTY?: boolean | undefined };
  readonly stderr: Writable;
  /** The folder that relative paths start from. */
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts when the user interrupts the command. */
  readonly signal?: AbortSignal | undefined;
}

/** True if the command runs on a terminal, where a user can answer questions, and not in CI. */
export function isInteractive(io: CliIo): boolean {
  return io.stdin.isTTY === true && io.stdout.isTTY === true && (io.env['CI'] ?? '') === '';
}

/** Writes a line to standard output. */
export function print(io: CliIo, line: string): void {
  io.stdout.write(`${line}\n`);
}

/** An error in the arguments of a command. It ends with exit code 2, other failures with 1. */
export class UsageError extends Error {}

/** The error of a command whose questions the user cancelled. It ends with exit code 130, like any Ctrl-C. */
export class Cancelled extends Error {}
