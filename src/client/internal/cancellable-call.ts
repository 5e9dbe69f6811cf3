import { DerivedIterator, iteratorOf } from '../../internal/iterators.ts';
import type { CallHandler } from '../../pipeline/pipeline.ts';
import type { OutgoingContext } from './outgoing.ts';

/** Follows its caller until the interceptors are done with the call, however often they make it, or not at all. */
export async function cancellableReply(invoke: CallHandler, input: unknown, ctx: OutgoingContext): Promise<unknown> {
  ctx.outlivesAttempts = true;
  try {
    return await invoke(input, ctx.follow());
  } finally {
    ctx.release();
  }
}

/** The same for replies: from the first time that one is asked for until there are no more. */
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
