/** Messages that are sent when the program says so: what a stream of requests takes. */
export class Pushed<T> implements AsyncIterableIterator<T, undefined> {
  readonly #waiting: ((result: IteratorResult<T, undefined>) => void)[] = [];
  readonly #messages: T[] = [];
  #isEnded = false;

  push(message: T): void {
    const taker = this.#waiting.shift();
    if (taker) taker({ done: false, value: message });
    else this.#messages.push(message);
  }

  end(): void {
    this.#isEnded = true;
    for (const taker of this.#waiting.splice(0)) taker({ done: true, value: undefined });
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    if (this.#messages.length > 0) return { done: false, value: this.#messages.shift() as T };
    if (this.#isEnded) return { done: true, value: undefined };
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    this.end();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
