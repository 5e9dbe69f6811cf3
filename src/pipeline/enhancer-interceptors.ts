import type { Context } from '../context/context.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { isError } from '../internal/is-error.ts';
import { isPromise } from '../internal/is-promise.ts';
import { DerivedIterator, isAsyncIterable, iteratorOf, mapIterator } from '../internal/iterators.ts';
import { clientStreams, serverStreams } from './pipeline.ts';
import { deferredReplies } from './internal/replies.ts';
import type { CallResult, Interceptor, CallHandler, MethodDescriptor } from './pipeline.ts';
import type { CallInterceptor, ErrorClass, ErrorFilter, FilterRule, Guard, Pipe, PipeMetadata } from './enhancers.ts';

/** Makes an interceptor of a guard. */
export function guardInterceptor(guard: Guard): Interceptor {
  return (next, method) => {
    const admit = (verdict: unknown, input: unknown, ctx: Context): CallResult => {
      if (verdict !== true) throw notPermitted(method);
      return next(input, ctx);
    };
    const settled = async (verdict: PromiseLike<unknown>, input: unknown, ctx: Context): Promise<unknown> => {
      const answer = await verdict;
      // The caller may have cancelled in the meantime: then the handler is not called.
      ctx.throwIfAborted();
      return admit(answer, input, ctx);
    };
    return (input, ctx) => {
      const verdict = guard.activate(ctx, input, method);
      return isPromise(verdict) ? deferred(method, settled(verdict, input, ctx)) : admit(verdict, input, ctx);
    };
  };
}

/** Makes an interceptor of a pipe. */
export function pipeInterceptor(pipe: Pipe, metadata: PipeMetadata): Interceptor {
  return requestInterceptor((input) => pipe.execute(input, metadata));
}

/**
 * Makes an interceptor that replaces the request by what `change` returns, or its promise resolves to. Where the client
 * streams, each request is replaced.
 */
export function requestInterceptor(change: (input: unknown) => unknown): Interceptor {
  return (next, method) => {
    if (clientStreams(method.kind)) {
      return (input, ctx) => next(mapIterator(iteratorOf(input as AsyncIterable<unknown>), change), ctx);
    }
    const settled = async (output: PromiseLike<unknown>, ctx: Context): Promise<unknown> => next(await output, ctx);
    return (input, ctx) => {
      const output = change(input);
      return isPromise(output) ? deferred(method, settled(output, ctx)) : next(output, ctx);
    };
  };
}

/** Makes an interceptor function of an interceptor class. */
export function interceptorOf(interceptor: CallInterceptor): Interceptor {
  return (next, method) => (input, ctx) => deferred(method, intercepted(interceptor, next, method, input, ctx));
}

async function intercepted(
  interceptor: CallInterceptor,
  next: CallHandler,
  method: MethodDescriptor,
  input: unknown,
  ctx: Context,
): Promise<unknown> {
  const transforms: ((value: unknown) => unknown)[] = [];
  const pushing = { push: (transform: (value: unknown) => unknown) => void transforms.push(transform) };
  let result: unknown = pushing;
  await interceptor.intercept(ctx, ctx, () => {
    const made = (async () => {
      result = await next(input, ctx);
      return pushing;
    })();
    // An interceptor that does not await it must not cause an unhandled rejection.
    made.catch(() => {});
    return made;
  });
  if (result === pushing) throw notCalled(method);
  const transformed = async (value: unknown): Promise<unknown> => {
    let changed = value;
    for (const transform of transforms) changed = await transform(changed);
    return changed;
  };
  if (!serverStreams(method.kind)) return transformed(result);
  return transforms.length === 0 ? result : mapIterator(iteratorOf(result as AsyncIterable<unknown>), transformed);
}

/**
 * Makes one interceptor of error filters. An error goes to the filter of its nearest class, and to the first where
 * several are for one class. Whatever that filter throws goes to the filters after it.
 */
export function errorFilterInterceptor(rules: readonly FilterRule[]): Interceptor {
  const ranked = rules
    .flatMap(({ filter, catches }) => catches.map((type) => ({ filter, type, depth: depthOf(type) })))
    .sort((a, b) => b.depth - a.depth);
  const answer = async (error: unknown, ctx: Context, from = 0): Promise<unknown> => {
    const index = ranked.findIndex(({ type }, at) => at >= from && (type === undefined || error instanceof type));
    if (index < 0) throw error;
    const { filter } = ranked[index] as { readonly filter: ErrorFilter };
    let result: unknown;
    try {
      // A filter's method, not a promise's.
      // oxlint-disable-next-line promise/valid-params
      result = await filter.catch(error, ctx, ctx);
    } catch (failure) {
      return answer(failure, ctx, index + 1);
    }
    if (isError(result)) return answer(result, ctx, index + 1);
    return result;
  };
  return (next, method) => {
    if (serverStreams(method.kind)) {
      return (input, ctx) =>
        new FilteredReplies(
          () => next(input, ctx) as AsyncIterable<unknown>,
          (error) => answer(error, ctx),
        );
    }
    return (input, ctx) => {
      let result: CallResult;
      try {
        result = next(input, ctx);
      } catch (error) {
        return answer(error, ctx);
      }
      return (result as Promise<unknown>).then(undefined, (error: unknown) => answer(error, ctx));
    };
  };
}

function depthOf(type: ErrorClass | undefined): number {
  let depth = 0;
  for (let at: unknown = type?.prototype; at; at = Object.getPrototypeOf(at)) depth += 1;
  return depth;
}

/** Gives a promise the shape of the method's result: replies that are opened later where the server streams. */
function deferred(method: MethodDescriptor, result: Promise<unknown>): CallResult {
  return serverStreams(method.kind) ? deferredReplies(result, method, 'an interceptor') : result;
}

/** Replies that are opened when they are first asked for; `answer` gives what follows their first failure. */
class FilteredReplies extends DerivedIterator<unknown> {
  readonly #replies: () => AsyncIterable<unknown>;
  readonly #answer: (error: unknown) => Promise<unknown>;

  constructor(replies: () => AsyncIterable<unknown>, answer: (error: unknown) => Promise<unknown>) {
    super();
    this.#replies = replies;
    this.#answer = answer;
  }

  protected override open(): AsyncIterator<unknown> {
    return iteratorOf(this.#replies());
  }

  protected override async recover(error: unknown): Promise<AsyncIterator<unknown>> {
    const answer = await this.#answer(error);
    if (isAsyncIterable(answer)) return iteratorOf(answer);
    return iteratorOf(answer === undefined ? [] : [answer]);
  }
}

function notPermitted({ path }: MethodDescriptor): TenonError {
  return new TenonError({
    code: Code.PermissionDenied,
    reason: 'call.permission_denied',
    message: `this caller may not call ${path}`,
  });
}

function notCalled({ path }: MethodDescriptor): TenonError {
  return new TenonError({
    code: Code.Internal,
    reason: 'call.not_intercepted',
    message: `an interceptor of ${path} returned before its next() had a reply: await next(), or throw`,
  });
}
