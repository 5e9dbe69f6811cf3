import type { Context } from '../../context/context.ts';
import { type Invoke, type MethodDescriptor, serverStreams } from '../../pipeline/pipeline.ts';

/** How a call ended: with its last reply, with an error, or because the reader of its replies went. */
export type Ending =
  { readonly how: 'well' } | { readonly how: 'failed'; readonly error: unknown } | { readonly how: 'left' };

/** What is told of a call that was let in. */
export interface Passage {
  /** Of streams of replies: the first one is there. */
  readonly onFirst?: (() => void) | undefined;
  /** Called once. */
  readonly onEnd: (ending: Ending) => void;
}

/** Lets a call in, perhaps after a while; throws what it is refused with. */
export type Enter = (ctx: Context) => Passage | Promise<Passage>;

const well: Ending = { how: 'well' };
const left: Ending = { how: 'left' };
const over: IteratorResult<unknown, undefined> = { done: true, value: undefined };

/** `next` with `enter` before it. A stream of replies is entered when its first reply is asked for. */
export function around(next: Invoke, method: MethodDescriptor, enter: Enter): Invoke {
  if (serverStreams(method.kind)) return (input, ctx) => new PassingReplies(next, enter, input, ctx);
  return async (input, ctx) => {
    const entered = enter(ctx);
    const passage = entered instanceof Promise ? await entered : entered;
    let reply: unknown;
    try {
      reply = await next(input, ctx);
    } catch (error) {
      passage.onEnd({ how: 'failed', error });
      throw error;
    }
    passage.onEnd(well);
    return reply;
  };
}

interface Passing {
  readonly passage: Passage;
  readonly replies: AsyncIterator<unknown>;
}

class PassingReplies implements AsyncIterableIterator<unknown, undefined> {
  readonly #next: Invoke;
  readonly #enter: Enter;
  readonly #input: unknown;
  readonly #ctx: Context;
  #entering: Promise<Passing> | undefined;
  #passing: Passing | undefined;
  #hasFirst = false;
  #isOver = false;

  constructor(next: Invoke, enter: Enter, input: unknown, ctx: Context) {
    this.#next = next;
    this.#enter = enter;
    this.#input = input;
    this.#ctx = ctx;
  }

  async next(): Promise<IteratorResult<unknown, undefined>> {
    if (this.#isOver) return over;
    const { passage, replies } = this.#passing ?? (await (this.#entering ??= this.#begin()));
    try {
      const result = await replies.next();
      if (result.done) {
        this.#end(passage, well);
        return over;
      }
      if (!this.#hasFirst) {
        this.#hasFirst = true;
        passage.onFirst?.();
      }
      return result;
    } catch (error) {
      this.#end(passage, { how: 'failed', error });
      throw error;
    }
  }

  async return(): Promise<IteratorResult<unknown, undefined>> {
    if (this.#isOver) return over;
    if (!this.#entering) {
      this.#isOver = true;
      return over;
    }
    const { passage, replies } = this.#passing ?? (await this.#entering);
    try {
      await replies.return?.();
    } finally {
      this.#end(passage, left);
    }
    return over;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async #begin(): Promise<Passing> {
    try {
      const passage = await this.#enter(this.#ctx);
      let replies: AsyncIterator<unknown>;
      try {
        replies = (this.#next(this.#input, this.#ctx) as AsyncIterable<unknown>)[Symbol.asyncIterator]();
      } catch (error) {
        passage.onEnd({ how: 'failed', error });
        throw error;
      }
      return (this.#passing = { passage, replies });
    } catch (error) {
      this.#isOver = true;
      throw error;
    }
  }

  #end(passage: Passage, ending: Ending): void {
    if (this.#isOver) return;
    this.#isOver = true;
    passage.onEnd(ending);
  }
}
