import { DerivedIterator } from '../../internal/iterators.ts';

/** A stream of replies that was opened, and the first that it gave. */
export interface OpenReplies {
  readonly replies: AsyncIterator<unknown>;
  readonly first: IteratorResult<unknown, unknown>;
}

/** A stream of replies that takes more than one attempt to open. */
export interface LateSource {
  /** Called with the first `next`. */
  readonly open: () => Promise<OpenReplies>;
  /** The reader went: whatever is under way is to end, so that `open` settles. */
  readonly leave: () => void;
  /** The stream is over, however it ended. Called once, if it was opened. */
  readonly onEnd: () => void;
}

/** The replies of the attempt that was chosen in the end, as one iteration. */
export class LateReplies extends DerivedIterator<unknown> {
  readonly #late: LateSource;

  constructor(late: LateSource) {
    super();
    this.#late = late;
  }

  protected override async open(): Promise<AsyncIterator<unknown>> {
    const { replies, first } = await this.#late.open();
    this.ahead = first;
    return replies;
  }

  protected override onLeave(): void {
    this.#late.leave();
  }

  protected override onEnd(): void {
    this.#late.onEnd();
  }
}
