import { Code, TenonError } from '../../errors/errors.ts';
import { repeatedly } from '../../runtime/retrying.ts';
import type { Clock, Random, Timers } from '../../runtime/runtime.ts';
import type { CachedServiceStatistics, Registry, RegistryEvent, ServiceRecord } from '../registry.ts';

/** The settings that all entries of a cache share. */
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

// A node that a read does not find, though the watch did not report its removal, is read once more after this time.
const recheckMs = 1_000;
// The end of a watch that lasted this long resets the back-off.
const stableWatchMs = 30_000;
const backoff = { initialMs: 100, maxMs: 5_000 } as const;
// The shortest pause between two watches, whatever the registry does.
const minPauseMs = 50;

/** The cached records of one service. Keeps them current by a watch, and by reads where the watch is not enough. */
export class CacheEntry {
  readonly #name: string;
  readonly #settings: CacheSettings;
  readonly #closing = new AbortController();
  #records: Records;
  #readAtMs: number;
  /** The time of the last answer or change. */
  #confirmedAtMs: number;
  #reading: Promise<void> | undefined;
  /** Changes reported during a read. The answer may be older than they are, so they are applied to it again. */
  #changesDuringRead: RegistryEvent[] = [];
  /** True if the registry was away since the last read: it may have lost nodes that live. */
  #wasAway = false;
  #isWatching = false;
  #hasWatched = false;
  /** Until this time nodes that a read does not find are kept. */
  #graceUntilMs = 0;
  #wasUsed = true;

  constructor(name: string, records: Records, settings: CacheSettings) {
    this.#name = name;
    this.#settings = settings;
    this.#records = records;
    this.#readAtMs = settings.clock.monotonicMs();
    this.#confirmedAtMs = this.#readAtMs;
    void this.#follow();
  }

