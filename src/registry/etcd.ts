import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { EtcdClient } from '../etcd/etcd.ts';
import { isAway, isDenied, isTransient, type KeyEvent, type KeyValue } from '../etcd/messages.ts';
import type { WithDefaults } from '../internal/defaults.ts';
import { token } from '../internal/token.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { EtcdLeases, type Grant } from './etcd/leases.ts';
import { KeyLayout } from './etcd/keys.ts';
import { AddressList, parseAddresses } from './kit/address-list.ts';
import { BrokenRecords } from './kit/broken-records.ts';
import type { DriverCall, DriverTools, Registration, RegistryDriver, Snapshot, WatchFeed } from './kit/driver.ts';
import { DrivenRegistry } from './kit/driven-registry.ts';
import { type DriverFailure, invalidOption } from './kit/errors.ts';
import { GrpcChannel } from './kit/grpc-channel.ts';
import { LeaseManager } from './kit/lease-manager.ts';
import { idOf, nodeKey } from './kit/node-table.ts';
import type { Registry, RegistryCapabilities, RegistryOptions } from './registry.ts';

/** Configures an {@link EtcdRegistry}. */
export interface EtcdRegistryOptions extends RegistryOptions {
  /** Begins every key. @default '/micro/registry/', as in Go Micro */
  readonly prefix?: string | undefined;
  /**
   * Time of silence after which a watch asks etcd for a sign of life, in milliseconds. Without an answer it goes on
   * over another connection.
   * @default 10_000
   */
  readonly progressMs?: number | undefined;
  /** A watcher reads etcd no more often than this, in milliseconds. @default 100 */
  readonly minReadMs?: number | undefined;
  /** A watcher reads what it watches at least as often as this, in milliseconds. @default 300_000 */
  readonly maxReadMs?: number | undefined;
  /** A larger record of a node is refused, and passed over by readers, in bytes. @default 1_048_576 */
  readonly maxRecordBytes?: number | undefined;
}
/** Container key of the {@link EtcdRegistryOptions}. */
export const EtcdRegistryOptions: ServiceIdentifier<EtcdRegistryOptions> = token('registry', 'EtcdRegistryOptions');

const defaults = {
  address: '127.0.0.1:2379',
  timeoutMs: 5_000,
  ttlMs: 30_000,
  prefix: '/micro/registry/',
  progressMs: 10_000,
  minReadMs: 100,
  maxReadMs: 300_000,
  maxRecordBytes: 1_048_576,
} as const;
type Settings = WithDefaults<EtcdRegistryOptions, typeof defaults>;

const defaultPort = 2_379;
const proto = new URL('tenon:etcd/api/etcdserverpb/rpc.proto');

/** A registry in etcd, in Go Micro's layout, with a lease for each node. `docs/registry.md` has the layout. */
@injectable()
export class EtcdRegistry extends DrivenRegistry<Settings> implements Registry {
  static readonly capabilities: RegistryCapabilities = {
    expires: true,
    shared: true,
    watches: true,
    renewalRestores: true,
    transferable: true,
    ttlGranularityMs: 1_000,
    // One and a half election time-outs of etcd, rounded up.
    minTtlMs: 2_000,
    tls: true,
    credentials: ['password'],
  };

  constructor(
    @inject(EtcdRegistryOptions) @optional() options: EtcdRegistryOptions = {},
    @inject(Clock) @optional() clock?: Clock,
    @inject(Random) @optional() random?: Random,
    @inject(Timers) @optional() timers?: Timers,
    @inject(Logger) @optional() logger?: Logger,
  ) {
    const spec = {
      name: 'etcd',
      capabilities: EtcdRegistry.capabilities,
      optionsName: 'EtcdRegistryOptions',
      defaults,
      check,
      open: (settings: Settings, tools: DriverTools) => new EtcdDriver(settings, tools),
    };
    super(spec, options, { clock, random, timers, logger });
  }
}

class EtcdDriver implements RegistryDriver {
  readonly server: string;
  readonly bounds: Settings;
  readonly #keys: KeyLayout;
  readonly #channel: GrpcChannel;
  readonly #client: EtcdClient;
  readonly #leases: LeaseManager<Grant>;
  readonly #security: DriverTools['security'];

