import { textOf } from '../errors/errors.ts';
import { hostPort } from '../internal/host-port.ts';
import { bounded } from '../runtime/bounded.ts';
import type { Random, Timers } from '../runtime/runtime.ts';
import {
  type DnsBounds,
  type DnsConfig,
  DnsFailure,
  type DnsLookup,
  type DnsLookups,
  type DnsOutcome,
  type DnsRecordType,
  type DnsServer,
  type SrvData,
  type SrvTarget,
} from './dns.ts';
import { askByTcp, askByUdp, type DnsExchange } from './exchange.ts';
import { Limiter } from './limiter.ts';
import { addressesBeside, decodeReply, type DnsQuery, type DnsReply, encodeQuery, resultOf } from './message.ts';
import { candidates, canonicalName } from './names.ts';

/** The parts of a {@link DnsResolver}, and its limits. */
export interface DnsResolverOptions {
  readonly random: Random;
  readonly timers: Timers;
  /** Returns the configuration in force. */
  readonly config: () => DnsConfig;
  /**
   * Time in milliseconds for which a server is waited for before the next is asked; twice as long in the second round.
   * @default 1_000
   */
  readonly attemptMs?: number | undefined;
  /** Queries that are under way at once. Others wait. @default 64 */
  readonly maxQueries?: number | undefined;
}

/** An answer to one name, with what the server sent beside it. */
interface Resolution {
  readonly outcome: DnsOutcome;
  readonly name: string;
  readonly data: readonly (string | SrvData)[];
  readonly ttlMs: number;
  readonly reply: DnsReply | undefined;
}

interface SearchResult extends Resolution {
  readonly isCertain: boolean;
}

// RFC 1035 section 7.2: a question goes to all servers more than once, as datagrams get lost.
const rounds = 2;
// A server that does not follow aliases itself is asked for the next name.
const maxAliasQueries = 8;
const noEdns = ['FORMERR', 'NOTIMP', 'BADVERS'];

/**
 * Looks up names at DNS servers, by UDP with EDNS, and by TCP where an answer is truncated. A server that gives no
 * answer is followed by the next; one that gave an answer is asked first from then on. Nothing is cached.
 */
export class DnsResolver implements DnsLookups {
  readonly #options: DnsResolverOptions;
  readonly #limiter: Limiter;
  /** The server that gave the last answer. */
  #preferred: string | undefined;

  constructor(options: DnsResolverOptions) {
    this.#options = options;
    this.#limiter = new Limiter(options.maxQueries ?? 64);
  }

