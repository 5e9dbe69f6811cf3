import { checkedOptions } from '../errors/checked-options.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { type Logger, silentLogger } from '../logger/logger.ts';
import { bounded } from '../runtime/bounded.ts';
import type { Clock, Random, Timer, Timers } from '../runtime/runtime.ts';
import { systemClock, systemRandom, systemTimers } from '../runtime/system.ts';
import { CacheEntry, type CacheSettings } from './cache/cache-entry.ts';
import { callCancelled } from './kit/errors.ts';
import { RegistryObservers } from './kit/observers.ts';
import {
  type CachedServiceStatistics,
  capabilitiesOfRegistry,
  type RegisterOptions,
  type Registry,
  type RegistryCache,
  type RegistryCallOptions,
  type RegistryCapabilities,
  type RegistryObserver,
  type RegistryOptions,
  type ServiceRecord,
  type Watcher,
  type WatchOptions,
} from './registry.ts';

/** Options of a {@link CachedRegistry}. */
export interface CachedRegistryOptions {
  /**
   * Age in milliseconds after which a service is read again, though it is watched: this finds changes that the watch
   * missed.
   * @default 60_000, as in Go Micro
   */
  readonly ttlMs?: number | undefined;
  /**
   * Time after an outage of the registry, in milliseconds, during which nodes that serve are kept, though the registry
   * does not list them or reports their removal: those that live register again meanwhile.
   * @default 30_000, the lease of a registration
   */
  readonly graceMs?: number | undefined;
  /** Interval in milliseconds between reads of a registry that cannot be watched. @default 1_000 */
  readonly pollMs?: number | undefined;
  /**
   * Time in milliseconds without a request after which a service is dropped from the cache and its watch ends.
   * @default 600_000
   */
  readonly idleMs?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly timers?: Timers | undefined;
  readonly random?: Random | undefined;
  readonly logger?: Logger | undefined;
}

// An outage is logged at most once in this time.
const outageLogMs = 60_000;
const defaults = { ttlMs: 60_000, graceMs: 30_000, pollMs: 1_000, idleMs: 600_000 } as const;

/**
 * A cache in front of another registry. A service that was requested once is cached, updated by a watch of its own, and
 * still returned while the other registry is away. Concurrent first requests are one read. A service that is not found
 * is not cached: the next request reads again. Registrations, lists and watches are passed on; a node that this process
 * deregisters leaves the cache at once.
 */
