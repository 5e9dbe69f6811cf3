import type { Change, WatchFeed } from './driver.ts';

/** The watches of one driver. Passes each notification of its server to the watches that it concerns. */
export class WatchFeeds implements Iterable<WatchFeed> {
  readonly #feeds = new Set<WatchFeed>();

  get size(): number {
    return this.#feeds.size;
  }

  [Symbol.iterator](): Iterator<WatchFeed> {
    return this.#feeds.values();
  }

  /** True if there is a watch of exactly this: one service, or all services. */
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

  /** Reports the change to the watches of the service; with `every`, to the watches of all services. */
  change(change: Change, who: 'service' | 'every'): void {
    const wanted = who === 'every' ? undefined : change.service.name;
    for (const feed of this.#feeds) if (feed.service === wanted) feed.change(change);
  }

  /** Ends all watches with an error, as they may have missed changes. */
  fail(why: string): void {
    for (const feed of this.#feeds) feed.fail(why);
  }
}
