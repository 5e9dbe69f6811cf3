interface Waiter<T> {
  resolve(result: IteratorResult<T, undefined>): void;
  reject(error: unknown): void;
}

/**
 * A queue with one writer side and one reader side, joined by promises.
 *
 * Values that were pushed before `end` or `fail` are still read; after `fail` the reader gets the error
 * once they are gone. `push` never blocks: a writer that must be held back asks `hasRoom` and awaits `room()`.
 * Leaving the iteration early (`break`, `return`) discards what is queued and calls `onReturn`.
 */
export class AsyncQueue<T> implements AsyncIterableIterator<T, undefined> {
  readonly #limit: number;
  readonly #onReturn: (() => void) | undefined;
  #items: T[] = [];
  #head = 0;
  #waiters: Waiter<T>[] = [];
  #roomWaiters: (() => void)[] = [];
  #ended = false;
  #error: unknown;
  #failed = false;

  constructor(options: { readonly limit?: number; readonly onReturn?: () => void } = {}) {
    this.#limit = options.limit ?? Number.POSITIVE_INFINITY;
    this.#onReturn = options.onReturn;
  }

  get size(): number {
    return this.#items.length - this.#head;
  }

  get isEnded(): boolean {
    return this.#ended;
  }

  get hasRoom(): boolean {
    return this.#ended || this.size < this.#limit;
  }

  /** Resolves when the queue is below its limit, or ended. */
  room(): Promise<void> {
    if (this.hasRoom) return Promise.resolve();
    return new Promise((resolve) => this.#roomWaiters.push(resolve));
  }

  /** Appends a value. After the end it is dropped and `false` is returned. */
  push(value: T): boolean {
    if (this.#ended) return false;
    const waiter = this.#waiters.shift();
    if (waiter) waiter.resolve({ done: false, value });
    else this.#items.push(value);
    return true;
  }

  end(): void {
    this.#finish();
  }

  fail(error: unknown): void {
    if (this.#ended) return;
    this.#failed = true;
    this.#error = error;
    this.#finish();
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#head < this.#items.length) return Promise.resolve({ done: false, value: this.#take() });
    if (this.#failed) return Promise.reject(this.#error);
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#items = [];
    this.#head = 0;
    this.#failed = false;
    this.#finish();
    this.#onReturn?.();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #take(): T {
    const value = this.#items[this.#head] as T;
    this.#items[this.#head] = undefined as T;
    this.#head += 1;
    // Compacting only when half is spent keeps the cost per item constant.
    if (this.#head > 32 && this.#head * 2 > this.#items.length) {
      this.#items.splice(0, this.#head);
      this.#head = 0;
    }
    if (this.size < this.#limit) this.#releaseRoom();
    return value;
  }

  #finish(): void {
    this.#ended = true;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) {
      if (this.#failed) waiter.reject(this.#error);
      else waiter.resolve({ done: true, value: undefined });
    }
    this.#releaseRoom();
  }

  #releaseRoom(): void {
    if (this.#roomWaiters.length === 0) return;
    const waiters = this.#roomWaiters;
    this.#roomWaiters = [];
    for (const resolve of waiters) resolve();
  }
}
