import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { hostname } from 'node:os';

import type { Answer, Packet } from 'dns-packet';
import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { aCount } from '../errors/checked-options.ts';
import { enumerationName, mdnsDomain } from '../go-micro/mdns.ts';
import type { WithDefaults } from '../internal/defaults.ts';
import { token } from '../internal/token.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, type Timer, Timers } from '../runtime/runtime.ts';
import { MdnsSockets } from './mdns/sockets.ts';
import {
  metaQueryName,
  type ResolvedNode,
  isValidServiceName,
  enumerationRecords,
  nodeRecords,
  nodesIn,
  type MdnsContext,
  servicesIn,
  withPointer,
} from './mdns/records.ts';
import { type MdnsAnswer, MdnsResponder } from './mdns/responder.ts';
import type {
  DriverCall,
  DriverTools,
  LeasedNode,
  Registration,
  RegistryDriver,
  Snapshot,
  WatchFeed,
} from './kit/driver.ts';
import { DrivenRegistry } from './kit/driven-registry.ts';
import type { DriverFailure } from './kit/errors.ts';
import { LeaseManager } from './kit/lease-manager.ts';
import { WatchFeeds } from './kit/watch-feeds.ts';
import type { NodeRecord, Registry, RegistryCapabilities, RegistryOptions } from './registry.ts';

/** Options of a {@link MdnsRegistry}. `address` is ignored. */
export interface MdnsRegistryOptions extends RegistryOptions {
  /** Address of the network interface: with `127.0.0.1` packets stay on this machine. @default the system's */
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
  /** Shortest time in milliseconds between two queries of a watch. @default 100 */
  readonly minReadMs?: number | undefined;
}
/** Container key of the {@link MdnsRegistryOptions}. */
export const MdnsRegistryOptions: ServiceIdentifier<MdnsRegistryOptions> = token('registry', 'MdnsRegistryOptions');

const defaults = {
  port: 5353,
  domain: mdnsDomain,
  queryMs: 100,
  maxQueryMs: 500,
  maxPacketBytes: 1_400,
  maxAnswerBytesPerSecond: 262_144,
  maxNodes: 10_000,
  minReadMs: 100,
  timeoutMs: 5_000,
  ttlMs: 30_000,
} as const;
// Like Go Micro, a new record is announced three times, as datagrams get lost (RFC 6762 section 8.3).
const repeatMs = [1_000, 3_000] as const;
// RFC 6762 section 6: a record is multicast at most once a second.
const announceIntervalMs = 1_000;

type Settings = WithDefaults<MdnsRegistryOptions, typeof defaults>;

/** A node that this process announces. */
interface AnnouncedNode {
  readonly service: string;
  readonly records: readonly Answer[];
  /** The records with a TTL of 0 (RFC 6762 section 10.1). */
  readonly goodbye: readonly Answer[];
  readonly repeats: readonly Timer[];
  announcedAtMs: number;
}

