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
   * Called for each failure with the wait that follows it. It may return another wait; an error that it throws ends the
   * attempts. It may reset `backoff`, for a failure that begins a new series.
   */
  onFailure?(error: unknown, delayMs: number, backoff: Backoff): number | void;
  /** Waits between attempts. Its rejection ends them. @default the timers' wait, ended by `signal` */
  pause?(delayMs: number): Promise<void>;
}

/**
 * Calls `work` until it succeeds, and gives its result. The waits between attempts grow. It gives up when `onFailure`
 * throws, or when the signal aborts: then it rejects with the reason, once the attempt under way has ended. With a
 * signal that has aborted already it does not call `work`.
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
 * Calls `work` again and again until the signal aborts. `work` gives the milliseconds to wait before the next time,
 * none by default; a failure is followed by back-off, which each success resets. Resolves when the signal has aborted
 * and the work under way has ended; rejects only if `onFailure` throws.
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