  addresses(name: string, bounds: DnsBounds): Promise<DnsLookup<string>> {
    return this.#within(name, bounds, async (signal) => {
      const found = await this.#search(name, (candidate) => this.#addressesOf(candidate, signal));
      return lookupOf(found, found.data as readonly string[]);
    });
  }

  services(name: string, bounds: DnsBounds): Promise<DnsLookup<SrvTarget>> {
    return this.#within(name, bounds, async (signal) => {
      const found = await this.#search(name, (candidate) => this.#resolve(candidate, 'SRV', signal));
      const records = found.data as readonly SrvData[];
      const { addresses, ttlMs } = await this.#addressesOfTargets(records, found.reply, signal);
      const targets = records.map((record) => ({ ...record, addresses: addresses.get(record.target) }));
      return lookupOf({ ...found, ttlMs: Math.min(found.ttlMs, ttlMs) }, targets);
    });
  }

  /**
   * Returns the addresses of the targets of SRV records: those that came with the answer, else by a query for each. If
   * all queries fail, so does the lookup.
   */
  async #addressesOfTargets(
    items: readonly SrvData[],
    reply: DnsReply | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly addresses: ReadonlyMap<string, readonly string[]>; readonly ttlMs: number }> {
    const addresses = new Map<string, readonly string[]>();
    let ttlMs = Number.POSITIVE_INFINITY;
    let failure: DnsFailure | undefined;
    const resolveTarget = async (target: string): Promise<void> => {
      const beside = reply ? addressesBeside(reply, target) : { addresses: [], ttlS: 0 };
      if (beside.addresses.length > 0) {
        addresses.set(target, beside.addresses);
        ttlMs = Math.min(ttlMs, beside.ttlS * 1_000);
        return;
      }
      const host = canonicalName(target);
      if (host === undefined) {
        addresses.set(target, []);
        return;
      }
      try {
        const found = await this.#addressesOf(host, signal);
        addresses.set(target, found.data as readonly string[]);
        ttlMs = Math.min(ttlMs, found.ttlMs);
      } catch (error) {
        if (!(error instanceof DnsFailure)) throw error;
        failure = error;
      }
    };
    await Promise.all([...new Set(items.map(({ target }) => target))].map(resolveTarget));
    if (failure && addresses.size === 0) throw failure;
    return { addresses, ttlMs };
  }

  /** IPv4 addresses, and IPv6 addresses only of a host that has no others. */
  async #addressesOf(host: string, signal: AbortSignal): Promise<Resolution> {
    const v4 = await this.#resolve(host, 'A', signal);
    if (v4.outcome !== 'no-data') return v4;
    const v6 = await this.#resolve(host, 'AAAA', signal);
    return { ...v6, ttlMs: Math.min(v4.ttlMs, v6.ttlMs) };
  }

  /**
   * Looks up the candidates of the search list in turn, until one is found. A server that fails for one of them does
   * not end the search, as in glibc; without any answer its failure is that of the lookup.
   */
  async #search(name: string, resolve: (candidate: string) => Promise<Resolution>): Promise<SearchResult> {
    let failure: DnsFailure | undefined;
    let negative: Resolution | undefined;
    for (const candidate of candidates(name, this.#options.config())) {
      try {
        const found = await resolve(candidate);
        if (found.outcome === 'found') return { ...found, isCertain: failure === undefined };
        const ttlMs = Math.min(negative?.ttlMs ?? Number.POSITIVE_INFINITY, found.ttlMs);
        negative = { ...(negative?.outcome === 'no-data' ? negative : found), ttlMs };
      } catch (error) {
        if (!(error instanceof DnsFailure) || error.kind !== 'server-failure') throw error;
        failure ??= error;
      }
    }
    if (failure) throw failure;
    const none = { outcome: 'no-such-name', name, data: [], ttlMs: 0, reply: undefined } as const;
    return { ...(negative ?? none), isCertain: true };
  }

  /** Looks up one complete name, and follows its aliases. */
  async #resolve(name: string, type: DnsRecordType, signal: AbortSignal): Promise<Resolution> {
    let at = name;
    let ttlS = Number.POSITIVE_INFINITY;
    for (let queries = 0; queries < maxAliasQueries; queries += 1) {
      const reply = await this.#query(at, type, signal);
      const result = resultOf(reply, { name: at, type });
      ttlS = Math.min(ttlS, result.ttlS);
      const data = result.records.map((record) => record.data);
      if (data.length > 0) return { outcome: 'found', name, data, ttlMs: ttlS * 1_000, reply };
      const isNegative = reply.rcode === 'NXDOMAIN' || reply.negativeTtlS !== undefined;
      if (result.alias === undefined || isNegative) {
        const outcome = reply.rcode === 'NXDOMAIN' ? 'no-such-name' : 'no-data';
        return { outcome, name, data, ttlMs: Math.min(ttlS, reply.negativeTtlS ?? 0) * 1_000, reply };
      }
      at = result.alias;
    }
    throw new DnsFailure('malformed', `${name} ${type} leads through more than ${maxAliasQueries} aliases`);
  }

  /** Asks the servers in turn until one gives an answer. */
  async #query(name: string, type: DnsRecordType, signal: AbortSignal): Promise<DnsReply> {
    const { attemptMs = 1_000, config } = this.#options;
    let failure: DnsFailure | undefined;
    for (let round = 0; round < rounds; round += 1) {
      for (const server of this.#inOrder(config().servers)) {
        try {
          const reply = await this.#limiter.run(signal, () =>
            this.#ask(server, name, type, attemptMs * 2 ** round, signal),
          );
          this.#preferred = textOfServer(server);
          return reply;
        } catch (error) {
          if (!(error instanceof DnsFailure)) throw error;
          failure = error;
        }
      }
    }
    throw failure ?? new DnsFailure('unreachable', 'there is no DNS server to ask');
  }

  async #ask(
    server: DnsServer,
    name: string,
    type: DnsRecordType,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<DnsReply> {
    const { timers } = this.#options;
    const place = textOfServer(server);
    const onTimeout = (): DnsFailure =>
      new DnsFailure('timeout', `${place} did not answer ${name} ${type} within ${timeoutMs} ms`);
    try {
      return await bounded((attempt) => this.#exchange(server, name, type, attempt), {
        timers,
        timeoutMs,
        signal,
        onTimeout,
      });
    } catch (error) {
      if (error instanceof DnsFailure || signal.aborted) throw error;
      const why = `${place} cannot be asked for ${name} ${type}: ${textOf(error)}`;
      throw new DnsFailure('unreachable', why, error);
    }
  }

  /** Asks by UDP, without EDNS if the server does not know it, and by TCP if the answer is truncated. */
  async #exchange(server: DnsServer, name: string, type: DnsRecordType, signal: AbortSignal): Promise<DnsReply> {
    const send = (exchange: DnsExchange, hasEdns: boolean): Promise<DnsReply> => {
      const query: DnsQuery = { id: this.#id(), name, type };
      return exchange(server, encodeQuery(query, hasEdns), (bytes) => decodeReply(bytes, query), signal);
    };
    let hasEdns = true;
    let reply = await send(askByUdp, hasEdns);
    if (noEdns.includes(reply.rcode)) {
      hasEdns = false;
      reply = await send(askByUdp, hasEdns);
    }
    if (reply.isTruncated) reply = await send(askByTcp, hasEdns);
    const { rcode, isReferral, isTruncated } = reply;
    const place = `${textOfServer(server)} answered ${name} ${type}`;
    if (isTruncated) throw new DnsFailure('malformed', `${place} with a part of the records, by TCP as well`);
    if (isReferral) throw new DnsFailure('refused', `${place} with other servers: it looks up no names for others`);
    if (rcode === 'NOERROR' || rcode === 'NXDOMAIN') return reply;
    throw new DnsFailure(rcode === 'SERVFAIL' ? 'server-failure' : 'refused', `${place} with ${rcode}`);
  }

  /** The id is as hard to guess as a UUID is. */
  #id(): number {
    return Number.parseInt(this.#options.random.uuid().slice(0, 4), 16);
  }

  #inOrder(servers: readonly DnsServer[]): readonly DnsServer[] {
    const at = Math.max(
      0,
      servers.findIndex((server) => textOfServer(server) === this.#preferred),
    );
    return [...servers.slice(at), ...servers.slice(0, at)];
  }

  /** Bounds a lookup, so that what is left of it ends with it. */
  #within<T>(name: string, { timeoutMs, signal }: DnsBounds, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { timers } = this.#options;
    const onTimeout = (): DnsFailure => new DnsFailure('timeout', `no server answered ${name} within ${timeoutMs} ms`);
    return bounded(work, { timers, timeoutMs, signal, onTimeout });
  }
}

function lookupOf<Item>({ outcome, name, ttlMs, isCertain }: SearchResult, items: readonly Item[]): DnsLookup<Item> {
  return { outcome, name, items, ttlMs, isCertain };
}

function textOfServer({ host, port }: DnsServer): string {
  return hostPort(host, port);
}
