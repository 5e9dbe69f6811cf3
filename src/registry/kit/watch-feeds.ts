import type { Change, WatchFeed } from './driver.ts';

/** The watches of one driver: what its server tells goes to those that it concerns. */
export class WatchFeeds implements Iterable<WatchFeed> {
  readonly #feeds = new Set<WatchFeed>();

  get size(): number {
    return this.#feeds.size;
  }

  [Symbol.iterator](): Iterator<WatchFeed> {
    return this.#feeds.values();
  }

  /** True if somebody watches just this: one service, or every one. */
  has(service: string | undefined): boolean {
    return [...this.#feeds].some((feed) => feed.service === service);
  }

  /**
   * Keeps a feed until `signal` aborts. `onLast` is called then if nobody is left who watches the same: one service, or
   * every one.
   */
  join(feed: WatchFeed, signal: AbortSignal, onLast: () => void = () => {}): void {
    if (signal.aborted) return;
    this.#feeds.add(feed);
    const leave = (): void => {
      this.#feeds.delete(feed);
      if (!this.has(feed.service)) onLast();
    };
    signal.addEventListener('abort', leave, { once: true });
  }

  /** Tells those who watch the service of the change; with `every`, those who watch every one. */
  change(change: Change, who: 'service' | 'every'): void {
    const wanted = who === 'every' ? undefined : change.service.name;
    for (const feed of this.#feeds) if (feed.service === wanted) feed.change(change);
  }

  /** Every watch may have missed something, and ends. */
  fail(why: string): void {
    for (const feed of this.#feeds) feed.fail(why);
  }
}
