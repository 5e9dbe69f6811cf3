import { Code, TenonError } from '../errors/errors.ts';
import { backoffMs } from '../internal/backoff.ts';
import { type Logger, silentLogger } from '../logger/logger.ts';
import type { Clock, Random, Timers } from '../runtime/runtime.ts';
import { systemClock, systemRandom, systemTimers } from '../runtime/system.ts';
import {
  type NodeRecord,
  type RegisterOptions,
  type Registry,
  type RegistryCache,
  type RegistryCallOptions,
  type RegistryEvent,
  type RegistryOptions,
  type ServiceRecord,
  type Watcher,
  type WatchOptions,
} from './registry.ts';

/** How a {@link CachedRegistry} works. */
export interface CachedRegistryOptions {
  /**
   * What was read is read again after this time, whatever the watch said, in milliseconds: a change that got lost is
   * noticed then.
   * @default 60_000, as in Go Micro
   */
  readonly ttlMs?: number;
  readonly clock?: Clock | undefined;
  readonly timers?: Timers | undefined;
  readonly random?: Random | undefined;
  readonly logger?: Logger | undefined;
}

interface Entry {
  records: readonly ServiceRecord[] | undefined;
  readAt: number;
  /** The read that is under way: concurrent callers share it. */
  reading: Promise<readonly ServiceRecord[]> | undefined;
  /** Bumped by every change that the watch reports, so that a read that began before one is not taken for newer. */
  changes: number;
}

/**
 * A registry in front of another one. What was asked for once is kept, kept current by a watch, and outlives an outage: while the inner
 * registry fails, the last known nodes are given. Concurrent first calls are one read. Announcements pass through.
 */
export class CachedRegistry implements RegistryCache {
  readonly #inner: Registry;
  readonly #ttlMs: number;
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #random: Random;
  readonly #logger: Logger;
  readonly #entries = new Map<string, Entry>();
  readonly #closing = new AbortController();
  #watching: Promise<void> | undefined;
  #standing: Promise<void> = Promise.resolve();
  #isAway = false;

  constructor(inner: Registry, options: CachedRegistryOptions = {}) {
    this.#inner = inner;
    this.#ttlMs = options.ttlMs ?? 60_000;
    this.#clock = options.clock ?? systemClock;
    this.#timers = options.timers ?? systemTimers;
    this.#random = options.random ?? systemRandom;
    this.#logger = options.logger ?? silentLogger;
  }

  get options(): RegistryOptions {
    return this.#inner.options;
  }

  init(options: RegistryOptions): void {
    this.#inner.init(options);
  }

  register(service: ServiceRecord, options?: RegisterOptions): Promise<void> {
    return this.#inner.register(service, options);
  }

  deregister(service: ServiceRecord, options?: RegistryCallOptions): Promise<void> {
    return this.#inner.deregister(service, options);
  }

  peek(name: string): readonly ServiceRecord[] | undefined {
    const entry = this.#entries.get(name);
    if (!entry?.records) return undefined;
    if (this.#clock.now() - entry.readAt > this.#ttlMs) this.#refresh(name, entry);
    return entry.records;
  }

  async getService(name: string, options?: RegistryCallOptions): Promise<readonly ServiceRecord[]> {
    const known = this.peek(name);
    if (known) return known;
    if (this.#closing.signal.aborted) return this.#inner.getService(name, options);
    if (!this.#watching) {
      // A change between the read and the watch would go unnoticed, so the watch comes first; where it cannot stand, reading has to do.
      this.#standing = new Promise((resolve) => (this.#watching = this.#watch(resolve)));
    }
    await abortable(this.#standing, options?.signal);
    let entry = this.#entries.get(name);
    if (!entry) this.#entries.set(name, (entry = { records: undefined, readAt: 0, reading: undefined, changes: 0 }));
    return abortable(this.#read(name, entry), options?.signal);
  }

  listServices(options?: RegistryCallOptions): Promise<readonly ServiceRecord[]> {
    return this.#inner.listServices(options);
  }

  watch(options?: WatchOptions): Promise<Watcher> {
    return this.#inner.watch(options);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#inner.close();
    await this.#watching;
  }

  toString(): string {
    return String(this.#inner);
  }

  #refresh(name: string, entry: Entry): void {
    // Not before the next period, even if it fails: the last known nodes serve meanwhile.
    entry.readAt = this.#clock.now();
    this.#read(name, entry).catch(() => {});
  }

  #read(name: string, entry: Entry): Promise<readonly ServiceRecord[]> {
    entry.reading ??= this.#readOnce(name, entry).finally(() => {
      entry.reading = undefined;
    });
    return entry.reading;
  }

  async #readOnce(name: string, entry: Entry): Promise<readonly ServiceRecord[]> {
    const { changes } = entry;
    try {
      const records = await this.#inner.getService(name);
      this.#isAway = false;
      if (entry.changes === changes || !entry.records) entry.records = records;
      entry.readAt = this.#clock.now();
      return entry.records;
    } catch (error) {
      const failure = TenonError.from(error);
      if (failure.code === Code.NotFound) entry.records = undefined;
      else this.#noticeOutage(failure);
      if (entry.records) return entry.records;
      throw failure;
    }
  }

  #noticeOutage(error: TenonError): void {
    if (this.#isAway || this.#closing.signal.aborted) return;
    this.#isAway = true;
    this.#logger.warn(`the ${this} registry is away; the nodes known last are used`, { error });
  }

  /** One watch for all services, opened with the first question, and opened anew whenever it breaks. */
  async #watch(onFirst: () => void): Promise<void> {
    const { signal } = this.#closing;
    for (let failures = 0; !signal.aborted;) {
      try {
        const watcher = await this.#inner.watch({ signal });
        onFirst();
        if (failures > 0) this.#rereadAll();
        failures = 0;
        for await (const event of watcher) this.#apply(event);
      } catch (error) {
        onFirst();
        this.#noticeOutage(TenonError.from(error));
      }
      if (signal.aborted) return;
      failures += 1;
      const delayMs = backoffMs(failures, () => this.#random.next(), { initialMs: 100, maxMs: 5_000 });
      await this.#pause(delayMs, signal);
    }
  }

  #pause(delayMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#timers.after(delayMs, resolve);
      signal.addEventListener('abort', () => (timer.cancel(), resolve()), { once: true });
    });
  }

  #rereadAll(): void {
    for (const [name, entry] of this.#entries) this.#refresh(name, entry);
  }

  #apply({ action, service }: RegistryEvent): void {
    const entry = this.#entries.get(service.name);
    if (!entry) return;
    entry.changes += 1;
    if (!entry.records) return;
    const ids = new Set(service.nodes.map((node) => node.id));
    const others = entry.records
      .map((record) => ({ ...record, nodes: record.nodes.filter((node) => !ids.has(node.id)) }))
      .filter((record) => record.nodes.length > 0);
    const records = action === 'delete' ? others : withNodes(others, service, service.nodes);
    entry.records = records.length > 0 ? records : undefined;
  }
}

function withNodes(
  records: readonly ServiceRecord[],
  service: ServiceRecord,
  nodes: readonly NodeRecord[],
): readonly ServiceRecord[] {
  const same = records.find((record) => record.version === service.version);
  if (!same) return [...records, service];
  return records.map((record) => (record === same ? { ...service, nodes: [...same.nodes, ...nodes] } : record));
}

function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = (): void =>
      reject(
        new TenonError({
          code: Code.Cancelled,
          reason: 'call.cancelled',
          message: 'the call was cancelled',
          cause: signal.reason,
        }),
      );
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
