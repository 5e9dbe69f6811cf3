import type { Timer } from '../../runtime/runtime.ts';
import { AckBatch } from './ack-batch.ts';
import { settled } from './receiver.ts';
import { HeaderReader } from './redis-frame.ts';
import {
  entriesFrom,
  entryFrom,
  firstId,
  infoOf,
  isBefore,
  type RawEntry,
  type StreamEntry,
} from './stream-entries.ts';
import { claimScript, leaveScript, takeScript, tidyScript, touchScript } from './stream-scripts.ts';
import { maxBlockMs, type StreamSetup, type StreamSource } from './stream-source.ts';
import { lastId } from './stream-tail.ts';

type Counted = readonly [entry: RawEntry, attempt: number];

// An entry that counts as untouched for so long is taken by whoever looks next, whatever their `claimIdleMs`.
const givenAwayMs = 24 * 3_600_000;
const tidyEveryMs = 60_000;
const forgottenAfterMs = 600_000;
const maxOwnPending = 1_000;

/** One member of a consumer group of a stream. */
export class StreamGroup implements StreamSource {
  onDue: () => void = () => {};
  readonly #setup: StreamSetup;
  readonly #group: string;
  readonly #consumer: string;
  readonly #headers = new HeaderReader();
  readonly #acks: AckBatch;
  readonly #heartbeat: Timer;
  readonly #inHand = new Set<string>();
  /** To be handed out again, by the time when. */
  readonly #due = new Map<string, number>();
  /** The last entry that this member has seen the group get. */
  #seen: string | undefined;
  #claimFrom = firstId;
  #claimAt = 0;
  #tidyAt: number;
  #lookForOwn = false;
  #closed = false;

  constructor(setup: StreamSetup, group: string) {
    const { runtime, link, key, reads } = setup;
    this.#setup = setup;
    this.#group = group;
    this.#consumer = `tenon-${runtime.random.uuid()}`;
    this.#acks = new AckBatch(runtime.timers, (ids) => link.commands('acknowledge events').xack(key, group, ...ids));
    // Three of them in the time after which others may take an event: one may be late, and one lost.
    this.#heartbeat = runtime.timers.every(Math.max(1, setup.claimIdleMs / 3), () => this.#keep());
    this.#tidyAt = runtime.clock.monotonicMs() + tidyEveryMs;
    reads.on('ready', this.#onReconnect);
  }

  get #now(): number {
    return this.#setup.runtime.clock.monotonicMs();
  }

