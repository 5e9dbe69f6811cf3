import type { Runtime } from '../../runtime/runtime.ts';

/**
 * Runs work one at a time, in random order. For events that may have killed their process: the one that does so then
 * costs others no attempt that they had begun, and is not always the first.
 */
export class OneAtATime {
  readonly #runtime: Pick<Runtime, 'random' | 'timers'>;
  readonly #waiting: (() => Promise<void>)[] = [];
  #isBusy = false;

  constructor(runtime: Pick<Runtime, 'random' | 'timers'>) {
    this.#runtime = runtime;
  }

  run<T>(work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waiting.push(() => work().then(resolve, reject));
      if (this.#isBusy) return;
      this.#isBusy = true;
      // Events that were delivered together are all there at the next turn.
      this.#runtime.timers.soon(() => void this.#runAll());
    });
  }

  async #runAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const index = Math.floor(this.#runtime.random.next() * this.#waiting.length);
      const [work] = this.#waiting.splice(index, 1);
      await work?.();
    }
    this.#isBusy = false;
  }
}
