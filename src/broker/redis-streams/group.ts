import {
  chunksOf,
  entryFrom,
  firstId,
  infoOf,
  isBefore,
  isNoGroup,
  type RawEntry,
  type RawRead,
  type StreamEntry,
} from './entries.ts';
import { StreamReader, type StreamSetup } from './reader.ts';
import * as scripts from './scripts.ts';

// An entry that counts as idle for so long is claimed by any member, whatever its `claimIdleMs`.
const givenAwayMs = 24 * 3_600_000;
const tidyEveryMs = 60_000;
const forgottenAfterMs = 600_000;
const pendingPage = 1_000;

/** One member of a consumer group of a stream. */
export class StreamGroup extends StreamReader {
  readonly batchesAcks = true;
  /** Three of them in the time after which others may take an event: one may be late, and one lost. */
  readonly keepAliveMs: number;
  readonly #group: string;
  readonly #consumer: string;
  /** The last entry that this member has seen the group get. */
  #seen: string | undefined;
  #claimFrom = firstId;
  #claimAt = 0;
  #tidyAt: number;
  #lookForOwn = false;
  #closed = false;

  constructor(setup: StreamSetup, group: string) {
    super(setup);
    this.#group = group;
    this.#consumer = `tenon-${setup.runtime.random.uuid()}`;
    this.keepAliveMs = setup.claimIdleMs / 3;
    this.#tidyAt = this.#now + tidyEveryMs;
    setup.reads.on('ready', this.#onReconnect);
  }

  override async recover(cause?: unknown): Promise<void> {
    const { link, key, from } = this.setup;
    let start = from === 'start' ? firstId : '$';
    if (this.#seen !== undefined) {
      // Redis may have lost the group with its data: then all entries of the stream are newer.
      start = isBefore((await this.info()).last, this.#seen) ? firstId : this.#seen;
    }
    try {
      await this.#run(scripts.createScript, start, this.#seen === undefined ? '' : 'anew');
    } catch (error) {
      if (!(error instanceof Error && error.message.includes('BUSYGROUP'))) throw error;
    }
    if (isNoGroup(cause)) await this.#restore();
    if (this.#seen !== undefined) return;
    const groups = (await link.commands.xinfo('GROUPS', key)) as unknown[];
    const own = groups.find((group) => infoOf(group, 'name') === this.#group);
    this.#seen = own === undefined ? firstId : infoOf(own, 'last-delivered-id');
  }

  async ack(events: readonly StreamEntry[]): Promise<void> {
    await this.setup.link.commands.xack(this.setup.key, this.#group, ...events.map(({ id }) => id));
  }

  async nack({ id, attempt }: StreamEntry, delayMs: number): Promise<void> {
    if (!this.#closed) this.delayed.add(id, attempt, delayMs);
    // Other members claim it after the delay if this process has died. Without a delay this member redelivers it.
    if (delayMs > 0 || this.#closed) await this.#touch([[id, this.#idleUntil(delayMs)]]);
  }

  release(entries: readonly StreamEntry[]): Promise<void> {
    return this.#touch(entries.map(({ id }) => [id, givenAwayMs]));
  }

  keepAlive(events: readonly StreamEntry[]): Promise<void> {
    const ids: [string, number][] = events.map(({ id }) => [id, 0]);
    for (const [id, { atMs }] of this.delayed) ids.push([id, this.#idleUntil(atMs - this.#now)]);
    return this.#touch(ids);
  }

  override async close(): Promise<void> {
    this.#closed = true;
    this.setup.reads.off('ready', this.#onReconnect);
    try {
      const left = await this.#pending();
      const atMs = (id: string): number => this.delayed.get(id)?.atMs ?? 0;
      await this.#touch(left.map((id) => [id, this.#idleUntil(atMs(id) - this.#now)]));
      if (left.length === 0) await this.#run(scripts.leaveScript);
      // Otherwise it is taken for dead after a while, and what it had goes to others then.
    } finally {
      void super.close();
    }
  }

  protected override get nextLookMs(): number {
    return this.#claimAt;
  }

  /** Takes entries that are due again, entries whose reply was lost, then entries that dead members left. */
  protected override async again(count: number, fresh: number): Promise<StreamEntry[]> {
    if (this.#lookForOwn) await this.#findOwn();
    const ids = this.delayed.due(count).map(([id]) => id);
    const entries = await this.#take(ids);
    for (const id of ids) this.delayed.delete(id);
    return entries.length > 0 || fresh === 0 || this.#claimAt > this.#now ? entries : this.#claim(fresh);
  }

  protected override async next(count: number): Promise<RawRead> {
    const [missed, read] = (await this.#run(scripts.nextScript, count)) as [number, RawRead];
    this.reportGap(missed, this.#group);
    return read;
  }

  protected override wait(count: number, blockMs: number): Promise<RawRead> {
    const where = ['STREAMS', this.setup.key, '>'] as const;
    const how = ['COUNT', count, 'BLOCK', blockMs] as const;
    return this.setup.reads.xreadgroupBuffer('GROUP', this.#group, this.#consumer, ...how, ...where);
  }

  protected override onRead(entries: readonly StreamEntry[]): void {
    this.#seen = entries.at(-1)?.id ?? this.#seen;
  }

  readonly #onReconnect = (): void => {
    this.#lookForOwn = true;
    // It is tried again soon.
    this.keepAlive(this.setup.sink.unsettled()).catch(() => undefined);
  };

  get #now(): number {
    return this.setup.runtime.clock.monotonicMs();
  }

  /** Hands out what Redis has for this member, each once more. */
  async #take(ids: readonly string[]): Promise<StreamEntry[]> {
    const entries: StreamEntry[] = [];
    for (const chunk of chunksOf(ids)) {
      type Reply = [taken: (readonly [entry: RawEntry, attempt: number])[], gone: number];
      const [taken, gone] = (await this.#run(scripts.takeScript, ...chunk)) as Reply;
      this.#reportGone(gone);
      for (const [raw, attempt] of taken) {
        const entry = entryFrom(raw, attempt, this.headers);
        if (entry) entries.push(entry);
      }
    }
    return entries;
  }

  async #findOwn(): Promise<void> {
    const pending = await this.#pending();
    this.#lookForOwn = false;
    const known = this.#known();
    for (const id of pending) if (!known.has(id)) this.delayed.add(id, 1, 0);
  }

  /** The ids that Redis takes this member to have. */
  async #pending(): Promise<string[]> {
    const { link, key } = this.setup;
    const all: string[] = [];
    for (let start = '-'; ; start = `(${all.at(-1)}`) {
      const page = await link.commands.xpending(key, this.#group, start, '+', pendingPage, this.#consumer);
      for (const [id] of page as [string][]) all.push(id);
      if (page.length < pendingPage) return all;
    }
  }

  /** Claims the entries of members without a heartbeat, which count as dead. */
  async #claim(count: number): Promise<StreamEntry[]> {
    const { claimIdleMs } = this.setup;
    type Reply = [next: Buffer, ids: Buffer[], gone: number];
    const [next, ids, gone] = (await this.#run(scripts.claimScript, claimIdleMs, this.#claimFrom, count)) as Reply;
    this.#claimFrom = next.toString();
    // Whether there is more is known once the scan has come round.
    if (this.#claimFrom === firstId) this.#claimAt = this.#now + claimIdleMs / 4;
    this.#reportGone(gone);
    if (this.#now >= this.#tidyAt) {
      this.#tidyAt = this.#now + tidyEveryMs;
      await this.#run(scripts.tidyScript, forgottenAfterMs);
    }
    if (ids.length === 0) return [];
    // What it has itself is among it if it was late to say that it lives.
    const known = this.#known();
    return this.#take(ids.map((id) => id.toString('latin1')).filter((id) => !known.has(id)));
  }

  #reportGone(events: number): void {
    if (events === 0) return;
    const { logger, key } = this.setup;
    const message = 'events were lost: the stream or the group no longer had them before they were handled';
    logger.error(message, { key, group: this.#group, events });
  }

  /** The ids of what this member has, or has done. */
  #known(): Set<string> {
    const { sink } = this.setup;
    const known = new Set([...sink.unsettled(), ...sink.settling()].map(({ id }) => id));
    for (const [id] of this.delayed) known.add(id);
    return known;
  }

  /** So long must an entry count as untouched for others to take it after `delayMs`. */
  #idleUntil(delayMs: number): number {
    return delayMs <= 0 ? givenAwayMs : Math.max(0, Math.ceil(this.setup.claimIdleMs - delayMs));
  }

  async #touch(ids: readonly (readonly [string, number])[]): Promise<void> {
    for (const chunk of chunksOf(ids)) await this.#run(scripts.touchScript, ...chunk.flat());
  }

  /** Restores the pending entries of this member in a group that was created again. */
  async #restore(): Promise<void> {
    const { logger, key, sink } = this.setup;
    const ids: [string, number][] = sink.unsettled().map(({ id, attempt }) => [id, attempt]);
    for (const [id, { attempt }] of this.delayed) ids.push([id, attempt]);
    logger.warn('the group was gone, and is made anew', { key, group: this.#group, inHand: ids.length });
    for (const chunk of chunksOf(ids)) await this.#run(scripts.restoreScript, ...chunk.flat());
  }

  async #run(script: string, ...args: (string | number)[]): Promise<unknown> {
    const { link, key } = this.setup;
    return link.commands.callBuffer('EVAL', script, 1, key, this.#group, this.#consumer, ...args);
  }
}
