import { checkedOptions } from '../errors/checked-options.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { type Logger, silentLogger } from '../logger/logger.ts';
import { bounded } from '../runtime/bounded.ts';
import type { Clock, Random, Timer, Timers } from '../runtime/runtime.ts';
import { systemClock, systemRandom, systemTimers } from '../runtime/system.ts';
import { CacheEntry, type CacheSettings } from './internal/cache-entry.ts';
import { callCancelled } from './kit/errors.ts';
import type {
  RegisterOptions,
  Registry,
  RegistryCache,
  RegistryCallOptions,
  RegistryCapabilities,
  RegistryOptions,
  ServiceRecord,
  Watcher,
  WatchOptions,
} from './registry.ts';

/** How a {@link CachedRegistry} works. */
export interface CachedRegistryOptions {
  /**
   * What was read is read again after this time, whatever the watch said, in milliseconds: a change that got lost is
   * noticed then.
   * @default 60_000, as in Go Micro
   */
  readonly ttlMs?: number | undefined;
  /**
   * A registry that was away may have lost what it knew. For this time after its return, nodes that it does not name
   * are kept all the same: those that live announce themselves again meanwhile. In milliseconds.
   * @default 30_000, the lease of a registration
   */
  readonly graceMs?: number | undefined;
  /** How often a registry that cannot be watched is read, in milliseconds. @default 1_000 */
  readonly pollMs?: number | undefined;
  /**
   * A service that nobody asked for during this time is forgotten, and its watch ended, in milliseconds. @default
   * 600_000
   */
  readonly idleMs?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly timers?: Timers | undefined;
  readonly random?: Random | undefined;
  readonly logger?: Logger | undefined;
}

// A registry that comes and goes is told of once in this time.
const outageLogMs = 60_000;
const defaults = { ttlMs: 60_000, graceMs: 30_000, pollMs: 1_000, idleMs: 600_000 } as const;

/**
 * A registry in front of another one. A service that was asked for once is kept, kept current by a watch of its own,
 * and outlives an outage: while the inner registry is away the last known nodes are given. Concurrent first calls are
 * one read. That nobody announced a service is not kept: the next call asks again. Announcements, lists and watches
 * pass through; a node that is taken back is forgotten at once.
 */
export class CachedRegistry implements RegistryCache {
  readonly #inner: Registry;
  readonly #settings: CacheSettings;
  readonly #idleMs: number;
  readonly #entries = new Map<string, CacheEntry>();
  readonly #reading = new Map<string, Promise<readonly ServiceRecord[]>>();
  #sweeping: Timer | undefined;
  #isAway = false;
  #toldAtMs = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  constructor(inner: Registry, options: CachedRegistryOptions = {}) {
    checkedOptions('CachedRegistryOptions', options);
    this.#inner = inner;
    this.#idleMs = options.idleMs ?? defaults.idleMs;
    const logger = options.logger ?? silentLogger;
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
    };
  }

  get options(): RegistryOptions {
    return this.#inner.options;
  }

  /** Capabilities of the registry behind it. */
  get capabilities(): RegistryCapabilities | undefined {
    const ofClass = this.#inner.constructor as { readonly capabilities?: RegistryCapabilities };
    return this.#inner.capabilities ?? ofClass.capabilities;
  }

  init(options: RegistryOptions): void {
    this.#inner.init(options);
  }

  register(service: ServiceRecord, options?: RegisterOptions): Promise<void> {
    return this.#inner.register(service, options);
  }

  async deregister(service: ServiceRecord, options?: RegistryCallOptions): Promise<void> {
    await this.#inner.deregister(service, options);
    // Who took a node back does not find it any more, however late the watch tells of it.
    this.#entries.get(service.name)?.forget(service);
  }

  peek(name: string): readonly ServiceRecord[] | undefined {
    return this.#entries.get(name)?.peek();
  }

  getService(name: string, options: RegistryCallOptions = {}): Promise<readonly ServiceRecord[]> {
    const { signal, timeoutMs } = options;
    if (signal?.aborted) return Promise.reject(callCancelled(String(this.#inner), signal.reason));
    const known = this.peek(name);
    if (known) return Promise.resolve(known);
    // A read that is shared must not end with the patience of one of those who share it; who has a time of their own
    // reads on their own.
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

  /** Only a service that is there is kept and watched: names that mean nothing leave no trace. */
  async #readFirst(name: string, timeoutMs?: number): Promise<readonly ServiceRecord[]> {
    try {
      const records = await this.#inner.getService(name, timeoutMs === undefined ? {} : { timeoutMs });
      this.#settings.onAnswer();
      this.#keep(name, records);
      return this.peek(name) ?? records;
    } catch (error) {
      // The watch may have told of the service while it was read.
      const known = this.peek(name);
      if (known) return known;
      throw error;
    }
  }

  #keep(name: string, records: readonly ServiceRecord[]): void {
    const entry = this.#entries.get(name);
    if (entry) entry.learn(records);
    else if (!this.#isClosed) {
      this.#entries.set(name, new CacheEntry(name, records, this.#settings));
      this.#sweeping ??= this.#settings.timers.every(this.#idleMs, () => this.#sweep());
    }
  }

  #sweep(): void {
    for (const [name, entry] of this.#entries) {
      if (entry.wasAsked()) continue;
      this.#entries.delete(name);
      entry.close();
    }
  }

  #noticeOutage(logger: Logger, error: TenonError): void {
    if (this.#isAway || this.#isClosed || error.code === Code.NotFound) return;
    const now = this.#settings.clock.monotonicMs();
    if (now - this.#toldAtMs < outageLogMs) return;
    this.#toldAtMs = now;
    this.#isAway = true;
    logger.warn(`the ${String(this.#inner)} registry is away; the nodes known last are used`, { error });
  }

  #noticeReturn(logger: Logger): void {
    if (!this.#isAway) return;
    this.#isAway = false;
    logger.info(`the ${String(this.#inner)} registry is back`);
  }
}
