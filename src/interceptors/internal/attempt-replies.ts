import { DerivedIterator } from '../../internal/iterators.ts';

/** A stream of replies whose first reply was read. */
export interface OpenReplies {
  readonly replies: AsyncIterator<unknown>;
  readonly first: IteratorResult<unknown, unknown>;
}

/** A source of replies that may take more than one attempt to open. */
export interface AttemptSource {
  /** Opens the stream. Called with the first `next`. */
  readonly open: () => Promise<OpenReplies>;
  /** Ends the attempts under way, so that `open` settles. Called when the reader leaves the stream. */
  readonly leave: () => void;
  /** Called once, when a stream that was opened has ended. */
  readonly onEnd: () => void;
}

/** The replies of the attempt that is committed. */
export class AttemptReplies extends DerivedIterator<unknown> {
  readonly #source: AttemptSource;

  constructor(source: AttemptSource) {
    super();
    this.#source = source;
  }

  protected override async open(): Promise<AsyncIterator<unknown>> {
    const { replies, first } = await this.#source.open();
    this.ahead = first;
    return replies;
  }

  protected override onLeave(): void {
    this.#source.leave();
  }

  protected override onEnd(): void {
    this.#source.onEnd();
  }
}
