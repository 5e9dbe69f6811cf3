import type { Timer } from '../../runtime/runtime.ts';
import { AckBatch } from './ack-batch.ts';
import { FailureLog } from './failure-log.ts';
import { HeaderReader } from './redis-frame.ts';
import {
  chunksOf,
  entriesFrom,
  entryFrom,
  firstId,
  infoOf,
  isBefore,
  isNoGroup,
  isRefusal,
  type RawEntry,
  type RawRead,
  type StreamEntry,
} from './stream-entries.ts';
import {
  claimScript,
  createScript,
  leaveScript,
  nextScript,
  restoreScript,
  takeScript,
  tidyScript,
  touchScript,
} from './stream-scripts.ts';
import { maxBlockMs, reportGap, type StreamSetup, type StreamSource } from './stream-source.ts';
import { streamInfo } from './stream-tail.ts';

type Counted = readonly [entry: RawEntry, attempt: number];

/** An event that waits to be handed out again. */
interface Due {
  readonly atMs: number;
  readonly attempt: number;
}

// An entry that counts as untouched for so long is taken by whoever looks next, whatever their `claimIdleMs`.
const givenAwayMs = 24 * 3_600_000;
const tidyEveryMs = 60_000;
const forgottenAfterMs = 600_000;
const pendingPage = 1_000;

