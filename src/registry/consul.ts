import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { textOf } from '../errors/errors.ts';
import { checkIdOf } from '../go-micro/consul.ts';
import type { WithDefaults } from '../internal/defaults.ts';
import { token } from '../internal/token.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import {
  entriesIn,
  type HealthEntry,
  isAskable,
  namesIn,
  serviceDefinition,
  serviceIdOf,
  serviceIn,
} from './consul/records.ts';
import { AddressList, formatAddress, parseAddresses, type ServerAddress } from './kit/address-list.ts';
import { agentLeases, type Place } from './kit/agent-leases.ts';
import { boundedCall } from './kit/bounded-call.ts';
import { BrokenRecords } from './kit/broken-records.ts';
import type { DriverCall, DriverTools, Registration, RegistryDriver, Snapshot, WatchFeed } from './kit/driver.ts';
import { DrivenRegistry } from './kit/driven-registry.ts';
import { type DriverFailure, HttpCallError, invalidService } from './kit/errors.ts';
import { type HttpCall, HttpChannel, type HttpRequest, HttpStatusError } from './kit/http-channel.ts';
import type { LeaseManager } from './kit/lease-manager.ts';
import { LongPoll, type PolledRead } from './kit/long-poll.ts';
import { pathPart } from './kit/records.ts';
import { WatchFeeds } from './kit/watch-feeds.ts';
import type { Registry, RegistryCapabilities, RegistryOptions } from './registry.ts';

/** Configures a {@link ConsulRegistry}. A token is among the `credentials`. */
export interface ConsulRegistryOptions extends RegistryOptions {
  /** Services are found in this datacentre; they are registered in that of the agent. @default the agent's */
  readonly datacenter?: string | undefined;
  /** A namespace of Consul Enterprise; other servers refuse it. @default that of the token */
  readonly namespace?: string | undefined;
  /** An admin partition of Consul Enterprise; other servers refuse it. @default that of the agent */
  readonly partition?: string | undefined;
  /** Time for which an agent holds a query whose answer has not changed, in milliseconds. @default 10_000 */
  readonly waitMs?: number | undefined;
  /** Shortest time between two reads of what a watch follows, in milliseconds. @default 250 */
  readonly minReadMs?: number | undefined;
  /** A watch reads what it watches at least as often as this, in milliseconds. @default 30_000 */
  readonly maxReadMs?: number | undefined;
  /** A larger record of a node is refused, and passed over by readers, in bytes. @default 262_144 */
  readonly maxRecordBytes?: number | undefined;
}
/** Container key of the {@link ConsulRegistryOptions}. */
export const ConsulRegistryOptions: ServiceIdentifier<ConsulRegistryOptions> = token(
  'registry',
  'ConsulRegistryOptions',
);

const defaults = {
  address: '127.0.0.1:8500',
  timeoutMs: 5_000,
  ttlMs: 30_000,
  waitMs: 10_000,
  minReadMs: 250,
  maxReadMs: 30_000,
  maxRecordBytes: 262_144,
} as const;
type Settings = WithDefaults<ConsulRegistryOptions, typeof defaults>;

const defaultPort = 8500;
// An agent takes 200 connections from one address by default, those of queries that it holds among them.
const maxConnections = 32;
const maxPolls = 64;
// An address may stand for several agents.
const maxAgents = 3;

/** A registry in Consul, with a service and a TTL check per node, in Go Micro's form. */
@injectable()
export class ConsulRegistry extends DrivenRegistry<Settings> implements Registry {
  static readonly capabilities: RegistryCapabilities = {
    expires: true,
    shared: true,
    watches: true,
    renewalRestores: true,
    transferable: true,
    tls: true,
    credentials: ['token'],
    minTtlMs: 1_000,
  };

  constructor(
    @inject(ConsulRegistryOptions) @optional() options: ConsulRegistryOptions = {},
    @inject(Clock) @optional() clock?: Clock,
    @inject(Random) @optional() random?: Random,
    @inject(Timers) @optional() timers?: Timers,
    @inject(Logger) @optional() logger?: Logger,
  ) {
    const spec = {
      name: 'consul',
      capabilities: ConsulRegistry.capabilities,
      optionsName: 'ConsulRegistryOptions',
      defaults,
      check: ({ address }: Settings) => void parseAddresses(address, defaultPort),
      open: (settings: Settings, tools: DriverTools) => new ConsulDriver(settings, tools),
    };
    super(spec, options, { clock, random, timers, logger });
  }
}

