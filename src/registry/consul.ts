import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { AgentServices } from '../consul/agent-services.ts';
import { type ConsulChannel, ConsulStatusError, ForeignAnswerError } from '../consul/consul.ts';
import { ConsulClient, isUnfit } from '../consul/consul-client.ts';
import { isAskable, isText } from '../consul/health-entry.ts';
import type { WithDefaults } from '../internal/defaults.ts';
import { token } from '../internal/token.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { serviceDefinition, serviceIdOf, serviceIn } from './consul/records.ts';
import { AddressList, formatAddress, parseAddresses, type ServerAddress } from './kit/address-list.ts';
import { type AgentBackend, agentLeases, type Place } from './kit/agent-leases.ts';
import { boundedCall } from './kit/bounded-call.ts';
import { BrokenRecords } from './kit/broken-records.ts';
import type { DriverCall, DriverTools, Registration, RegistryDriver, Snapshot, WatchFeed } from './kit/driver.ts';
import { DrivenRegistry } from './kit/driven-registry.ts';
import { type DriverFailure, HttpCallError, invalidService } from './kit/errors.ts';
import { HttpChannel } from './kit/http-channel.ts';
import type { LeaseManager } from './kit/lease-manager.ts';
import type { PolledRead } from './kit/long-poll.ts';
import { PolledServices } from './kit/polled-services.ts';
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

const tokenRemedy = 'TENON_REGISTRY_TOKEN (or its _FILE) is the token, which needs the right to do that';
const addressRemedy = 'TENON_REGISTRY_ADDRESS says where to look';

class HiddenRecords extends Error {}

class ConsulDriver implements RegistryDriver {
  readonly server: string;
  readonly bounds: Settings;
  readonly #tools: DriverTools;
  readonly #addresses: AddressList;
  readonly #channels: readonly HttpChannel[];
  readonly #client: ConsulClient;
  readonly #owner: string;
  readonly #services: AgentServices;
  readonly #leases: LeaseManager<Place>;
  readonly #broken: BrokenRecords;
  readonly #polled: PolledServices;
  readonly #closing = new AbortController();

