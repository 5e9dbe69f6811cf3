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
    Promise.resolve(work).then(
      () => {
        done();
        resolve(true);
      },
      (error: unknown) => {
        done();
        reject(error);
      },
    );
    if (signal?.aborted) giveUp();
  });
}
