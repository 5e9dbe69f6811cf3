import type { Context } from '../context/context.ts';
import { iteratorOf } from '../internal/iterator-of.ts';
import { serverStreams } from './internal/kinds.ts';
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
const cancelled: CallOutcome = { outcome: 'cancelled' };
const over: IteratorResult<unknown, undefined> = { done: true, value: undefined };
const noHooks: CallHooks = {};

/**
 * An interceptor of `before` and what it gives back, for calls of all four kinds and for events. A stream of replies is let in when its first reply is asked for.
 *
 * @example
 * ```ts
 * const timing = withHooks((ctx, method) => {
 *   const startMs = performance.now();
 *   return { onEnd: ({ outcome }) => ctx.logger.info(method.path, { outcome, durationMs: performance.now() - startMs }) };
 * });
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

interface LetIn {
  readonly hooks: CallHooks;
  readonly replies: AsyncIterator<unknown>;
}

class HookedReplies implements AsyncIterableIterator<unknown, undefined> {
  readonly #next: Invoke;
  readonly #method: MethodDescriptor;
  readonly #before: BeforeCall;
  readonly #input: unknown;
  readonly #ctx: Context;
  #entering: Promise<LetIn> | undefined;
  #letIn: LetIn | undefined;
  #hasFirst = false;
  #isOver = false;

  constructor(next: Invoke, method: MethodDescriptor, before: BeforeCall, input: unknown, ctx: Context) {
    this.#next = next;
    this.#method = method;
    this.#before = before;
    this.#input = input;
    this.#ctx = ctx;
  }

  async next(): Promise<IteratorResult<unknown, undefined>> {
    if (this.#isOver) return over;
    const { hooks, replies } = this.#letIn ?? (await (this.#entering ??= this.#begin()));
    try {
      const result = await replies.next();
      if (result.done) {
        this.#end(hooks, ok);
        return over;
      }
      if (!this.#hasFirst) {
        this.#hasFirst = true;
        hooks.onFirst?.();
      }
      return result;
    } catch (error) {
      this.#end(hooks, { outcome: 'failed', error });
      throw error;
    }
  }

  async return(): Promise<IteratorResult<unknown, undefined>> {
    if (this.#isOver) return over;
    if (!this.#entering) {
      this.#isOver = true;
      return over;
    }
    const { hooks, replies } = this.#letIn ?? (await this.#entering);
    try {
      await replies.return?.();
    } finally {
      this.#end(hooks, cancelled);
    }
    return over;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async #begin(): Promise<LetIn> {
    try {
      const hooks = (await this.#before(this.#ctx, this.#method)) ?? noHooks;
      let replies: AsyncIterator<unknown>;
      try {
        replies = iteratorOf(this.#next(this.#input, this.#ctx) as AsyncIterable<unknown>);
      } catch (error) {
        hooks.onEnd?.({ outcome: 'failed', error });
        throw error;
      }
      return (this.#letIn = { hooks, replies });
    } catch (error) {
      this.#isOver = true;
      throw error;
    }
  }

  #end(hooks: CallHooks, ending: CallOutcome): void {
    if (this.#isOver) return;
    this.#isOver = true;
    hooks.onEnd?.(ending);
  }
}
