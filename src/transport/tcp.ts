import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { socketRules } from './sockets/socket-defaults.ts';
import { aCount, checkedOptions } from '../errors/checked-options.ts';
import { withDefaults } from '../internal/defaults.ts';
import { token } from '../internal/token.ts';
import { type Logger, silentLogger } from '../logger/logger.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import { frameDefaults, FrameTransport } from './frames/frame-transport.ts';
import { tcpAddresses } from './sockets/address-scheme.ts';
import type { ClientTlsOptions, ServerTlsOptions } from '../tls/tls.ts';
import type { SocketServerOptions, Transport, TransportCapabilities } from './transport.ts';

/** Options of a {@link TcpTransport}. */
export interface TcpTransportOptions extends SocketServerOptions {
  /**
   * The client closes a connection that carried no call for so long, after at most twice the time.
   * @default 5 minutes
   */
  readonly idleMs?: number | undefined;
  /**
   * Longest time between two attempts to connect to an address that does not answer. Calls fail at once in between.
   * @default 800: less than the second after which selectors try a node again
   */
  readonly maxReconnectMs?: number | undefined;
  /**
   * Time for the other side to connect and to introduce itself.
   * @default 20 seconds
   */
  readonly handshakeTimeoutMs?: number | undefined;
  /**
   * Time between pings on a connection that carries calls and is silent, by which the loss of a machine is noticed.
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
   * The window of each call: bytes that may be on their way to this side unread. It limits the memory that a slow
   * reader takes and, with the round-trip time, the speed of one stream. At least 64 KiB.
   * @default 256 KiB
   */
  readonly windowBytes?: number | undefined;
  /**
   * The number of calls that a server takes at a time on one connection. A client's further calls wait.
   * @default 10,000
   */
  readonly maxCalls?: number | undefined;
  /**
   * TLS of clients.
   * @default none: calls travel in the clear
   */
  readonly tls?: ClientTlsOptions | undefined;
  /**
   * TLS of servers.
   * @default none: calls travel in the clear
   */
  readonly serverTls?: ServerTlsOptions | undefined;
  /** @default the system's own */
  readonly runtime?: Runtime | undefined;
  /** Logs certificates that were replaced, and those that cannot be used. @default writes nothing */
  readonly logger?: Logger | undefined;
}
/** Container key of the {@link TcpTransportOptions}. */
export const TcpTransportOptions: ServiceIdentifier<TcpTransportOptions> = token('transport', 'TcpTransportOptions');

const defaults = { ...frameDefaults, runtime: systemRuntime, logger: silentLogger } satisfies TcpTransportOptions;

/**
 * Carries calls in tenon's own frames over TCP, between processes that both run tenon. Many calls share one connection
 * per address, and what is written in one turn of the event loop leaves in one piece. The format is written down in
 * `docs/wire.md`.
 */
@injectable()
export class TcpTransport extends FrameTransport implements Transport {
  static readonly capabilities: TransportCapabilities = { network: true, grpc: false, security: 'tls' };

  constructor(@inject(TcpTransportOptions) @optional() options: TcpTransportOptions = {}) {
    super(
      withDefaults(defaults, checkedOptions('TcpTransportOptions', options, { ...socketRules, windowBytes: aCount })),
      tcpAddresses,
    );
  }

  override toString(): string {
    return 'tcp';
  }
}