/** The answer of a query, and the index from which the next one can wait. */
interface Answer {
  readonly index: number;
  readonly value: unknown;
  /** True if the token may not read all of it. */
  readonly isHidden: boolean;
}

const tokenRemedy = 'TENON_REGISTRY_TOKEN (or its _FILE) is the token, which needs the right to do that';

class HiddenRecords extends Error {}

class ConsulDriver implements RegistryDriver {
  readonly server: string;
  readonly bounds: Settings;
  readonly #tools: DriverTools;
  readonly #scope: NonNullable<HttpRequest['query']>;
  readonly #addresses: AddressList;
  readonly #channel: HttpChannel;
  /** For queries that are held. */
  readonly #held: HttpChannel;
  readonly #leases: LeaseManager<Place>;
  readonly #broken: BrokenRecords;
  readonly #feeds = new WatchFeeds();
  /** By the service; undefined for the names of all. */
  readonly #polls = new Map<string | undefined, { readonly poll: LongPoll; readonly started: Promise<void> }>();
  readonly #closing = new AbortController();

  constructor(settings: Settings, tools: DriverTools) {
    const { address, namespace: ns, partition, timeoutMs } = settings;
    const all = parseAddresses(address, defaultPort);
    const addresses = new AddressList(all, { ...tools, registry: 'consul', serverName: 'Consul' });
    const headers = (): Record<string, string | undefined> => ({ 'x-consul-token': tools.security.token });
    const channel = { registry: 'consul', addresses, tools, headers };
    this.server = `Consul at ${all.map(formatAddress).join(', ')}`;
    this.bounds = settings;
    this.#tools = tools;
    this.#scope = { ns, partition };
    this.#addresses = addresses;
    this.#channel = new HttpChannel({ ...channel, maxConnections });
    this.#held = new HttpChannel(channel);
    this.#broken = new BrokenRecords(tools.logger);
    const backend = {
      register: this.#register.bind(this),
      renew: this.#renew.bind(this),
      remove: ({ service, node }: Registration, at: ServerAddress, signal: AbortSignal) =>
        this.#remove(service.name, node.id, { signal, timeoutMs, at }),
    };
    const { signal } = this.#closing;
    this.#leases = agentLeases(backend, { ...tools, registry: 'consul', addresses, timeoutMs, signal });
  }

  async announce(registration: Registration, { signal }: DriverCall): Promise<void> {
    const { name } = registration.service;
    if (!isAskable(name)) throw invalidService(name, 'Consul cannot be asked for a service of that name');
    return this.#leases.announce(registration, signal);
  }

  async withdraw(service: string, id: string, call: DriverCall): Promise<void> {
    if (!isAskable(service)) return;
    await this.#leases.withdraw(service, id, call.signal);
    // Another process may have registered it, or this one at another agent.
    await this.#remove(service, id, call);
  }

  release(service: string, id: string): Promise<void> {
    return this.#leases.release(service, id);
  }

  async names(call: HttpCall): Promise<readonly string[]> {
    const { value } = await this.#get(this.#channel, servicesPath, call);
    return [...namesIn(value).keys()].sort();
  }

  async read(name = '', call: HttpCall): Promise<Snapshot> {
    if (!isAskable(name)) return { nodes: [] };
    const { value, isHidden } = await this.#get(this.#channel, pathOf(name), call);
    // A node that two agents have is that of the later registration.
    const found = entriesIn(value).filter((entry) => !entry.isCritical && entry.name === name);
    found.sort((a, b) => Number(b.hasLapsed) - Number(a.hasLapsed) || a.index - b.index);
    const byId = new Map(found.map((entry) => [entry.id, entry]));
    const nodes = [...byId.values()].flatMap((entry) => {
      const place = `service ${entry.id} at the node ${entry.node} of Consul`;
      const service = this.#broken.read(place, () => serviceIn(entry, this.bounds.maxRecordBytes));
      return service ? [{ service, hasLapsed: entry.hasLapsed }] : [];
    });
    if (nodes.length === 0 && isHidden)
      throw new HiddenRecords(`the token may not read service "${name}" or its nodes`);
    return { nodes };
  }

