import type { Abortable } from '../internal/abort.ts';
import { Backoff, type BackoffSchedule } from '../internal/backoff.ts';
import { pause } from './bounded.ts';
import type { Runtime } from './runtime.ts';

/** Options of {@link retrying}. */
export interface RetryingOptions {
  readonly runtime: Pick<Runtime, 'random' | 'timers'>;
  readonly backoff: BackoffSchedule;
  /** Ends the attempts. @default they end with a success, or as `onFailure` says */
  readonly signal?: AbortSignal | undefined;
  /** True if waits keep the process alive. @default true with `retrying`, false with `repeatedly` */
  readonly keepAlive?: boolean | undefined;
  /**
   * Told of each failure and of the wait that is to follow it. It gives another wait, or nothing; what it throws ends
   * the attempts. It may set `backoff` back, for a failure that is the first of a new row.
   */
  onFailure?(error: unknown, delayMs: number, backoff: Backoff): number | void;
  /** Waits. What it rejects with ends the attempts. @default the timers' wait, ended by `signal` */
  pause?(delayMs: number): Promise<void>;
}

/**
 * Calls `work` until it succeeds, and gives what it gave. After each failure it waits, longer each time. Without a
 * signal and an `onFailure` that throws it never gives up; when the signal aborts, in an attempt or between two, it
 * rejects with its reason once the attempt under way is over. With an aborted one it does nothing.
 */
export async function retrying<T>(work: () => PromiseLike<T>, options: RetryingOptions): Promise<T> {
  let backoff: Backoff | undefined;
  for (;;) {
    options.signal?.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      options.signal?.throwIfAborted();
      backoff ??= new Backoff(options.runtime.random, options.backoff);
      await wait(afterFailure(error, backoff, options), options, true);
    }
  }
}

/** Options of {@link repeatedly}. */
export interface RepeatedlyOptions extends RetryingOptions {
  readonly signal: AbortSignal;
}

/**
 * Calls `work` again and again until the signal aborts: when the milliseconds have passed that it gave (at once where
 * it gave none), and after a failure with back-off, which begins anew with each success. Resolves when the signal has
 * aborted and the work under way is over; rejects only with what `onFailure` throws.
 */
export async function repeatedly(work: () => PromiseLike<number | void>, options: RepeatedlyOptions): Promise<void> {
  const backoff = new Backoff(options.runtime.random, options.backoff);
  while (!options.signal.aborted) {
    let delayMs: number;
    try {
      delayMs = (await work()) ?? 0;
      backoff.succeeded();
    } catch (error) {
      if (options.signal.aborted) return;
      delayMs = afterFailure(error, backoff, options);
    }
    if (delayMs > 0) await wait(delayMs, options, false);
  }
}

function afterFailure(error: unknown, backoff: Backoff, options: RetryingOptions): number {
  const delayMs = backoff.failed();
  return options.onFailure?.(error, delayMs, backoff) ?? delayMs;
}

async function wait(delayMs: number, options: RetryingOptions, keepAlive: boolean): Promise<void> {
  if (options.pause) return options.pause(delayMs);
  const signal: AbortSignal | Abortable | undefined = options.signal;
  return pause(options.runtime.timers, delayMs, signal, { keepAlive: options.keepAlive ?? keepAlive });
}