export class CachedRegistry implements RegistryCache {
  readonly #inner: Registry;
  readonly #settings: CacheSettings;
  readonly #idleMs: number;
  readonly #entries = new Map<string, CacheEntry>();
  readonly #reading = new Map<string, Promise<readonly ServiceRecord[]>>();
  readonly #observers: RegistryObservers;
  #sweeping: Timer | undefined;
  #isAway = false;
  #toldAtMs = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  constructor(inner: Registry, options: CachedRegistryOptions = {}) {
    checkedOptions('CachedRegistryOptions', options);
    this.#inner = inner;
    this.#idleMs = options.idleMs ?? defaults.idleMs;
    const logger = options.logger ?? silentLogger;
    const observers = (this.#observers = new RegistryObservers(logger));
    this.#settings = {
      registry: inner,
      ttlMs: options.ttlMs ?? defaults.ttlMs,
      graceMs: options.graceMs ?? defaults.graceMs,
      pollMs: options.pollMs ?? defaults.pollMs,
      clock: options.clock ?? systemClock,
      timers: options.timers ?? systemTimers,
      random: options.random ?? systemRandom,
      onOutage: (error) => this.#noticeOutage(logger, error),
      onAnswer: () => this.#noticeReturn(logger),
      onChanged: (entry) => {
        if (!observers.isEmpty) observers.tell('onViewChanged', { registry: String(inner), ...entry.statistics });
      },
      onWatchLost: (service, error) => observers.tell('onWatchLost', { registry: String(inner), service, error }),
    };
    inner.observe?.({ onWatchResumed: ({ service }) => this.#entries.get(service ?? '')?.wasAway() });
  }

  get origin(): Registry {
    return this.#inner;
  }

  get statistics(): readonly CachedServiceStatistics[] {
    return [...this.#entries.values()].map(({ statistics }) => statistics);
  }

  get options(): RegistryOptions {
    return this.#inner.options;
  }

  /** Capabilities of the registry behind it. */
  get capabilities(): RegistryCapabilities | undefined {
    return capabilitiesOfRegistry(this.#inner);
  }

  init(options: RegistryOptions): void {
    this.#inner.init(options);
  }

  register(service: ServiceRecord, options?: RegisterOptions): Promise<void> {
    return this.#inner.register(service, options);
  }

  async deregister(service: ServiceRecord, options?: RegistryCallOptions): Promise<void> {
    await this.#inner.deregister(service, options);
    // The caller must not find the node any more, however late the watch reports it.
    this.#entries.get(service.name)?.remove(service);
  }

  async release(service: ServiceRecord): Promise<void> {
    await this.#inner.release?.(service);
  }

  peek(name: string): readonly ServiceRecord[] | undefined {
    return this.#entries.get(name)?.peek();
  }

  getService(name: string, options: RegistryCallOptions = {}): Promise<readonly ServiceRecord[]> {
    const { signal, timeoutMs } = options;
    if (signal?.aborted) return Promise.reject(callCancelled(String(this.#inner), signal.reason));
    const known = this.peek(name);
    if (known) return Promise.resolve(known);
    // A shared read must not end with the time-out of one of its callers: a caller with a time-out reads by itself.
    const reading = timeoutMs === undefined ? this.#share(name) : this.#readFirst(name, timeoutMs);
    if (!signal) return reading;
    const onAbort = (reason: unknown): TenonError => callCancelled(String(this.#inner), reason);
    return bounded(reading, { timers: this.#settings.timers, signal, onAbort });
  }

  listServices(options?: RegistryCallOptions): Promise<readonly ServiceRecord[]> {
    return this.#inner.listServices(options);
  }

  watch(options?: WatchOptions): Promise<Watcher> {
    return this.#inner.watch(options);
  }

  /** Also of what the registry behind it tells. */
  observe(observer: RegistryObserver): void {
    this.#observers.add(observer);
    this.#inner.observe?.(observer);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#sweeping?.cancel();
    for (const entry of this.#entries.values()) entry.close();
    this.#entries.clear();
    await this.#inner.close();
  }

  toString(): string {
    return String(this.#inner);
  }

  #share(name: string): Promise<readonly ServiceRecord[]> {
    let reading = this.#reading.get(name);
    if (!reading) {
      reading = this.#readFirst(name).finally(() => this.#reading.delete(name));
      this.#reading.set(name, reading);
    }
    return reading;
  }

  /**
   * Reads a service that is not cached. Only one with nodes is cached and watched, so that wrong names cost nothing.
   */
  async #readFirst(name: string, timeoutMs?: number): Promise<readonly ServiceRecord[]> {
    try {
      const records = await this.#inner.getService(name, timeoutMs === undefined ? {} : { timeoutMs });
      this.#settings.onAnswer();
      this.#keep(name, records);
      return this.peek(name) ?? records;
    } catch (error) {
      // The watch may have reported the service while it was read.
      const known = this.peek(name);
      if (known) return known;
      throw error;
    }
  }

  #keep(name: string, records: readonly ServiceRecord[]): void {
    const entry = this.#entries.get(name);
    if (entry) entry.addIfEmpty(records);
    else if (!this.#isClosed) {
      const added = new CacheEntry(name, records, this.#settings);
      this.#entries.set(name, added);
      this.#settings.onChanged(added);
      this.#sweeping ??= this.#settings.timers.every(this.#idleMs, () => this.#sweep());
    }
  }

  #sweep(): void {
    for (const [name, entry] of this.#entries) {
      if (entry.takeWasUsed()) continue;
      this.#entries.delete(name);
      entry.close();
      const left = { service: name, nodes: 0, ageMs: 0, isStale: false };
      this.#observers.tell('onViewChanged', { registry: String(this.#inner), ...left });
    }
  }

  #noticeOutage(logger: Logger, error: TenonError): void {
    if (this.#isAway || this.#isClosed || error.code === Code.NotFound) return;
    const now = this.#settings.clock.monotonicMs();
    if (now - this.#toldAtMs < outageLogMs) return;
    this.#toldAtMs = now;
    this.#isAway = true;
    logger.warn(`the ${String(this.#inner)} registry is away; the last known nodes are used`, { error });
  }

  #noticeReturn(logger: Logger): void {
    if (!this.#isAway) return;
    this.#isAway = false;
    logger.info(`the ${String(this.#inner)} registry is back`);
  }
}
