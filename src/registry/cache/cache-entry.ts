import { Code, TenonError } from '../../errors/errors.ts';
import { repeatedly } from '../../runtime/retrying.ts';
import type { Clock, Random, Timer, Timers } from '../../runtime/runtime.ts';
import {
  type CachedServiceStatistics,
  type NodeRecord,
  nodeState,
  type Registry,
  type RegistryEvent,
  type ServiceRecord,
} from '../registry.ts';
import { MissingNodes } from './missing-nodes.ts';
import { isSame, ServiceView } from './service-view.ts';

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
  /** Called when the nodes of a service have changed, or have become stale or fresh. */
  onChanged(entry: CacheEntry): void;
  onWatchLost(service: string, error: TenonError): void;
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
  #view: ServiceView;
  #readAtMs: number;
  /** The time of the last answer or change. */
  #confirmedAtMs: number;
  #reading: Promise<void> | undefined;
  /** Changes reported during a read. The answer may be older than they are, so they are applied to it again. */
  #changesDuringRead: RegistryEvent[] = [];
  /** Nodes whose removal was reported during a read, and that are kept. */
  readonly #missedDuringRead = new Set<string>();
  /** True if the registry was away since the last answer: it may have lost nodes that live. */
  #wasAway = false;
  #isWatching = false;
  #hasWatched = false;
  /** Since when the registry gave no answer though it was asked. */
  #unansweredSinceMs: number | undefined;
  /** True if a watch broke that stood: it may have been silent long before. */
  #hasLostWatch = false;
  readonly #missing = new MissingNodes();
  /** Until this time the registry may miss nodes that live, after an outage. */
  #mayMissUntilMs = 0;
  #recheck: Timer | undefined;
  #wasUsed = true;

  constructor(name: string, records: Records, settings: CacheSettings) {
    this.#name = name;
    this.#settings = settings;
    this.#view = new ServiceView(records);
    this.#readAtMs = settings.clock.monotonicMs();
    this.#confirmedAtMs = this.#readAtMs;
    void this.#follow();
  }

  get statistics(): CachedServiceStatistics {
    const ageMs = this.#settings.clock.monotonicMs() - this.#confirmedAtMs;
    return { service: this.#name, nodes: this.#view.size, ageMs, isStale: this.#wasAway };
  }

  /** Returns the records; `undefined` without nodes. Records older than `ttlMs` are read again in the background. */
  peek(): Records | undefined {
    this.#wasUsed = true;
    if (this.#settings.clock.monotonicMs() - this.#readAtMs >= this.#settings.ttlMs) void this.#read();
    return this.#view.size > 0 ? this.#view.records : undefined;
  }

  /** True if `peek` was called since the last call of this method. */
  takeWasUsed(): boolean {
    const was = this.#wasUsed;
    this.#wasUsed = false;
    return was;
  }

  close(): void {
    this.#recheck?.cancel();
    this.#closing.abort();
  }

  /** Takes over the records of another read if the entry has none. */
  addIfEmpty(records: Records): void {
    if (this.#view.size === 0) this.#replace(new ServiceView(records));
  }

  /** Removes nodes that this process has deregistered. */
  remove(service: ServiceRecord): void {
    this.#apply({ action: 'delete', service });
  }

  /** Notes that the registry was away, though the watch goes on: its next answer begins the grace. */
  wasAway(): void {
    // How long it was away is not known: nodes that are missing have the whole time once more.
    this.#missing.clear();
    this.#setWasAway(true);
    void this.#read();
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
        const failure = TenonError.from(error);
        const isLost = establishedAtMs !== Number.POSITIVE_INFINITY;
        if (isLost) {
          this.#hasLostWatch = true;
          this.#settings.onWatchLost(this.#name, failure);
        } else this.#noteUnanswered();
        const wasStable = clock.monotonicMs() - establishedAtMs >= stableWatchMs;
        establishedAtMs = Number.POSITIVE_INFINITY;
        if (wasStable) failures.succeeded();
        this.#onOutage(failure);
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
        if (event.service.name !== this.#name) continue;
        this.#confirmedAtMs = this.#settings.clock.monotonicMs();
        this.#apply(event.action === 'delete' ? this.#certain(event) : event);
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
    this.#setWasAway(true);
    this.#settings.onOutage(failure);
  }

  /**
   * Leaves out of a removal the nodes that serve, soon after an outage: their leases may have ended before they could
   * be renewed, and those that live register again. A node that leaves by itself announces that it drains.
   */
  #certain(event: RegistryEvent): RegistryEvent {
    const now = this.#settings.clock.monotonicMs();
    if (!this.#mayMiss(now)) return event;
    // Its answer tells when the outage was over.
    if (this.#wasAway) void this.#read();
    const nodes = event.service.nodes.filter(({ id }) => {
      const known = this.#view.node(id);
      if (known === undefined || !this.#isKept(known, now)) return true;
      if (this.#reading) this.#missedDuringRead.add(id);
      return false;
    });
    this.#recheckMissing();
    return { ...event, service: { ...event.service, nodes } };
  }

  #mayMiss(nowMs: number): boolean {
    return this.#wasAway || nowMs < this.#mayMissUntilMs;
  }

  /** True if a node stays that the registry does not have. */
  #isKept(node: NodeRecord, nowMs: number): boolean {
    return this.#missing.isKept(
      node.id,
      { untilMs: this.#keptUntilMs(node, nowMs), isGrace: this.#mayMiss(nowMs) },
      nowMs,
    );
  }

  #keptUntilMs(node: NodeRecord, nowMs: number): number {
    const { graceMs } = this.#settings;
    // A watch that did not report its removal: over mDNS an answer may have been lost.
    if (!this.#mayMiss(nowMs)) return nowMs + (this.#isWatching ? Math.min(graceMs, recheckMs) : 0);
    if (nodeState(node) !== 'serving') return nowMs;
    return this.#wasAway ? nowMs + graceMs : this.#mayMissUntilMs;
  }

  #apply(event: RegistryEvent): void {
    if (event.service.nodes.length === 0) return;
    if (this.#reading) this.#changesDuringRead.push(event);
    for (const { id } of event.service.nodes) {
      this.#missing.forget(id);
      this.#missedDuringRead.delete(id);
    }
    if (this.#view.apply(event)) this.#settings.onChanged(this);
  }

  #replace(view: ServiceView): void {
    this.#view = view;
    this.#settings.onChanged(this);
  }

  #noteUnanswered(): void {
    this.#unansweredSinceMs ??= this.#settings.clock.monotonicMs();
  }

  #setWasAway(wasAway: boolean): void {
    if (this.#wasAway === wasAway) return;
    this.#wasAway = wasAway;
    this.#settings.onChanged(this);
  }

  /** Reads the service, one read at a time. Never rejects. */
  #read(): Promise<void> {
    // A failed read is repeated after `ttlMs` as well: until then the cached nodes are returned.
    this.#readAtMs = this.#settings.clock.monotonicMs();
    this.#reading ??= this.#readOnce().finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  async #readOnce(): Promise<void> {
    const { registry, graceMs, clock } = this.#settings;
    this.#changesDuringRead = [];
    this.#missedDuringRead.clear();
    let found: Records = [];
    try {
      found = await registry.getService(this.#name, { signal: this.#closing.signal });
    } catch (error) {
      const failure = TenonError.from(error);
      if (failure.code !== Code.NotFound) {
        this.#noteUnanswered();
        this.#onOutage(failure);
        return;
      }
    }
    this.#settings.onAnswer();
    const view = new ServiceView(found);
    const now = clock.monotonicMs();
    this.#confirmedAtMs = now;
    if (this.#wasAway) {
      this.#missing.wasAway(this.#unansweredSinceMs ?? now, now);
      if (this.#hasLostWatch) this.#missing.extend(now + graceMs);
      this.#hasLostWatch = false;
      this.#unansweredSinceMs = undefined;
      this.#mayMissUntilMs = now + graceMs;
      this.#setWasAway(false);
    }
    for (const { nodes } of found)
      for (const { id } of nodes) if (!this.#missedDuringRead.has(id)) this.#missing.forget(id);
    view.keep(this.#view, (node) => this.#isKept(node, now));
    this.#recheckMissing();
    for (const event of this.#changesDuringRead) view.apply(event);
    // The same array as long as nothing changed: a selector keeps what it derived from it.
    if (!isSame(view.records, this.#view.records)) this.#replace(view);
  }

  /** Reads once more when the time of a missing node is over. */
  #recheckMissing(): void {
    const { clock, timers } = this.#settings;
    this.#recheck?.cancel();
    const { nextMs } = this.#missing;
    if (nextMs === undefined) return;
    this.#recheck = timers.after(Math.max(0, Math.ceil(nextMs - clock.monotonicMs())), () => {
      if (!this.#closing.signal.aborted) void this.#read();
    });
  }
}
