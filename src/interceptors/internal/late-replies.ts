/** A stream of replies that was opened, and the first that it gave. */
export interface OpenReplies {
  readonly replies: AsyncIterator<unknown>;
  readonly first: IteratorResult<unknown, unknown>;
}

/** What a stream of replies is that takes more than one attempt to open. */
export interface LateSource {
  /** Called with the first `next`. */
  readonly open: () => Promise<OpenReplies>;
  /** The reader went: whatever is under way is to end, so that `open` settles. */
  readonly leave: () => void;
  /** The stream is over, however it ended. Called once, if it was opened. */
  readonly onEnd: () => void;
}

const over: IteratorResult<unknown, undefined> = { done: true, value: undefined };

/** The replies of the attempt that was chosen in the end, as one iteration. */
export class LateReplies implements AsyncIterableIterator<unknown, undefined> {
  readonly #source: LateSource;
  #opening: Promise<OpenReplies> | undefined;
  #replies: AsyncIterator<unknown> | undefined;
  #isOver = false;
  #isLeft = false;

  constructor(source: LateSource) {
    this.#source = source;
  }

  async next(): Promise<IteratorResult<unknown, undefined>> {
    if (this.#isOver) return over;
    try {
      let result: IteratorResult<unknown, unknown>;
      if (this.#replies) result = await this.#replies.next();
      else if (this.#opening) {
        await this.#opening;
        return await this.next();
      } else {
        this.#opening = this.#source.open();
        const { replies, first } = await this.#opening;
        this.#replies = replies;
        result = first;
        if (this.#isLeft) {
          await replies.return?.();
          return over;
        }
      }
      if (!result.done) return { done: false, value: result.value };
    } catch (error) {
      this.#end();
      // Nobody reads any more: that it was cancelled for it is no failure.
      if (this.#isLeft) return over;
      throw error;
    }
    this.#end();
    return over;
  }

  async return(): Promise<IteratorResult<unknown, undefined>> {
    if (this.#isOver) return over;
    this.#isLeft = true;
    if (!this.#opening) {
      this.#isOver = true;
      return over;
    }
    this.#source.leave();
    try {
      await this.#replies?.return?.();
    } finally {
      this.#end();
    }
    return over;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#source.onEnd();
  }
}
