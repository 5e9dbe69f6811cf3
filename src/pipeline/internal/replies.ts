import { Code, TenonError } from '../../errors/errors.ts';
import { isPromise } from '../../internal/is-promise.ts';
import { iteratorOf } from '../../internal/iterator-of.ts';
import type { HandlerFunction, Invoke, MethodDescriptor } from '../pipeline.ts';

/** `call` with what it gives taken for a stream of replies: an iterable, or a promise of one. Who gives something else is named by the error. */
export function streaming(call: HandlerFunction, method: MethodDescriptor, giver: string): Invoke {
  return (input, ctx) => {
    const replies = call(input, ctx);
    if (isAsyncIterable(replies)) return replies;
    if (isPromise(replies)) return laterReplies(Promise.resolve(replies), method, giver);
    return iterable(replies, method, giver);
  };
}

/** `call` with a promise of its reply, also where it gives the reply itself. */
export function promising(call: HandlerFunction): Invoke {
  return (input, ctx) => {
    const reply = call(input, ctx);
    return reply instanceof Promise ? reply : Promise.resolve(reply);
  };
}

/** Replies whose iterable comes later. */
export function laterReplies(
  replies: Promise<unknown>,
  method: MethodDescriptor,
  giver: string,
): AsyncIterable<unknown> {
  // Whoever is given the iterable may not look at it before the promise has failed.
  replies.catch(() => {});
  return new LaterReplies(replies, method, giver);
}

class LaterReplies implements AsyncIterableIterator<unknown> {
  readonly #promise: Promise<unknown>;
  readonly #method: MethodDescriptor;
  readonly #giver: string;
  #opening: Promise<AsyncIterator<unknown>> | undefined;
  #replies: AsyncIterator<unknown> | undefined;
  #isEnded = false;

  constructor(promise: Promise<unknown>, method: MethodDescriptor, giver: string) {
    this.#promise = promise;
    this.#method = method;
    this.#giver = giver;
  }

  async next(): Promise<IteratorResult<unknown>> {
    const replies = this.#replies ?? (this.#isEnded ? undefined : await (this.#opening ??= this.#open()));
    return replies && !this.#isEnded ? replies.next() : { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<unknown>> {
    this.#isEnded = true;
    await this.#replies?.return?.();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async #open(): Promise<AsyncIterator<unknown>> {
    this.#replies = iteratorOf(iterable(await this.#promise, this.#method, this.#giver));
    if (this.#isEnded) await this.#replies.return?.();
    return this.#replies;
  }
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof (value as Partial<AsyncIterable<unknown>> | undefined | null)?.[Symbol.asyncIterator] === 'function';
}

function iterable(value: unknown, { path }: MethodDescriptor, giver: string): AsyncIterable<unknown> {
  if (isAsyncIterable(value)) return value;
  if (typeof value === 'object' && value !== null && Symbol.iterator in value) {
    return { [Symbol.asyncIterator]: () => iteratorOf(value as Iterable<unknown>) };
  }
  const what = value === null ? 'null' : typeof value;
  throw new TenonError({
    code: Code.Internal,
    reason: 'call.no_stream',
    message: `${giver} of ${path} gave ${what} where a stream of replies is due: return an AsyncIterable or a promise of one, as an interceptor does with next(input, ctx)`,
  });
}