  constructor(settings: Settings, tools: DriverTools) {
    const { address, timeoutMs, progressMs, prefix, maxRecordBytes } = settings;
    const found = parseAddresses(address, defaultPort);
    const addresses = new AddressList(found, { ...tools, registry: 'etcd', serverName: 'etcd' });
    this.server = `etcd at ${address}`;
    this.bounds = settings;
    this.#keys = new KeyLayout(prefix, new BrokenRecords(tools.logger), maxRecordBytes);
    const maxReceiveBytes = 16 * 1_048_576;
    const channel = new GrpcChannel({ registry: 'etcd', proto, addresses, tools, maxReceiveBytes, isTransient });
    this.#channel = channel;
    this.#client = new EtcdClient({ channel, addressCount: found.length, tools, timeoutMs, progressMs });
    const leases = new EtcdLeases(this.#client, this.#keys);
    this.#leases = new LeaseManager(leases, { ...tools, registry: 'etcd', lapses: true });
    this.#security = tools.security;
  }

  announce(registration: Registration, { signal }: DriverCall): Promise<void> {
    return this.#leases.announce(registration, signal);
  }

  /** Removes a node that another process registered as well, if the record is that node's. */
  withdraw(service: string, id: string, { signal }: DriverCall): Promise<void> {
    return this.#leases.withdraw(service, id, signal, async (before) => {
      const isOurs = (found: KeyValue): boolean => this.#keys.isOf(found, service, id, before?.node.address);
      for (const key of this.#keys.ofNode(service, id)) await this.#client.replace(key, undefined, isOurs, { signal });
    });
  }

  release(service: string, id: string): Promise<void> {
    return this.#leases.release(service, id);
  }

  async read(service: string | undefined, { signal, timeoutMs }: DriverCall): Promise<Snapshot> {
    const { header, kvs } = await this.#client.getAll(this.#keys.rangeOf(service), { signal, timeoutMs });
    const nodes = new Map<string, Snapshot['nodes'][0]>();
    for (const kv of kvs) {
      const record = this.#keys.decode(kv);
      if (!record) continue;
      const id = nodeKey(record.name, idOf(record));
      if (!nodes.has(id) || this.#keys.isFirst(kv, record)) nodes.set(id, { service: record });
    }
    return { nodes: [...nodes.values()], revision: Number(header.revision) };
  }

  watch(feed: WatchFeed, signal: AbortSignal): Promise<void> {
    const range = this.#keys.rangeOf(feed.service);
    const onEvent = (event: KeyEvent): void => this.#onEvent(feed, event);
    const told = { onGap: () => feed.refresh(), onResumed: () => feed.resumed(), onLost: feed.fail.bind(feed) };
    return this.#client.watch({ ...range, ...told, onEvent }, signal);
  }

  failure(error: unknown): DriverFailure {
    if (isDenied(error))
      return { kind: 'denied', remedy: 'TENON_REGISTRY_USERNAME and …_PASSWORD (or …_PASSWORD_FILE) say who connects' };
    if (!isAway(error)) return { kind: 'refused' };
    return { kind: 'unreachable', remedy: 'Is etcd running there? TENON_REGISTRY_ADDRESS says where to look' };
  }

  async close(): Promise<void> {
    this.#leases.close();
    this.#client.close();
    await this.#channel.close();
  }

  #onEvent(feed: WatchFeed, { type, kv, prevKv }: KeyEvent): void {
    const revision = Number(kv.modRevision);
    const before = prevKv && this.#keys.decode(prevKv);
    const now = type === 'PUT' ? this.#keys.decode(kv) : undefined;
    const isCertain = [before, now].every((record) => !record || this.#keys.isFirst(kv, record));
    // A node may be at two keys, and what was deleted may not be known. A watch goes on with credentials that are no
    // longer valid, by which nodes could not be renewed. A read shows what is left, and what is valid.
    const isDoubtful = type === 'DELETE' && (!prevKv || this.#security.hasCredentials);
    if (!isCertain || isDoubtful) return feed.refresh();
    const isSame = before !== undefined && before.name === now?.name && idOf(before) === idOf(now);
    if (before && !isSame) feed.change({ action: 'delete', service: before, revision });
    if (now) feed.change({ action: 'update', service: now, revision });
  }
}

function check({ address, prefix, credentials: { username, password, passwordFile } = {} }: Settings): void {
  parseAddresses(address, defaultPort);
  if (prefix === '') throw invalidOption('prefix is empty: give what begins the keys in etcd, or leave it out');
  if (username === undefined && (password ?? passwordFile) !== undefined) {
    throw invalidOption('a password for etcd needs a user: give credentials.username (or TENON_REGISTRY_USERNAME)');
  }
}
