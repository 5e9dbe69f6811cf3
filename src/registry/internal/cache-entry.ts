import { Code, TenonError } from '../../errors/errors.ts';
import { repeatedly } from '../../runtime/retrying.ts';
import type { Clock, Random, Timers } from '../../runtime/runtime.ts';
import type { Registry, RegistryEvent, ServiceRecord } from '../registry.ts';

/** What the entries of one cache share. */
export interface CacheSettings {
  readonly registry: Registry;
  readonly ttlMs: number;
  readonly graceMs: number;
  readonly pollMs: number;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  onOutage(error: TenonError): void;
  onAnswer(): void;
}

type Records = readonly ServiceRecord[];

// A node that an answer lacks, though nothing said that it went, is looked for once more after this time.
const checkMs = 1_000;
// A watch that held for so long was a good one: its end is not one more failure of a row.
const goodWatchMs = 30_000;
const backoff = { initialMs: 100, maxMs: 5_000 } as const;
// A registry is looked at no more often than this, whatever it does and is told.
const shortestPauseMs = 50;

/** What a cache knows of one service, and how it keeps that current. */
export class CacheEntry {
  readonly #name: string;
  readonly #settings: CacheSettings;
  readonly #closing = new AbortController();
  #records: Records;
  #readAtMs: number;
  #reading: Promise<void> | undefined;
  /**
   * What the watch reported while a read is under way: whether the answer knows of it cannot be seen, so it is applied
   * once more.
   */
  #meanwhile: RegistryEvent[] = [];
  /** The registry was away, so that it may have forgotten nodes that live. */
  #wasLost = false;
  #isWatching = false;
  #hasWatched = false;
  /** Nodes that an answer lacks are kept until then. */
  #believeUntilMs = 0;
  #wasAsked = true;

  constructor(name: string, records: Records, settings: CacheSettings) {
    this.#name = name;
    this.#settings = settings;
    this.#records = records;
    this.#readAtMs = settings.clock.monotonicMs();
    void this.#follow();
  }

  /** What is known; `undefined` when that is no node. Has it read again, in the background, when it is old. */
  peek(): Records | undefined {
    this.#wasAsked = true;
    if (this.#settings.clock.monotonicMs() - this.#readAtMs >= this.#settings.ttlMs) void this.#read();
    return this.#records.length > 0 ? this.#records : undefined;
  }

  /** Whether anyone asked since the last time that this was called. */
  wasAsked(): boolean {
    const was = this.#wasAsked;
    this.#wasAsked = false;
    return was;
  }

  close(): void {
    this.#closing.abort();
  }

  /** What another read found: better than nothing. */
  learn(records: Records): void {
    if (this.#records.length === 0) this.#records = records;
  }

  /** Nodes that were taken back by this process. */
  forget(service: ServiceRecord): void {
    this.#hear({ action: 'delete', service });
  }

  /** Watches, and watches anew whenever the watch breaks. */
  async #follow(): Promise<void> {
    const { random, timers, clock } = this.#settings;
    let stoodAtMs = Number.POSITIVE_INFINITY;
    const stood = (): void => void (stoodAtMs = clock.monotonicMs());
    await repeatedly(() => this.#watch(stood), {
      runtime: { random, timers },
      backoff,
      signal: this.#closing.signal,
      onFailure: (error, delayMs, failures) => {
        const wasGood = clock.monotonicMs() - stoodAtMs >= goodWatchMs;
        stoodAtMs = Number.POSITIVE_INFINITY;
        if (wasGood) failures.succeeded();
        this.#lose(TenonError.from(error));
        return Math.max(shortestPauseMs, wasGood ? failures.failed() : delayMs);
      },
    });
  }

