import { onAbort } from '../internal/abort.ts';

/** Bounds how many pieces of work run at once. Others wait in the order in which they came. */
export class Limiter {
  readonly #max: number;
  readonly #waiting = new Set<() => void>();
  #running = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** Runs `work` when there is room. Rejects with the reason of `signal` if that aborts before. */
  async run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    if (this.#running < this.#max) this.#running += 1;
    else await this.#place(signal);
    try {
      signal.throwIfAborted();
      return await work();
    } finally {
      this.#leave();
    }
  }

  /** Waits for the place of another. */
  #place(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      let forget = (): void => {};
      const enter = (): void => {
        forget();
        resolve();
      };
      this.#waiting.add(enter);
      forget = onAbort(signal, (reason) => {
        this.#waiting.delete(enter);
        reject(reason);
      });
    });
  }

  #leave(): void {
    const [next] = this.#waiting;
    if (!next) {
      this.#running -= 1;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
