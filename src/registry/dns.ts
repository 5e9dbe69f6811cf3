import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { DnsFailure, type DnsLookup, type SrvTarget } from '../dns/dns.ts';
import { KeptAnswer } from '../dns/kept-answer.ts';
import { canonicalName } from '../dns/names.ts';
import { DnsResolver } from '../dns/resolver.ts';
import { SystemDnsConfig, systemResolvConf } from '../dns/system-config.ts';
import { aCount } from '../errors/checked-options.ts';
import { Code, TenonError, textOf } from '../errors/errors.ts';
import type { WithDefaults } from '../internal/defaults.ts';
import { token } from '../internal/token.ts';
import { Logger } from '../logger/logger.ts';
import { endsWithin } from '../runtime/bounded.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { nodeOf, nodesOfTargets } from './dns/nodes.ts';
import { formatAddress, parseAddresses } from './kit/address-list.ts';
import { BrokenRecords } from './kit/broken-records.ts';
import type { DriverCall, DriverTools, RegistryDriver, Snapshot, WatchFeed } from './kit/driver.ts';
import { DrivenRegistry } from './kit/driven-registry.ts';
import type { DriverFailure } from './kit/errors.ts';
import { WatchFeeds } from './kit/watch-feeds.ts';
import type { NodeRecord, Registry, RegistryCapabilities, RegistryOptions, ServiceRecord } from './registry.ts';

/** Options of a {@link DnsRegistry}. Its address is that of a DNS server, several separated by commas. */
export interface DnsRegistryOptions extends RegistryOptions {
  /**
   * Domain that ends all names: `default.svc.cluster.local`.
   * @default none: names are completed by the search list of `resolvConf`
   */
  readonly domain?: string | undefined;
  /**
   * Name to look up for a service, in which `{service}` stands for the name of the service.
   * @default '_grpc._tcp.{service}', as Kubernetes has it for a port named `grpc`; `{service}` with a `port`
   */
  readonly pattern?: string | undefined;
  /**
   * Port of all nodes. With it the addresses of a name are looked up, and its SRV records without it.
   * @default none
   */
  readonly port?: number | undefined;
  /**
   * Time in milliseconds for which a node stays that is missing in later answers, for servers that put only some of the
   * nodes into each answer.
   * @default 0
   */
  readonly accumulateMs?: number | undefined;
  /** Shortest time between two lookups of a watched service, in milliseconds, whatever its TTL. @default 1_000 */
  readonly minReadMs?: number | undefined;
  /** Longest time between two lookups of a watched service, in milliseconds, whatever its TTL. @default 30_000 */
  readonly maxReadMs?: number | undefined;
  /** Most nodes of a service. Further ones are skipped. @default 1_000 */
  readonly maxNodes?: number | undefined;
  /** File with the servers and the search list of the system. @default '/etc/resolv.conf' */
  readonly resolvConf?: string | undefined;
}
/** Container key of the {@link DnsRegistryOptions}. */
export const DnsRegistryOptions: ServiceIdentifier<DnsRegistryOptions> = token('registry', 'DnsRegistryOptions');

const defaults = {
  timeoutMs: 5_000,
  ttlMs: 30_000,
  accumulateMs: 0,
  minReadMs: 1_000,
  maxReadMs: 30_000,
  maxNodes: 1_000,
  resolvConf: systemResolvConf,
} as const;
type Settings = WithDefaults<DnsRegistryOptions, typeof defaults>;

const dnsPort = 53;
// A lookup ends before the call that waits for it: then the last known nodes are returned.
const lookupShare = 0.8;
// Services that are remembered. Their names come from callers.
const maxServices = 1_024;

/**
 * Finds services by DNS: by SRV records, or by addresses and a port. It looks a service up again when the TTL of the
 * answer ends. Services cannot register.
 */
