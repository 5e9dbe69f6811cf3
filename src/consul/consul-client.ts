import { checkIdOf, type ServiceDefinition } from '../go-micro/consul.ts';
import {
  type ConsulCall,
  type ConsulChannel,
  type ConsulRequest,
  type ConsulResponse,
  ConsulStatusError,
} from './consul.ts';
import { type AgentService, agentServiceIn, entriesIn, type HealthEntry, namesIn } from './health-entry.ts';

/** Options of a {@link ConsulClient}. */
export interface ConsulClientOptions {
  readonly channel: ConsulChannel;
  /** For queries that an agent holds. */
  readonly heldChannel: ConsulChannel;
  /** The datacentre of queries. @default the agent's */
  readonly datacenter?: string | undefined;
  /** @default that of the token */
  readonly namespace?: string | undefined;
  /** @default that of the agent */
  readonly partition?: string | undefined;
  /** Called once, when an answer lacks the index with which the next query could wait. */
  onUnnumbered?(): void;
}

/** A query of the catalog. */
export interface CatalogQuery {
  /** Has the agent hold the query until there is a later change, or `waitMs` have passed. @default 0: at once */
  readonly index?: number | undefined;
  readonly waitMs?: number | undefined;
  /** True for the datacentre of the agent, where services are registered. @default false */
  readonly isOwn?: boolean | undefined;
}

/** The answer of a query. */
export interface CatalogAnswer<T> {
  readonly value: T;
  /** The index of the last change, with which the next query can wait. 0 if the answer has none. */
  readonly index: number;
  /** True if the token may not read all of it. */
  readonly isHidden: boolean;
}

/**
 * Calls the HTTP API of Consul. A status that is none of success rejects with {@link ConsulStatusError}, an answer of
 * another program with `ForeignAnswerError`; other errors are those of the channel.
 */
export class ConsulClient {
  readonly #options: ConsulClientOptions;
  #isNumbered = true;

  constructor(options: ConsulClientOptions) {
    this.#options = options;
  }

  /** Registers a service at an agent, or replaces it there. */
  async register(definition: ServiceDefinition, call: ConsulCall): Promise<void> {
    const body = JSON.stringify(definition);
    await this.#succeeds(this.#request('PUT', '/v1/agent/service/register', { body }), call);
  }

  /** Passes the check of a service. False if the agent does not know it. */
  pass(serviceId: string, call: ConsulCall): Promise<boolean> {
    return this.#isKnown(this.#request('PUT', `/v1/agent/check/pass/${segment(checkIdOf(serviceId))}`), call);
  }

  /** Removes a service from an agent. False if the agent does not know it. */
  deregister(serviceId: string, call: ConsulCall, headers?: ConsulRequest['headers']): Promise<boolean> {
    return this.#isKnown(this.#request('PUT', `/v1/agent/service/deregister/${segment(serviceId)}`, { headers }), call);
  }

  /** Reads a service that an agent has itself; `undefined` if it has none of that id. */
  async agentService(serviceId: string, call: ConsulCall): Promise<AgentService | undefined> {
    const path = `/v1/agent/health/service/id/${segment(serviceId)}`;
    const request = this.#request('GET', path, { retriesAfter: never });
    const response = await this.#options.channel.request(request, call);
    const { status, body } = response;
    if (status === 404) return undefined;
    // The status is that of the checks.
    if (![200, 429, 503].includes(status)) throw new ConsulStatusError(request, response);
    try {
      return agentServiceIn(body);
    } catch (error) {
      throw status === 200 ? error : new ConsulStatusError(request, response);
    }
  }

  /** Reads the names of services, each with its tags as a text. */
  async names(call: ConsulCall, query: CatalogQuery = {}): Promise<CatalogAnswer<ReadonlyMap<string, string>>> {
    return this.#query('/v1/catalog/services', namesIn, call, query);
  }

  /** Reads the instances of a service, whatever their checks say. */
  async health(
    service: string,
    call: ConsulCall,
    query: CatalogQuery = {},
  ): Promise<CatalogAnswer<readonly HealthEntry[]>> {
    return this.#query(`/v1/health/service/${segment(service)}`, entriesIn, call, query);
  }

  async #query<T>(
    path: string,
    read: (body: string) => T,
    call: ConsulCall,
    { index = 0, waitMs = 0, isOwn = false }: CatalogQuery,
  ): Promise<CatalogAnswer<T>> {
    const { channel, heldChannel, datacenter } = this.#options;
    const isHeld = index > 0;
    const request = this.#request('GET', path, {
      query: { dc: isOwn ? undefined : datacenter, ...(isHeld && { index, wait: `${waitMs}ms` }) },
      // A connection that broke under a query that was held has to be noticed.
      isRepeatable: !isHeld,
    });
    const { body, headers } = await this.#succeeds(request, call, isHeld ? heldChannel : channel);
    const value = read(body);
    const next = indexIn(headers['x-consul-index']);
    if (next === 0 && this.#isNumbered) this.#options.onUnnumbered?.();
    this.#isNumbered &&= next > 0;
    return { value, index: next, isHidden: headers['x-consul-results-filtered-by-acls'] === 'true' };
  }

  async #succeeds(
    request: ConsulRequest,
    call: ConsulCall,
    channel: ConsulChannel = this.#options.channel,
  ): Promise<ConsulResponse> {
    const response = await channel.request(request, call);
    if (response.status !== 200) throw new ConsulStatusError(request, response);
    return response;
  }

  async #isKnown(request: ConsulRequest, call: ConsulCall): Promise<boolean> {
    const response = await this.#options.channel.request(request, call);
    if (response.status === 200) return true;
    const isUnknown = /unknown (?:check|service)|does not have associated TTL/i.test(response.body);
    if (response.status === 404 || isUnknown) return false;
    throw new ConsulStatusError(request, response);
  }

  #request(method: string, path: string, { query, ...more }: Partial<ConsulRequest> = {}): ConsulRequest {
    const { namespace: ns, partition } = this.#options;
    return { method, path, isRepeatable: true, retriesAfter: isUnfit, ...more, query: { ns, partition, ...query } };
  }
}

/** True for the status of an agent that cannot serve now: it has no leader, or too much to do. */
export function isUnfit(status: number): boolean {
  return status === 429 || status >= 500;
}

function never(): boolean {
  return false;
}

/** Encodes a name or an id as a part of a path. Half a surrogate pair is replaced, as by JSON readers. */
function segment(name: string): string {
  return encodeURIComponent(Buffer.from(name).toString());
}

/** The index of an answer, of at least 1, as a query with 0 is not held. 0 if it has none, or one that is none. */
function indexIn(header: string | string[] | undefined): number {
  if (typeof header !== 'string' || !/^\d{1,16}$/.test(header)) return 0;
  const index = Number(header);
  return Number.isSafeInteger(index) ? Math.max(1, index) : 0;
}
