/** The types of records that can be asked for. */
export type DnsRecordType = 'A' | 'AAAA' | 'SRV';

/** The host and port of a DNS server. */
export interface DnsServer {
  readonly host: string;
  readonly port: number;
}

/** The servers to ask, and the way in which names are completed: the content of `resolv.conf`. */
export interface DnsConfig {
  /** In the order in which they are asked. */
  readonly servers: readonly DnsServer[];
  /** Domains that are appended to names without a final dot. */
  readonly search: readonly string[];
  /** A name with at least this many dots is asked for as it is before the search list is applied. */
  readonly ndots: number;
}

/** The data of an SRV record (RFC 2782). */
export interface SrvData {
  /** Host that provides the service, in lower case, without the final dot. `.` if the service is not available. */
  readonly target: string;
  readonly port: number;
  /** Clients use the targets with the lowest priority that they can reach. */
  readonly priority: number;
  /** Share of the target among those of its priority. */
  readonly weight: number;
}

/** An SRV record with the addresses of its target. */
export interface SrvTarget extends SrvData {
  /** IP addresses; empty if the target has none, `undefined` if they could not be found out. */
  readonly addresses: readonly string[] | undefined;
}

/**
 * An answer.
 *
 * - `found`: there are records.
 * - `no-data`: the name exists, without records of this type.
 * - `no-such-name`: the name does not exist (NXDOMAIN).
 */
export type DnsOutcome = 'found' | 'no-data' | 'no-such-name';

/** The result of a lookup. */
export interface DnsLookup<Item> {
  readonly outcome: DnsOutcome;
  /** The name that the answer is for, completed by the search list, in lower case and without the final dot. */
  readonly name: string;
  /** Empty unless the outcome is `found`. */
  readonly items: readonly Item[];
  /**
   * Time for which the answer holds, in milliseconds: the smallest TTL of its records, and for a negative answer that
   * of the SOA record (RFC 2308), 0 without one.
   */
  readonly ttlMs: number;
  /** False if a name that comes earlier in the search list could not be looked up: it may exist. */
  readonly isCertain: boolean;
}

/**
 * The reason of a lookup without an answer.
 *
 * - `timeout`: no server answered in time.
 * - `unreachable`: a server cannot be reached, or broke the connection.
 * - `server-failure`: a server answered that it failed (SERVFAIL).
 * - `refused`: a server answered that it does not answer such questions (REFUSED, NOTIMP, FORMERR and others).
 * - `malformed`: an answer cannot be read, or exceeds a limit.
 */
export type DnsFailureKind = 'timeout' | 'unreachable' | 'server-failure' | 'refused' | 'malformed';

/** The error of a lookup without an answer. Its message names the server and the question. */
export class DnsFailure extends Error {
  override readonly name = 'DnsFailure';
  readonly kind: DnsFailureKind;

  constructor(kind: DnsFailureKind, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
  }
}

/** Bounds of a lookup. */
export interface DnsBounds {
  /** Time for the whole lookup, in milliseconds. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Looks up names. A name with a final dot is complete; to others the search list is applied, as getaddrinfo does.
 *
 * Methods may be called concurrently. They reject with {@link DnsFailure} if no server gives an answer within the
 * bounds, and with the reason of the signal when that aborts. An answer that there is nothing is no error.
 */
export interface DnsLookups {
  /** Looks up the IPv4 addresses of a host; its IPv6 addresses if it has no others. */
  addresses(name: string, bounds: DnsBounds): Promise<DnsLookup<string>>;
  /** Looks up SRV records, and the addresses of their targets. */
  services(name: string, bounds: DnsBounds): Promise<DnsLookup<SrvTarget>>;
}
