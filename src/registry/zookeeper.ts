import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { zookeeperName, zookeeperRoot } from '../go-micro/zookeeper.ts';
import type { WithDefaults } from '../internal/defaults.ts';
import { token } from '../internal/token.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { ZooKeeperClient } from '../zookeeper/client.ts';
import { isValidPath, normalPath, splitConnectString } from '../zookeeper/connect-string.ts';
import type { EphemeralNode } from '../zookeeper/ephemeral-node.ts';
import { EphemeralNodes } from '../zookeeper/ephemeral-nodes.ts';
import { nodeName } from '../zookeeper/node-name.ts';
import { SessionPool } from '../zookeeper/session-pool.ts';
import { TreeWatch } from '../zookeeper/tree-watch.ts';
import { isZooKeeperError, ZooKeeperError } from '../zookeeper/zookeeper.ts';
import { AddressList, assertUsername, formatAddress, parseAddresses, type ServerAddress } from './kit/address-list.ts';
import { BrokenRecords } from './kit/broken-records.ts';
import type { DriverCall, DriverTools, Registration, RegistryDriver, Snapshot, WatchFeed } from './kit/driver.ts';
import { DrivenRegistry } from './kit/driven-registry.ts';
import { type DriverFailure, invalidAddress, invalidOption } from './kit/errors.ts';
import { LeaseManager } from './kit/lease-manager.ts';
import { BrokenRecord, decodeNode, encodeNode } from './kit/records.ts';
import { WatchFeeds } from './kit/watch-feeds.ts';
import type { Registry, RegistryCapabilities, RegistryOptions, ServiceRecord } from './registry.ts';

/**
 * Configures a {@link ZooKeeperRegistry}. Its address may end in a path, below which everything is stored:
 * `host:2181,other:2181/chroot`.
 */
export interface ZooKeeperRegistryOptions extends RegistryOptions {
  /** Path below which services are stored, within that of the address. @default '/micro-registry', as Go Micro's */
  readonly prefix?: string | undefined;
  /**
   * Rights to the nodes that are made: `world` lets everybody read and write them, as Go Micro's, `creator` only who
   * has the same credentials.
   * @default 'world'
   */
  readonly acl?: 'world' | 'creator' | undefined;
  /**
   * Passes over nodes that do not end with a session: those that Go Micro registers stay when their process is killed.
   * @default false
   */
  readonly ephemeralOnly?: boolean | undefined;
  /** A watcher reads ZooKeeper no more often than this, in milliseconds. @default 100 */
  readonly minReadMs?: number | undefined;
  /** A watcher compares what it knows with ZooKeeper at least as often as this, in milliseconds. @default 300_000 */
  readonly maxReadMs?: number | undefined;
  /** A larger record of a node is refused, and passed over by readers, in bytes. @default 1_000_000 */
  readonly maxRecordBytes?: number | undefined;
}
/** Container key of the {@link ZooKeeperRegistryOptions}. */
export const ZooKeeperRegistryOptions: ServiceIdentifier<ZooKeeperRegistryOptions> = token(
  'registry',
  'ZooKeeperRegistryOptions',
);

const defaults = {
  address: '127.0.0.1:2181',
  timeoutMs: 5_000,
  ttlMs: 30_000,
  prefix: zookeeperRoot,
  acl: 'world',
  ephemeralOnly: false,
  minReadMs: 100,
  maxReadMs: 300_000,
  // Below jute.maxbuffer, with room for paths.
  maxRecordBytes: 1_000_000,
} as const;
type Settings = WithDefaults<ZooKeeperRegistryOptions, typeof defaults>;

const optionsName = 'ZooKeeperRegistryOptions';
const defaultPort = 2_181;
// Of a node.
const belowRoot = /^\/[^/]+\/[^/]+$/;
const dataOf = ({ service, node }: Registration): string => encodeNode(service, node);
const aboutCredentials = 'TENON_REGISTRY_USERNAME and TENON_REGISTRY_PASSWORD (or its _FILE) say who connects';
const aboutAddress = 'Is ZooKeeper running there? TENON_REGISTRY_ADDRESS says where to look';

