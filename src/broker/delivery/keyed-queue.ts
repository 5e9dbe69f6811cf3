/** Runs work of the same key one after another. */
export class KeyedQueue {
  readonly #tails = new Map<string, Promise<void>>();

  /** True if work of the key runs or waits. */
  isBusy(key: string): boolean {
    return this.#tails.has(key);
  }

  run(key: string, work: () => Promise<void>): Promise<void> {
    const turn = (this.#tails.get(key) ?? Promise.resolve()).then(work);
    // Later work runs also if this fails.
    const end = (): void => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    };
    const tail: Promise<void> = turn.then(end, end);
    this.#tails.set(key, tail);
    return turn;
  }
}
