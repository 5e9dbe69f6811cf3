import { randomUUID } from 'node:crypto';

import type { Clock, Random, Runtime, Timer, TimerOptions, Timers } from './runtime.ts';

// setTimeout fires at once, with a warning, for a longer delay.
const longestTimeoutMs = 2 ** 31 - 1;

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
};

/** The machine's randomness: `Math.random` and `crypto.randomUUID`. */
export const systemRandom: Random = {
  next: () => Math.random(),
  uuid: () => randomUUID(),
};

/** Node's timers. */
export const systemTimers: Timers = {
  after(delayMs: number, callback: () => void, options: TimerOptions = {}): Timer {
    let handle: NodeJS.Timeout;
    const arm = (leftMs: number): void => {
      const stepMs = Math.min(leftMs, longestTimeoutMs);
      handle = setTimeout(() => (leftMs > stepMs ? arm(leftMs - stepMs) : callback()), stepMs);
      if (!options.keepAlive) handle.unref();
    };
    arm(Math.max(0, delayMs));
    return { cancel: () => clearTimeout(handle) };
  },
  every(periodMs: number, callback: () => void, options: TimerOptions = {}): Timer {
    const handle = setInterval(callback, Math.min(periodMs, longestTimeoutMs));
    if (!options.keepAlive) handle.unref();
    return { cancel: () => clearInterval(handle) };
  },
  soon(callback: () => void): void {
    setImmediate(callback);
  },
  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const onAbort = (): void => {
        timer.cancel();
        reject(signal?.reason);
      };
      const timer = systemTimers.after(
        delayMs,
        () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
        { keepAlive: true },
      );
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  },
};

/** The machine's clock, randomness and timers. */
export const systemRuntime: Runtime = { clock: systemClock, random: systemRandom, timers: systemTimers };
