import type { Context } from '../context/context.ts';
import { DerivedIterator, iteratorOf } from '../internal/iterators.ts';
import { serverStreams } from './pipeline.ts';
import type { Interceptor, CallHandler, MethodDescriptor } from './pipeline.ts';

/** The end of a call: with its last reply, with an error, or because the reader left the stream of replies. */
export type CallOutcome =
  | { readonly outcome: 'ok' }
  | { readonly outcome: 'failed'; readonly error: unknown }
  | { readonly outcome: 'cancelled' };

/** Functions called as one call goes on and ends. The call fails with whatever one of them throws. */
export interface CallHooks {
  /** Called with the first reply of a stream of replies. */
  readonly onFirst?: (() => void) | undefined;
  /** Called once, when the call has ended. */
  readonly onEnd?: ((ending: CallOutcome) => void) | undefined;
}

/** Runs before a call. The call waits for its promise, and is refused with whatever it throws. */
export type BeforeCall = (ctx: Context, method: MethodDescriptor) => CallHooks | void | Promise<CallHooks | void>;

const ok: CallOutcome = { outcome: 'ok' };
const noHooks: CallHooks = {};

/**
 * Makes an interceptor that runs `before` ahead of each call and then calls the hooks that it returns. It serves calls
 * of all four kinds, and events. For a stream of replies `before` runs when the first reply is asked for.
 *
 * @example
 * ```ts
 * const timing = withHooks((ctx, method) => {
 *   const startMs = performance.now();
 *   const onEnd: CallHooks['onEnd'] = ({ outcome }) =>
 *     ctx.logger.info(method.path, { outcome, durationMs: performance.now() - startMs });
 *   return { onEnd };
 * });
 * ```
 */
export function withHooks(before: BeforeCall): Interceptor {
  return (next, method) => {
    if (serverStreams(method.kind)) return (input, ctx) => new HookedReplies(next, method, before, input, ctx);
    return async (input, ctx) => {
      const given = before(ctx, method);
      const hooks = (given instanceof Promise ? await given : given) ?? noHooks;
      let reply: unknown;
      try {
        reply = await next(input, ctx);
      } catch (error) {
        hooks.onEnd?.({ outcome: 'failed', error });
        throw error;
      }
      hooks.onEnd?.(ok);
      return reply;
    };
  };
}

class HookedReplies extends DerivedIterator<unknown> {
  readonly #next: CallHandler;
  readonly #method: MethodDescriptor;
  readonly #before: BeforeCall;
  readonly #input: unknown;
  readonly #ctx: Context;
  #hooks = noHooks;
  #hasFirst = false;

  constructor(next: CallHandler, method: MethodDescriptor, before: BeforeCall, input: unknown, ctx: Context) {
    super();
    this.#next = next;
    this.#method = method;
    this.#before = before;
    this.#input = input;
    this.#ctx = ctx;
  }

  protected override async open(): Promise<AsyncIterator<unknown>> {
    this.#hooks = (await this.#before(this.#ctx, this.#method)) ?? noHooks;
    return iteratorOf(this.#next(this.#input, this.#ctx) as AsyncIterable<unknown>);
  }

  protected override map(reply: unknown): unknown {
    if (!this.#hasFirst) {
      this.#hasFirst = true;
      this.#hooks.onFirst?.();
    }
    return reply;
  }

  protected override onEnd(end: CallOutcome): void {
    this.#hooks.onEnd?.(end);
  }
}
