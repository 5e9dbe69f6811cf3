import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import { MemoryEntries } from './internal/memory-store.ts';
import {
  assertRegistrable,
  assertWanted,
  byVersion,
  leaseOf,
  registryClosed,
  registryStarted,
} from './internal/records.ts';
import { WatchQueue } from './internal/watch-queue.ts';
import {
  type RegisterOptions,
  type Registry,
  type RegistryCallOptions,
  type RegistryCapabilities,
  type RegistryOptions,
  serviceNotFound,
  type ServiceRecord,
  type Watcher,
  type WatchOptions,
} from './registry.ts';

/** What several {@link MemoryRegistry | MemoryRegistries} of a process share. */
export class MemoryRegistryStore {
  /** @internal */
  readonly entries: MemoryEntries;

  constructor(runtime: Pick<Runtime, 'clock' | 'timers'> = systemRuntime) {
    this.entries = new MemoryEntries(runtime);
  }
}

/** How a {@link MemoryRegistry} works. */
export interface MemoryRegistryOptions extends RegistryOptions {
  /** Registries with the same store see each other. @default one of its own */
  readonly store?: MemoryRegistryStore | undefined;
  /** Time, for the leases of a store of its own. */
  readonly runtime?: Pick<Runtime, 'clock' | 'timers'> | undefined;
}
/** Container key of the {@link MemoryRegistryOptions}. */
export const MemoryRegistryOptions: ServiceIdentifier<MemoryRegistryOptions> = token(
  'registry',
  'MemoryRegistryOptions',
);

const defaults = { ttlMs: 30_000 } as const;

/** Announcements inside one process. Nothing is known to those who do not share the instance, or its store. */
@injectable()
export class MemoryRegistry implements Registry {
  static readonly capabilities: RegistryCapabilities = { expires: true, shared: false, watches: true };

  readonly #store: MemoryRegistryStore;
  readonly #isStoreOwn: boolean;
  readonly #watchers = new Set<WatchQueue>();
  #options: RegistryOptions;
  #isUsed = false;
  #isClosed = false;

  constructor(@inject(MemoryRegistryOptions) @optional() options: MemoryRegistryOptions = {}) {
    const { runtime, store, address, timeoutMs, ttlMs = defaults.ttlMs } = options;
    this.#isStoreOwn = store === undefined;
    this.#store = store ?? new MemoryRegistryStore(runtime);
    this.#options = { address, timeoutMs, ttlMs };
  }

  get options(): RegistryOptions {
    return this.#options;
  }

  init(options: RegistryOptions): void {
    if (this.#isUsed) throw registryStarted('memory');
    this.#options = { ...this.#options, ...options };
  }

  async register(service: ServiceRecord, options: RegisterOptions = {}): Promise<void> {
    this.#begin(options);
    assertRegistrable(service);
    const ttlMs = leaseOf(options.ttlMs ?? this.#options.ttlMs ?? defaults.ttlMs);
    for (const node of service.nodes) this.#store.entries.put(service, node, ttlMs);
  }

  async deregister(service: ServiceRecord, options: RegistryCallOptions = {}): Promise<void> {
    this.#begin(options);
    for (const node of service.nodes) this.#store.entries.remove(service.name, node.id);
  }

  async getService(name: string, options: RegistryCallOptions = {}): Promise<readonly ServiceRecord[]> {
    this.#begin(options);
    const nodes = this.#store.entries.nodesOf(name);
    if (nodes.length === 0) throw serviceNotFound('memory', name);
    return byVersion(nodes);
  }

  async listServices(options: RegistryCallOptions = {}): Promise<readonly ServiceRecord[]> {
    this.#begin(options);
    const { entries } = this.#store;
    return entries.names().flatMap((name) => byVersion(entries.nodesOf(name)));
  }

  async watch(options: WatchOptions = {}): Promise<Watcher> {
    this.#begin({});
    const { watchers } = this.#store.entries;
    const watcher = new WatchQueue(options, (stopped) => {
      watchers.delete(stopped);
      this.#watchers.delete(stopped);
    });
    if (!watcher.isStopped) {
      watchers.add(watcher);
      this.#watchers.add(watcher);
    }
    return watcher;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const watcher of this.#watchers) watcher.stop();
    if (this.#isStoreOwn) this.#store.entries.stop();
  }

  toString(): string {
    return 'memory';
  }

  #begin(options: RegistryCallOptions): void {
    this.#isUsed = true;
    if (this.#isClosed) throw registryClosed('memory');
    assertWanted('memory', options);
  }
}