  constructor(settings: Settings, tools: DriverTools) {
    const { address, namespace, partition, datacenter, timeoutMs, minReadMs } = settings;
    const all = parseAddresses(address, defaultPort);
    const addresses = new AddressList(all, { ...tools, registry: 'consul', serverName: 'Consul' });
    const toAgents = { registry: 'consul', addresses, tools };
    const channels = [new HttpChannel({ ...toAgents, maxConnections }), new HttpChannel(toAgents)] as const;
    const { logger, timers, random, security } = tools;
    const [channel, heldChannel] = [withToken(channels[0], security), withToken(channels[1], security)];
    this.server = `Consul at ${all.map(formatAddress).join(', ')}`;
    this.bounds = settings;
    this.#tools = tools;
    this.#addresses = addresses;
    this.#channels = channels;
    const onUnnumbered = (): void =>
      logger.warn(`${this.server} answers without X-Consul-Index, as if a proxy dropped it: watches poll`);
    this.#client = new ConsulClient({ channel, heldChannel, namespace, partition, datacenter, onUnnumbered });
    this.#owner = random.uuid();
    this.#services = new AgentServices({ client: this.#client, timers, owner: this.#owner });
    this.#broken = new BrokenRecords(logger);
    const { signal } = this.#closing;
    this.#leases = agentLeases(this.#agents(), { ...tools, registry: 'consul', addresses, timeoutMs, signal });
    this.#polled = new PolledServices({
      ...tools,
      server: this.server,
      minReadMs,
      maxPolls,
      maxFailures: all.length,
      read: (service, index, until) => this.#poll(service, index, until),
    });
  }

  async announce(registration: Registration, { signal }: DriverCall): Promise<void> {
    const { service, node } = registration;
    const { name } = service;
    if (!isAskable(name)) throw invalidService(name, 'Consul cannot be asked for a service of that name');
    if (!isText(node.id)) throw invalidService(name, `the id of its node "${node.id}" has half a surrogate pair`);
    return this.#leases.announce(registration, signal);
  }

  async withdraw(service: string, id: string, call: DriverCall): Promise<void> {
    if (!isAskable(service)) return;
    await this.#leases.withdraw(service, id, call.signal, () =>
      this.#services.clear(service, serviceIdOf(service, id), call),
    );
  }

  async release(service: string, id: string): Promise<void> {
    this.#services.release(serviceIdOf(service, id));
    await this.#leases.release(service, id);
  }

  async names(call: DriverCall): Promise<readonly string[]> {
    const { value } = await this.#client.names(call);
    return [...value.keys()].sort();
  }

  async read(name = '', call: DriverCall): Promise<Snapshot> {
    if (!isAskable(name)) return { nodes: [] };
    const { value, isHidden } = await this.#client.health(name, call);
    // A node that two agents have is that of the later registration, if its lease goes on.
    const found = value.filter((entry) => !entry.isCritical && entry.name === name);
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

  async watch(feed: WatchFeed, signal: AbortSignal): Promise<void> {
    // Nothing ever happens to a service that nobody can ask for.
    if (feed.service === undefined || isAskable(feed.service)) await this.#polled.follow(feed, signal);
  }

  failure(error: unknown): DriverFailure {
    if (error instanceof HiddenRecords) return { kind: 'denied', remedy: tokenRemedy };
    if (error instanceof ForeignAnswerError) return { kind: 'refused', remedy: addressRemedy };
    if (error instanceof ConsulStatusError) {
      const { status, said } = error;
      const isDenied = status === 401 || status === 403 || /permission denied|acl not found/i.test(said);
      if (isDenied) return { kind: 'denied', remedy: tokenRemedy };
      const isPlain = /http request (?:was sent )?to (?:an )?https/i.test(said);
      if (isPlain) return { kind: 'refused', remedy: 'TENON_REGISTRY_TLS=true speaks TLS' };
      if (status >= 300 && status < 400) return { kind: 'refused', remedy: addressRemedy };
      return { kind: isUnfit(status) ? 'unreachable' : 'refused', remedy: error.remedy };
    }
    if (!(error instanceof HttpCallError)) return { kind: 'refused' };
    if (error.reason === 'transport.message_too_large') return { kind: 'refused', remedy: addressRemedy };
    const { code = '' } = ((error.cause as Error).cause ?? {}) as NodeJS.ErrnoException;
    const isNobody = /^(?:ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)$/.test(code);
    const remedy = `Does a Consul agent run there? ${addressRemedy}`;
    return { kind: 'unreachable', ...((isNobody || code.startsWith('HPE_')) && { remedy }) };
  }

  close(): void {
    this.#closing.abort();
    this.#leases.close();
    this.#polled.close();
    for (const channel of this.#channels) channel.close();
  }

  #agents(): AgentBackend {
    const { timeoutMs } = this.bounds;
    const idOf = ({ service, node }: Registration): string => serviceIdOf(service.name, node.id);
    return {
      register: (registration, at, signal, withinMs) =>
        this.#services.register(serviceDefinition(registration, this.#owner), { signal, timeoutMs: withinMs, at }),
      renew: (registration, at, signal) => {
        // It is left on its way when it is late: a renewal counts when it arrives.
        const call = { signal: this.#closing.signal, timeoutMs: registration.ttlMs, at };
        return this.#soon(registration, at, signal, () => this.#client.pass(idOf(registration), call));
      },
      holder: (registration, at, signal) =>
        this.#soon(registration, at, signal, (until) =>
          this.#services.holder(registration.service.name, idOf(registration), { signal: until, at }),
        ),
      remove: (registration, at, signal) =>
        this.#services.remove(registration.service.name, idOf(registration), { signal, timeoutMs, at }),
      clear: (registration, signal) =>
        this.#services.clear(registration.service.name, idOf(registration), { signal, timeoutMs }),
      isFaultOfAgent: (error) => error instanceof ConsulStatusError && isUnfit(error.status),
    };
  }

  /** Asks an agent for what has to be known before the next renewal. */
  #soon<T>(
    { ttlMs }: Registration,
    at: ServerAddress,
    signal: AbortSignal,
    ask: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const target = { registry: 'consul', method: 'register', server: `Consul at ${formatAddress(at)}` };
    const timeoutMs = Math.min(this.bounds.timeoutMs, ttlMs * 0.3);
    return boundedCall({ ...target, timers: this.#tools.timers, timeoutMs, signal }, ask);
  }

  async #poll(service: string | undefined, index: number, signal: AbortSignal): Promise<PolledRead> {
    const { timeoutMs, waitMs } = this.bounds;
    // Consul adds up to a sixteenth to the time.
    const heldMs = index > 0 ? waitMs + waitMs / 16 : 0;
    const at = index > 0 ? this.#addresses.current : undefined;
    const call = { signal, timeoutMs: heldMs + timeoutMs, at };
    if (service === undefined) {
      const names = await this.#client.names(call, { index, waitMs });
      return { index: names.index, content: names.value };
    }
    const answer = await this.#client.health(service, call, { index, waitMs });
    const entries = answer.value.filter(({ isCritical, hasLapsed }) => !isCritical && !hasLapsed);
    const content = new Map(entries.map((entry) => [`${entry.node}\n${entry.id}`, JSON.stringify(entry)]));
    return { index: answer.index, content };
  }
}

/** Sends the token with each request, and another one if it was replaced while the request was under way. */
function withToken(channel: HttpChannel, security: DriverTools['security']): ConsulChannel {
  return {
    request: async (request, call) => {
      const { token: first } = security;
      const send = (secret: string | undefined): ReturnType<ConsulChannel['request']> =>
        channel.request({ ...request, headers: { ...request.headers, 'x-consul-token': secret } }, call);
      const response = await send(first);
      if (response.status !== 401 && response.status !== 403) return response;
      const { token: second } = security;
      return second === first ? response : send(second);
    },
  };
}
