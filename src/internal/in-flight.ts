import { onAbort } from './abort.ts';

/** Counts work in flight, and resolves when there is none. */
export class InFlight {
  #count = 0;
  #waiting: (() => void)[] | undefined;

  get count(): number {
    return this.#count;
  }

  /** Counts one more. */
  enter(): void {
    this.#count += 1;
  }

  /** Counts one less. At zero the promises of {@link idle} are resolved, in order. */
  leave(): void {
    this.#count -= 1;
    const waiting = this.#waiting;
    if (this.#count > 0 || waiting === undefined) return;
    this.#waiting = undefined;
    for (const wake of waiting) wake();
  }

  /**
   * Resolves when nothing is in flight; rejects with the reason of `signal` if that aborts first. Leaves no listener on
   * the signal.
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
