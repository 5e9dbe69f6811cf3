import { DerivedIterator, iteratorOf } from '../../internal/iterators.ts';
import type { CallHandler } from '../../pipeline/pipeline.ts';
import type { OutgoingContext } from './outgoing.ts';

/**
 * Makes a call with one reply that follows the caller's signal and context until its interceptors are done with it,
 * however often they make the call.
 */
export async function cancellableReply(invoke: CallHandler, input: unknown, ctx: OutgoingContext): Promise<unknown> {
  ctx.outlivesAttempts = true;
  try {
    return await invoke(input, ctx.follow());
  } finally {
    ctx.release();
  }
}

/**
 * Makes a server stream that follows the caller's signal and context from the first reply that is asked for until the
 * last.
 */
export function cancellableReplies(invoke: CallHandler, input: unknown, ctx: OutgoingContext): AsyncIterable<unknown> {
  ctx.outlivesAttempts = true;
  return new CancellableReplies(invoke(input, ctx) as AsyncIterable<unknown>, ctx);
}

class CancellableReplies extends DerivedIterator<unknown> {
  readonly #replies: AsyncIterable<unknown>;
  readonly #ctx: OutgoingContext;

  constructor(replies: AsyncIterable<unknown>, ctx: OutgoingContext) {
    super();
    this.#replies = replies;
    this.#ctx = ctx;
  }

  protected override open(): AsyncIterator<unknown> {
    this.#ctx.follow();
    return iteratorOf(this.#replies);
  }

  protected override onEnd(): void {
    this.#ctx.release();
  }
}
