import { checkNumber } from '../../errors/checked-options.ts';
import { bounded } from '../../runtime/bounded.ts';
import type { Timers } from '../../runtime/runtime.ts';
import { callCancelled, type CallPlace, callTimedOut } from './errors.ts';

/** When a call of a registry gives up. */
export interface CallBounds extends CallPlace {
  readonly timers: Timers;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs `work`, given up with DEADLINE_EXCEEDED (`registry.timeout`) when its time has passed and with CANCELLED
 * (`call.cancelled`) when the caller aborts. `work` gets a signal that aborts then, in case it can stop.
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
