import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';
import type { Runtime, Timer } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import type { LeasedNode, Registration, RegistryDriver, Snapshot, WatchFeed } from './kit/driver.ts';
import { DrivenRegistry, type DriverSettings } from './kit/driven-registry.ts';
import type { DriverFailure } from './kit/errors.ts';
import { idOf, nodeKey, NodeTable } from './kit/node-table.ts';
import { encodeNode } from './kit/records.ts';
import { WatchFeeds } from './kit/watch-feeds.ts';
import type { Registry, RegistryCapabilities, RegistryEvent, RegistryOptions, ServiceRecord } from './registry.ts';

/** Stores the registrations of {@link MemoryRegistry | MemoryRegistries}, for several of one process that share it. */
export class MemoryRegistryStore {
  /** @internal */
  readonly entries: MemoryEntries;

  constructor(runtime: Pick<Runtime, 'clock' | 'timers'> = systemRuntime) {
    this.entries = new MemoryEntries(runtime);
  }
}

/** Options of a {@link MemoryRegistry}. */
export interface MemoryRegistryOptions extends RegistryOptions {
  /** The store: registries with the same one find each other's nodes. @default one of its own */
  readonly store?: MemoryRegistryStore | undefined;
  /** Clock and timers for the leases of a store of its own. */
  readonly runtime?: Pick<Runtime, 'clock' | 'timers'> | undefined;
}
/** Container key of the {@link MemoryRegistryOptions}. */
export const MemoryRegistryOptions: ServiceIdentifier<MemoryRegistryOptions> = token(
  'registry',
  'MemoryRegistryOptions',
);

/** Keeps registrations in memory. Only registries of the same process that share the store find them. */
@injectable()
export class MemoryRegistry extends DrivenRegistry<DriverSettings> implements Registry {
  static readonly capabilities: RegistryCapabilities = { expires: true, shared: false, watches: true };

  constructor(@inject(MemoryRegistryOptions) @optional() options: MemoryRegistryOptions = {}) {
    const { runtime, store, ...more } = options;
    const spec = {
      name: 'memory',
      capabilities: MemoryRegistry.capabilities,
      optionsName: 'MemoryRegistryOptions',
      open: () => new MemoryDriver(store ?? new MemoryRegistryStore(runtime), store === undefined),
    };
    super(spec, more, runtime);
  }
}

class MemoryDriver implements RegistryDriver {
  readonly server = 'the memory of this process';
  // The store reports every change, the end of a lease included.
  readonly bounds = { maxReadMs: Number.POSITIVE_INFINITY };
  readonly #entries: MemoryEntries;
  readonly #isStoreOwn: boolean;
  /** The addresses of the nodes that were registered here. */
  readonly #addresses = new Map<string, string>();

  constructor({ entries }: MemoryRegistryStore, isStoreOwn: boolean) {
    this.#entries = entries;
    this.#isStoreOwn = isStoreOwn;
  }

  /** Of two registries that have one id for nodes at two addresses, the last that began to register it has it. */
  announce({ service, node, ttlMs }: Registration): void {
    if (this.#isElsewhere(service.name, node.id, node.address)) return;
    this.#addresses.set(nodeKey(service.name, node.id), node.address);
    // A copy, so that the caller may change its record afterwards.
    this.#entries.put(JSON.parse(encodeNode(service, node)) as ServiceRecord, ttlMs);
  }

  withdraw(service: string, id: string): void {
    if (!this.#isElsewhere(service, id)) this.#entries.remove(service, id);
    this.#addresses.delete(nodeKey(service, id));
  }

  read(service: string | undefined): Snapshot {
    return { nodes: this.#entries.nodes(service) };
  }

  watch(feed: WatchFeed, signal: AbortSignal): void {
    this.#entries.feeds.join(feed, signal);
  }

  failure(): DriverFailure {
    return { kind: 'refused' };
  }

  close(): void {
    if (this.#isStoreOwn) this.#entries.stop();
  }

  /** True for a node that was registered here, and from elsewhere since. */
  #isElsewhere(service: string, id: string, address?: string): boolean {
    const own = this.#addresses.get(nodeKey(service, id));
    const found = own === undefined ? undefined : this.#entries.addressOf(service, id);
    return found !== undefined && found !== own && found !== address;
  }
}

/** The registrations of a store, with one timer for the lease that ends next. */
class MemoryEntries {
  readonly feeds = new WatchFeeds();
  readonly #time: Pick<Runtime, 'clock' | 'timers'>;
  readonly #table = new NodeTable();
  #timer: Timer | undefined;
  #scheduledAtMs = Number.POSITIVE_INFINITY;

  constructor(time: Pick<Runtime, 'clock' | 'timers'>) {
    this.#time = time;
  }

  put(service: ServiceRecord, ttlMs: number): void {
    this.#expire();
    const expiresAtMs = this.#time.clock.monotonicMs() + ttlMs;
    this.#emit(this.#table.put(service, expiresAtMs));
    if (expiresAtMs < this.#scheduledAtMs) this.#schedule(expiresAtMs);
  }

  remove(service: string, id: string): void {
    this.#expire();
    this.#emit(this.#table.remove(service, id));
  }

  addressOf(name: string, id: string): string | undefined {
    this.#expire();
    const nodes = [{ id, address: '', metadata: {} }];
    return this.#table.get({ name, version: '', metadata: {}, endpoints: [], nodes })?.service.nodes[0]?.address;
  }

  nodes(service: string | undefined): LeasedNode[] {
    this.#expire();
    return [...this.#table.nodes(service)];
  }

  /** Cancels the timer. */
  stop(): void {
    this.#timer?.cancel();
    this.#scheduledAtMs = Number.POSITIVE_INFINITY;
  }

  #emit(event: RegistryEvent | undefined): void {
    if (!event) return;
    this.feeds.change(event, 'service');
    this.feeds.change(event, 'every');
  }

  #expire(): void {
    if (this.#time.clock.monotonicMs() >= this.#scheduledAtMs) this.#sweep();
  }

  #sweep(): void {
    const now = this.#time.clock.monotonicMs();
    let next = Number.POSITIVE_INFINITY;
    for (const { service, expiresAtMs } of this.#table.nodes()) {
      if (expiresAtMs <= now) this.#emit(this.#table.remove(service.name, idOf(service)));
      else next = Math.min(next, expiresAtMs);
    }
    this.#schedule(next);
  }

  #schedule(atMs: number): void {
    this.#timer?.cancel();
    this.#scheduledAtMs = atMs;
    if (atMs === Number.POSITIVE_INFINITY) return;
    const delayMs = Math.max(0, Math.ceil(atMs - this.#time.clock.monotonicMs()));
    this.#timer = this.#time.timers.after(delayMs, () => this.#sweep());
  }
}
