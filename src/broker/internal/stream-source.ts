import type { Redis } from 'ioredis';

import type { Logger } from '../../logger/logger.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { RedisLink } from './redis-link.ts';
import type { Settlement } from './receiver.ts';
import type { StreamEntry } from './stream-entries.ts';

/** What the sources of a broker work with. */
export interface StreamSetup {
  readonly link: RedisLink;
  readonly runtime: Runtime;
  readonly logger: Logger;
  /** Key of the stream. */
  readonly key: string;
  /** A connection of its own, for reads that block. */
  readonly reads: Redis;
  /** See `RedisStreamsBrokerOptions.claimIdleMs`. */
  readonly claimIdleMs: number;
  /** See `RedisStreamsBrokerOptions.from`. */
  readonly from: 'now' | 'start';
  /** See `SubscribeOptions.maxWaiting`. */
  readonly maxWaiting: number;
}

/** Where a subscription's entries come from: a group, or the end of the stream. */
export interface StreamSource extends Settlement<StreamEntry> {
  /** How many new entries it may take now: it keeps only so many that wait. */
  readonly room: number;
  /** Finds its place in the stream: at the beginning, and again after anything went wrong. `cause`: what did. */
  open(cause?: unknown): Promise<void>;
  /** Entries that are to be handed out again, `count` at the most, of them `fresh` that others had. */
  again(count: number, fresh: number): Promise<StreamEntry[]>;
  /** The next entries that are there, `count` at the most. Reports those that the stream lost before they were read. */
  next(count: number): Promise<StreamEntry[]>;
  /** The next entries, `count` at the most; waits for the first one, but no longer than until something is to be handed out again. */
  wait(count: number): Promise<StreamEntry[]>;
  /** Something is to be handed out again earlier than it was to be. */
  onDue: () => void;
  /** Leaves nothing behind but what others are to have. Never rejects. */
  close(): Promise<void>;
}

/** Longest time of a read that blocks. */
export const maxBlockMs = 5_000;

/** Says that events were cut off before they were read; -1 stands for a number that this Redis does not know. */
export function reportGap({ logger, key }: StreamSetup, events: number, group?: string): void {
  if (events === 0) return;
  const fields = { key, group, events: events > 0 ? events : 'unknown' };
  if (events > 0) logger.error('events were lost: the stream was cut to its length before they were read', fields);
  else logger.error('events may have been lost: the stream was cut beyond what had been read', fields);
}
