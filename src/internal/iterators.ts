import { type Abortable, onAbort } from './abort.ts';
import { isPromise } from './is-promise.ts';

/** The end of an iteration: with its last value, with an error, or because its reader left. */
export type IterationEnd =
  | { readonly outcome: 'ok' }
  | { readonly outcome: 'failed'; readonly error: unknown }
  | { readonly outcome: 'cancelled' };

/** The result of a `next()` after the last value. */
export const over: IteratorResult<never, undefined> = { done: true, value: undefined };
const ok: IterationEnd = { outcome: 'ok' };
const cancelled: IterationEnd = { outcome: 'cancelled' };

/**
 * Gives the iterator that `for await` would make of `values`, for code that has to end it from outside. For a value
 * that cannot be iterated `next` rejects.
 */
export function iteratorOf<T>(values: AsyncIterable<T> | Iterable<T | Promise<T>>): AsyncIterator<T> {
  return (isAsyncIterable(values) ? values : each(values))[Symbol.asyncIterator]();
}

async function* each<T>(values: AsyncIterable<T> | Iterable<T | Promise<T>>): AsyncGenerator<T> {
  yield* values;
}

/** True if a value can be iterated with `for await` without being made asynchronous. */
export function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof (value as Partial<AsyncIterable<unknown>> | undefined | null)?.[Symbol.asyncIterator] === 'function';
}

/** Makes an iterable that calls `iterate` for each iteration, when it begins. */
export function iterable<T>(iterate: () => AsyncIterator<T, undefined>): AsyncIterable<T>;
export function iterable<T>(iterate: () => AsyncIterator<T>): AsyncIterable<T>;
export function iterable<T>(iterate: () => AsyncIterator<T>): AsyncIterable<T> {
  return { [Symbol.asyncIterator]: iterate };
}

/**
 * An iterator over a source that is read by one `next()` at a time. Further `next()` wait in a queue, and get values in
 * their order. A subclass implements `read`, which gives {@link over} after the last value or an error.
 */
export abstract class SerialIterator<T> implements AsyncIterableIterator<T, undefined> {
  #isReading = false;
  #line: (() => void)[] | undefined;
  // One function for all reads, as every message of a stream takes this path.
  readonly #hasRead = (): void => {
    const turn = this.#line?.shift();
    if (turn) turn();
    else this.#isReading = false;
  };

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#isReading) return this.#inLine();
    this.#isReading = true;
    return this.#read();
  }

  /** Ends the iteration, as its reader leaves. The subclass ends a `read` under way. */
  abstract return(): Promise<IteratorResult<T, undefined>>;

  protected abstract read(): Promise<IteratorResult<T, undefined>>;

  [Symbol.asyncIterator](): this {
    return this;
  }

  #read(): Promise<IteratorResult<T, undefined>> {
    const result = this.read();
    result.then(this.#hasRead, this.#hasRead);
    return result;
  }

  async #inLine(): Promise<IteratorResult<T, undefined>> {
    await new Promise<void>((resolve) => (this.#line ??= []).push(resolve));
    return this.#read();
  }
}

/**
 * An iterator over another one, its source, which is given or is opened with the first `next()`. A subclass may change
 * values, replace an error by further values, and act at the end.
 *
 * Several `next()` may be pending: each asks the source once, and gives its value as soon as it is there. For an error
 * one `next()` rejects, and all others end. After `return()` no value is given out: a pending `next()` ends without a
 * value as soon as the source settles it.
 */
export abstract class DerivedIterator<T, R = T> implements AsyncIterableIterator<R, undefined> {
  /** A result that was read from the source when it was opened, and is given out first. */
  protected ahead: IteratorResult<T, unknown> | undefined;
  #source: AsyncIterator<T> | undefined;
  #opening: Promise<AsyncIterator<T>> | undefined;
  #isLeft = false;
  #isOver = false;
  #hasRecovered = false;

  /** @param source the source, if it is open already */
  constructor(source?: AsyncIterator<T>) {
    this.#source = source;
  }

  /** Opens the source, once. The iteration fails with an error that it throws. */
  protected open?(): AsyncIterator<T> | Promise<AsyncIterator<T>>;
  /** Changes a value before it is given out. If it throws, the source is returned, and the iteration fails. */
  protected map?(value: T): R | PromiseLike<R>;
  /** Gives a source to go on with after the first error. The iteration fails with an error that it throws. */
  protected recover?(error: unknown): Promise<AsyncIterator<T>>;
  /** Called when the reader leaves while the source is open or being opened: work under way may end. */
  protected onLeave?(): void;
  /**
   * Called once when the iteration has ended, after the source was returned; never if `return()` came before the source
   * was opened. `next()` or `return()` rejects with an error that it throws.
   */
  protected onEnd?(end: IterationEnd): void;

