import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { aCount } from '../errors/checked-options.ts';
import { mdnsDomain } from '../go-micro/mdns.ts';
import type { WithDefaults } from '../internal/defaults.ts';
import { token } from '../internal/token.ts';
import { Logger } from '../logger/logger.ts';
import type { AnnouncedNode } from '../mdns/announcer.ts';
import type { NodeChange } from '../mdns/browser.ts';
import { MulticastDns } from '../mdns/mdns.ts';
import { UnfitNode } from '../mdns/records.ts';
import { Clock, Timers } from '../runtime/runtime.ts';
import type { DriverCall, DriverTools, Registration, RegistryDriver, Snapshot, WatchFeed } from './kit/driver.ts';
import { DrivenRegistry } from './kit/driven-registry.ts';
import { type DriverFailure, invalidService } from './kit/errors.ts';
import { type LeaseBackend, LeaseManager } from './kit/lease-manager.ts';
import { NodeLimit } from './kit/node-limit.ts';
import { nodeOf, recordOf } from './mdns/records.ts';
import type { Registry, RegistryCapabilities, RegistryOptions, ServiceRecord } from './registry.ts';

/** Options of a {@link MdnsRegistry}. `address` is ignored. */
export interface MdnsRegistryOptions extends RegistryOptions {
  /**
   * Address of the one network interface to use: with `127.0.0.1` packets stay on this machine.
   * @default all interfaces, as they come and go
   */
  readonly interface?: string | undefined;
  /** UDP port. @default 5353 */
  readonly port?: number | undefined;
  /** Domain of the services' names. @default 'micro', as in Go Micro */
  readonly domain?: string | undefined;
  /**
   * Time in milliseconds for which answers to a query are collected: their number is not known.
   * @default 100, as in Go Micro
   */
  readonly queryMs?: number | undefined;
  /**
   * Time in milliseconds between the three probes by which a new node makes sure that nobody else has its name.
   * @default 250, as RFC 6762 says
   */
  readonly probeMs?: number | undefined;
  /**
   * Time in milliseconds for which an unanswered query is repeated, before the service counts as not found.
   * @default 500
   */
  readonly maxQueryMs?: number | undefined;
  /**
   * Size of an answer in bytes above which descriptions of endpoints are left out of it, so that it fits one network
   * packet.
   * @default 1_400
   */
  readonly maxPacketBytes?: number | undefined;
  /**
   * Most bytes of answers per second to one address, so that queries with a forged source address are of no use to an
   * attacker. @default 262_144
   */
  readonly maxAnswerBytesPerSecond?: number | undefined;
  /**
   * Most nodes, and most names of services, that are accepted from others. Further ones are skipped. @default 10_000
   */
  readonly maxNodes?: number | undefined;
  /** Shortest time in milliseconds between two reads of a watch. @default 100 */
  readonly minReadMs?: number | undefined;
}
/** Container key of the {@link MdnsRegistryOptions}. */
export const MdnsRegistryOptions: ServiceIdentifier<MdnsRegistryOptions> = token('registry', 'MdnsRegistryOptions');

const defaults = {
  port: 5353,
  domain: mdnsDomain,
  queryMs: 100,
  probeMs: 250,
  maxQueryMs: 500,
  maxPacketBytes: 1_400,
  maxAnswerBytesPerSecond: 262_144,
  maxNodes: 10_000,
  minReadMs: 100,
  timeoutMs: 5_000,
  ttlMs: 30_000,
} as const;

type Settings = WithDefaults<MdnsRegistryOptions, typeof defaults>;

/**
 * Announces and finds nodes by multicast DNS (RFC 6762), in the records of Go Micro. Each node answers for itself:
 * there is no server, and nothing to install.
 */
@injectable()
export class MdnsRegistry extends DrivenRegistry<Settings> implements Registry {
  static readonly capabilities: RegistryCapabilities = {
    expires: true,
    shared: true,
    watches: true,
    renewalRestores: true,
    transferable: true,
    ttlGranularityMs: 1_000,
  };

  constructor(
    @inject(MdnsRegistryOptions) @optional() options: MdnsRegistryOptions = {},
    @inject(Clock) @optional() clock?: Clock,
    @inject(Timers) @optional() timers?: Timers,
    @inject(Logger) @optional() logger?: Logger,
  ) {
    const spec = {
      name: 'mdns',
      capabilities: MdnsRegistry.capabilities,
      optionsName: 'MdnsRegistryOptions',
      defaults,
      rules: { port: aCount },
      open: (settings: Settings, tools: DriverTools) => new MdnsDriver(settings, tools),
    };
    super(spec, options, { clock, timers, logger });
  }
}

