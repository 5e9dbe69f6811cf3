import { DelayedEvents } from '../kit/delayed-events.ts';
import type { DriverSubscription, PollRequest } from '../kit/driver.ts';
import { FailureLog } from '../kit/failure-log.ts';
import {
  chunksOf,
  entriesFrom,
  entryFrom,
  firstId,
  infoOf,
  isBefore,
  isNoGroup,
  type RawEntry,
  type RawRead,
  type StreamEntry,
} from './entries.ts';
import {
  claimScript,
  createScript,
  leaveScript,
  nextScript,
  restoreScript,
  takeScript,
  tidyScript,
  touchScript,
} from './scripts.ts';
import { Stream, type StreamSetup } from './stream.ts';

type Counted = readonly [entry: RawEntry, attempt: number];

// An entry that counts as untouched for so long is taken by whoever looks next, whatever their `claimIdleMs`.
const givenAwayMs = 24 * 3_600_000;
const tidyEveryMs = 60_000;
const forgottenAfterMs = 600_000;
const pendingPage = 1_000;

/** One member of a consumer group of a stream. */
export class StreamGroup implements DriverSubscription<StreamEntry> {
  readonly batchesAcks = true;
  /** Three of them in the time after which others may take an event: one may be late, and one lost. */
  readonly keepAliveMs: number;
  readonly #stream: Stream;
  readonly #setup: StreamSetup;
  readonly #group: string;
  readonly #consumer: string;
  readonly #log: FailureLog;
  readonly #delayed: DelayedEvents;
  /** The last entry that this member has seen the group get. */
  #seen: string | undefined;
  #mayLag = true;
  #claimFrom = firstId;
  #claimAt = 0;
  #tidyAt: number;
  #lookForOwn = false;
  #closed = false;

  constructor(setup: StreamSetup, group: string) {
    const { runtime, logger, key, sink, reads, claimIdleMs } = setup;
    this.#setup = setup;
    this.#stream = new Stream(setup);
    this.#group = group;
    this.#consumer = `tenon-${runtime.random.uuid()}`;
    this.#log = new FailureLog(logger, { key, group });
    this.#delayed = new DelayedEvents(runtime, () => sink.wake());
    this.keepAliveMs = claimIdleMs / 3;
    this.#tidyAt = this.#now + tidyEveryMs;
    reads.on('ready', this.#onReconnect);
  }

  get waiting(): number {
    return this.#delayed.size;
  }

  get #now(): number {
    return this.#setup.runtime.clock.monotonicMs();
  }

