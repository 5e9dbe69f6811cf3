import { checkNumber } from '../../errors/checked-options.ts';
import { bounded } from '../../runtime/bounded.ts';
import type { Timers } from '../../runtime/runtime.ts';
import { callCancelled, type CallTarget, callTimedOut } from './errors.ts';

/** The time-out and the signal of one call of a registry. */
export interface CallBounds extends CallTarget {
  readonly timers: Timers;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs `work`. Rejects with DEADLINE_EXCEEDED (`registry.timeout`) after the time-out, and with CANCELLED
 * (`call.cancelled`) when the caller aborts; the signal that `work` got aborts then.
 */
export async function boundedCall<T>(bounds: CallBounds, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { registry, timers, timeoutMs, signal } = bounds;
  checkNumber('timeoutMs', timeoutMs);
  return bounded(work, {
    timers,
    timeoutMs,
    signal,
    onTimeout: () => callTimedOut(bounds, timeoutMs),
    onAbort: (reason) => callCancelled(registry, reason),
  });
}
