import { textOf } from '../../errors/errors.ts';
import type { Clock, Timers } from '../../runtime/runtime.ts';
import type { WatchFeed } from './driver.ts';
import { LongPoll, type PolledRead } from './long-poll.ts';
import { WatchFeeds } from './watch-feeds.ts';

/** The parts of {@link PolledServices}. */
export interface PolledServicesOptions {
  readonly clock: Clock;
  readonly timers: Timers;
  /** The server, for messages. */
  readonly server: string;
  /** Shortest time between two reads of the same, in milliseconds. */
  readonly minReadMs: number;
  /** Failures in a row after which watches end, such as the number of addresses. */
  readonly maxFailures: number;
  /** The most that is followed for watches of all services: their names, and that many services less one. */
  readonly maxPolls: number;
  /**
   * Reads a service, or the names of all if it is undefined: at once with index 0, else as soon as something has
   * changed since, or after a time of the server's own.
   */
  read(service: string | undefined, index: number, signal: AbortSignal): Promise<PolledRead>;
}

/** A service that is followed, or the names of all. */
interface Followed {
  readonly poll: LongPoll;
  readonly started: Promise<void>;
}

/**
 * Follows services by a {@link LongPoll} each, once for all watches that want the same. A watch of all services follows
 * their names, and each of them as long as there is room. Watches are told to read again what has changed.
 */
export class PolledServices {
  readonly #options: PolledServicesOptions;
  readonly #feeds = new WatchFeeds();
  /** By the service; undefined for the names of all. */
  readonly #followed = new Map<string | undefined, Followed>();

  constructor(options: PolledServicesOptions) {
    this.#options = options;
  }

  /** The number of reads that are held. */
  get size(): number {
    return this.#followed.size;
  }

  /** Follows what a watch wants until `signal` aborts. Resolves when every later change is reported to the feed. */
  async follow(feed: WatchFeed, signal: AbortSignal): Promise<void> {
    this.#feeds.join(feed, signal, () => this.#prune());
    const poll = await this.#start(feed.service);
    if (feed.service !== undefined || signal.aborted) return;
    const room = Math.max(0, this.#options.maxPolls - this.#followed.size);
    await Promise.all(poll.keys.slice(0, room).map((name) => this.#start(name)));
  }

  close(): void {
    for (const { poll } of this.#followed.values()) poll.stop();
    this.#followed.clear();
  }

  async #start(service: string | undefined): Promise<LongPoll> {
    const known = this.#followed.get(service);
    if (known) return known.started.then(() => known.poll);
    const { clock, timers, server, minReadMs, maxFailures } = this.#options;
    const poll = new LongPoll({
      clock,
      timers,
      minReadMs,
      maxFailures,
      read: (index, signal) => this.#options.read(service, index, signal),
      onChange: (keys) => {
        if (service === undefined) for (const name of keys) void this.#startOrDrop(name);
        else this.#refresh(service);
      },
      onResumed: () => {
        for (const feed of this.#feedsOf(service)) feed.resumed();
      },
      onLost: (error) => {
        this.#forget(service, poll);
        const why = `${server} was lost: ${textOf(error)}`;
        for (const feed of this.#feedsOf(service)) feed.fail(why, error);
      },
    });
    const started = poll.start();
    this.#followed.set(service, { poll, started });
    started.catch(() => this.#forget(service, poll));
    await started;
    return poll;
  }

  /** Follows a service of which a watch of all has heard, and no longer one that is gone. Never rejects. */
  async #startOrDrop(name: string): Promise<void> {
    const isThere = (): boolean => this.#followed.get(undefined)?.poll.keys.includes(name) === true;
    const known = this.#followed.get(name);
    const drop = (): void => {
      if (known && !isThere() && !this.#feeds.has(name)) this.#forget(name, known.poll);
    };
    if (!isThere()) known?.started.then(drop, () => {});
    else if (this.#followed.size < this.#options.maxPolls) await this.#start(name).catch(() => {});
    this.#refresh(name);
  }

  #refresh(service: string): void {
    for (const feed of this.#feedsOf(service)) feed.refresh(service);
  }

  /** The watches of a service, and those of all services. */
  #feedsOf(service: string | undefined): readonly WatchFeed[] {
    return [...this.#feeds].filter((feed) => feed.service === undefined || feed.service === service);
  }

  /** Stops a poll. Another one may have taken its place. */
  #forget(service: string | undefined, poll: LongPoll): void {
    if (this.#followed.get(service)?.poll === poll) this.#followed.delete(service);
    poll.stop();
  }

  /** Stops what no watch wants. */
  #prune(): void {
    for (const [service, { poll }] of this.#followed) {
      if (this.#feeds.has(service) || (service !== undefined && this.#feeds.has(undefined))) continue;
      this.#forget(service, poll);
    }
  }
}
