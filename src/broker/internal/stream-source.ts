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
  /** Finds its place in the stream: at the beginning, and again after anything went wrong. */
  open(): Promise<void>;
  /** Entries that are to be handed out again, `count` at the most. */
  again(count: number): Promise<StreamEntry[]>;
  /** The next entries, `count` at the most; waits for the first one, but no longer than until something is to be handed out again. */
  read(count: number): Promise<StreamEntry[]>;
  /** Something is to be handed out again earlier than it was to be. */
  onDue: () => void;
  /** Leaves nothing behind but what others are to have. Never rejects. */
  close(): Promise<void>;
}

/** Longest time of a read that blocks. */
export const maxBlockMs = 5_000;
