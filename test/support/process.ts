import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

import { afterAll } from '@jest/globals';

import { stopAll } from '../../scripts/backends/processes.js';

export { freePort } from '../../scripts/backends/free-port.js';

/** How a process ended: its exit status, or the signal that ended it. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** What a process may be started with. */
export interface StartOptions {
  readonly args?: readonly string[];
  /** Added to the environment of the tests; `undefined` takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** The program. @default the Node that runs the tests */
  readonly command?: string;
  /** Options of Node itself, before the script. */
  readonly nodeArgs?: readonly string[];
  /** Whether the test writes to the process's standard input. @default false: it is empty */
  readonly withInput?: boolean;
}

const running = new Set<ChildProcess>();

function killAll(): void {
  for (const child of running) child.kill('SIGKILL');
}

// A worker that is torn down in the middle of a file does not run afterAll.
process.on('exit', killAll);

afterAll(async () => {
  const left = [...running];
  const ended = Promise.all(left.map(ending));
  killAll();
  await ended;
  // Programs that they have started may hold the pipes still.
  for (const child of left) for (const pipe of child.stdio) pipe?.destroy();
  process.off('exit', killAll);
});

function ending(child: ChildProcess): Promise<unknown> {
  const hasEnded = child.exitCode !== null || child.signalCode !== null;
  return hasEnded ? Promise.resolve() : new Promise((resolve) => child.once('exit', resolve));
}

/** A child process of a test. All that a test file started are killed when the file has ended. */
export class TestProcess {
  readonly pid: number;
  /** Whole lines of stdout so far. */
  readonly lines: string[] = [];
  /** Resolves when the process has ended and all its output was read. Never rejects. */
  readonly exited: Promise<Exit>;
  /** Everything written to stderr so far. */
  stderr = '';
  exit: Exit | undefined;

  readonly #child: ChildProcess;
  readonly #waiting = new Set<() => void>();

  constructor(command: string, args: readonly string[], options: StartOptions = {}) {
    const env: NodeJS.ProcessEnv = { ...process.env };
    // Jest's own options are not for the children.
    delete env['NODE_OPTIONS'];
    for (const [name, value] of Object.entries(options.env ?? {})) {
      if (value === undefined) delete env[name];
      else env[name] = value;
    }
    const child = spawn(command, args, {
      cwd: options.cwd,
      env,
      stdio: [options.withInput ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.pid = child.pid ?? -1;
    running.add(child);
    createInterface({ input: child.stdout as Readable }).on('line', (line) => {
      this.lines.push(line);
      this.#wake();
    });
    (child.stderr as Readable).setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
      this.#wake();
    });
    this.exited = new Promise((resolve) => {
      const end = (exit: Exit): void => {
        this.exit ??= exit;
        running.delete(child);
        resolve(this.exit);
        this.#wake();
      };
      child.once('error', (error) => {
        this.stderr += String(error);
        if (child.pid === undefined) end({ code: -1, signal: null });
      });
      child.once('close', (code, signal) => end({ code, signal }));
    });
  }

  /** stdout so far, as one text. */
  get stdout(): string {
    return this.lines.map((line) => `${line}\n`).join('');
  }

  /**
   * The first line that matches, of those already printed (from index `from` on) and those to come. Rejects, with all
   * output, after `timeoutMs` or when the process ends without it.
   */
  waitForLine(pattern: RegExp, timeoutMs = 15_000, from = 0): Promise<RegExpMatchArray> {
    let next = from;
    return this.#waitFor(pattern, timeoutMs, () => {
      for (; next < this.lines.length; next++) {
        const match = this.lines[next]!.match(pattern);
        if (match) return match;
      }
      return null;
    });
  }

  /** The same for stderr, where tenon logs. */
  waitForLog(pattern: RegExp, timeoutMs = 15_000): Promise<RegExpMatchArray> {
    return this.#waitFor(pattern, timeoutMs, () => this.stderr.match(pattern));
  }

  async #waitFor(pattern: RegExp, timeoutMs: number, find: () => RegExpMatchArray | null): Promise<RegExpMatchArray> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.#wake();
    }, timeoutMs);
    try {
      for (;;) {
        const match = find();
        if (match) return match;
        if (late) throw new Error(`nothing matched ${pattern} within ${timeoutMs} ms\n${this.#output()}`);
        if (this.exit) throw new Error(`the process ended before anything matched ${pattern}\n${this.#output()}`);
        await new Promise<void>((resolve) => this.#waiting.add(resolve));
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends a signal and resolves when the process has ended. */
  kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<Exit> {
    this.#child.kill(signal);
    return this.exited;
  }

  /** Writes a line to the process's standard input. */
  writeLine(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Ends the process's standard input. */
  endInput(): void {
    this.#child.stdin?.end();
  }

  /** Stops reading what it prints: its next write finds the pipe broken. */
  closeOutput(): void {
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
  }

  /** Sends a signal and waits for nothing. */
  signal(signal: NodeJS.Signals): void {
    if (signal === 'SIGSTOP') stopAll([this.pid]);
    else this.#child.kill(signal);
  }

  /** Resolves with how the process ended; rejects, with its output, when it has not within `timeoutMs`. */
  async waitForExit(timeoutMs = 30_000): Promise<Exit> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(
        () => reject(new Error(`the process did not end within ${timeoutMs} ms\n${this.#output()}`)),
        timeoutMs,
      );
    });
    return Promise.race([this.exited, late]).finally(() => clearTimeout(timer));
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  #output(): string {
    const exit = this.exit ? JSON.stringify(this.exit) : 'still running';
    return `--- stdout\n${this.stdout}--- stderr\n${this.stderr}\n--- ${exit}`;
  }
}

/** Starts `script` with the Node that runs the tests (or `options.command`). */
export function startNode(script: string, options: StartOptions = {}): TestProcess {
  const args = [...(options.nodeArgs ?? []), script, ...(options.args ?? [])];
  return new TestProcess(options.command ?? process.execPath, args, options);
}

/** Runs a program to its end. Rejects with its output unless it exits with 0. */
export async function run(command: string, args: readonly string[], options: StartOptions = {}): Promise<TestProcess> {
  const child = new TestProcess(command, args, options);
  const exit = await child.exited;
  if (exit.code !== 0) {
    const how = exit.signal ?? `status ${exit.code}`;
    throw new Error(`${command} ${args.join(' ')} ended with ${how}\n${child.stdout}${child.stderr}`);
  }
  return child;
}