@injectable()
export class DnsRegistry extends DrivenRegistry<Settings> implements Registry {
  static readonly capabilities: RegistryCapabilities = {
    registers: false,
    expires: false,
    shared: true,
    watches: true,
    listsAll: false,
    keeps: { ids: false, metadata: false, serviceMetadata: false, endpoints: false, versions: false },
  };

  constructor(
    @inject(DnsRegistryOptions) @optional() options: DnsRegistryOptions = {},
    @inject(Clock) @optional() clock?: Clock,
    @inject(Random) @optional() random?: Random,
    @inject(Timers) @optional() timers?: Timers,
    @inject(Logger) @optional() logger?: Logger,
  ) {
    const spec = {
      name: 'dns',
      capabilities: DnsRegistry.capabilities,
      optionsName: 'DnsRegistryOptions',
      defaults,
      rules: { port: { min: 1, max: 65_535, isWhole: true }, maxNodes: aCount },
      check: checkSettings,
      open: (settings: Settings, tools: DriverTools) => new DnsDriver(settings, tools),
    };
    super(spec, options, { clock, random, timers, logger });
  }
}

class DnsDriver implements RegistryDriver {
  readonly server: string;
  readonly bounds: { readonly minReadMs: number; readonly maxReadMs: number };
  readonly #settings: Settings;
  readonly #tools: DriverTools;
  readonly #resolver: DnsResolver;
  readonly #broken: BrokenRecords;
  readonly #feeds = new WatchFeeds();
  /** By the name of the service, the one that was asked for last at the end. */
  readonly #services = new Map<string, KeptAnswer<NodeRecord>>();
  readonly #closing = new AbortController();
  /** True if it was logged that a service has too many nodes. */
  #isTold = false;

  constructor(settings: Settings, tools: DriverTools) {
    const { address, resolvConf } = settings;
    const { clock } = tools;
    const servers = address === undefined ? undefined : parseAddresses(address, dnsPort);
    const system = new SystemDnsConfig(resolvConf, clock);
    this.server = servers ? `DNS at ${servers.map(formatAddress).join(', ')}` : `the DNS servers of ${resolvConf}`;
    this.bounds = settings;
    this.#settings = settings;
    this.#tools = tools;
    this.#broken = new BrokenRecords(tools.logger);
    const config = (): SystemDnsConfig['current'] => ({ ...system.current, ...(servers && { servers }) });
    this.#resolver = new DnsResolver({ ...tools, config });
  }

