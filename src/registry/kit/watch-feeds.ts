import type { Change, WatchFeed } from './driver.ts';

/** The watches of one driver. Passes each notification of its server to the watches that it concerns. */
export class WatchFeeds implements Iterable<WatchFeed> {
  /** By the service that they watch; undefined for those of all services. */
  readonly #feeds = new Map<string | undefined, Set<WatchFeed>>();

  get size(): number {
    let size = 0;
    for (const feeds of this.#feeds.values()) size += feeds.size;
    return size;
  }

  *[Symbol.iterator](): Iterator<WatchFeed> {
    for (const feeds of this.#feeds.values()) yield* feeds;
  }

  /** True if there is a watch of exactly this: one service, or all services. */
  has(service: string | undefined): boolean {
    return this.#feeds.has(service);
  }

  /**
   * Keeps a feed until `signal` aborts. `onLast` is called then if nobody is left who watches the same: one service, or
   * every one.
   */
  join(feed: WatchFeed, signal: AbortSignal, onLast: () => void = () => {}): void {
    if (signal.aborted) return;
    const { service } = feed;
    const feeds = this.#feeds.get(service) ?? new Set();
    this.#feeds.set(service, feeds.add(feed));
    const leave = (): void => {
      feeds.delete(feed);
      if (feeds.size > 0) return;
      if (this.#feeds.get(service) === feeds) this.#feeds.delete(service);
      onLast();
    };
    signal.addEventListener('abort', leave, { once: true });
  }

  /** Reports the change to the watches of the service; with `every`, to the watches of all services. */
  change(change: Change, who: 'service' | 'every'): void {
    for (const feed of this.#feeds.get(who === 'every' ? undefined : change.service.name) ?? []) feed.change(change);
  }

  /** Lets all watches read what changed while the server was away. */
  resumed(): void {
    for (const feed of this) {
      feed.resumed();
      feed.refresh();
    }
  }

  /** Ends all watches with an error, as they may have missed changes. */
  fail(why: string): void {
    for (const feed of this) feed.fail(why);
  }
}
