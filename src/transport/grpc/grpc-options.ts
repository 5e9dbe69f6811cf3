import type { Logger } from '../../logger/logger.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { ClientTlsOptions, ServerTlsOptions } from '../../tls/tls.ts';
import type { SocketServerOptions } from '../transport.ts';

/** Options that every transport of gRPC has. */
export interface GrpcOptions extends SocketServerOptions {
  /**
   * The client closes a connection that carried no call for so long.
   * @default 5 minutes
   */
  readonly idleMs?: number | undefined;
  /**
   * Longest time between two attempts to connect to an address that does not answer. Calls fail at once in between.
   * @default 800: less than the second after which selectors try a node again
   */
  readonly maxReconnectMs?: number | undefined;
  /**
   * Time between pings on a connection that carries calls, by which the loss of a machine is noticed. Servers of others
   * may close connections that ping more often than every five minutes.
   * @default no pings
   */
  readonly keepaliveMs?: number | undefined;
  /**
   * A ping that is not answered within this time ends the connection.
   * @default 20 seconds
   */
  readonly keepaliveTimeoutMs?: number | undefined;
  /**
   * A connection to a server from which nothing came for so long is pinged, and closed if it does not answer: what a
   * peer left behind that is gone without a word is found so. `Infinity` for never.
   * @default 1 minute
   */
  readonly serverKeepaliveMs?: number | undefined;
  /**
   * Ping also on connections of a client that carry no calls: gRPC's `keepalive_permit_without_calls`. Servers of
   * others may take it amiss.
   * @default false
   */
  readonly keepaliveWithoutCalls?: boolean | undefined;
  /**
   * A server closes the connection of a peer with `too_many_pings` if the peer pings more often than this, three times
   * in a row with nothing sent to it in between (a long message counts as long as it leaves): gRPC's
   * `min_recv_ping_interval_without_data_ms`.
   * @default 5 seconds: clients of gRPC ping every 10 at most
   */
  readonly minPingIntervalMs?: number | undefined;
  /**
   * A server sends GOAWAY on a connection that carries no call for so long.
   * @default for ever
   */
  readonly maxConnectionIdleMs?: number | undefined;
  /**
   * A connection to a server that is so old, give or take a tenth, is told to go elsewhere (GOAWAY), so that callers
   * come to see new nodes, and certificates that were replaced.
   * @default for ever
   */
  readonly maxConnectionAgeMs?: number | undefined;
  /**
   * The time that calls have to finish on such a connection; those left are aborted.
   * @default for ever
   */
  readonly maxConnectionAgeGraceMs?: number | undefined;
  /**
   * The number of calls that a server takes at a time on one connection. A client's further calls wait.
   * @default 10,000
   */
  readonly maxCalls?: number | undefined;
  /**
   * Largest metadata sent, in headers and again in trailers, and largest taken by a server; in bytes, as HTTP/2 counts
   * them (RFC 9113, section 6.5.2: names, values, and 32 for each). What is larger is RESOURCE_EXHAUSTED
   * (`metadata.too_large`) and is not sent. Peers have limits of their own, often 8 KiB. A client always
   * takes 64 KiB.
   * @default 32 KiB
   */
  readonly maxMetadataBytes?: number | undefined;
  /**
   * TLS of clients: which authorities they trust, and the certificate that they show where they are asked for one.
   * @default none: calls travel in the clear
   */
  readonly tls?: ClientTlsOptions | undefined;
  /**
   * TLS of servers: the certificate that they show, and whether they ask callers for one.
   * @default none: calls travel in the clear
   */
  readonly serverTls?: ServerTlsOptions | undefined;
  /** @default the system's own */
  readonly runtime?: (Pick<Runtime, 'clock' | 'timers'> & Partial<Runtime>) | undefined;
  /** Logs certificates that were replaced, and those that cannot be used. @default writes nothing */
  readonly logger?: Logger | undefined;
}
