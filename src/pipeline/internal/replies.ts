import { Code, TenonError } from '../../errors/errors.ts';
import { isPromise } from '../../internal/is-promise.ts';
import { deferredIterator, isAsyncIterable, iterable, iteratorOf } from '../../internal/iterators.ts';
import type { HandlerFunction, CallHandler, MethodDescriptor } from '../pipeline.ts';

/**
 * Wraps `call` so that its result is a stream of replies: it may return an iterable or a promise of one. The error for
 * anything else names `origin`, the handler or interceptor that gave it.
 */
export function streaming(call: HandlerFunction, method: MethodDescriptor, origin: string): CallHandler {
  return (input, ctx) => {
    const replies = call(input, ctx);
    if (isAsyncIterable(replies)) return replies;
    if (isPromise(replies)) return deferredReplies(Promise.resolve(replies), method, origin);
    return repliesOf(replies, method, origin);
  };
}

/** Wraps `call` so that its result is a promise, also where it returns the reply itself. */
export function promising(call: HandlerFunction): CallHandler {
  return (input, ctx) => {
    const reply = call(input, ctx);
    return reply instanceof Promise ? reply : Promise.resolve(reply);
  };
}

/** A stream of replies whose iterable is still promised. */
export function deferredReplies(
  replies: Promise<unknown>,
  method: MethodDescriptor,
  origin: string,
): AsyncIterable<unknown> {
  // The promise may reject before the reader begins: that must not be an unhandled rejection.
  replies.catch(() => {});
  return deferredIterator(async () => iteratorOf(repliesOf(await replies, method, origin)));
}

function repliesOf(value: unknown, { path }: MethodDescriptor, origin: string): AsyncIterable<unknown> {
  if (isAsyncIterable(value)) return value;
  if (typeof value === 'object' && value !== null && Symbol.iterator in value) {
    return iterable(() => iteratorOf(value as Iterable<unknown>));
  }
  const what = value === null ? 'null' : typeof value;
  throw new TenonError({
    code: Code.Internal,
    reason: 'call.no_stream',
    message: `${origin} of ${path} returned ${what}, and the method answers with a stream: return an AsyncIterable or a promise of one, as an interceptor does with next(input, ctx)`,
  });
}
