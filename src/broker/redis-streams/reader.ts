import type { Redis } from 'ioredis';

import { DelayedEvents } from '../kit/delayed-events.ts';
import type { DriverSubscription, EventSink, PollRequest } from '../kit/driver.ts';
import { HeaderReader } from '../kit/frame.ts';
import type { DriverSetup } from '../kit/portable-broker.ts';
import type { RedisLink } from '../redis/link.ts';
import { entriesFrom, firstId, infoOf, type RawRead, type StreamEntry } from './entries.ts';

/** Gives a reader its stream, its connections and its sink. */
export interface StreamSetup extends DriverSetup {
  readonly link: RedisLink;
  readonly sink: EventSink<StreamEntry>;
  /** Key of the stream. */
  readonly key: string;
  /** A connection of its own, for reads that block. */
  readonly reads: Redis;
  /** See `RedisStreamsBrokerOptions`. */
  readonly claimIdleMs: number;
  readonly from: 'now' | 'start';
}

/** Longest time of a read that blocks. */
export const maxBlockMs = 5_000;
const maxUnblocks = 20;

/** Reads a stream: first the entries to redeliver, then those that exist, then it blocks. */
export abstract class StreamReader implements DriverSubscription<StreamEntry> {
  protected readonly setup: StreamSetup;
  protected readonly headers = new HeaderReader();
  protected readonly delayed: DelayedEvents;
  /** True if entries may have been trimmed while nothing was read, which only a query finds out. */
  #mayLag = true;
  /** Number of the connection that blocks, for CLIENT UNBLOCK. */
  #connectionId: number | undefined;
  #isBlocking = false;

  constructor(setup: StreamSetup) {
    this.setup = setup;
    this.delayed = new DelayedEvents(setup.runtime, () => setup.sink.wake());
    setup.reads.on('ready', this.#identify);
    this.#identify();
  }

  abstract recover(cause?: unknown): Promise<void>;

  get waiting(): number {
    return this.delayed.size;
  }

  async poll({ count, fresh, mayLag }: PollRequest): Promise<readonly StreamEntry[]> {
    this.#mayLag ||= mayLag;
    const again = await this.again(count, fresh);
    if (again.length > 0 || fresh === 0 || this.setup.sink.isStopped) return again;
    const there = this.#mayLag ? await this.#passed(this.next(fresh), fresh) : [];
    if (there.length > 0 || this.setup.sink.isStopped) return there;
    const untilMs = Math.min(this.nextLookMs, this.delayed.nextAtMs);
    const blockMs = Math.min(maxBlockMs, untilMs - this.setup.runtime.clock.monotonicMs());
    this.#isBlocking = true;
    try {
      return await this.#passed(this.wait(fresh, Math.max(1, Math.ceil(blockMs))), fresh);
    } finally {
      this.#isBlocking = false;
    }
  }

  /** Unblocks a read. If it does not end after some tries, closes its connection. */
  interrupt(tried: number): void {
    if (!this.#isBlocking) return;
    const { link, reads } = this.setup;
    const commands = link.ready;
    if (commands && this.#connectionId !== undefined && tried <= maxUnblocks)
      commands.client('UNBLOCK', this.#connectionId).catch(() => undefined);
    else if (tried > 0) link.release(reads);
  }

  stop(): void {}

  close(): Promise<void> | void {
    this.setup.reads.off('ready', this.#identify);
    this.setup.link.release(this.setup.reads);
  }

  /** No read waits beyond this time. */
  protected get nextLookMs(): number {
    return Number.POSITIVE_INFINITY;
  }

  /** Returns at most `count` entries to redeliver, at most `fresh` of them claimed from other members. */
  protected abstract again(count: number, fresh: number): Promise<StreamEntry[]>;
  /** The next entries that are there. */
  protected abstract next(count: number): Promise<RawRead>;
  /** The next entries, when the first of them comes. */
  protected abstract wait(count: number, blockMs: number): Promise<RawRead>;
  /** These were read. */
  protected abstract onRead(entries: readonly StreamEntry[]): void;

  /**
   * Asks Redis about the stream, whether it is there or not: the id of the last entry that was added, and how many ever
   * were, -1 where Redis does not count them.
   */
  protected async info(): Promise<{ readonly last: string; readonly added: number; readonly length: number }> {
    try {
      const info = await this.setup.link.commands.xinfo('STREAM', this.setup.key);
      const last = infoOf(info, 'last-generated-id') ?? firstId;
      return { last, added: Number(infoOf(info, 'entries-added') ?? -1), length: Number(infoOf(info, 'length') ?? 0) };
    } catch (error) {
      if (!(error instanceof Error && error.message.includes('no such key'))) throw error;
      return { last: firstId, added: 0, length: 0 };
    }
  }

  /** Logs that events were trimmed before they were read; -1 stands for a number that this Redis does not know. */
  protected reportGap(events: number, group?: string): void {
    const { logger, key } = this.setup;
    const fields = { key, group, events: events > 0 ? events : 'unknown' };
    if (events > 0) logger.error('events were lost: the stream was cut to its length before they were read', fields);
    else if (events < 0)
      logger.error('events may have been lost: the stream was cut beyond what had been read', fields);
  }

  async #passed(read: Promise<RawRead>, count: number): Promise<StreamEntry[]> {
    const entries = entriesFrom(await read, this.headers);
    this.#mayLag = entries.length >= count;
    this.onRead(entries);
    return entries;
  }

  readonly #identify = (): void => {
    this.#connectionId = undefined;
    this.setup.reads.client('ID').then(
      (id) => (this.#connectionId = id),
      () => undefined,
    );
  };
}
