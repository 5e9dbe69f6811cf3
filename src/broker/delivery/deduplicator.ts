/** Runs work once per key. Remembers the last `limit` keys, and runs work of one key one after another. */
export class Deduplicator {
  readonly #limit: number;
  readonly #done = new Set<string>();
  readonly #running = new Map<string, Promise<unknown>>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** True if `run` would wait for other work of the key. */
  isBusy(key: string): boolean {
    return this.#running.has(key);
  }

  /**
   * Runs `work` unless its key is remembered, and remembers the key if `work` resolves with true. Resolves with true if
   * it ran.
   */
  async run(key: string, work: () => Promise<boolean>): Promise<boolean> {
    for (let other = this.#running.get(key); other; other = this.#running.get(key)) await other;
    if (this.#done.has(key)) return false;
    const running = this.#runAndRemember(key, work);
    this.#running.set(
      key,
      running.catch(() => undefined),
    );
    await running;
    return true;
  }

  async #runAndRemember(key: string, work: () => Promise<boolean>): Promise<void> {
    try {
      if (await work()) this.#remember(key);
    } finally {
      this.#running.delete(key);
    }
  }

  #remember(key: string): void {
    this.#done.add(key);
    if (this.#done.size <= this.#limit) return;
    for (const oldest of this.#done) {
      this.#done.delete(oldest);
      return;
    }
  }
}