  /** Follows a service, or the names of all and each of some of them, once for all watches that want the same. */
  async watch(feed: WatchFeed, signal: AbortSignal): Promise<void> {
    this.#feeds.join(feed, signal, () => this.#prune());
    // Nothing ever happens to a service that nobody can ask for.
    if (feed.service !== undefined && !isAskable(feed.service)) return;
    const poll = await this.#follow(feed.service);
    if (feed.service !== undefined) return;
    await Promise.all(poll.keys.slice(0, Math.max(0, maxPolls - this.#polls.size)).map((name) => this.#follow(name)));
  }

  failure(error: unknown): DriverFailure {
    if (error instanceof HiddenRecords) return { kind: 'denied', remedy: tokenRemedy };
    if (error instanceof HttpStatusError) {
      const { status, said } = error;
      const isDenied = status === 401 || status === 403 || /permission denied|acl not found/i.test(said);
      if (isDenied) return { kind: 'denied', remedy: tokenRemedy };
      const isPlain = /http request to an https server/i.test(said);
      if (isPlain) return { kind: 'refused', remedy: 'TENON_REGISTRY_TLS=true speaks TLS' };
      return { kind: status === 429 || status >= 500 ? 'unreachable' : 'refused' };
    }
    if (!(error instanceof HttpCallError)) return { kind: 'refused' };
    const { code = '' } = ((error.cause as Error).cause ?? {}) as NodeJS.ErrnoException;
    const isNobody = /^(?:ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)$/.test(code);
    const remedy = 'Does a Consul agent run there? TENON_REGISTRY_ADDRESS says where to look';
    return { kind: 'unreachable', ...(isNobody && { remedy }) };
  }

  close(): void {
    this.#closing.abort();
    this.#leases.close();
    for (const { poll } of this.#polls.values()) poll.stop();
    this.#channel.close();
    this.#held.close();
  }

  /** Registers a node at one agent. Resolves when the catalog has it: the agent tells the servers by and by. */
  async #register(
    registration: Registration,
    at: ServerAddress,
    signal: AbortSignal,
    timeoutMs: number,
  ): Promise<void> {
    const definition = serviceDefinition(registration);
    const { ID, Name, Port } = definition;
    const call = { signal, timeoutMs, at };
    const tags = JSON.stringify(definition.Tags);
    await this.#put({ path: '/v1/agent/service/register', body: JSON.stringify(definition) }, call);
    // A check that there was keeps its status.
    await this.#put({ path: passPathOf(ID) }, call);
    const isThere = ({ id, port, tags: its, hasLapsed }: HealthEntry): boolean =>
      id === ID && port === Port && !hasLapsed && JSON.stringify(its) === tags;
    await this.#untilCatalog(Name, call, (entries) => entries.some(isThere));
  }

  async #renew({ service, node, ttlMs }: Registration, at: ServerAddress, signal: AbortSignal): Promise<boolean> {
    const path = passPathOf(serviceIdOf(service.name, node.id));
    // It is left on its way when it is late: a renewal counts when it arrives.
    const sent = this.#put({ path }, { signal: this.#closing.signal, timeoutMs: ttlMs, at });
    const target = { registry: 'consul', method: 'register', server: `Consul at ${formatAddress(at)}` };
    const timeoutMs = Math.min(this.bounds.timeoutMs, ttlMs * 0.3);
    return boundedCall({ ...target, timers: this.#tools.timers, timeoutMs, signal }, () => sent);
  }

  /** Removes a node, if there is one. Resolves when the catalog no longer has it. */
  async #remove(name: string, node: string, call: HttpCall): Promise<void> {
    const id = serviceIdOf(name, node);
    const path = `/v1/agent/service/deregister/${pathPart(id)}`;
    const count = (entries: readonly HealthEntry[]): number =>
      entries.filter((entry) => entry.id === id && entry.name === name).length;
    for (let attempt = 0; attempt < maxAgents; attempt += 1) {
      const { value, isHidden } = await this.#get(this.#channel, pathOf(name), call, { isOwn: true });
      const before = count(entriesIn(value));
      if (before === 0 && !isHidden) return;
      // Over a connection of its own, as a proxy may lead the next one to the agent that has it.
      const isKnown = await this.#put({ path, headers: { connection: 'close' } }, call);
      if (isKnown) return this.#untilCatalog(name, call, (entries) => count(entries) < before);
    }
  }

  /** Resolves with false if the agent does not know what the request names. */
  async #put(request: HttpRequest, call: HttpCall): Promise<boolean> {
    const put = { ...request, method: 'PUT', query: this.#scope, isRepeatable: true };
    const response = await this.#channel.request(put, call);
    if (response.status === 200) return true;
    const isUnknown = /unknown (?:check|service)|does not have associated TTL/i.test(response.body);
    if (response.status === 404 || isUnknown) return false;
    throw new HttpStatusError(put, response);
  }

  async #untilCatalog(name: string, call: HttpCall, isSo: (entries: readonly HealthEntry[]) => boolean): Promise<void> {
    for (let index = 0; ;) {
      const answer = await this.#get(this.#held, pathOf(name), call, { isOwn: true, index, waitMs: 1_000 });
      if (isSo(entriesIn(answer.value)) || answer.isHidden) return;
      index = answer.index;
    }
  }

  async #get(
    channel: HttpChannel,
    path: string,
    call: HttpCall,
    { index = 0, waitMs = 0, isOwn = false } = {},
  ): Promise<Answer> {
    const held = index > 0 && { index, wait: `${waitMs}ms` };
    // A connection that broke under a query that was held has to be noticed.
    const isRepeatable = index === 0;
    const request = {
      path,
      isRepeatable,
      query: { ...this.#scope, dc: isOwn ? undefined : this.bounds.datacenter, ...held },
    };
    const response = await channel.request(request, call);
    if (response.status !== 200) throw new HttpStatusError(request, response);
    const { 'x-consul-index': next, 'x-consul-results-filtered-by-acls': isHidden } = response.headers;
    // A query with index 0 would not be held.
    return { index: Math.max(1, Number(next) || 1), value: jsonIn(response.body), isHidden: isHidden === 'true' };
  }

  async #follow(service: string | undefined): Promise<LongPoll> {
    const known = this.#polls.get(service);
    if (known) return known.started.then(() => known.poll);
    const { clock, timers } = this.#tools;
    const poll = new LongPoll({
      clock,
      timers,
      minReadMs: this.bounds.minReadMs,
      maxFailures: this.#addresses.inOrder.length,
      read: (index, signal) => this.#poll(service, index, signal),
      onChange: (keys) => {
        if (service === undefined) for (const name of keys) void this.#followAlso(name);
        else for (const feed of this.#feeds) feed.refresh(service);
      },
      onLost: (error) => {
        this.#forget(service, poll);
        const why = `${this.server} was lost: ${textOf(error)}`;
        for (const feed of this.#feeds)
          if (feed.service === undefined || feed.service === service) feed.fail(why, error);
      },
    });
    const started = poll.start();
    this.#polls.set(service, { poll, started });
    started.catch(() => this.#forget(service, poll));
    await started;
    return poll;
  }

  /** Stops a poll. Another one may have taken its place. */
  #forget(service: string | undefined, poll: LongPoll): void {
    if (this.#polls.get(service)?.poll === poll) this.#polls.delete(service);
    poll.stop();
  }

  /** Follows a service of which a watch of all has heard, and no longer one that is gone. Never rejects. */
  async #followAlso(name: string): Promise<void> {
    const isThere = (): boolean => this.#polls.get(undefined)?.poll.keys.includes(name) === true;
    const known = this.#polls.get(name);
    const drop = (): void => {
      if (known && !isThere() && !this.#feeds.has(name)) this.#forget(name, known.poll);
    };
    if (!isThere()) known?.started.then(drop, () => {});
    else if (this.#polls.size < maxPolls) await this.#follow(name).catch(() => {});
    for (const feed of this.#feeds) feed.refresh(name);
  }

  async #poll(service: string | undefined, index: number, signal: AbortSignal): Promise<PolledRead> {
    const { timeoutMs, waitMs } = this.bounds;
    // Consul adds up to a sixteenth to the time.
    const heldMs = index > 0 ? waitMs + waitMs / 16 : 0;
    const at = index > 0 ? this.#addresses.current : undefined;
    const call = { signal, timeoutMs: heldMs + timeoutMs, at };
    const path = service === undefined ? servicesPath : pathOf(service);
    const answer = await this.#get(this.#held, path, call, { index, waitMs });
    if (service === undefined) return { index: answer.index, content: namesIn(answer.value) };
    const entries = entriesIn(answer.value).filter(({ isCritical, hasLapsed }) => !isCritical && !hasLapsed);
    const content = new Map(entries.map((entry) => [`${entry.node}\n${entry.id}`, JSON.stringify(entry)]));
    return { index: answer.index, content };
  }

  #prune(): void {
    for (const [service, { poll }] of this.#polls) {
      if (this.#feeds.has(service) || (service !== undefined && this.#feeds.has(undefined))) continue;
      this.#forget(service, poll);
    }
  }
}

const servicesPath = '/v1/catalog/services';

function pathOf(service: string): string {
  return `/v1/health/service/${pathPart(service)}`;
}

function passPathOf(id: string): string {
  return `/v1/agent/check/pass/${pathPart(checkIdOf(id))}`;
}

function jsonIn(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    throw new Error('its answer is not that of a Consul agent. TENON_REGISTRY_ADDRESS says where to look');
  }
}