/** A registry in ZooKeeper, with an ephemeral node per node. `docs/registry.md` has the layout. */
@injectable()
export class ZooKeeperRegistry extends DrivenRegistry<Settings> implements Registry {
  static readonly capabilities: RegistryCapabilities = {
    expires: true,
    shared: true,
    watches: true,
    renewalRestores: true,
    transferable: true,
    // The shortest session that ZooKeeper grants by default.
    minTtlMs: 4_000,
    tls: true,
    credentials: ['password'],
  };

  constructor(
    @inject(ZooKeeperRegistryOptions) @optional() options: ZooKeeperRegistryOptions = {},
    @inject(Clock) @optional() clock?: Clock,
    @inject(Random) @optional() random?: Random,
    @inject(Timers) @optional() timers?: Timers,
    @inject(Logger) @optional() logger?: Logger,
  ) {
    const spec = {
      name: 'zookeeper',
      capabilities: ZooKeeperRegistry.capabilities,
      optionsName,
      defaults,
      check: (settings: Settings) => void placeOf(settings),
      open: (settings: Settings, tools: DriverTools) => new ZooKeeperDriver(settings, tools),
    };
    super(spec, options, { clock, random, timers, logger });
  }
}

class ZooKeeperDriver implements RegistryDriver {
  readonly server: string;
  readonly bounds: Settings;
  readonly #tools: DriverTools;
  readonly #place: Place;
  readonly #client: ZooKeeperClient;
  readonly #nodes: EphemeralNodes;
  readonly #leases: LeaseManager<EphemeralNode>;
  readonly #tree: TreeWatch;
  readonly #broken: BrokenRecords;
  readonly #feeds = new WatchFeeds();
  /** The watches by the paths that they watch. */
  readonly #watchers = new Map<string, Set<WatchFeed>>();
  /** The nodes below watched paths. */
  readonly #known = new Map<string, ServiceRecord>();
  /** Nodes that are read after an event; true if there was another one since. */
  readonly #changing = new Map<string, boolean>();

  constructor(settings: Settings, tools: DriverTools) {
    const { acl, ttlMs } = (this.bounds = settings);
    const { security: _, ...runtime } = (this.#tools = tools);
    this.#place = placeOf(settings);
    this.#broken = new BrokenRecords(tools.logger);
    this.server = `ZooKeeper at ${this.#place.addresses.map(formatAddress).join(',')}`;
    const sessions = new SessionPool((timeoutMs) => this.#open(timeoutMs));
    this.#client = sessions.of(ttlMs) as ZooKeeperClient;
    const nodes = (this.#nodes = new EphemeralNodes({
      runtime,
      sessions,
      acl,
      timeoutsInUse: () => [ttlMs, ...[...this.#leases.entries()].map(({ registration }) => registration.ttlMs)],
      onLost: (isLost) => this.#leases.markLost(isLost),
      onForeign: (path) => tools.logger.warn(`another process registered ${path}: it is left alone until it has gone`),
    }));
    this.#leases = new LeaseManager<EphemeralNode>(
      {
        grant: async (one, signal) =>
          nodes.make(this.#pathOf(one.service.name, one.node.id), dataOf(one), one.ttlMs, signal),
        renew: async (node, _one, signal) => nodes.check(node, signal),
        replace: async (node, one, signal) => nodes.write(node, dataOf(one), one.ttlMs, signal),
        revoke: async (node, _one, signal) => nodes.remove(node, signal),
      },
      { ...runtime, registry: 'zookeeper', maxBackoffMs: 1_000 },
    );
    this.#tree = new TreeWatch({
      client: this.#client,
      isWatched: (path) => this.#feedsOf(path).length > 0,
      // A service comes and goes with its nodes.
      onChanged: (path) => belowRoot.test(path.slice(this.#place.root.length)) && void this.#follow(path),
      onStale: (path) => this.#feedsOf(path).forEach((feed) => feed.refresh()),
    });
  }

  announce(registration: Registration, { signal }: DriverCall): Promise<void> {
    return this.#leases.announce(registration, signal);
  }

  async withdraw(service: string, id: string, { signal }: DriverCall): Promise<void> {
    const path = this.#pathOf(service, id);
    await this.#leases.withdraw(service, id, signal, async (before) => {
      const isSame = (data: string): boolean => this.#addressIn(data, path) === before?.node.address;
      if (before) await this.#nodes.removeFormer(path, isSame, signal);
    });
    await this.#nodes.removeStray(path, signal);
  }

