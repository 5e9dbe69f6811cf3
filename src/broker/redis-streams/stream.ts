import type { Redis } from 'ioredis';

import type { Logger } from '../../logger/logger.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { EventSink } from '../kit/driver.ts';
import { HeaderReader } from '../kit/frame.ts';
import type { RedisLink } from '../redis/link.ts';
import { firstId, infoOf, type StreamEntry } from './entries.ts';

/** What a reader of a stream works with. */
export interface StreamSetup {
  readonly link: RedisLink;
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly sink: EventSink<StreamEntry>;
  /** Key of the stream. */
  readonly key: string;
  /** A connection of its own, for reads that block. */
  readonly reads: Redis;
  /** See `RedisStreamsBrokerOptions.claimIdleMs`. */
  readonly claimIdleMs: number;
  /** See `RedisStreamsBrokerOptions.from`. */
  readonly from: 'now' | 'start';
}

/** Longest time of a read that blocks. */
export const maxBlockMs = 5_000;
const maxUnblocks = 20;

/** A stream, and the connection that reads it. */
export class Stream {
  readonly setup: StreamSetup;
  readonly headers = new HeaderReader();
  /** Number of the connection, for CLIENT UNBLOCK. */
  #connectionId: number | undefined;
  #isBlocking = false;

  constructor(setup: StreamSetup) {
    this.setup = setup;
    setup.reads.on('ready', this.#identify);
    this.#identify();
  }

  /** Runs a read that waits until a time of the monotonic clock, at most. */
  async wait<T>(untilMs: number, read: (reads: Redis, blockMs: number) => Promise<T>): Promise<T> {
    const leftMs = untilMs - this.setup.runtime.clock.monotonicMs();
    this.#isBlocking = true;
    try {
      return await read(this.setup.reads, Math.max(1, Math.ceil(Math.min(maxBlockMs, leftMs))));
    } finally {
      this.#isBlocking = false;
    }
  }

  /** Ends a read that waits. One that must end, and cannot be told, is cut off. */
  interrupt(tried: number): void {
    if (!this.#isBlocking) return;
    const { link, reads } = this.setup;
    const commands = link.ready;
    if (commands && this.#connectionId !== undefined && tried <= maxUnblocks)
      commands.client('UNBLOCK', this.#connectionId).catch(() => undefined);
    else if (tried > 0) reads.disconnect();
  }

  /** What is known of the stream, whether it is there or not. */
  async info(): Promise<StreamInfo> {
    try {
      const info = await this.setup.link.commands.xinfo('STREAM', this.setup.key);
      const added = infoOf(info, 'entries-added');
      return {
        last: infoOf(info, 'last-generated-id') ?? firstId,
        added: added === undefined ? -1 : Number(added),
        length: Number(infoOf(info, 'length') ?? 0),
      };
    } catch (error) {
      if (error instanceof Error && error.message.includes('no such key'))
        return { last: firstId, added: 0, length: 0 };
      throw error;
    }
  }

  /** Says that events were cut off before they were read; -1 stands for a number that this Redis does not know. */
  reportGap(events: number, group?: string): void {
    const { logger, key } = this.setup;
    if (events === 0) return;
    const fields = { key, group, events: events > 0 ? events : 'unknown' };
    if (events > 0) logger.error('events were lost: the stream was cut to its length before they were read', fields);
    else logger.error('events may have been lost: the stream was cut beyond what had been read', fields);
  }

  close(): void {
    this.setup.reads.off('ready', this.#identify);
    this.setup.link.release(this.setup.reads);
  }

  readonly #identify = (): void => {
    this.#connectionId = undefined;
    this.setup.reads.client('ID').then(
      (id) => {
        this.#connectionId = id;
      },
      () => undefined,
    );
  };
}

/** A stream, as Redis tells of it. */
export interface StreamInfo {
  /** Id of the last entry that was added, whether it is still there or not. */
  readonly last: string;
  /** How many entries were ever added; -1 where Redis does not count them. */
  readonly added: number;
  readonly length: number;
}