  async next(): Promise<IteratorResult<R, undefined>> {
    if (this.#isOver || this.#isLeft) return over;
    try {
      const source = this.#source ?? (await (this.#opening ??= this.#open()));
      if (this.#isLeft) return over;
      let result = this.ahead;
      if (result === undefined) result = await source.next();
      else this.ahead = undefined;
      if (this.#isLeft) return over;
      if (!result.done) {
        // Inline, as a function of its own would cost a further promise for each value.
        if (this.map === undefined) return result as IteratorYieldResult<R & T>;
        let value: R;
        try {
          const mapped = this.map(result.value);
          value = isPromise(mapped) ? await mapped : mapped;
        } catch (error) {
          await letGo(source);
          throw error;
        }
        if (this.#isLeft) return over;
        return (value as unknown) === result.value ? (result as IteratorYieldResult<R & T>) : { done: false, value };
      }
    } catch (error) {
      return this.#failed(error);
    }
    this.#end(ok);
    return over;
  }

  async return(): Promise<IteratorResult<R, undefined>> {
    if (this.#isOver || this.#isLeft) return over;
    this.#isLeft = true;
    if (!this.#source && !this.#opening) {
      this.#isOver = true;
      return over;
    }
    this.onLeave?.();
    // A source that is still being opened is returned once it is open: the reader does not wait for that.
    if (this.#source) await this.#leave(this.#source);
    return over;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async #open(): Promise<AsyncIterator<T>> {
    let source: AsyncIterator<T>;
    try {
      source = await (this.open as () => AsyncIterator<T> | Promise<AsyncIterator<T>>)();
    } catch (error) {
      if (this.#isLeft) this.#end(cancelled);
      throw error;
    }
    this.#source = source;
    if (this.#isLeft) await this.#leave(source);
    return source;
  }

  async #failed(error: unknown): Promise<IteratorResult<R, undefined>> {
    // The reader has left: that the source was cancelled for it is no failure.
    if (this.#isLeft || this.#isOver) return over;
    if (!this.recover || this.#hasRecovered) return this.#fail(error);
    this.#hasRecovered = true;
    let source: AsyncIterator<T> | undefined;
    try {
      source = await this.recover(error);
    } catch (failure) {
      if (!this.#isLeft && !this.#isOver) return this.#fail(failure);
    }
    if (this.#isLeft || this.#isOver) {
      if (source) await letGo(source);
      this.#end(cancelled);
      return over;
    }
    this.#source = source;
    return this.next();
  }

  #fail(error: unknown): never {
    this.#end({ outcome: 'failed', error });
    throw error;
  }

  async #leave(source: AsyncIterator<T>): Promise<void> {
    try {
      await source.return?.();
    } finally {
      this.#end(cancelled);
    }
  }

  #end(end: IterationEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.onEnd?.(this.#isLeft ? cancelled : end);
  }
}

/** Returns a source, and ignores its errors. */
async function letGo(source: AsyncIterator<unknown>): Promise<void> {
  try {
    await source.return?.();
  } catch {
    // The error for which the source is left is the one to report.
  }
}

/** Iterates over `source` with each value changed by `map`. If `map` throws, `source` is returned. */
export function mapIterator<T, R>(
  source: AsyncIterator<T>,
  map: (value: T) => R | PromiseLike<R>,
): AsyncIterableIterator<R, undefined> {
  return new MappedIterator(source, map);
}

class MappedIterator<T, R> extends DerivedIterator<T, R> {
  readonly #map: (value: T) => R | PromiseLike<R>;

  constructor(source: AsyncIterator<T>, map: (value: T) => R | PromiseLike<R>) {
    super(source);
    this.#map = map;
  }

  protected override map(value: T): R | PromiseLike<R> {
    return this.#map(value);
  }
}

/** Iterates over the iterator that `open` gives. `open` is called with the first `next()`, or never. */
export function deferredIterator<T>(
  open: () => AsyncIterator<T> | Promise<AsyncIterator<T>>,
): AsyncIterableIterator<T, undefined> {
  return new DeferredIterator(open);
}

class DeferredIterator<T> extends DerivedIterator<T> {
  readonly #open: () => AsyncIterator<T> | Promise<AsyncIterator<T>>;

  constructor(open: () => AsyncIterator<T> | Promise<AsyncIterator<T>>) {
    super();
    this.#open = open;
  }

  protected override open(): AsyncIterator<T> | Promise<AsyncIterator<T>> {
    return this.#open();
  }
}

/**
 * Iterates over `source`, and calls `onEnd` once at the end: after the last value, an error, when the reader leaves, or
 * when `signal` aborts, which counts as the reader leaving.
 */
export function finalizedIterator<T>(
  source: AsyncIterator<T>,
  onEnd: (end: IterationEnd) => void,
  signal?: AbortSignal | Abortable,
): AsyncIterableIterator<T, undefined> {
  return new FinalizedIterator(source, onEnd, signal);
}

class FinalizedIterator<T> extends DerivedIterator<T> {
  readonly #onEnd: (end: IterationEnd) => void;
  readonly #forget: () => void;

  constructor(source: AsyncIterator<T>, end: (end: IterationEnd) => void, signal: AbortSignal | Abortable | undefined) {
    super(source);
    this.#onEnd = end;
    let forget = (): void => {};
    this.#forget = () => forget();
    // Nothing waits for the end after an abort, so an error of the source is ignored.
    forget = onAbort(signal, () => void this.return().catch(() => {}));
  }

  protected override onEnd(end: IterationEnd): void {
    this.#forget();
    this.#onEnd(end);
  }
}