  /** Returns the last answer while its TTL lasts, and the last known nodes while there is no answer. */
  async read(service = '', { timeoutMs, signal }: DriverCall): Promise<Snapshot> {
    const name = lookupName(service, this.#settings);
    if (name === undefined) return { nodes: [] };
    const known = this.#known(service);
    if (known.isDue) {
      known.refreshing ??= this.#refresh(service, name, known).finally(() => (known.refreshing = undefined));
      const { timers } = this.#tools;
      if (known.isEmpty) await known.refreshing;
      else await endsWithin(known.refreshing, { timers, timeoutMs: timeoutMs * lookupShare, signal });
    }
    return { nodes: known.items.map((node) => ({ service: recordOf(service, node) })), readAgainMs: known.nextMs };
  }

  /** DNS has no list of services: these are the ones that were asked for, and found. */
  names(): Promise<readonly string[]> {
    const found = [...this.#services].filter(([, { wasFound }]) => wasFound).map(([name]) => name);
    return Promise.resolve(found.sort());
  }

  watch(feed: WatchFeed, signal: AbortSignal): void {
    this.#feeds.join(feed, signal);
  }

  failure(cause: unknown): DriverFailure {
    const remedy = 'TENON_REGISTRY_ADDRESS says which DNS servers are asked';
    const isRefused = cause instanceof DnsFailure && cause.kind === 'refused';
    return { kind: isRefused ? 'refused' : 'unreachable', remedy, cause };
  }

  close(): void {
    this.#closing.abort(new Error('the registry is closed'));
  }

  /** Looks a service up. Rejects only if no nodes of it are known. */
  async #refresh(service: string, name: string, known: KeptAnswer<NodeRecord>): Promise<void> {
    const { logger } = this.#tools;
    try {
      const { nodes, lookup } = await this.#lookUp(service, name, known);
      if (!lookup.isCertain && !known.isEmpty && known.name !== lookup.name) {
        throw new DnsFailure('server-failure', `a name before ${lookup.name} in the search list cannot be looked up`);
      }
      const hasChanged = known.answered(nodes, lookup);
      if (known.outage.ended() > 0) logger.info(`${this.server} answers for ${service} again`);
      // Watches read at the end of the TTL; another caller may have asked before.
      if (hasChanged) for (const feed of this.#feeds) feed.refresh(service);
    } catch (error) {
      if (known.isEmpty || this.#closing.signal.aborted) throw error;
      if (known.failed()) {
        logger.warn(`${this.server} has no answer for ${service} (${textOf(error)}): its last known nodes stay`);
      }
    }
  }

  async #lookUp(
    service: string,
    name: string,
    known: KeptAnswer<NodeRecord>,
  ): Promise<{ readonly nodes: readonly NodeRecord[]; readonly lookup: DnsLookup<unknown> }> {
    const { port, timeoutMs, maxNodes } = this.#settings;
    const bounds = { timeoutMs: timeoutMs * lookupShare, signal: this.#closing.signal };
    let nodes: readonly NodeRecord[];
    let lookup: DnsLookup<string | SrvTarget>;
    if (port === undefined) {
      const found = await this.#resolver.services(name, bounds);
      nodes = nodesOfTargets(found.items, known.items, this.#broken, maxNodes);
      lookup = found;
    } else {
      const found = await this.#resolver.addresses(name, bounds);
      nodes = found.items.map((host) => nodeOf(formatAddress({ host, port }), { host, port }));
      lookup = found;
    }
    if (nodes.length > maxNodes && !this.#isTold) {
      this.#isTold = true;
      this.#tools.logger.warn(
        `${service} has more than ${maxNodes} nodes in DNS: those after the first ${maxNodes} are skipped`,
      );
    }
    return { nodes, lookup };
  }

  #known(service: string): KeptAnswer<NodeRecord> {
    const known =
      this.#services.get(service) ??
      new KeptAnswer<NodeRecord>({ ...this.#settings, maxItems: this.#settings.maxNodes }, this.#tools);
    this.#services.delete(service);
    this.#services.set(service, known);
    if (this.#services.size > maxServices) {
      const [least = ''] = [...this.#services].find(([, { isEmpty }]) => isEmpty) ?? [
        this.#services.keys().next().value,
      ];
      this.#services.delete(least);
    }
    return known;
  }
}

/** The name to look up; `undefined` if it cannot be the name of anything in DNS. */
function lookupName(service: string, { domain, port, pattern }: DnsRegistryOptions): string | undefined {
  const template = pattern ?? (port === undefined ? '_grpc._tcp.{service}' : '{service}');
  const relative = template.replaceAll('{service}', () => service);
  const name = domain === undefined ? relative : `${relative}.${domain.replace(/\.$/, '')}.`;
  return service !== '' && canonicalName(name) !== undefined ? name : undefined;
}

function recordOf(name: string, node: NodeRecord): ServiceRecord {
  return { name, version: '', metadata: {}, endpoints: [], nodes: [node] };
}

function checkSettings(settings: Settings): void {
  if (settings.address !== undefined) parseAddresses(settings.address, dnsPort);
  const { domain, pattern = '{service}' } = settings;
  if (pattern.includes('{service}') && lookupName('service', settings) !== undefined) return;
  throw new TenonError({
    code: Code.InvalidArgument,
    reason: 'registry.invalid_option',
    message: `the dns registry cannot look up "${pattern}"${domain === undefined ? '' : ` in the domain "${domain}"`}: write a name with {service} in it, as _grpc._tcp.{service}, and a domain, as default.svc.cluster.local`,
  });
}
