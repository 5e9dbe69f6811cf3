import type { Timers } from './runtime.ts';

/** Whether `work` ends within so many milliseconds, and before `signal` aborts. Rejects with what it rejects with; afterwards it is no longer heard. */
export function endsWithin(
  timers: Timers,
  ms: number,
  work: PromiseLike<unknown>,
  signal?: AbortSignal,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const giveUp = (): void => {
      done();
      resolve(false);
    };
    const timer = timers.after(ms, giveUp, { keepAlive: true });
    const done = (): void => {
      timer.cancel();
      signal?.removeEventListener('abort', giveUp);
    };
    signal?.addEventListener('abort', giveUp, { once: true });
    const watch = async (): Promise<void> => {
      try {
        await work;
        resolve(true);
      } catch (error) {
        reject(error);
      } finally {
        done();
      }
    };
    void watch();
    if (signal?.aborted) giveUp();
  });
}
