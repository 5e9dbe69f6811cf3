import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { PassThrough } from 'node:stream';

import type { CliIo } from '../../src/cli/io.ts';
import { runCli } from '../../src/cli/program.ts';

/** What a run of the command left. */
export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How a test runs the command. */
export interface CliSetup {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Whether a terminal is there. */
  readonly terminal?: boolean;
  /** Called with what was written so far each time something is; what it returns is typed in. */
  readonly typing?: (screen: string) => string | undefined;
  readonly signal?: AbortSignal;
}

/** Runs the command in this process. */
export async function cli(args: readonly string[], setup: CliSetup = {}): Promise<CliResult> {
  const stdin = Object.assign(new PassThrough(), { isTTY: setup.terminal ?? false, setRawMode: () => stdin });
  const stdout = Object.assign(new PassThrough(), { isTTY: setup.terminal ?? false, columns: 100, rows: 40 });
  const stderr = new PassThrough();
  let [out, err] = ['', ''];
  stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString();
    const typed = setup.typing?.(out);
    if (typed !== undefined) setImmediate(() => stdin.write(typed));
  });
  stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const io: CliIo = {
    stdin,
    stdout,
    stderr,
    cwd: setup.cwd ?? process.cwd(),
    env: setup.env ?? {},
    signal: setup.signal,
  };
  const code = await runCli(args, io);
  return { code, stdout: out, stderr: err };
}

/** A folder of its own, gone afterwards. */
export async function inTemporaryFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'tenon-cli-'));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Every file under `folder` with its content, hidden ones too. */
export async function contentOf(folder: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    files[relative(folder, path)] = entry.isFile() ? await readFile(path, 'utf8') : 'folder';
  }
  return files;
}
