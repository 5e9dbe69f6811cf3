import type { ClientHttp2Session } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { startNode, type TestProcess } from '../../support/process.ts';
import { frame, rawCall, rawSession, type WireAnswer } from '../../transport/support.ts';
import { type Engine, good, paths } from './cases.ts';

/** How the process of the service is. */
export interface Report {
  readonly heapUsed: number;
  readonly external: number;
  readonly sockets: number;
  readonly handles: number;
  /** Calls that the server counts, but this one. */
  readonly inFlight: number;
  /** Handlers of streams and of `Hold` that have begun and not ended. */
  readonly running: number;
  /** Warnings of Node, such as of too many listeners. */
  readonly warnings: number;
}

/** The service that bad peers call, in a process of its own, and a well-behaved connection to it. */
export class HostileService {
  readonly process: TestProcess;
  readonly address: string;
  #session: ClientHttp2Session | undefined;

  private constructor(process: TestProcess, address: string) {
    this.process = process;
    this.address = address;
  }

  static async start(engine: Engine, keepaliveMs = 1_000): Promise<HostileService> {
    const process = startNode(fileURLToPath(new URL('../programs/service.mjs', import.meta.url)), {
      args: [engine, String(keepaliveMs)],
      nodeArgs: ['--expose-gc'],
    });
    const [, address = ''] = await process.waitForLine(/^address (.+)$/, 60_000);
    return new HostileService(process, address);
  }

  /** A good call, and what became of it: `status 0`. */
  async goodCall(): Promise<string> {
    return `status ${statusIn(await this.#call(paths.unary, good))}`;
  }

  async report(collect = false): Promise<Report> {
    const { data } = await this.#call('/hostile.Probe/Report', frame(Buffer.from(JSON.stringify({ collect }))), {
      'content-type': 'application/grpc+json',
    });
    return JSON.parse(data.subarray(5).toString()) as Report;
  }

  /**
   * The report once no call is under way and no more than so many connections are open, or the last one before
   * `timeoutMs` were over.
   */
  async idle(sockets = Number.POSITIVE_INFINITY, timeoutMs = 60_000): Promise<Report> {
    const end = performance.now() + timeoutMs;
    for (;;) {
      const report = await this.report();
      const isIdle = report.inFlight === 0 && report.running === 0 && report.sockets <= sockets;
      if (isIdle || performance.now() > end) return report;
      await sleep(10);
    }
  }

  /**
   * A call over the well-behaved connection. The server's keepalive of a second ends that one too when a busy machine
   * keeps this process from answering a ping: the call is then made again over a new connection, ten times at most.
   */
  async #call(path: string, body: Buffer, headers?: Record<string, string>): Promise<WireAnswer> {
    for (let again = 10; ; again -= 1) {
      const session = this.#good;
      const answer = await this.#answered(rawCall(session, path, body, headers));
      const isLost = session.closed || session.destroyed;
      if (statusIn(answer) !== undefined || !isLost || again === 0) return answer;
    }
  }

  /** One for all good calls. */
  get #good(): ClientHttp2Session {
    if (!this.#session || this.#session.closed || this.#session.destroyed) this.#session = rawSession(this.address);
    return this.#session;
  }

  async #answered<T>(call: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error('no answer within 60 s')), 60_000);
    });
    const gone = this.process.exited.then(() => {
      throw new Error(`the service ended\n${this.process.stderr}`);
    });
    return Promise.race([call, late, gone]).finally(() => clearTimeout(timer));
  }

  /** Stops it as an orchestrator does; resolves with its exit status. */
  async stop(): Promise<number | null> {
    this.#session?.destroy();
    this.process.signal('SIGTERM');
    return (await this.process.waitForExit(60_000)).code;
  }
}

function statusIn({ headers, trailers }: WireAnswer): string | undefined {
  return (trailers ?? headers)['grpc-status'] as string | undefined;
}