/** One member of a consumer group of a stream. */
export class StreamGroup implements StreamSource {
  onDue: () => void = () => {};
  readonly #setup: StreamSetup;
  readonly #group: string;
  readonly #consumer: string;
  readonly #headers = new HeaderReader();
  readonly #acks: AckBatch;
  readonly #heartbeat: Timer;
  readonly #log: FailureLog;
  /** What its receiver has, by id: the number of the attempt. */
  readonly #inHand = new Map<string, number>();
  /** To be handed out again. */
  readonly #due = new Map<string, Due>();
  /** The last entry that this member has seen the group get. */
  #seen: string | undefined;
  #isKeeping = false;
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
    this.#log = new FailureLog(setup.logger, { key, group });
    this.#acks = new AckBatch({
      runtime,
      send: (ids) => link.commands('acknowledge events').xack(key, group, ...ids),
      isRefusal,
      onRefusal: (error, events, isLast) => {
        const fields = { key, group, events, error };
        if (isLast) setup.logger.error('redis refuses an acknowledgement: the events are handed out again', fields);
        else setup.logger.warn('redis refuses an acknowledgement; it is tried again', fields);
      },
    });
    // Three of them in the time after which others may take an event: one may be late, and one lost.
    this.#heartbeat = runtime.timers.every(Math.max(1, setup.claimIdleMs / 3), () => void this.#keep());
    this.#tidyAt = runtime.clock.monotonicMs() + tidyEveryMs;
    reads.on('ready', this.#onReconnect);
  }

  get #now(): number {
    return this.#setup.runtime.clock.monotonicMs();
  }

  get room(): number {
    return Math.max(0, this.#setup.maxWaiting - this.#due.size);
  }

  async open(cause?: unknown): Promise<void> {
    const { link, key, from } = this.#setup;
    const redis = link.commands('subscribe');
    let start = from === 'start' ? firstId : '$';
    if (this.#seen !== undefined) {
      // The group may have gone with the data of Redis: then all that is in the stream came afterwards.
      start = isBefore((await streamInfo(this.#setup)).last, this.#seen) ? firstId : this.#seen;
    }
    try {
      await this.#run(createScript, start, this.#seen === undefined ? '' : 'anew');
    } catch (error) {
      if (!(error instanceof Error && error.message.includes('BUSYGROUP'))) throw error;
    }
    if (isNoGroup(cause)) await this.#restore();
    if (this.#seen !== undefined) return;
    const groups = (await redis.xinfo('GROUPS', key)) as unknown[];
    const own = groups.find((group) => infoOf(group, 'name') === this.#group);
    this.#seen = own === undefined ? firstId : infoOf(own, 'last-delivered-id');
  }

  async next(count: number): Promise<StreamEntry[]> {
    const [missed, read] = (await this.#run(nextScript, count)) as [number, RawRead];
    reportGap(this.#setup, missed, this.#group);
    return this.#passed(read);
  }

  async wait(count: number): Promise<StreamEntry[]> {
    const { reads, key } = this.#setup;
    const now = this.#now;
    let until = Math.min(now + maxBlockMs, this.#claimAt);
    for (const { atMs } of this.#due.values()) until = Math.min(until, atMs);
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
    return this.#passed(reply);
  }

  async again(count: number, fresh: number): Promise<StreamEntry[]> {
    const own = await this.#takeOwn(count);
    if (own.length > 0 || fresh === 0 || this.#claimAt > this.#now) return own;
    return this.#claim(fresh);
  }

  ack(entry: StreamEntry): Promise<void> {
    this.#inHand.delete(entry.id);
    return this.#acks.add(entry.id);
  }

  async nack({ id, attempt }: StreamEntry, delayMs: number): Promise<void> {
    this.#inHand.delete(id);
    if (this.#closed) return this.#touch([[id, this.#idleUntil(delayMs)]]);
    this.#due.set(id, { atMs: this.#now + delayMs, attempt });
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
      await this.#touch(left.map((id) => [id, this.#idleUntil((this.#due.get(id)?.atMs ?? 0) - this.#now)]));
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
    void this.#keep();
  };

  #passed(read: RawRead): StreamEntry[] {
    const entries = entriesFrom(read, this.#headers);
    this.#seen = entries.at(-1)?.id ?? this.#seen;
    return this.#taken(entries);
  }

  #taken(entries: StreamEntry[]): StreamEntry[] {
    for (const { id, attempt } of entries) this.#inHand.set(id, attempt);
    return entries;
  }

  /** What is due again, and what Redis gave to this member and never arrived. */
  async #takeOwn(count: number): Promise<StreamEntry[]> {
    if (this.#lookForOwn) await this.#findOwn();
    const now = this.#now;
    const ids: string[] = [];
    for (const [id, { atMs }] of this.#due) if (atMs <= now && ids.length < count) ids.push(id);
    const entries = await this.#take(ids);
    for (const id of ids) this.#due.delete(id);
    return entries;
  }

  /** Hands out what Redis has for this member, each once more. */
  async #take(ids: readonly string[]): Promise<StreamEntry[]> {
    const entries: StreamEntry[] = [];
    for (const chunk of chunksOf(ids)) {
      const [taken, gone] = (await this.#run(takeScript, ...chunk)) as [Counted[], number];
      this.#reportGone(gone);
      for (const [raw, attempt] of taken) {
        const entry = entryFrom(raw, attempt, this.#headers);
        if (entry) entries.push(entry);
      }
    }
    return this.#taken(entries);
  }

  async #findOwn(): Promise<void> {
    const pending = await this.#pending();
    this.#lookForOwn = false;
    for (const id of pending) if (!this.#isKnown(id)) this.#due.set(id, { atMs: 0, attempt: 1 });
  }

  /** What Redis takes this member to have. */
  async #pending(): Promise<string[]> {
    const { link, key } = this.#setup;
    const redis = link.commands('look for events');
    const all: string[] = [];
    for (let start = '-'; ; start = `(${all.at(-1)}`) {
      const page = (await redis.xpending(key, this.#group, start, '+', pendingPage, this.#consumer)) as [string][];
      for (const [id] of page) all.push(id);
      if (page.length < pendingPage) return all;
    }
  }

  /** What the members who had it have not touched for a while: they are gone. */
  async #claim(count: number): Promise<StreamEntry[]> {
    const { claimIdleMs } = this.#setup;
    const reply = (await this.#run(claimScript, claimIdleMs, this.#claimFrom, count)) as [Buffer, Buffer[], number];
    this.#claimFrom = reply[0].toString();
    // Whether there is more is known once the scan has come round.
    if (this.#claimFrom === firstId) this.#claimAt = this.#now + claimIdleMs / 4;
    this.#reportGone(reply[2]);
    if (this.#now >= this.#tidyAt) {
      this.#tidyAt = this.#now + tidyEveryMs;
      await this.#run(tidyScript, forgottenAfterMs);
    }
    // What it has itself is among it if it was late to say that it lives.
    return this.#take(reply[1].map((id) => id.toString('latin1')).filter((id) => !this.#isKnown(id)));
  }

  #reportGone(events: number): void {
    if (events === 0) return;
    const { logger, key } = this.#setup;
    const message = 'events were lost: the stream or the group no longer had them before they were handled';
    logger.error(message, { key, group: this.#group, events });
  }

  #isKnown(id: string): boolean {
    return this.#inHand.has(id) || this.#due.has(id) || this.#acks.has(id);
  }

  /** Says that this member lives and still has what it has. */
  async #keep(): Promise<void> {
    if (this.#isKeeping) return;
    this.#isKeeping = true;
    try {
      const ids: [string, number][] = Array.from(this.#inHand.keys(), (id) => [id, 0]);
      for (const [id, { atMs }] of this.#due) ids.push([id, this.#idleUntil(atMs - this.#now)]);
      await this.#touch(ids);
    } finally {
      this.#isKeeping = false;
    }
  }

  /** So long must an entry count as untouched for others to take it after `delayMs`. */
  #idleUntil(delayMs: number): number {
    return delayMs <= 0 ? givenAwayMs : Math.max(0, Math.ceil(this.#setup.claimIdleMs - delayMs));
  }

  /** Never rejects: while Redis is away nobody else can take anything either. */
  async #touch(ids: readonly (readonly [string, number])[]): Promise<void> {
    try {
      for (const chunk of chunksOf(ids)) await this.#run(touchScript, ...chunk.flat());
      if (ids.length > 0) this.#log.succeeded();
    } catch (error) {
      const { logger, key, link } = this.#setup;
      if (link.ready) this.#log.failed('events in hand could not be kept: others may be given them as well', error);
      else logger.debug('events in hand could not be kept', { key, group: this.#group, error });
      if (isNoGroup(error) && !this.#closed) await this.open(error).catch(() => undefined);
    }
  }

  /** A group that was made anew knows nothing of what its members have. */
  async #restore(): Promise<void> {
    const { logger, key } = this.#setup;
    const ids: (readonly [string, number])[] = [...this.#inHand];
    for (const [id, { attempt }] of this.#due) ids.push([id, attempt]);
    logger.warn('the group was gone, and is made anew', { key, group: this.#group, inHand: ids.length });
    for (const chunk of chunksOf(ids)) await this.#run(restoreScript, ...chunk.flat());
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