  /** Watches until the watch ends; gives the wait before the next. `stood` is told when it stands. */
  async #watch(stood: () => void): Promise<number> {
    const { registry, pollMs } = this.#settings;
    const { signal } = this.#closing;
    // Without a watch, looking has to do.
    if (this.#hasWatched) await this.#read();
    this.#hasWatched = true;
    try {
      const watcher = await registry.watch({ service: this.#name, signal });
      stood();
      this.#isWatching = true;
      // What changed between the last read and the watch was seen by neither.
      void this.#read();
      for await (const event of watcher) this.#hear(event);
    } catch (error) {
      if (TenonError.from(error).code !== Code.Unimplemented) throw error;
    } finally {
      this.#isWatching = false;
    }
    return Math.max(shortestPauseMs, pollMs || 0);
  }

  #lose(failure: TenonError): void {
    if (this.#closing.signal.aborted) return;
    this.#wasLost = true;
    this.#settings.onOutage(failure);
  }

  #hear(event: RegistryEvent): void {
    if (event.service.name !== this.#name) return;
    if (this.#reading) this.#meanwhile.push(event);
    this.#records = applied(this.#records, event);
  }

  /** One read at a time. `isCheck` is a second look at what the first did not find. Never rejects. */
  #read(isCheck = false): Promise<void> {
    // Not before the next period, even if it fails: the last known nodes serve meanwhile.
    this.#readAtMs = this.#settings.clock.monotonicMs();
    this.#reading ??= this.#readOnce(isCheck).finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  async #readOnce(isCheck: boolean): Promise<void> {
    const { registry, graceMs, clock } = this.#settings;
    this.#meanwhile = [];
    let found: Records = [];
    try {
      found = await registry.getService(this.#name, { signal: this.#closing.signal });
    } catch (error) {
      const failure = TenonError.from(error);
      if (failure.code !== Code.NotFound) {
        this.#lose(failure);
        return;
      }
    }
    this.#settings.onAnswer();
    const missing = missingIn(found, this.#records);
    const now = clock.monotonicMs();
    if (this.#wasLost) this.#believeUntilMs = now + graceMs;
    // The watch did not tell that they went, and an answer may have been lost on its way.
    else if (this.#isWatching && missing.length > 0 && !isCheck && now >= this.#believeUntilMs)
      this.#believeUntilMs = now + Math.min(graceMs, checkMs);
    this.#wasLost = false;
    const isKept = now < this.#believeUntilMs;
    if (isKept && missing.length > 0) this.#checkLater(this.#believeUntilMs);
    const records = this.#meanwhile.reduce(applied, isKept ? missing.reduce(applied, found) : found);
    // The same array as long as nothing changed: those who choose from it keep what they worked out.
    if (!isSame(records, this.#records)) this.#records = records;
  }

  #checkLater(atMs: number): void {
    const { clock, timers } = this.#settings;
    timers.after(Math.max(0, Math.ceil(atMs - clock.monotonicMs())), () => {
      if (!this.#closing.signal.aborted && this.#believeUntilMs === atMs) void this.#read(true);
    });
  }
}

/**
 * Whether they say the same. What a registry of someone's own gives may be no JSON: then it counts as something new.
 */
function isSame(one: Records, other: Records): boolean {
  try {
    return JSON.stringify(one) === JSON.stringify(other);
  } catch {
    return false;
  }
}

/** The records after the event. A node that is known keeps its place. */
function applied(records: Records, { action, service }: RegistryEvent): Records {
  const changed = new Map(service.nodes.map((node) => [node.id, node]));
  const isUpdate = action !== 'delete';
  let isThere = false;
  const kept = records.map((record): ServiceRecord => {
    const isSame = isUpdate && record.version === service.version;
    isThere ||= isSame;
    const nodes = record.nodes.flatMap((node) => {
      const now = changed.get(node.id);
      if (!now) return [node];
      if (!isSame) return [];
      changed.delete(node.id);
      return [now];
    });
    return isSame ? { ...service, nodes } : { ...record, nodes };
  });
  const added = isUpdate ? [...changed.values()] : [];
  const all = isThere
    ? kept.map((record) =>
        record.version === service.version ? { ...record, nodes: [...record.nodes, ...added] } : record,
      )
    : [...kept, { ...service, nodes: added }];
  return all.filter((record) => record.nodes.length > 0);
}

/** The nodes that were known and were not found, as changes that bring them back. */
function missingIn(found: Records, known: Records): RegistryEvent[] {
  const ids = new Set(found.flatMap(({ nodes }) => nodes.map((node) => node.id)));
  return known.flatMap((record) => {
    const nodes = record.nodes.filter((node) => !ids.has(node.id));
    const same = found.find(({ version }) => version === record.version) ?? record;
    return nodes.length > 0 ? [{ action: 'create', service: { ...same, nodes } }] : [];
  });
}
