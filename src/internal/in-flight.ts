import { onAbort } from './abort.ts';

/** Counts what is under way, and tells when nothing is. */
export class InFlight {
  #count = 0;
  #waiting: (() => void)[] | undefined;

  get count(): number {
    return this.#count;
  }

  /** One more is under way. */
  enter(): void {
    this.#count += 1;
  }

  /** One of them is over. The last one wakes whoever waits in {@link idle}, in order. */
  leave(): void {
    this.#count -= 1;
    const waiting = this.#waiting;
    if (this.#count > 0 || waiting === undefined) return;
    this.#waiting = undefined;
    for (const wake of waiting) wake();
  }

  /**
   * Resolves when nothing is under way; rejects with the reason of `signal` if that aborts first. Leaves nothing on the
   * signal.
   */
  idle(signal?: AbortSignal): Promise<void> {
    if (this.#count === 0) return Promise.resolve();
    return new Promise((resolve, reject) => {
      let forget = (): void => {};
      const wake = (): void => {
        forget();
        resolve();
      };
      (this.#waiting ??= []).push(wake);
      forget = onAbort(signal, (reason) => {
        this.#waiting = this.#waiting?.filter((one) => one !== wake);
        reject(reason);
      });
    });
  }
}
