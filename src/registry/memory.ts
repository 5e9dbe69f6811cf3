import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';
import type { Runtime, Timer } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import type { HeldNode, Registration, RegistryDriver, Snapshot, WatchFeed } from './kit/driver.ts';
import { DrivenRegistry, type DriverSettings } from './kit/driven-registry.ts';
import type { DriverFailure } from './kit/errors.ts';
import { idOf, NodeTable } from './kit/node-table.ts';
import { encodeNode } from './kit/records.ts';
import type { Registry, RegistryCapabilities, RegistryEvent, RegistryOptions, ServiceRecord } from './registry.ts';

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

/** Announcements inside one process. Nothing is known to those who do not share the instance, or its store. */
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
  readonly where = 'the memory of this process';
  // The store tells of every change, the end of a lease included.
  readonly bounds = { maxReadMs: Number.POSITIVE_INFINITY };
  readonly #entries: MemoryEntries;
  readonly #isStoreOwn: boolean;

  constructor({ entries }: MemoryRegistryStore, isStoreOwn: boolean) {
    this.#entries = entries;
    this.#isStoreOwn = isStoreOwn;
  }

  announce({ service, node, ttlMs }: Registration): void {
    // A copy: what the caller does with its record afterwards is not announced.
    this.#entries.put(JSON.parse(encodeNode(service, node)) as ServiceRecord, ttlMs);
  }

  withdraw(service: string, id: string): void {
    this.#entries.remove(service, id);
  }

  read(service: string | undefined): Snapshot {
    return { nodes: this.#entries.nodes(service) };
  }

  watch(feed: WatchFeed, signal: AbortSignal): void {
    this.#entries.feeds.add(feed);
    signal.addEventListener('abort', () => this.#entries.feeds.delete(feed), { once: true });
  }

  failure(): DriverFailure {
    return { kind: 'refused' };
  }

  close(): void {
    if (this.#isStoreOwn) this.#entries.stop();
  }
}

/** What was announced, with one timer for the next lease that lapses. */
class MemoryEntries {
  readonly feeds = new Set<WatchFeed>();
  readonly #time: Pick<Runtime, 'clock' | 'timers'>;
  readonly #table = new NodeTable();
  #timer: Timer | undefined;
  #armedForMs = Number.POSITIVE_INFINITY;

  constructor(time: Pick<Runtime, 'clock' | 'timers'>) {
    this.#time = time;
  }

  put(service: ServiceRecord, ttlMs: number): void {
    this.#expire();
    const lapsesAtMs = this.#time.clock.monotonicMs() + ttlMs;
    this.#tell(this.#table.put(service, lapsesAtMs));
    if (lapsesAtMs < this.#armedForMs) this.#arm(lapsesAtMs);
  }

  remove(service: string, id: string): void {
    this.#expire();
    this.#tell(this.#table.remove(service, id));
  }

  nodes(service: string | undefined): HeldNode[] {
    this.#expire();
    return [...this.#table.nodes(service)];
  }

  /** Lets go of the timer. */
  stop(): void {
    this.#timer?.cancel();
    this.#armedForMs = Number.POSITIVE_INFINITY;
  }

  #tell(event: RegistryEvent | undefined): void {
    if (event) for (const feed of this.feeds) feed.change(event);
  }

  #expire(): void {
    if (this.#time.clock.monotonicMs() >= this.#armedForMs) this.#sweep();
  }

  #sweep(): void {
    const now = this.#time.clock.monotonicMs();
    let next = Number.POSITIVE_INFINITY;
    for (const { service, lapsesAtMs } of this.#table.nodes()) {
      if (lapsesAtMs <= now) this.#tell(this.#table.remove(service.name, idOf(service)));
      else next = Math.min(next, lapsesAtMs);
    }
    this.#arm(next);
  }

  #arm(atMs: number): void {
    this.#timer?.cancel();
    this.#armedForMs = atMs;
    if (atMs === Number.POSITIVE_INFINITY) return;
    const delayMs = Math.max(0, Math.ceil(atMs - this.#time.clock.monotonicMs()));
    this.#timer = this.#time.timers.after(delayMs, () => this.#sweep());
  }
}
