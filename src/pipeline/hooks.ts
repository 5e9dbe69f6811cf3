import type { Context } from '../context/context.ts';
import { DerivedIterator, iteratorOf } from '../internal/iterators.ts';
import { serverStreams } from './pipeline.ts';
import type { Interceptor, Invoke, MethodDescriptor } from './pipeline.ts';

/** How a call ended: with its last reply, with an error, or because the reader of its replies went. */
export type CallOutcome =
  | { readonly outcome: 'ok' }
  | { readonly outcome: 'failed'; readonly error: unknown }
  | { readonly outcome: 'cancelled' };

/** What is told of a call that was let in. What these functions throw is the call's failure. */
export interface CallHooks {
  /** Of streams of replies: the first one is there. */
  readonly onFirst?: (() => void) | undefined;
  /** Called once. */
  readonly onEnd?: ((ending: CallOutcome) => void) | undefined;
}

/** Lets a call in, perhaps after a while; throws what it is refused with. */
export type BeforeCall = (ctx: Context, method: MethodDescriptor) => CallHooks | void | Promise<CallHooks | void>;

const ok: CallOutcome = { outcome: 'ok' };
const noHooks: CallHooks = {};

/**
 * An interceptor of `before` and what it gives back, for calls of all four kinds and for events. A stream of replies is
 * let in when its first reply is asked for.
 *
 * @example
 * ```ts
 * const timing = withHooks((ctx, method) => {
 *   const startMs = performance.now();
 *   return { onEnd: ({ outcome }) => ctx.logger.info(method.path, { outcome, durationMs: performance.now() - startMs })
 *   }; });
 * ```
 */
export function withHooks(before: BeforeCall): Interceptor {
  return (next, method) => {
    if (serverStreams(method.kind)) return (input, ctx) => new HookedReplies(next, method, before, input, ctx);
    return async (input, ctx) => {
      const entered = before(ctx, method);
      const hooks = (entered instanceof Promise ? await entered : entered) ?? noHooks;
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
  readonly #next: Invoke;
  readonly #method: MethodDescriptor;
  readonly #before: BeforeCall;
  readonly #input: unknown;
  readonly #ctx: Context;
  #hooks = noHooks;
  #hasFirst = false;

  constructor(next: Invoke, method: MethodDescriptor, before: BeforeCall, input: unknown, ctx: Context) {
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
