import { Code, TenonError } from '../../errors/errors.ts';
import { isPromise } from '../../internal/is-promise.ts';
import { deferredIterator, isAsyncIterable, iterable, iteratorOf } from '../../internal/iterators.ts';
import type { HandlerFunction, Invoke, MethodDescriptor } from '../pipeline.ts';

/**
 * `call` with what it gives taken for a stream of replies: an iterable, or a promise of one. Who gives something else
 * is named by the error.
 */
export function streaming(call: HandlerFunction, method: MethodDescriptor, giver: string): Invoke {
  return (input, ctx) => {
    const replies = call(input, ctx);
    if (isAsyncIterable(replies)) return replies;
    if (isPromise(replies)) return laterReplies(Promise.resolve(replies), method, giver);
    return repliesOf(replies, method, giver);
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
  return deferredIterator(async () => iteratorOf(repliesOf(await replies, method, giver)));
}

function repliesOf(value: unknown, { path }: MethodDescriptor, giver: string): AsyncIterable<unknown> {
  if (isAsyncIterable(value)) return value;
  if (typeof value === 'object' && value !== null && Symbol.iterator in value) {
    return iterable(() => iteratorOf(value as Iterable<unknown>));
  }
  const what = value === null ? 'null' : typeof value;
  throw new TenonError({
    code: Code.Internal,
    reason: 'call.no_stream',
    message: `${giver} of ${path} gave ${what} where a stream of replies is due: return an AsyncIterable or a promise of one, as an interceptor does with next(input, ctx)`,
  });
}
