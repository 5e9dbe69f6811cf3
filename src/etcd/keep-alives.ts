import { Code, TenonError } from '../errors/errors.ts';
import { bounded } from '../runtime/bounded.ts';
import type { Runtime, Timer } from '../runtime/runtime.ts';
import { type EtcdCallBounds, type EtcdChannel, isAway, type LeaseKeepAliveResponse } from './messages.ts';
import { ResumedStream, StreamEnded } from './resumed-stream.ts';
import type { Tokens } from './tokens.ts';

/** Options of {@link KeepAlives}. */
export interface KeepAlivesOptions {
  readonly channel: EtcdChannel;
  readonly addressCount: number;
  readonly runtime: Pick<Runtime, 'clock' | 'random' | 'timers'>;
  readonly tokens: Tokens;
  /** Time of a renewal, in milliseconds. */
  readonly timeoutMs: number;
}

interface Waiter {
  readonly resolve: (isAlive: boolean) => void;
  readonly reject: (error: unknown) => void;
}

/** A renewal that is not answered yet. */
interface Renewal {
  readonly attemptMs: number;
  sentAtMs: number;
  /** The calls that wait for it. An answer may still come after the last one has left. */
  readonly waiters: Set<Waiter>;
}

// A stream keeps the process alive, so one that nobody uses is ended.
const idleMs = 60_000;
const nothingToRenew = new StreamEnded('as there is nothing to renew');

/**
 * Extends leases, all of them on one stream, as etcd's own client does. etcd answers in the order of the requests; a
 * refusal ends the stream, and is the answer to the oldest one. Renewals without an answer are sent again on the next
 * stream, until their time is over.
 */
export class KeepAlives {
  readonly #options: KeepAlivesOptions;
  /** By the id of the lease, in the order in which they were sent. */
  readonly #renewals = new Map<bigint, Renewal>();
  #stream: ResumedStream<LeaseKeepAliveResponse> | undefined;
  #ended = new AbortController();
  #idle: Timer | undefined;
  #token: Promise<string> | undefined;

  constructor(options: KeepAlivesOptions) {
    this.#options = options;
  }

  /** Extends a lease. Resolves to false if there is no such lease. */
  async renew(
    id: bigint,
    { signal, timeoutMs = this.#options.timeoutMs, attemptMs }: EtcdCallBounds,
  ): Promise<boolean> {
    signal.throwIfAborted();
    const renewal = this.#renewals.get(id) ?? this.#send(id, attemptMs);
    const { timers } = this.#options.runtime;
    const onTimeout = (): Error => new Error(`etcd did not answer within ${timeoutMs} ms`);
    let leave = (): void => {};
    const answer = new Promise<boolean>((resolve, reject) => {
      const waiter: Waiter = { resolve, reject };
      renewal.waiters.add(waiter);
      leave = () => renewal.waiters.delete(waiter);
    });
    return bounded(answer, { timers, timeoutMs, signal, onTimeout }).finally(() => leave());
  }

  /** Ends the stream. Renewals without an answer fail. */
  close(): void {
    this.#end();
    this.#fail(this.#renewals.keys(), new StreamEnded('as its client was closed'));
  }

  #send(id: bigint, attemptMs: number | undefined): Renewal {
    this.#idle?.cancel();
    const stream = (this.#stream ??= this.#start());
    const sentAtMs = this.#now();
    const renewal = { attemptMs: attemptMs ?? stream.attemptMs, sentAtMs, waiters: new Set<Waiter>() };
    this.#renewals.set(id, renewal);
    stream.send({ ID: id }, dueOf(renewal, sentAtMs));
    return renewal;
  }

  #start(): ResumedStream<LeaseKeepAliveResponse> {
    const { channel, addressCount, runtime, tokens, timeoutMs } = this.#options;
    const ended = (this.#ended = new AbortController());
    const onLost = (cause: unknown): void => {
      if (ended.signal.aborted) return;
      this.#end();
      // What is denied was said of one, and each time of another. One that was asked for meanwhile has not been sent.
      const isOfOthers = cause === nothingToRenew || isDenied(cause);
      if (!isOfOthers) this.#fail(this.#renewals.keys(), cause);
      else if (this.#renewals.size > 0) this.#stream = this.#start();
    };
    const onReply = (reply: LeaseKeepAliveResponse): void => this.#onReply(reply);
    const stream = new ResumedStream<LeaseKeepAliveResponse>({
      runtime,
      addressCount,
      timeoutMs,
      serverName: 'etcd',
      open: (signal) => {
        for (const [id, { waiters }] of this.#renewals) if (waiters.size === 0) this.#renewals.delete(id);
        if (this.#renewals.size === 0) throw nothingToRenew;
        const metadata = async (): ReturnType<Tokens['metadata']> => {
          const values = await tokens.metadata();
          this.#token = tokens.current;
          return values;
        };
        return channel.stream('etcdserverpb.Lease/LeaseKeepAlive', undefined, { signal, metadata });
      },
      begin: () => {
        for (const [id, renewal] of this.#renewals) {
          renewal.sentAtMs = this.#now();
          stream.send({ ID: id }, dueOf(renewal, renewal.sentAtMs));
        }
      },
      onOpened: onReply,
      onReply,
      dueAtMs: (heardAtMs) => {
        let dueAtMs = Number.POSITIVE_INFINITY;
        for (const renewal of this.#renewals.values()) dueAtMs = Math.min(dueAtMs, dueOf(renewal, heardAtMs));
        return dueAtMs;
      },
      onFailed: (error) => this.#onFailed(error),
      onLost: (_, cause) => onLost(cause),
    });
    // Once the renewal that it is for is noted.
    queueMicrotask(() => void stream.start(ended.signal).catch(onLost));
    return stream;
  }

  #onReply({ ID, TTL }: LeaseKeepAliveResponse): void {
    const renewal = this.#renewals.get(ID);
    if (!renewal) return;
    this.#renewals.delete(ID);
    for (const { resolve } of renewal.waiters) resolve(TTL > 0n);
    if (this.#renewals.size > 0) return;
    this.#idle?.cancel();
    this.#idle = this.#options.runtime.timers.after(idleMs, () => this.#end());
  }

  /** True if another stream may serve what is left. */
  #onFailed(error: unknown): boolean {
    if (this.#options.tokens.isRefused(error, this.#token)) return true;
    // What a user may not do is said of one lease.
    const isOfOne = isDenied(error);
    if (isOfOne) this.#fail([...this.#renewals.keys()].slice(0, 1), error);
    else if (!isAway(error)) this.#fail(this.#renewals.keys(), error);
    return isOfOne;
  }

  #fail(ids: Iterable<bigint>, error: unknown): void {
    for (const id of ids) {
      for (const { reject } of this.#renewals.get(id)?.waiters ?? []) reject(error);
      this.#renewals.delete(id);
    }
  }

  #end(): void {
    this.#idle?.cancel();
    this.#ended.abort();
    this.#stream = undefined;
  }

  #now(): number {
    return this.#options.runtime.clock.monotonicMs();
  }
}

function isDenied(error: unknown): boolean {
  return TenonError.from(error).code === Code.PermissionDenied;
}

function dueOf({ sentAtMs, attemptMs }: Renewal, heardAtMs: number): number {
  return Math.max(sentAtMs, heardAtMs) + attemptMs;
}
