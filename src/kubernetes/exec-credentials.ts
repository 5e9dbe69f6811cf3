import { execFile } from 'node:child_process';

import { Code, TenonError, textOf } from '../errors/errors.ts';
import type { Clock } from '../runtime/runtime.ts';
import type { ApiCredentials } from './api-client.ts';
import type { ServerClock } from './server-clock.ts';

/** A program of a kubeconfig that gives credentials. */
export interface ExecPlugin {
  readonly apiVersion: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Variables that are added to those of this process. */
  readonly env: Readonly<Record<string, string>>;
  /** Said if the program cannot be run. */
  readonly installHint?: string | undefined;
}

interface Given {
  readonly token: string;
  /** The time at the server at which it ends; infinite if it does not. */
  readonly expiresAtMs: number;
}

/** One run of the program. */
interface Run {
  readonly result: Promise<Given>;
  /** The monotonic time of its end; infinite until then. */
  endedAtMs: number;
  /** Undefined until its end, and if it failed. */
  given: Given | undefined;
}

// A plugin that logs in somewhere takes its time.
const timeoutMs = 30_000;
// A token is renewed this long before it ends.
const marginMs = 10_000;
// A program that fails, or whose tokens are no good, is not started without end.
const pauseMs = 5_000;

/**
 * The token that a program gives (`ExecCredential`). It is kept until it ends, or is refused. The program runs once for
 * all who wait for its token, and not again within five seconds: a token that is refused until then is kept, and so is
 * a failure.
 */
export class ExecCredentials implements ApiCredentials {
  readonly #plugin: ExecPlugin;
  readonly #serverClock: ServerClock;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #closing = new AbortController();
  #run: Run | undefined;

  constructor(plugin: ExecPlugin, serverClock: ServerClock, clock: Pick<Clock, 'monotonicMs'>) {
    this.#plugin = plugin;
    this.#serverClock = serverClock;
    this.#clock = clock;
  }

  /** Throws FAILED_PRECONDITION (`kubernetes.exec_failed`) if the program fails, or gives no token. */
  async token(): Promise<string> {
    const run = this.#current();
    const { token, expiresAtMs } = await run.result;
    if ((this.#serverClock.timeMs() ?? 0) < expiresAtMs - marginMs || !this.#replace(run)) return token;
    return (await this.#current().result).token;
  }

  refused(token: string | undefined): boolean {
    const run = this.#run;
    // Another request that had the same token may have come first.
    return run?.given === undefined || run.given.token !== token || this.#replace(run);
  }

  /** Ends a program that runs. */
  close(): void {
    this.#closing.abort();
  }

  #current(): Run {
    const run = this.#run;
    if (run && (run.endedAtMs === Number.POSITIVE_INFINITY || run.given || this.#isRecent(run))) return run;
    return this.#start();
  }

  /** Has the next token come from another run, unless this one was a moment ago. */
  #replace(run: Run): boolean {
    if (this.#run !== run) return true;
    if (this.#isRecent(run)) return false;
    this.#run = undefined;
    return true;
  }

  #isRecent({ endedAtMs }: Run): boolean {
    return this.#clock.monotonicMs() - endedAtMs < pauseMs;
  }

  #start(): Run {
    const result = this.#ask();
    const run: Run = { result, endedAtMs: Number.POSITIVE_INFINITY, given: undefined };
    this.#run = run;
    const ended = (given?: Given): void => {
      run.endedAtMs = this.#clock.monotonicMs();
      run.given = given;
    };
    result.then(ended, () => ended());
    return run;
  }

  async #ask(): Promise<Given> {
    const output = await this.#output();
    let status: { token?: unknown; expirationTimestamp?: unknown; clientCertificateData?: unknown } = {};
    try {
      status = (JSON.parse(output) as { status?: typeof status }).status ?? {};
    } catch (error) {
      throw this.#failed('its output is no ExecCredential', error);
    }
    const { token, expirationTimestamp, clientCertificateData } = status;
    if (typeof token !== 'string' || token === '') {
      const isCertificate = clientCertificateData !== undefined;
      throw this.#failed(`it gave ${isCertificate ? 'a certificate, which is not supported, and ' : ''}no token`);
    }
    const expiresAtMs = typeof expirationTimestamp === 'string' ? Date.parse(expirationTimestamp) : Number.NaN;
    return { token, expiresAtMs: Number.isNaN(expiresAtMs) ? Number.POSITIVE_INFINITY : expiresAtMs };
  }

  #output(): Promise<string> {
    const { apiVersion, command, args, env } = this.#plugin;
    const info = JSON.stringify({ apiVersion, kind: 'ExecCredential', spec: { interactive: false } });
    const { signal } = this.#closing;
    // One that does not heed SIGTERM would be awaited for ever.
    const ending = { timeout: timeoutMs, killSignal: 'SIGKILL' } as const;
    const options = { env: { ...process.env, ...env, KUBERNETES_EXEC_INFO: info }, ...ending };
    return new Promise((resolve, reject) => {
      const child = execFile(command, [...args], options, (error, stdout, stderr) => {
        signal.removeEventListener('abort', kill);
        if (!error) return resolve(stdout);
        const said = stderr.trim().split('\n').at(-1) ?? '';
        reject(this.#failed(said === '' ? (textOf(error).split('\n')[0] ?? '') : said, error));
      });
      const kill = (): void => void child.kill('SIGKILL');
      signal.addEventListener('abort', kill);
      child.stdin?.end();
    });
  }

  #failed(why: string, cause?: unknown): TenonError {
    const { command, installHint } = this.#plugin;
    const hint = installHint === undefined ? '' : `. ${installHint.trim()}`;
    return new TenonError({
      code: Code.FailedPrecondition,
      reason: 'kubernetes.exec_failed',
      message: `the exec plugin ${command} of the kubeconfig gives no credentials: ${why}${hint}`,
      cause,
    });
  }
}