  async open(): Promise<void> {
    const { link, key, from } = this.#setup;
    const redis = link.commands('subscribe');
    let start = from === 'start' ? firstId : '$';
    if (this.#seen !== undefined) {
      // The group may have gone with the data of Redis: then all that is in the stream came afterwards.
      start = isBefore(await lastId(this.#setup), this.#seen) ? firstId : this.#seen;
    }
    try {
      await redis.xgroup('CREATE', key, this.#group, start, 'MKSTREAM');
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('BUSYGROUP'))) throw error;
    }
    if (this.#seen !== undefined) return;
    const groups = (await redis.xinfo('GROUPS', key)) as unknown[];
    const own = groups.find((group) => infoOf(group, 'name') === this.#group);
    this.#seen = own === undefined ? firstId : infoOf(own, 'last-delivered-id');
  }

  async read(count: number): Promise<StreamEntry[]> {
    const { reads, key } = this.#setup;
    const now = this.#now;
    const until = Math.min(now + maxBlockMs, this.#claimAt, ...this.#due.values());
    const blockMs = Math.max(1, Math.ceil(until - now));
    const where = ['STREAMS', key, '>'] as const;
    const reply = await reads.xreadgroupBuffer(
      'GROUP',
      this.#group,
      this.#consumer,
      'COUNT',
      count,
      'BLOCK',
      blockMs,
      ...where,
    );
    const entries = entriesFrom(reply, this.#headers);
    this.#seen = entries.at(-1)?.id ?? this.#seen;
    return this.#taken(entries);
  }

  async again(count: number): Promise<StreamEntry[]> {
    const own = await this.#takeOwn(count);
    if (own.length > 0 || this.#claimAt > this.#now) return own;
    return this.#claim(count);
  }

  ack(entry: StreamEntry): Promise<void> {
    this.#inHand.delete(entry.id);
    return this.#acks.add(entry.id);
  }

  async nack({ id }: StreamEntry, delayMs: number): Promise<void> {
    this.#inHand.delete(id);
    if (this.#closed) return this.#touch([[id, this.#idleUntil(delayMs)]]);
    this.#due.set(id, this.#now + delayMs);
    this.#setup.runtime.timers.after(delayMs, () => this.onDue());
    // Others take it when the delay has passed, should this process be gone by then. At once means here: they need not hurry.
    if (delayMs > 0) await this.#touch([[id, this.#idleUntil(delayMs)]]);
  }

  giveBack(entries: readonly StreamEntry[]): Promise<void> {
    for (const { id } of entries) this.#inHand.delete(id);
    return this.#touch(entries.map(({ id }) => [id, givenAwayMs]));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#heartbeat.cancel();
    this.#setup.reads.off('ready', this.#onReconnect);
    await this.#acks.finish();
    try {
      const left = await this.#pending();
      await this.#touch(left.map((id) => [id, this.#idleUntil((this.#due.get(id) ?? 0) - this.#now)]));
      if (left.length === 0) await this.#run(leaveScript);
    } catch (error) {
      // It is taken for dead after a while, and what it had goes to others then.
      this.#setup.logger.debug('a member of a group could not take its leave', {
        key: this.#setup.key,
        group: this.#group,
        error,
      });
    }
  }

  readonly #onReconnect = (): void => {
    this.#lookForOwn = true;
    this.#acks.flush();
    this.#keep();
  };

  #taken(entries: StreamEntry[]): StreamEntry[] {
    for (const { id } of entries) this.#inHand.add(id);
    return entries;
  }

  /** What is due again, and what Redis gave to this member and never arrived. */
  async #takeOwn(count: number): Promise<StreamEntry[]> {
    const now = this.#now;
    const ids = Array.from(this.#due).flatMap(([id, due]) => (due <= now ? [id] : []));
    if (this.#lookForOwn) ids.push(...(await this.#lost()));
    const chosen = ids.slice(0, count);
    if (chosen.length === 0) return [];
    const taken = (await this.#run(takeScript, ...chosen)) as Counted[];
    for (const id of chosen) this.#due.delete(id);
    return this.#counted(taken);
  }

  async #lost(): Promise<string[]> {
    const pending = await this.#pending();
    this.#lookForOwn = false;
    const lost = pending.filter((id) => !this.#isKnown(id));
    for (const id of lost) this.#due.set(id, 0);
    return lost;
  }

  /** What Redis takes this member to have. */
  async #pending(): Promise<string[]> {
    const { link, key } = this.#setup;
    const redis = link.commands('look for events');
    const pending = (await redis.xpending(key, this.#group, '-', '+', maxOwnPending, this.#consumer)) as [string][];
    return pending.map(([id]) => id);
  }

  /** What the members who had it have not touched for a while: they are gone. */
  async #claim(count: number): Promise<StreamEntry[]> {
    const { claimIdleMs, logger, key } = this.#setup;
    const reply = (await this.#run(claimScript, claimIdleMs, this.#claimFrom, count)) as [Buffer, Counted[], number];
    this.#claimFrom = reply[0].toString();
    // Whether there is more is known once the scan has come round.
    if (this.#claimFrom === firstId) this.#claimAt = this.#now + claimIdleMs / 4;
    if (reply[2] > 0) {
      logger.error('events were lost: the stream was cut to its length before they were handled', {
        key,
        group: this.#group,
        events: reply[2],
      });
    }
    if (this.#now >= this.#tidyAt) {
      this.#tidyAt = this.#now + tidyEveryMs;
      await this.#run(tidyScript, forgottenAfterMs);
    }
    return this.#counted(reply[1].filter(([raw]) => raw && !this.#isKnown(raw[0].toString('latin1'))));
  }

  #isKnown(id: string): boolean {
    return this.#inHand.has(id) || this.#due.has(id) || this.#acks.has(id);
  }

  #counted(taken: readonly Counted[]): StreamEntry[] {
    const entries = taken.map(([raw, attempt]) => entryFrom(raw, attempt, this.#headers));
    return this.#taken(entries.filter((entry) => entry !== undefined));
  }

  /** Says that this member lives and still has what it has. */
  #keep(): void {
    this.#acks.flush();
    const ids: [string, number][] = Array.from(this.#inHand, (id) => [id, 0]);
    for (const [id, due] of this.#due) ids.push([id, this.#idleUntil(due - this.#now)]);
    void this.#touch(ids);
  }

  /** So long must an entry count as untouched for others to take it after `delayMs`. */
  #idleUntil(delayMs: number): number {
    return delayMs <= 0 ? givenAwayMs : Math.max(0, Math.ceil(this.#setup.claimIdleMs - delayMs));
  }

  /** Never rejects: while Redis is away nobody else can take anything either. */
  async #touch(ids: readonly (readonly [string, number])[]): Promise<void> {
    if (ids.length === 0) return settled;
    try {
      await this.#run(touchScript, ...ids.flat());
    } catch (error) {
      this.#setup.logger.debug('events in hand could not be kept', { key: this.#setup.key, group: this.#group, error });
    }
  }

  #run(script: string, ...args: (string | number)[]): Promise<unknown> {
    const { link, key } = this.#setup;
    try {
      return link.commands('read events').callBuffer('EVAL', script, 1, key, this.#group, this.#consumer, ...args);
    } catch (error) {
      return Promise.reject(error);
    }
  }
}
