import type { TenonError } from '../../errors/errors.ts';
import type { Timers } from '../../runtime/runtime.ts';

/** When a call gives up, and with what. */
export interface Bounds {
  readonly timers: Timers;
  readonly signal?: AbortSignal | undefined;
  /** @default no bound */
  readonly timeoutMs?: number | undefined;
  onTimeout(timeoutMs: number): TenonError;
  onAbort(signal: AbortSignal): TenonError;
}

/** `work`, given up when its time has passed or the caller aborts. What it does afterwards is nobody's business any more. */
export function bounded<T>(work: Promise<T>, bounds: Bounds): Promise<T> {
  const { signal, timeoutMs } = bounds;
  if (signal === undefined && timeoutMs === undefined) return work;
  return new Promise((resolve, reject) => {
    const timer =
      timeoutMs === undefined
        ? undefined
        : bounds.timers.after(timeoutMs, () => end(() => reject(bounds.onTimeout(timeoutMs))), { keepAlive: true });
    const onAbort = (): void => end(() => reject(bounds.onAbort(signal as AbortSignal)));
    const end = (settle: () => void): void => {
      timer?.cancel();
      signal?.removeEventListener('abort', onAbort);
      settle();
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    work.then(
      (value) => end(() => resolve(value)),
      (error: unknown) => end(() => reject(error)),
    );
    if (signal?.aborted) onAbort();
  });
}
