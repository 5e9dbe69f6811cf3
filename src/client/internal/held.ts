import type { Invoke } from '../../pipeline/pipeline.ts';
import type { OutgoingContext } from './outgoing.ts';

/** Follows its caller until the interceptors are done with the call, however often they make it, or not at all. */
export async function heldReply(invoke: Invoke, input: unknown, ctx: OutgoingContext): Promise<unknown> {
  ctx.isHeld = true;
  try {
    return await invoke(input, ctx.follow());
  } finally {
    ctx.release();
  }
}

/** The same for replies: from the first time that one is asked for until there are no more. */
export function heldReplies(invoke: Invoke, input: unknown, ctx: OutgoingContext): AsyncIterable<unknown> {
  ctx.isHeld = true;
  return new HeldReplies(invoke(input, ctx) as AsyncIterable<unknown>, ctx);
}

class HeldReplies implements AsyncIterableIterator<unknown, undefined> {
  readonly #replies: AsyncIterable<unknown>;
  readonly #ctx: OutgoingContext;
  #iterator: AsyncIterator<unknown> | undefined;

  constructor(replies: AsyncIterable<unknown>, ctx: OutgoingContext) {
    this.#replies = replies;
    this.#ctx = ctx;
  }

  async next(): Promise<IteratorResult<unknown, undefined>> {
    try {
      this.#iterator ??= this.#start();
      const result = await this.#iterator.next();
      if (!result.done) return result;
    } catch (error) {
      this.#ctx.release();
      throw error;
    }
    return this.#over();
  }

  async return(): Promise<IteratorResult<unknown, undefined>> {
    try {
      this.#iterator ??= this.#replies[Symbol.asyncIterator]();
      await this.#iterator.return?.();
    } finally {
      this.#ctx.release();
    }
    return this.#over();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #start(): AsyncIterator<unknown> {
    this.#ctx.follow();
    return this.#replies[Symbol.asyncIterator]();
  }

  #over(): IteratorResult<unknown, undefined> {
    this.#ctx.release();
    return { done: true, value: undefined };
  }
}
