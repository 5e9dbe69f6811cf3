import { Worker } from 'node:worker_threads';

import { Code, TenonError, textOf } from '../../errors/errors.ts';
import type { Logger } from '../../logger/logger.ts';
import type { RestoredNode } from '../../registry/registry.ts';
import { bounded, endsWithin } from '../../runtime/bounded.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { Heartbeat } from '../../service/internal/heartbeat.ts';
import type { LeaseReport, LeaseRequest } from '../../service/internal/lease-messages.ts';
import type { KeptLease, LeaseEvents, LeaseTerms } from '../../service/lease-keeper.ts';
import type { LeaseWorkerData } from '../lease-worker.ts';

/** The parts of a {@link LeaseThread}. */
export interface LeaseThreadTools {
  readonly runtime: Runtime;
  readonly logger: Logger;
  /** Called once, when the thread has ended or is about to. */
  onEnd(): void;
  /** Called when the registry of the thread has registered a node again that was lost. */
  onRestored?(node: RestoredNode): void;
}

interface PendingCall {
  resolve(): void;
  reject(error: TenonError): void;
}

/** A lease that the thread renews, or is about to. */
interface HeldLease {
  readonly events: LeaseEvents;
  readonly heartbeat: Heartbeat;
  hasBegun: boolean;
}

const startTimeoutMs = 30_000;
// The time in which a thread that runs lets go of a lease: it asks nobody for that.
const abandonTimeoutMs = 500;
// The heart beats this often within the time after which it counts as late, in bounds that cost next to nothing.
const beatsUntilLate = 4;
const beatBoundsMs = { min: 20, max: 1_000 } as const;
const never = new AbortController().signal;

/** A worker thread that renews leases, seen from the main thread. It does not keep the process alive. */
export class LeaseThread {
  readonly #worker: Worker;
  readonly #tools: LeaseThreadTools;
  readonly #leases = new Map<string, HeldLease>();
  readonly #calls = new Map<number, PendingCall>();
  #serial = 0;
  #hasEnded = false;

  private constructor(worker: Worker, tools: LeaseThreadTools) {
    this.#worker = worker;
    this.#tools = tools;
  }

  /**
   * Starts a thread; resolves when it has constructed its registry. Rejects if it ends instead: with
   * FAILED_PRECONDITION if no other thread could do better.
   */
  static async start(file: URL, source: LeaseWorkerData, tools: LeaseThreadTools): Promise<LeaseThread> {
    const thread = new LeaseThread(workerOf(file, source), tools);
    const worker = thread.#worker;
    const ready = new Promise<void>((resolve, reject) => {
      thread.#calls.set(0, { resolve, reject });
    });
    worker.on('message', (report: LeaseReport) => thread.#receive(report));
    worker.on('error', (error) => thread.#fail(threadLost('the thread that renews leases failed', error)));
    worker.on('exit', () => thread.#fail(threadLost('the thread that renews leases has ended')));
    worker.unref();
    try {
      await bounded(ready, { timers: tools.runtime.timers, timeoutMs: startTimeoutMs, keepAlive: false });
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
    const { min, max } = beatBoundsMs;
    const periodMs = Math.min(max, Math.max(min, terms.busyAfterMs / beatsUntilLate));
    const heartbeat = new Heartbeat(this.#tools.runtime.timers, periodMs);
    const lease: HeldLease = { events, heartbeat, hasBegun: false };
    this.#leases.set(key, lease);
    return {
      get renewals() {
        return Atomics.load(renewals, 0);
      },
      get restorations() {
        return Atomics.load(renewals, 1);
      },
      begin: () => {
        lease.hasBegun = true;
        this.#send({ kind: 'begin', key, terms, renewals, beats: heartbeat.beats, periodMs });
      },
      update: (record) => this.#send({ kind: 'update', key, record }),
      announce: (record, signal) => this.#ask((call) => ({ kind: 'announce', key, call, record }), signal),
      withdraw: async (signal) => {
        await this.#ask((call) => ({ kind: 'withdraw', key, call }), signal);
        this.#forget(key);
        this.#endIfIdle();
      },
      abandon: () => this.#abandon(key),
    };
  }

  /** Ends the thread. Its leases stay until their TTL ends. */
  async end(): Promise<void> {
    for (const key of this.#leases.keys()) this.#forget(key);
    this.#fail(threadLost('the thread that renews leases was ended'));
    await this.#worker.terminate();
  }

  /** A thread that does not let go of the lease could still renew it: it ends, and with it the leases of others. */
  async #abandon(key: string): Promise<void> {
    const lease = this.#forget(key);
    if (!lease) return;
    if (lease.hasBegun) {
      const { timers } = this.#tools.runtime;
      const answered = this.#ask((call) => ({ kind: 'abandon', key, call }), never);
      const isAnswered = await endsWithin(answered, { timers, timeoutMs: abandonTimeoutMs }).catch(() => false);
      if (!isAnswered) this.#fail(threadLost('the thread that renews leases did not answer'));
    }
    this.#endIfIdle();
  }

  #forget(key: string): HeldLease | undefined {
    const lease = this.#leases.get(key);
    lease?.heartbeat.stop();
    this.#leases.delete(key);
    return lease;
  }

  #endIfIdle(): void {
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
    switch (report.kind) {
      case 'ready':
        return this.#settle(0);
      case 'unfit':
        return this.#fail(threadUnfit(report.why));
      case 'registered':
        return this.#leases.get(report.key)?.events.onRegistered();
      case 'restored':
        return this.#tools.onRestored?.(report.node);
      case 'log':
        return this.#tools.logger[report.level](report.message, report.fields);
      case 'done':
        return this.#settle(report.call, report.error && new TenonError(report.error));
    }
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
    this.#tools.onEnd();
    void this.#worker.terminate();
    for (const call of this.#calls.keys()) this.#settle(call, error);
    for (const key of this.#leases.keys()) this.#forget(key)?.events.onLost(error);
  }
}

/** Throws FAILED_PRECONDITION where a process may have no threads, as under Node's permission model. */
function workerOf(file: URL, workerData: LeaseWorkerData): Worker {
  // Hooks and flags that the program was started with, as for its traces, are none of this thread's.
  const env = { ...process.env, NODE_OPTIONS: '' };
  try {
    return new Worker(file, { name: 'tenon-leases', workerData, execArgv: [], env });
  } catch (error) {
    const { code } = error as { readonly code?: unknown };
    if (code === 'ERR_ACCESS_DENIED') throw threadUnfit('this process may not start threads (--allow-worker)', error);
    throw threadLost(`the thread that renews leases cannot be started: ${textOf(error)}`, error);
  }
}

function threadUnfit(message: string, cause?: unknown): TenonError {
  return new TenonError({ code: Code.FailedPrecondition, reason: 'service.lease_thread_unfit', message, cause });
}

function threadLost(message: string, cause?: unknown): TenonError {
  return new TenonError({ code: Code.Unavailable, reason: 'service.lease_thread_lost', message, cause });
}