/** A query whose answers are being collected. */
interface PendingQuery {
  readonly name: string;
  onResponse(packet: Packet, nodes: readonly ResolvedNode[]): void;
}

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
  readonly #tools: DriverTools;
  readonly #sockets: MdnsSockets;
  readonly #leases: LeaseManager<AnnouncedNode>;
  readonly #queries = new Set<PendingQuery>();
  readonly #feeds = new WatchFeeds();
  #isFull = false;

  constructor(settings: Settings, tools: DriverTools) {
    const { port, interface: at, minReadMs, maxAnswerBytesPerSecond } = settings;
    this.server = `multicast DNS on UDP port ${port}${at === undefined ? '' : ` at the interface ${at}`}`;
    // Nodes announce changes by themselves: a watch queries only when a record is about to expire.
    this.bounds = { minReadMs, maxReadMs: Number.POSITIVE_INFINITY };
    this.#settings = settings;
    this.#tools = tools;
    const responder = new MdnsResponder({
      clock: tools.clock,
      port,
      maxAnswerBytesPerSecond,
      answers: () => this.#answers(),
      send: (question, records, to) => void this.#sockets.answer(question, records, to).catch(() => {}),
    });
    const listener = {
      query: responder.answer.bind(responder),
      response: (packet: Packet) => this.#onResponse(packet),
    };
    this.#sockets = new MdnsSockets({ ...settings, clock: tools.clock }, listener);
    const backend = {
      grant: (registration: Registration) => this.#announce(registration),
      renew: (own: AnnouncedNode) => this.#repeat(own),
      replace: (own: AnnouncedNode, registration: Registration) => {
        cancelRepeats(own);
        return this.#announce(registration);
      },
      revoke: (own: AnnouncedNode) => {
        cancelRepeats(own);
        return this.#sockets.announce(own.goodbye);
      },
    };
    this.#leases = new LeaseManager(backend, { registry: 'mdns', ...tools });
  }

  async announce(registration: Registration, { signal }: DriverCall): Promise<void> {
    await this.#sockets.listen();
    await this.#leases.announce(registration, signal);
  }

  withdraw(service: string, id: string, { signal }: DriverCall): Promise<void> {
    return this.#leases.withdraw(service, id, signal);
  }

  async names({ signal }: DriverCall): Promise<readonly string[]> {
    const { domain } = this.#settings;
    const names = new Set<string>();
    await this.#query(enumerationName(domain), signal, 0, (packet) => {
      for (const name of servicesIn(packet, domain)) if (names.has(name) || this.hasRoom(names.size)) names.add(name);
      return names.size;
    });
    return [...names].sort();
  }

  /** Returns the nodes that answer now. The snapshot is incomplete, as queries and answers may be lost. */
  async read(name = '', { signal, isInitialRead }: DriverCall): Promise<Snapshot> {
    const { domain, maxQueryMs } = this.#settings;
    if (!isValidServiceName(name, domain)) return { nodes: [] };
    const found = new Map<string, ResolvedNode>();
    await this.#query(`${name}.${domain}`, signal, isInitialRead ? 0 : maxQueryMs, (_packet, nodes) => {
      for (const node of nodes) {
        const { service, ttlS } = node;
        if (service.name !== name) continue;
        const { id } = service.nodes[0] as NodeRecord;
        // A goodbye that arrived during the query.
        if (ttlS === 0) found.delete(id);
        else if (found.has(id) || this.hasRoom(found.size)) found.set(id, node);
      }
      return found.size;
    });
    return { nodes: [...found.values()].map(leasedNode), isComplete: false };
  }

  async watch(feed: WatchFeed, signal: AbortSignal): Promise<void> {
    await this.#sockets.listen();
    if (signal.aborted) return;
    this.#feeds.join(feed, signal);
  }

  /** Limits the nodes that are accepted from others: any host on the link may announce some. */
  hasRoom(count: number): boolean {
    const { maxNodes } = this.#settings;
    if (count < maxNodes) return true;
    if (!this.#isFull) {
      const message = `more than ${maxNodes} nodes or services are announced over multicast DNS: further ones are skipped`;
      this.#tools.logger.warn(message);
    }
    this.#isFull = true;
    return false;
  }

  failure(): DriverFailure {
    const remedy =
      'Set TENON_MDNS_INTERFACE to the address of an interface that is up and TENON_MDNS_PORT to a free port, or use another registry';
    return { kind: 'unreachable', remedy };
  }

  async close(): Promise<void> {
    for (const { grant } of this.#leases.entries()) if (grant) cancelRepeats(grant);
    this.#leases.close();
    await this.#sockets.close();
  }

  /** Announces a new or changed node, three times. */
  async #announce({ service, node, ttlMs: leaseMs }: Registration): Promise<AnnouncedNode> {
    const announcement = { service, node, leaseMs, ...(await resolved(node)) };
    const records = nodeRecords(announcement, this.#context());
    const goodbye = nodeRecords(announcement, this.#context(), true);
    const announcedAtMs = this.#tools.clock.monotonicMs();
    await this.#sockets.announce(records);
    const again = (): void => void this.#sockets.announce(records).catch(() => {});
    const repeats = repeatMs.map((delayMs) => this.#tools.timers.after(delayMs, again));
    return { service: service.name, records, goodbye, repeats, announcedAtMs };
  }

  /** Announces an unchanged node again, so that the records in the caches of others do not expire. */
  async #repeat(own: AnnouncedNode): Promise<AnnouncedNode> {
    const now = this.#tools.clock.monotonicMs();
    if (now - own.announcedAtMs < announceIntervalMs) return own;
    own.announcedAtMs = now;
    await this.#sockets.announce(own.records);
    return own;
  }

  #answers(): MdnsAnswer[] {
    const context = this.#context();
    const { domain } = context;
    const own = [...this.#leases.entries()].flatMap(({ grant }) => grant ?? []);
    const metaQuery = metaQueryName(domain);
    const lists = [...new Set(own.map(({ service }) => service))].flatMap((service): MdnsAnswer[] => [
      { name: enumerationName(domain), records: enumerationRecords(service, context) },
      { name: metaQuery, records: [{ type: 'PTR', name: metaQuery, ttl: 120, data: `${service}.${domain}` }] },
    ]);
    // A packet for each node: all of them may not fit into one.
    const nodes = own.map(({ service, records }): MdnsAnswer => {
      return { name: `${service}.${domain}`, records: withPointer(records, service, context) };
    });
    return [...lists, ...nodes];
  }

  #onResponse(packet: Packet): void {
    const { domain } = this.#settings;
    const names = new Set([...this.#queries].map(({ name }) => name.toLowerCase()));
    let acceptsAll = false;
    for (const { service } of this.#feeds) {
      if (service === undefined) acceptsAll = true;
      else names.add(`${service}.${domain}`.toLowerCase());
    }
    const nodes = nodesIn(packet, domain, (name) => acceptsAll || isSubdomain(name.toLowerCase(), names));
    for (const query of this.#queries) query.onResponse(packet, nodes);
    for (const node of nodes) {
      const change = { ...leasedNode(node), action: node.ttlS === 0 ? ('delete' as const) : ('update' as const) };
      for (const feed of this.#feeds) feed.change(change);
    }
  }

  /**
   * Queries twice within `queryMs`, as datagrams get lost. Without an answer it goes on until `maxMs` have passed.
   * `onResponse` returns the number of answers so far.
   */
  async #query(
    name: string,
    signal: AbortSignal,
    maxMs: number,
    onResponse: (packet: Packet, nodes: readonly ResolvedNode[]) => number,
  ): Promise<void> {
    let count = 0;
    const query: PendingQuery = { name, onResponse: (packet, nodes) => void (count = onResponse(packet, nodes)) };
    this.#queries.add(query);
    try {
      const halfMs = Math.max(1, this.#settings.queryMs / 2);
      for (let waitedMs = 0; ;) {
        for (let half = 0; half < 2; half += 1) {
          await this.#sockets.query(name);
          await this.#tools.timers.sleep(halfMs, signal);
          waitedMs += halfMs;
        }
        if (count > 0 || waitedMs >= maxMs) return;
      }
    } finally {
      this.#queries.delete(query);
    }
  }

  #context(): MdnsContext {
    const { domain, maxPacketBytes } = this.#settings;
    return { domain, maxPacketBytes, host: hostname() };
  }
}

function leasedNode({ service, ttlS }: ResolvedNode): LeasedNode {
  return { service, leaseMs: ttlS * 1_000 };
}

function cancelRepeats({ repeats }: AnnouncedNode): void {
  for (const timer of repeats) timer.cancel();
}

/** True if a name is a subdomain of one of the others. */
function isSubdomain(name: string, others: ReadonlySet<string>): boolean {
  for (let dot = name.indexOf('.'); dot !== -1; dot = name.indexOf('.', dot + 1)) {
    if (others.has(name.slice(dot + 1))) return true;
  }
  return false;
}

/** Resolves the address of a node: A and AAAA records hold IP addresses. `ip` is undefined if it has none. */
async function resolved({ address }: NodeRecord): Promise<{ readonly ip: string | undefined; readonly port: number }> {
  const [, v6, host = '', port] = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(address) ?? [];
  if (port === undefined || Number(port) > 65_535) return { ip: undefined, port: 0 };
  const name = v6 ?? host;
  if (isIP(name) !== 0) return { ip: name, port: Number(port) };
  const found = await lookup(name, { family: 4 }).catch(() => undefined);
  return { ip: found?.address, port: Number(port) };
}
