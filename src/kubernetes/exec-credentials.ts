import { execFile } from 'node:child_process';

import { Code, TenonError, textOf } from '../errors/errors.ts';
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

// A plugin that logs in somewhere takes its time.
const timeoutMs = 30_000;
// A token is renewed this long before it ends.
const marginMs = 10_000;

/** The token that a program gives (`ExecCredential`). It is kept until it ends, or is refused. */
export class ExecCredentials {
  readonly #plugin: ExecPlugin;
  readonly #clock: ServerClock;
  #given: Promise<Given> | undefined;

  constructor(plugin: ExecPlugin, clock: ServerClock) {
    this.#plugin = plugin;
    this.#clock = clock;
  }

  /** Throws FAILED_PRECONDITION (`kubernetes.exec_failed`) if the program fails, or gives no token. */
  async token(): Promise<string> {
    const given = await (this.#given ??= this.#run());
    if ((this.#clock.timeMs() ?? 0) < given.expiresAtMs - marginMs) return given.token;
    this.forget();
    return (await (this.#given ??= this.#run())).token;
  }

  /** Has the program run again for the next token. */
  forget(): void {
    this.#given = undefined;
  }

  #run(): Promise<Given> {
    const run = this.#ask();
    run.catch(() => {
      if (this.#given === run) this.#given = undefined;
    });
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
    const options = { env: { ...process.env, ...env, KUBERNETES_EXEC_INFO: info }, timeout: timeoutMs };
    return new Promise((resolve, reject) => {
      const child = execFile(command, [...args], options, (error, stdout, stderr) => {
        if (!error) return resolve(stdout);
        const said = stderr.trim().split('\n').at(-1) ?? '';
        reject(this.#failed(said === '' ? (textOf(error).split('\n')[0] ?? '') : said, error));
      });
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
