import { Worker } from 'node:worker_threads';

import { Code, TenonError } from '../../errors/errors.ts';
import type { Logger } from '../../logger/logger.ts';
import type { RestoredNode } from '../../registry/registry.ts';
import { bounded } from '../../runtime/bounded.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { Heartbeat } from '../../service/internal/heartbeat.ts';
import type { LeaseReport, LeaseRequest } from '../../service/internal/lease-messages.ts';
import type { KeptLease, LeaseEvents, LeaseTerms } from '../../service/lease-keeper.ts';
import type { LeaseWorkerData } from '../lease-worker.ts';

/** The parts of a {@link LeaseThread}. */
export interface LeaseThreadTools {
  readonly runtime: Runtime;
  readonly logger: Logger;
  /** The lateness of the event loop that has to be noticed, in milliseconds. */
  readonly busyAfterMs: number;
  /** Called once, when the thread has ended or is about to. */
  onEnd(): void;
  /** Called when the registry of the thread has registered a node again that was lost. */
  onRestored?(node: RestoredNode): void;
}

interface PendingCall {
  resolve(): void;
  reject(error: TenonError): void;
}

const startTimeoutMs = 30_000;
// The heart beats this often within the time after which it counts as late, in bounds that cost next to nothing.
const beatsUntilLate = 4;
const beatBoundsMs = { min: 20, max: 1_000 } as const;

/** A worker thread that renews leases, seen from the main thread. It does not keep the process alive. */
export class LeaseThread {
  readonly #worker: Worker;
  readonly #heartbeat: Heartbeat;
  readonly #tools: LeaseThreadTools;
  readonly #leases = new Map<string, LeaseEvents>();
  readonly #calls = new Map<number, PendingCall>();
  #serial = 0;
  #hasEnded = false;

  private constructor(worker: Worker, heartbeat: Heartbeat, tools: LeaseThreadTools) {
    this.#worker = worker;
    this.#heartbeat = heartbeat;
    this.#tools = tools;
  }

  /** Starts a thread; resolves when it has constructed its registry. Rejects if it ends instead. */
  static async start(
    file: URL,
    source: Pick<LeaseWorkerData, 'registry' | 'options'>,
    tools: LeaseThreadTools,
  ): Promise<LeaseThread> {
    const { timers } = tools.runtime;
    const { min, max } = beatBoundsMs;
    const periodMs = Math.min(max, Math.max(min, tools.busyAfterMs / beatsUntilLate));
    const heartbeat = new Heartbeat(timers, periodMs);
    const workerData: LeaseWorkerData = { ...source, beats: heartbeat.beats, periodMs };
    // Hooks that the program was started with, as for its traces, are none of this thread's.
    const env = { ...process.env, NODE_OPTIONS: '' };
    const worker = new Worker(file, { name: 'tenon-leases', workerData, execArgv: [], env });
    const thread = new LeaseThread(worker, heartbeat, tools);
    const ready = new Promise<void>((resolve, reject) => {
      thread.#calls.set(0, { resolve, reject });
    });
    worker.on('message', (report: LeaseReport) => thread.#receive(report));
    worker.on('error', (error) => thread.#fail(threadLost(`the thread that renews leases failed`, error)));
    worker.on('exit', () => thread.#fail(threadLost('the thread that renews leases has ended')));
    worker.unref();
    try {
      await bounded(ready, { timers, timeoutMs: startTimeoutMs });
      return thread;
    } catch (error) {
      thread.#fail(TenonError.from(error));
      throw error;
    }
  }

  keep(terms: LeaseTerms, events: LeaseEvents): KeptLease {
    if (this.#hasEnded) throw threadLost('the thread that renews leases has ended');
    const key = String((this.#serial += 1));
    const renewals = new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT));
    this.#leases.set(key, events);
    return {
      get renewals() {
        return Atomics.load(renewals, 0);
      },
      get restorations() {
        return Atomics.load(renewals, 1);
      },
      begin: () => this.#send({ kind: 'begin', key, terms, renewals }),
      update: (record) => this.#send({ kind: 'update', key, record }),
      announce: (record, signal) => this.#ask((call) => ({ kind: 'announce', key, call, record }), signal),
      withdraw: async (signal) => {
        await this.#ask((call) => ({ kind: 'withdraw', key, call }), signal);
        this.#forget(key);
      },
      abandon: () => {
        // The thread may not answer: it ends, and with it every lease that it renews.
        if (this.#leases.delete(key)) this.#fail(threadLost('the thread that renews leases did not answer'));
      },
    };
  }

  /** Ends the thread. Its leases stay until their TTL ends. */
  async end(): Promise<void> {
    this.#leases.clear();
    this.#fail(threadLost('the thread that renews leases was ended'));
    await this.#worker.terminate();
  }

  #forget(key: string): void {
    this.#leases.delete(key);
    if (this.#leases.size === 0) void this.end();
  }

  #send(request: LeaseRequest): void {
    if (!this.#hasEnded) this.#worker.postMessage(request);
  }

  #ask(request: (call: number) => LeaseRequest, signal: AbortSignal): Promise<void> {
    if (this.#hasEnded) return Promise.reject(threadLost('the thread that renews leases has ended'));
    const call = (this.#serial += 1);
    const answered = new Promise<void>((resolve, reject) => {
      this.#calls.set(call, { resolve, reject });
      this.#send(request(call));
    });
    return bounded(answered, { timers: this.#tools.runtime.timers, signal });
  }

  #receive(report: LeaseReport): void {
    if (report.kind === 'ready') this.#settle(0);
    else if (report.kind === 'registered') this.#leases.get(report.key)?.onRegistered();
    else if (report.kind === 'restored') this.#tools.onRestored?.(report.node);
    else if (report.kind === 'log') this.#tools.logger[report.level](report.message, report.fields);
    else this.#settle(report.call, report.error && new TenonError(report.error));
  }

  #settle(call: number, error?: TenonError): void {
    const pending = this.#calls.get(call);
    this.#calls.delete(call);
    if (error) pending?.reject(error);
    else pending?.resolve();
  }

  /** Ends the thread, tells whoever waits for it, and those whose leases it renewed. */
  #fail(error: TenonError): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#heartbeat.stop();
    this.#tools.onEnd();
    void this.#worker.terminate();
    for (const call of this.#calls.keys()) this.#settle(call, error);
    for (const events of this.#leases.values()) events.onLost(error);
    this.#leases.clear();
  }
}

function threadLost(message: string, cause?: unknown): TenonError {
  return new TenonError({ code: Code.Unavailable, reason: 'service.lease_thread_lost', message, cause });
}