  get statistics(): Omit<CachedServiceStatistics, 'service'> {
    const nodes = this.#records.reduce((count, record) => count + record.nodes.length, 0);
    return { nodes, ageMs: this.#settings.clock.monotonicMs() - this.#confirmedAtMs, isStale: this.#wasAway };
  }

  /** Returns the records; `undefined` without nodes. Records older than `ttlMs` are read again in the background. */
  peek(): Records | undefined {
    this.#wasUsed = true;
    if (this.#settings.clock.monotonicMs() - this.#readAtMs >= this.#settings.ttlMs) void this.#read();
    return this.#records.length > 0 ? this.#records : undefined;
  }

  /** True if `peek` was called since the last call of this method. */
  takeWasUsed(): boolean {
    const was = this.#wasUsed;
    this.#wasUsed = false;
    return was;
  }

  close(): void {
    this.#closing.abort();
  }

  /** Takes over the records of another read if the entry has none. */
  addIfEmpty(records: Records): void {
    if (this.#records.length === 0) this.#records = records;
  }

  /** Removes nodes that this process has deregistered. */
  remove(service: ServiceRecord): void {
    this.#applyEvent({ action: 'delete', service });
  }

  /** Watches until the entry is closed, and starts a new watch whenever one ends. */
  async #follow(): Promise<void> {
    const { random, timers, clock } = this.#settings;
    let establishedAtMs = Number.POSITIVE_INFINITY;
    const onEstablished = (): void => void (establishedAtMs = clock.monotonicMs());
    await repeatedly(() => this.#watch(onEstablished), {
      runtime: { random, timers },
      backoff,
      signal: this.#closing.signal,
      onFailure: (error, delayMs, failures) => {
        const wasStable = clock.monotonicMs() - establishedAtMs >= stableWatchMs;
        establishedAtMs = Number.POSITIVE_INFINITY;
        if (wasStable) failures.succeeded();
        this.#onOutage(TenonError.from(error));
        return Math.max(minPauseMs, wasStable ? failures.failed() : delayMs);
      },
    });
  }

  /** Watches until the watch ends. Resolves with the pause before the next one. */
  async #watch(onEstablished: () => void): Promise<number> {
    const { registry, pollMs } = this.#settings;
    const { signal } = this.#closing;
    // Finds what changed between two watches, and all changes of a registry that cannot be watched.
    if (this.#hasWatched) await this.#read();
    this.#hasWatched = true;
    try {
      const watcher = await registry.watch({ service: this.#name, signal });
      onEstablished();
      this.#isWatching = true;
      // Neither the last read nor the watch has seen the changes between the two.
      void this.#read();
      for await (const event of watcher) {
        this.#confirmedAtMs = this.#settings.clock.monotonicMs();
        this.#applyEvent(event);
      }
    } catch (error) {
      if (TenonError.from(error).code !== Code.Unimplemented) throw error;
    } finally {
      this.#isWatching = false;
    }
    return Math.max(minPauseMs, pollMs || 0);
  }

  #onOutage(failure: TenonError): void {
    if (this.#closing.signal.aborted) return;
    this.#wasAway = true;
    this.#settings.onOutage(failure);
  }

  #applyEvent(event: RegistryEvent): void {
    if (event.service.name !== this.#name) return;
    if (this.#reading) this.#changesDuringRead.push(event);
    this.#records = withChange(this.#records, event);
  }

  /** Reads the service, one read at a time. `isRecheck`: an earlier read did not find known nodes. Never rejects. */
  #read(isRecheck = false): Promise<void> {
    // A failed read is repeated after `ttlMs` as well: until then the cached nodes are returned.
    this.#readAtMs = this.#settings.clock.monotonicMs();
    this.#reading ??= this.#readOnce(isRecheck).finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  async #readOnce(isRecheck: boolean): Promise<void> {
    const { registry, graceMs, clock } = this.#settings;
    this.#changesDuringRead = [];
    let found: Records = [];
    try {
      found = await registry.getService(this.#name, { signal: this.#closing.signal });
    } catch (error) {
      const failure = TenonError.from(error);
      if (failure.code !== Code.NotFound) {
        this.#onOutage(failure);
        return;
      }
    }
    this.#settings.onAnswer();
    const missing = missingIn(found, this.#records);
    const now = clock.monotonicMs();
    this.#confirmedAtMs = now;
    if (this.#wasAway) this.#graceUntilMs = now + graceMs;
    // The watch did not report their removal: over mDNS an answer may have been lost.
    else if (this.#isWatching && missing.length > 0 && !isRecheck && now >= this.#graceUntilMs)
      this.#graceUntilMs = now + Math.min(graceMs, recheckMs);
    this.#wasAway = false;
    const isKept = now < this.#graceUntilMs;
    if (isKept && missing.length > 0) this.#recheckAt(this.#graceUntilMs);
    const records = this.#changesDuringRead.reduce(withChange, isKept ? missing.reduce(withChange, found) : found);
    // The same array as long as nothing changed: a selector keeps what it derived from it.
    if (!isSame(records, this.#records)) this.#records = records;
  }

  #recheckAt(atMs: number): void {
    const { clock, timers } = this.#settings;
    timers.after(Math.max(0, Math.ceil(atMs - clock.monotonicMs())), () => {
      if (!this.#closing.signal.aborted && this.#graceUntilMs === atMs) void this.#read(true);
    });
  }
}

/** True if both have the same JSON. Records of a registry of one's own that have none count as different. */
function isSame(one: Records, other: Records): boolean {
  try {
    return JSON.stringify(one) === JSON.stringify(other);
  } catch {
    return false;
  }
}

/** Returns the records with an event applied. A known node keeps its position. */
// Not the kit's `NodeTable`: that compares single nodes by their JSON, which records of a registry of one's own may not
// have, and here the metadata and endpoints of an event count for all nodes of its version.
function withChange(records: Records, { action, service }: RegistryEvent): Records {
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

/** Returns events that would add the known nodes which were not found. */
function missingIn(found: Records, known: Records): RegistryEvent[] {
  const ids = new Set(found.flatMap(({ nodes }) => nodes.map((node) => node.id)));
  return known.flatMap((record) => {
    const nodes = record.nodes.filter((node) => !ids.has(node.id));
    const same = found.find(({ version }) => version === record.version) ?? record;
    return nodes.length > 0 ? [{ action: 'create', service: { ...same, nodes } }] : [];
  });
}