class MdnsDriver implements RegistryDriver {
  readonly server: string;
  readonly bounds: { readonly minReadMs: number; readonly maxReadMs: number };
  readonly listsNames = true;
  readonly #settings: Settings;
  readonly #logger: Logger;
  readonly #limit: NodeLimit;
  readonly #wire: MulticastDns<ServiceRecord>;
  readonly #leases: LeaseManager<AnnouncedNode>;

  constructor(settings: Settings, tools: DriverTools) {
    const { port, interface: at, minReadMs } = settings;
    this.server = `multicast DNS on UDP port ${port}${at === undefined ? '' : ` at the interface ${at}`}`;
    // The wire reports every change: a watch reads once, when it starts.
    this.bounds = { minReadMs, maxReadMs: Number.POSITIVE_INFINITY };
    this.#settings = settings;
    this.#logger = tools.logger;
    const announced = 'nodes or services are announced over multicast DNS';
    this.#limit = new NodeLimit(settings.maxNodes, announced, tools.logger);
    const wire = new MulticastDns({
      ...settings,
      ...tools,
      nodeOf: recordOf,
      hasRoom: (count) => this.hasRoom(count),
      onRename: ({ service, id }, instance) => this.#logger.warn(sameNode(service, id, instance)),
      onSilence: (addresses) => this.#logger.warn(noMulticast(addresses, port)),
    });
    this.#wire = wire;
    const backend: LeaseBackend<AnnouncedNode> = {
      grant: ({ service, ttlMs }, signal) => wire.announce(nodeOf(service), ttlMs, signal),
      renew: (own) => wire.repeat(own),
      replace: (own, { service, ttlMs }) => wire.replace(own, nodeOf(service), ttlMs),
      release: (own) => wire.release(own),
      revoke: (own) => wire.withdraw(own),
    };
    this.#leases = new LeaseManager(backend, { registry: 'mdns', ...tools });
  }

  async announce(registration: Registration, { signal }: DriverCall): Promise<void> {
    try {
      await this.#leases.announce(registration, signal);
    } catch (error) {
      throw error instanceof UnfitNode ? invalidService(registration.service.name, error.message) : error;
    }
  }

  withdraw(service: string, id: string, { signal }: DriverCall): Promise<void> {
    return this.#leases.withdraw(service, id, signal, () => this.#wire.withdrawFormer(service, id));
  }

  release(service: string, id: string): Promise<void> {
    return this.#leases.release(service, id);
  }

  names({ signal }: DriverCall): Promise<readonly string[]> {
    return this.#wire.names(signal);
  }

  async read(name = '', { signal, isInitialRead }: DriverCall): Promise<Snapshot> {
    const found = await this.#wire.find(name, isInitialRead ? 0 : this.#settings.maxQueryMs, signal);
    return { nodes: found.map((service) => ({ service })) };
  }

  watch(feed: WatchFeed, signal: AbortSignal): Promise<void> {
    const onChange = ({ node: service, isGone }: NodeChange<ServiceRecord>): void =>
      feed.change({ service, action: isGone ? 'delete' : 'update' });
    return this.#wire.watch(feed.service, onChange, signal);
  }

  /** Limits the nodes that are accepted from others: any host on the link may announce some. */
  hasRoom(count: number): boolean {
    return this.#limit.hasRoom(count);
  }

  failure(): DriverFailure {
    const remedy =
      'Set TENON_MDNS_INTERFACE to the address of an interface that is up and TENON_MDNS_PORT to a free port, or use another registry';
    return { kind: 'unreachable', remedy };
  }

  async close(): Promise<void> {
    this.#leases.close();
    await this.#wire.close();
  }
}

function sameNode(service: string, id: string, instance: string): string {
  return `another process announces node "${id}" of service "${service}" over multicast DNS too: this one is announced as ${instance}. Others see one node with this id: give each process an id of its own`;
}

function noMulticast(addresses: readonly string[], port: number): string {
  return `multicast DNS does not work at ${addresses.join(', ')}: this process does not hear its own question there, so services will not be found. Check that the interface is up and has multicast, and that no firewall, VPN or container network drops UDP port ${port} and 224.0.0.251 (ff02::fb by IPv6). Or set TENON_MDNS_INTERFACE to the address of another interface, 127.0.0.1 for this machine alone`;
}