  async release(service: string, id: string): Promise<void> {
    await this.#leases.release(service, id);
    this.#nodes.forget(this.#pathOf(service, id));
  }

  async read(service: string | undefined, { signal }: DriverCall): Promise<Snapshot> {
    const of = this.#pathsOf(service);
    const services = service === undefined ? await this.#tree.children(this.#place.root, signal) : of;
    const paths = await Promise.all(services.map((path) => this.#tree.children(path, signal)));
    const found = await Promise.all(paths.flat().map((path) => this.#readNode(path, signal)));
    return { nodes: found.filter((one) => one !== undefined).map((one) => ({ service: one })) };
  }

  async watch(feed: WatchFeed, signal: AbortSignal, call: DriverCall): Promise<void> {
    this.#feeds.join(feed, signal);
    for (const path of this.#pathsOf(feed.service)) {
      const watchers = this.#watchers.get(path) ?? new Set();
      this.#watchers.set(path, watchers.add(feed));
      const leave = (): void => void (watchers.delete(feed) && this.#leave(path));
      signal.addEventListener('abort', leave, { once: true });
      await this.#tree.add(path, call.signal);
      // The watch ended before it was established.
      if (signal.aborted) this.#leave(path);
    }
  }

  /** Translates an error: ZooKeeper refuses, or it cannot be reached. */
  failure(error: unknown): DriverFailure {
    if (isZooKeeperError(error, 'NoAuth', 'AuthFailed', 'InvalidACL', 'SessionClosedRequireAuth')) {
      return { kind: 'denied', remedy: aboutCredentials };
    }
    const isAway = isZooKeeperError(error, 'ConnectionLoss', 'SessionExpired', 'OperationTimeout', 'RequestTimeout');
    if (error instanceof ZooKeeperError && !isAway) return { kind: 'refused' };
    const { failedHost = '', session } = this.#client;
    const why = this.#tools.security.explain(error, failedHost, session !== undefined);
    return { kind: 'unreachable', why, remedy: why === undefined ? aboutAddress : undefined };
  }

  async close(): Promise<void> {
    this.#leases.close();
    await this.#nodes.close();
  }

  #open(sessionTimeoutMs: number): ZooKeeperClient {
    const { security, logger, ...runtime } = this.#tools;
    const { timeoutMs, ttlMs } = this.bounds;
    const { addresses } = this.#place;
    const list = { ...runtime, registry: 'zookeeper', serverName: 'ZooKeeper', beginsAnywhere: true };
    const isMain = sessionTimeoutMs === ttlMs;
    const fail = (why: string): void => (isMain ? this.#feeds.fail(why) : undefined);
    const client: ZooKeeperClient = new ZooKeeperClient({
      runtime,
      addresses: new AddressList(addresses, list),
      security,
      sessionTimeoutMs,
      // A call is answered even if only one of the servers does.
      connectTimeoutMs: security.handshakeTimeoutMs ?? timeoutMs / (addresses.length + 1),
      maxSilenceMs: 2 * timeoutMs,
      listener: {
        onEvent: (event) => {
          this.#nodes.onEvent(event.path);
          if (isMain) this.#tree.onEvent(event);
        },
        onConnected: ({ timeoutMs: grantedMs }, isNewSession) => {
          if (isNewSession && grantedMs !== sessionTimeoutMs) {
            logger.info(`ZooKeeper bounds the lease of ${sessionTimeoutMs} ms to ${grantedMs} ms`);
          }
          // Recursive watches do not report what changed before they were armed again.
          if (isMain && !isNewSession) this.#feeds.resumed();
        },
        // It may have lost nodes that live.
        onSilence: (silentMs) => fail(`ZooKeeper said nothing for ${Math.round(silentMs)} ms`),
        onExpired: (session) => {
          fail('the session with ZooKeeper expired');
          this.#nodes.onExpired(client, session);
        },
      },
    });
    return client;
  }

  #pathOf(service: string, id: string): string {
    return `${this.#place.root}/${nodeName(service)}/${nodeName(id)}`;
  }

  /** The paths of a service: its own, and where Go Micro has it. That of all services is above them. */
  #pathsOf(service: string | undefined): readonly string[] {
    const { root } = this.#place;
    if (service === undefined) return [root];
    return [...new Set([nodeName(service), nodeName(zookeeperName(service))])].map((name) => `${root}/${name}`);
  }

  /** Reads one node. `undefined` for one that is gone, that is broken, or that is not to be seen. */
  async #readNode(path: string, signal?: AbortSignal): Promise<ServiceRecord | undefined> {
    const found = await this.#tree.node(path, signal);
    if (!found || (this.bounds.ephemeralOnly && found.stat.ephemeralOwner === 0n)) return undefined;
    const record = this.#broken.read(path, () => this.#decode(String(found.data), path));
    if (record && this.#feedsOf(path).length > 0) this.#known.set(path, record);
    return record;
  }

  #addressIn(data: string, path: string): string | undefined {
    return this.#broken.read(path, () => this.#decode(data, path))?.nodes[0]?.address;
  }

  /** Decodes the record of a node, whose name and id must be those of its path, in our form or in Go Micro's. */
  #decode(text: string, path: string): ServiceRecord {
    const record = decodeNode(text, this.bounds.maxRecordBytes);
    const [name, id] = [record.name, record.nodes[0]?.id ?? ''];
    for (const form of [(one: string): string => one, zookeeperName]) {
      if (path === `${this.#place.root}/${nodeName(form(name))}/${nodeName(form(id))}`) return record;
    }
    throw new BrokenRecord('is the record of another node');
  }

  /** Reads a node after an event, and reports it. Events meanwhile cost one more read. Never rejects. */
  async #follow(path: string): Promise<void> {
    const isUnderWay = this.#changing.has(path);
    this.#changing.set(path, isUnderWay);
    if (isUnderWay) return;
    try {
      for (let isAgain = true; isAgain; isAgain = this.#changing.get(path) === true) {
        this.#changing.set(path, false);
        const before = this.#known.get(path);
        const service = await this.#readNode(path);
        const feeds = this.#feedsOf(path);
        if (service) for (const feed of feeds) feed.change({ action: 'update', service });
        else if (before && this.#known.delete(path))
          for (const feed of feeds) feed.change({ action: 'delete', service: before });
      }
    } catch (error) {
      for (const feed of this.#feedsOf(path)) feed.fail('ZooKeeper does not answer', error);
    }
    this.#changing.delete(path);
  }

  #leave(path: string): void {
    if ((this.#watchers.get(path)?.size ?? 0) > 0) return;
    this.#watchers.delete(path);
    this.#tree.remove(path);
    for (const known of this.#known.keys()) {
      if (known.startsWith(`${path}/`) && this.#feedsOf(known).length === 0) this.#known.delete(known);
    }
  }

  /** The watches that a path concerns. */
  #feedsOf(path: string): WatchFeed[] {
    const { root } = this.#place;
    const end = path.indexOf('/', root.length + 1);
    const service = path === root ? '' : end < 0 ? path : path.slice(0, end);
    return [root, service].flatMap((one) => [...(this.#watchers.get(one) ?? [])]);
  }
}

/** Where a registry stores its services. */
interface Place {
  readonly addresses: readonly ServerAddress[];
  /** The path below which they are; empty for that of ZooKeeper itself. */
  readonly root: string;
}

/** Throws INVALID_ARGUMENT for an address, a path or credentials that cannot be used. */
function placeOf(settings: Settings): Place {
  const { servers, chroot } = splitConnectString(settings.address);
  const addresses = parseAddresses(servers, defaultPort);
  if (!isValidPath(chroot)) throw invalidAddress(`the path of "${settings.address}" is none that ZooKeeper takes`);
  const root = `${chroot}${normalPath(settings.prefix)}`;
  assertUsername(settings, optionsName, aboutCredentials);
  if (!isValidPath(root) || root === '')
    throw invalidOption(`${optionsName}.prefix is "${settings.prefix}": give a path such as /services`);
  return { addresses, root };
}
