import { type Abortable, onAbort } from './abort.ts';
import { over } from './iterators.ts';

interface Waiter<T> {
  resolve(result: IteratorResult<T, undefined>): void;
  reject(error: unknown): void;
}

/** Options of an {@link AsyncQueue}. */
export interface AsyncQueueOptions {
  /** The most values that wait to be read. @default no limit */
  readonly limit?: number | undefined;
  /**
   * The behaviour of `push` on a full queue. `drop-oldest` removes the oldest value; a function gives the error with
   * which the queue fails, and the value is not added.
   * @default the queue grows: a writer that can wait asks `hasRoom` and awaits `room()`
   */
  readonly overflow?: 'drop-oldest' | (() => unknown) | undefined;
  /** Ends the iteration when it aborts, as if the reader left: queued values are discarded. */
  readonly signal?: AbortSignal | Abortable | undefined;
  /** Called once when the queue has ended and takes no more values. Queued values may still be read. */
  readonly onEnd?: (() => void) | undefined;
}

/**
 * A queue with one writer side and one reader side, joined by promises.
 *
 * Values that were pushed before `end` or `fail` are still read; after `fail` one `next()` rejects with the error once
 * they are gone, and then the iteration is over. Several `next()` may be pending: they are served in order. Leaving the
 * iteration (`break`, `return`) discards what is queued, and ends those that are pending.
 */
export class AsyncQueue<T> implements AsyncIterableIterator<T, undefined> {
  readonly #limit: number;
  readonly #overflow: AsyncQueueOptions['overflow'];
  readonly #onEnd: (() => void) | undefined;
  readonly #forget: () => void;
  #items: T[] = [];
  #head = 0;
  #waiters: Waiter<T>[] = [];
  #roomWaiters: (() => void)[] = [];
  #ended = false;
  #error: unknown;
  #failed = false;

  constructor(options: AsyncQueueOptions = {}) {
    this.#limit = options.limit ?? Number.POSITIVE_INFINITY;
    this.#overflow = options.overflow;
    this.#onEnd = options.onEnd;
    let forget = (): void => {};
    this.#forget = () => forget();
    forget = onAbort(options.signal, () => void this.return());
  }

  /** The number of values that wait to be read. */
  get size(): number {
    return this.#items.length - this.#head;
  }

  /** The number of `next()` that wait for a value. */
  get demand(): number {
    return this.#waiters.length;
  }

  /** True if the queue takes no more values. */
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

  /** Appends a value. Returns false if it was not added: after the end, or because the queue is full and failed. */
  push(value: T): boolean {
    if (this.#ended) return false;
    const waiter = this.#waiters.shift();
    if (waiter) {
      waiter.resolve({ done: false, value });
      return true;
    }
    if (this.#overflow !== undefined && this.size >= this.#limit) {
      if (this.#overflow !== 'drop-oldest') {
        this.fail(this.#overflow());
        return false;
      }
      this.#take();
    }
    this.#items.push(value);
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
    if (this.#failed) return Promise.reject(this.#failure());
    if (this.#ended) return Promise.resolve(over);
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#items = [];
    this.#head = 0;
    this.#failed = false;
    this.#error = undefined;
    this.#finish();
    return Promise.resolve(over);
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

  #failure(): unknown {
    const error = this.#error;
    this.#failed = false;
    this.#error = undefined;
    return error;
  }

  #finish(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#forget();
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) {
      if (this.#failed) waiter.reject(this.#failure());
      else waiter.resolve(over);
    }
    this.#releaseRoom();
    this.#onEnd?.();
  }

  #releaseRoom(): void {
    if (this.#roomWaiters.length === 0) return;
    const waiters = this.#roomWaiters;
    this.#roomWaiters = [];
    for (const resolve of waiters) resolve();
  }
}
