import type { Runtime, Timer } from '../../../src/runtime/runtime.ts';
import type {
  Change,
  DriverCall,
  LeasedNode,
  Registration,
  RegistryDriver,
  Snapshot,
  WatchFeed,
} from '../../../src/registry/kit/driver.ts';
import { DrivenRegistry, type DriverSettings } from '../../../src/registry/kit/driven-registry.ts';
import type { DriverFailure } from '../../../src/registry/kit/errors.ts';
import { idOf, nodeKey } from '../../../src/registry/kit/node-table.ts';
import { WatchFeeds } from '../../../src/registry/kit/watch-feeds.ts';
import type { RegistryAction, ServiceRecord } from '../../../src/registry/registry.ts';
import { History } from './history.ts';

/** The kind of server that a {@link ModelServer} is. */
export interface ModelKind {
  /** Changes have numbers, and are told late. Without numbers they are told at once. */
  readonly hasRevisions: boolean;
  /** The end of a lease is told, as by etcd; otherwise readers find out, as with Redis. */
  readonly tellsLeaseEnds: boolean;
  /** One read does not return all services. */
  readonly hasNames: boolean;
}

interface Stored {
  readonly service: ServiceRecord;
  readonly expiresAtMs: number;
  readonly expiry: Timer;
}

/** Time to the server, and time from it. */
const latencyMs = 20;
/** Changes of a server with revisions are told after this time: an answer may have them before. */
const tellingMs = 55;

/** The server of a registry, in memory and in virtual time, which notes all that was ever so. */
export class ModelServer {
  readonly history: History;
  readonly feeds = new WatchFeeds();
  readonly kind: ModelKind;
  readonly #runtime: Runtime;
  readonly #stored = new Map<string, Stored>();
  /** Changes that are on their way. */
  #untold: Change[] = [];
  #revision = 0;
  isAway = false;

  constructor(kind: ModelKind, runtime: Runtime) {
    this.kind = kind;
    this.#runtime = runtime;
    this.history = new History(() => runtime.clock.monotonicMs());
  }

  get nodes(): readonly LeasedNode[] {
    return [...this.#stored.values()].map(({ service, expiresAtMs }) => ({
      service,
      leaseMs: this.#told(expiresAtMs - this.#runtime.clock.monotonicMs()),
    }));
  }

  get revision(): number | undefined {
    return this.kind.hasRevisions ? this.#revision : undefined;
  }

  put(service: ServiceRecord, ttlMs: number): void {
    const key = nodeKey(service.name, idOf(service));
    const before = this.#stored.get(key);
    before?.expiry.cancel();
    const { clock, timers } = this.#runtime;
    const expiry = timers.after(ttlMs, () => this.remove(service.name, idOf(service), this.kind.tellsLeaseEnds));
    this.#stored.set(key, { service, expiresAtMs: clock.monotonicMs() + ttlMs, expiry });
    if (JSON.stringify(before?.service) === JSON.stringify(service)) return;
    this.history.note(service.name, idOf(service), service);
    this.#tell(before ? 'update' : 'create', service, ttlMs);
  }

  remove(name: string, id: string, isTold = true): void {
    const known = this.#stored.get(nodeKey(name, id));
    if (!known) return;
    known.expiry.cancel();
    this.#stored.delete(nodeKey(name, id));
    this.history.note(name, id, undefined);
    if (isTold) this.#tell('delete', known.service, 0);
  }

  /** Loses all nodes, and the count of changes. */
  lose(): void {
    for (const { service } of this.#stored.values()) this.remove(service.name, idOf(service), false);
    this.#revision = 0;
    this.#untold = [];
  }

  /** Loses the changes that are not told yet, and says so. */
  compact(): void {
    this.#untold = [];
    for (const feed of this.feeds) feed.refresh();
  }

  /** Goes on after a time without connections, of which the watches have known nothing. */
  resume(): void {
    this.isAway = false;
    for (const feed of this.feeds) feed.resumed();
    this.#deliver();
  }

  #tell(action: RegistryAction, service: ServiceRecord, leaseMs: number): void {
    if (this.kind.hasRevisions) this.#revision += 1;
    this.#untold.push({ action, service, leaseMs: this.#told(leaseMs), revision: this.revision });
    if (this.kind.hasRevisions) this.#runtime.timers.after(tellingMs, () => this.#deliver());
    else this.#deliver();
  }

  /** A server that tells the end of a lease does not say when that will be. */
  #told(leaseMs: number): number | undefined {
    return this.kind.tellsLeaseEnds ? undefined : leaseMs;
  }

  #deliver(): void {
    if (this.isAway) return;
    for (const change of this.#untold.splice(0)) {
      this.feeds.change(change, 'service');
      this.feeds.change(change, 'every');
    }
  }
}

/** A registry over a {@link ModelServer}. */
export class ModelRegistry extends DrivenRegistry<DriverSettings> {
  constructor(server: ModelServer, runtime: Runtime) {
    const capabilities = { expires: true, shared: true, watches: true };
    const open = (): RegistryDriver => new ModelDriver(server, runtime);
    super({ name: 'model', capabilities, optionsName: 'ModelOptions', open }, {}, runtime);
  }
}

class Away extends Error {}

class ModelDriver implements RegistryDriver {
  readonly server = 'the model';
  // So that nothing is found which is not told, but by a read that something has caused.
  readonly bounds = { maxReadMs: 3_600_000 };
  names?(): Promise<readonly string[]>;
  readonly #server: ModelServer;
  readonly #runtime: Runtime;

  constructor(server: ModelServer, runtime: Runtime) {
    this.#server = server;
    this.#runtime = runtime;
    if (server.kind.hasNames)
      this.names = async () => this.#ask(() => [...new Set(server.nodes.map(({ service }) => service.name))]);
  }

  announce({ service, ttlMs }: Registration): Promise<void> {
    return this.#ask(() => this.#server.put(service, ttlMs));
  }

  withdraw(service: string, id: string): Promise<void> {
    return this.#ask(() => this.#server.remove(service, id));
  }

  read(wanted: string | undefined): Promise<Snapshot> {
    const { revision } = this.#server;
    return this.#ask(() => ({
      nodes: this.#server.nodes.filter(({ service }) => wanted === undefined || service.name === wanted),
      ...(revision !== undefined && { revision: this.#server.revision }),
    }));
  }

  async watch(feed: WatchFeed, signal: AbortSignal, _call: DriverCall): Promise<void> {
    await this.#ask(() => this.#server.feeds.join(feed, signal));
  }

  failure(): DriverFailure {
    return { kind: 'unreachable' };
  }

  /** Takes time on the way there and on the way back. */
  async #ask<T>(work: () => T): Promise<T> {
    const { timers } = this.#runtime;
    await timers.sleep(latencyMs);
    if (this.#server.isAway) throw new Away('away');
    const answer = work();
    await timers.sleep(latencyMs);
    if (this.#server.isAway) throw new Away('away');
    return answer;
  }
}