  async recover(cause?: unknown): Promise<void> {
    const { link, key, from } = this.#setup;
    let start = from === 'start' ? firstId : '$';
    if (this.#seen !== undefined) {
      // The group may have gone with the data of Redis: then all that is in the stream came afterwards.
      start = isBefore((await this.#stream.info()).last, this.#seen) ? firstId : this.#seen;
    }
    try {
      await this.#run(createScript, start, this.#seen === undefined ? '' : 'anew');
    } catch (error) {
      if (!(error instanceof Error && error.message.includes('BUSYGROUP'))) throw error;
    }
    if (isNoGroup(cause)) await this.#restore();
    if (this.#seen !== undefined) return;
    const groups = (await link.commands.xinfo('GROUPS', key)) as unknown[];
    const own = groups.find((group) => infoOf(group, 'name') === this.#group);
    this.#seen = own === undefined ? firstId : infoOf(own, 'last-delivered-id');
  }

  async poll({ count, fresh, mayLag }: PollRequest): Promise<readonly StreamEntry[]> {
    this.#mayLag ||= mayLag;
    const own = await this.#takeOwn(count);
    if (own.length > 0 || fresh === 0) return own;
    const claimed = this.#claimAt > this.#now ? [] : await this.#claim(fresh);
    if (claimed.length > 0 || this.#setup.sink.isStopped) return claimed;
    const entries = this.#mayLag ? await this.#next(fresh) : [];
    if (entries.length > 0 || this.#setup.sink.isStopped) return entries;
    return this.#wait(fresh);
  }

  interrupt(tried: number): void {
    this.#stream.interrupt(tried);
  }

  ack(events: readonly StreamEntry[]): Promise<unknown> {
    return this.#setup.link.commands.xack(this.#setup.key, this.#group, ...events.map(({ id }) => id));
  }

  async nack({ id, attempt }: StreamEntry, delayMs: number): Promise<void> {
    if (this.#closed) return this.#touch([[id, this.#idleUntil(delayMs)]]);
    this.#delayed.add(id, attempt, delayMs);
    // Others take it when the delay has passed, should this process be gone by then. At once means here: they need not hurry.
    if (delayMs > 0) await this.#touch([[id, this.#idleUntil(delayMs)]]);
  }

  release(entries: readonly StreamEntry[]): Promise<void> {
    return this.#touch(entries.map(({ id }) => [id, givenAwayMs]));
  }

  keepAlive(events: readonly StreamEntry[]): Promise<void> {
    const ids: [string, number][] = events.map(({ id }) => [id, 0]);
    for (const [id, { atMs }] of this.#delayed) ids.push([id, this.#idleUntil(atMs - this.#now)]);
    return this.#touch(ids);
  }

  stop(): void {}

  async close(): Promise<void> {
    this.#closed = true;
    this.#setup.reads.off('ready', this.#onReconnect);
    try {
      const left = await this.#pending();
      const idle = (id: string): number => this.#idleUntil((this.#delayed.get(id)?.atMs ?? 0) - this.#now);
      await this.#touch(left.map((id) => [id, idle(id)]));
      if (left.length === 0) await this.#run(leaveScript);
    } catch (error) {
      // It is taken for dead after a while, and what it had goes to others then.
      const { logger, key } = this.#setup;
      logger.debug('a member of a group could not take its leave', { key, group: this.#group, error });
    } finally {
      this.#stream.close();
    }
  }

  readonly #onReconnect = (): void => {
    this.#lookForOwn = true;
    void this.keepAlive(this.#setup.sink.unsettled());
  };

  async #next(count: number): Promise<StreamEntry[]> {
    const [missed, read] = (await this.#run(nextScript, count)) as [number, RawRead];
    this.#stream.reportGap(missed, this.#group);
    return this.#passed(read, count);
  }

  async #wait(count: number): Promise<StreamEntry[]> {
    const [group, consumer, key] = [this.#group, this.#consumer, this.#setup.key];
    const reply = await this.#stream.wait(Math.min(this.#claimAt, this.#delayed.nextAtMs), (reads, blockMs) =>
      reads.xreadgroupBuffer('GROUP', group, consumer, 'COUNT', count, 'BLOCK', blockMs, 'STREAMS', key, '>'),
    );
    return this.#passed(reply, count);
  }

  #passed(read: RawRead, count: number): StreamEntry[] {
    const entries = entriesFrom(read, this.#stream.headers);
    this.#seen = entries.at(-1)?.id ?? this.#seen;
    this.#mayLag = entries.length >= count;
    return entries;
  }

  /** What is due again, and what Redis gave to this member and never arrived. */
  async #takeOwn(count: number): Promise<StreamEntry[]> {
    if (this.#lookForOwn) await this.#findOwn();
    const ids = this.#delayed.due(count).map(([id]) => id);
    const entries = await this.#take(ids);
    for (const id of ids) this.#delayed.delete(id);
    return entries;
  }

  /** Hands out what Redis has for this member, each once more. */
  async #take(ids: readonly string[]): Promise<StreamEntry[]> {
    const entries: StreamEntry[] = [];
    for (const chunk of chunksOf(ids)) {
      const [taken, gone] = (await this.#run(takeScript, ...chunk)) as [Counted[], number];
      this.#reportGone(gone);
      for (const [raw, attempt] of taken) {
        const entry = entryFrom(raw, attempt, this.#stream.headers);
        if (entry) entries.push(entry);
      }
    }
    return entries;
  }

  async #findOwn(): Promise<void> {
    const pending = await this.#pending();
    this.#lookForOwn = false;
    const known = this.#known();
    for (const id of pending) if (!known.has(id)) this.#delayed.add(id, 1, 0);
  }

  /** What Redis takes this member to have. */
  async #pending(): Promise<string[]> {
    const { link, key } = this.#setup;
    const all: string[] = [];
    for (let start = '-'; ; start = `(${all.at(-1)}`) {
      const reply = await link.commands.xpending(key, this.#group, start, '+', pendingPage, this.#consumer);
      const page = reply as [string][];
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
    if (reply[1].length === 0) return [];
    // What it has itself is among it if it was late to say that it lives.
    const known = this.#known();
    return this.#take(reply[1].map((id) => id.toString('latin1')).filter((id) => !known.has(id)));
  }

  #reportGone(events: number): void {
    if (events === 0) return;
    const { logger, key } = this.#setup;
    const message = 'events were lost: the stream or the group no longer had them before they were handled';
    logger.error(message, { key, group: this.#group, events });
  }

  /** The ids of what this member has, or has done. */
  #known(): Set<string> {
    const { sink } = this.#setup;
    const known = new Set([...sink.unsettled(), ...sink.settling()].map(({ id }) => id));
    for (const [id] of this.#delayed) known.add(id);
    return known;
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
      if (isNoGroup(error) && !this.#closed) await this.recover(error).catch(() => undefined);
    }
  }

  /** A group that was made anew knows nothing of what its members have. */
  async #restore(): Promise<void> {
    const { logger, key, sink } = this.#setup;
    const ids: [string, number][] = sink.unsettled().map(({ id, attempt }) => [id, attempt]);
    for (const [id, { attempt }] of this.#delayed) ids.push([id, attempt]);
    logger.warn('the group was gone, and is made anew', { key, group: this.#group, inHand: ids.length });
    for (const chunk of chunksOf(ids)) await this.#run(restoreScript, ...chunk.flat());
  }

  #run(script: string, ...args: (string | number)[]): Promise<unknown> {
    const { link, key } = this.#setup;
    try {
      return link.commands.callBuffer('EVAL', script, 1, key, this.#group, this.#consumer, ...args);
    } catch (error) {
      return Promise.reject(error);
    }
  }
}
