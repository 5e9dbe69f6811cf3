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
 * The iteration that `for await` would make of `values`, for those who must end it from outside. One that cannot be
 * iterated rejects at `next`.
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

/** An iterable whose iterations are made by `iterate`, each when it is begun. */
export function iterable<T>(iterate: () => AsyncIterator<T, undefined>): AsyncIterable<T>;
export function iterable<T>(iterate: () => AsyncIterator<T>): AsyncIterable<T>;
export function iterable<T>(iterate: () => AsyncIterator<T>): AsyncIterable<T> {
  return { [Symbol.asyncIterator]: iterate };
}

/**
 * An iteration over a source that serves one reader at a time. Readers that ask meanwhile wait in line, and values are
 * handed out in the order in which they were asked for. A subclass reads; after its last value, or an error, `read`
 * gives {@link over}.
 */
export abstract class SerialIterator<T> implements AsyncIterableIterator<T, undefined> {
  #isReading = false;
  #line: (() => void)[] | undefined;
  // One for all reads: this is the path of every message of a stream.
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

  /** The reader leaves. A `read` under way is for the subclass to end. */
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
 * An iteration over another one, its source, which it opens with the first `next()`, or was given. A subclass says how:
 * it may change values, put something in the place of an error, and hear of the end.
 *
 * Several `next()` may be pending: the source is asked as often, and each value is handed out as soon as it is there.
 * Of an error one `next()` rejects, all others are over. After `return()` nothing is handed out: a `next()` that is
 * pending ends without a value, whatever the source does, as soon as the source settles it.
 */
export abstract class DerivedIterator<T, R = T> implements AsyncIterableIterator<R, undefined> {
  /** Read from the source when it was opened: handed out before anything else. */
  protected ahead: IteratorResult<T, unknown> | undefined;
  #source: AsyncIterator<T> | undefined;
  #opening: Promise<AsyncIterator<T>> | undefined;
  #isLeft = false;
  #isOver = false;
  #hasRecovered = false;

  /** @param source one that is open; without it, it is opened */
  constructor(source?: AsyncIterator<T>) {
    this.#source = source;
  }

  /** Opens the source, once. What it throws is the failure of the iteration. */
  protected open?(): AsyncIterator<T> | Promise<AsyncIterator<T>>;
  /** Makes of a value what is handed out. When it throws, the source is returned, and the iteration fails. */
  protected map?(value: T): R | PromiseLike<R>;
  /** What is iterated instead after the first error of the source, or of opening it. What it throws is the failure. */
  protected recover?(error: unknown): Promise<AsyncIterator<T>>;
  /** The reader has left while something is open, or is being opened: whatever is under way may end. */
  protected onLeave?(): void;
  /**
   * The iteration has ended. Called once if it was open or was being opened, after the source has let go; never if
   * `return()` came before that. What it throws is what `next()` or `return()` rejects with.
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
        // Here, and not in a function of its own: that would be a promise more for each value.
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
    // What is being opened is let go of when it is there: who leaves does not wait for it.
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
    // Nobody reads any more: that a source was cancelled for it is no failure.
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

/** Ends a source whose own failure says nothing any more. */
async function letGo(source: AsyncIterator<unknown>): Promise<void> {
  try {
    await source.return?.();
  } catch {
    // The error that it is left for is the one to know.
  }
}

/** The values of `source`, each changed by `map`. When `map` throws, `source` is returned. */
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

/** The iteration that `open` gives, which is called with the first `next()`, or never. */
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
 * The values of `source`; `onEnd` is called once, however that ends: after the last value, an error, a reader that
 * leaves, or when `signal` aborts, which is as if the reader left.
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
    // Nobody waits for the end that an abort makes: how the source takes it changes nothing.
    forget = onAbort(signal, () => void this.return().catch(() => {}));
  }

  protected override onEnd(end: IterationEnd): void {
    this.#forget();
    this.#onEnd(end);
  }
}
