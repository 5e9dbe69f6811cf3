import type { Timers } from '../../runtime/runtime.ts';

/** Waiting that can be ended for all who wait. */
export class InterruptibleDelay {
  readonly #timers: Timers;
  readonly #waiting = new Set<() => void>();
  #ended = false;

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  get isEnded(): boolean {
    return this.#ended;
  }

  /** Resolves after `delayMs`, or when the waiting is ended. */
  wait(delayMs: number): Promise<void> {
    if (this.#ended) return Promise.resolve();
    return new Promise((resolve) => {
      const go = (): void => {
        timer.cancel();
        this.#waiting.delete(go);
        resolve();
      };
      const timer = this.#timers.after(delayMs, go);
      this.#waiting.add(go);
    });
  }

  end(): void {
    this.#ended = true;
    for (const go of this.#waiting) go();
  }
}
