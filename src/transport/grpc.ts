import { type ChannelCredentials, type ChannelOptions, credentials, type ServerOptions } from '@grpc/grpc-js';
import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';
import { type Logger, silentLogger } from '../logger/logger.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { systemRandom, systemRuntime } from '../runtime/system.ts';
import { TlsChannelCredentials } from './internal/grpc-credentials.ts';
import { GrpcClientSocket, GrpcUnaryCall, notUnderstood } from './internal/grpc-client.ts';
import { grpcJsEngine } from './internal/grpc-engine.ts';
import { defaultMaxMetadataBytes } from './internal/grpc-headers.ts';
import { Lines } from './internal/grpc-lines.ts';
import { http2Engine } from './internal/http2-engine.ts';
import { TlsDialer } from './internal/tls-client.ts';
import { hostPorts } from './internal/places.ts';
import { SocketListener } from './internal/socket-listener.ts';
import type {
  DialOptions,
  Listener,
  ListenOptions,
  Message,
  Transport,
  TransportCapabilities,
  TransportClient,
} from './transport.ts';
import type { ClientTlsOptions, ServerTlsOptions } from './tls.ts';

/** How a {@link GrpcTransport} connects and listens. */
export interface GrpcTransportOptions {
  /**
   * A connection that carried no call for so long is let go of.
   * @default 5 minutes
   */
  readonly idleMs?: number | undefined;
  /**
   * Longest time between two attempts to connect to an address that does not answer. Calls fail at once in between.
   * @default 5 seconds
   */
  readonly maxReconnectMs?: number | undefined;
  /**
   * Time between pings on a connection that carries calls, by which the loss of a machine is noticed. Servers of others may close connections that ping
   * more often than every five minutes.
   * @default no pings
   */
  readonly keepaliveMs?: number | undefined;
  /**
   * A ping that is not answered within this time ends the connection.
   * @default 20 seconds
   */
  readonly keepaliveTimeoutMs?: number | undefined;
  /**
   * A connection to a server from which nothing came for so long is pinged, and closed if it does not answer: what a peer left behind that is gone without
   * a word is found so. `Infinity` for never.
   * @default 1 minute
   */
  readonly serverKeepaliveMs?: number | undefined;
  /**
   * Ping also on connections of a client that carry no calls: gRPC's `keepalive_permit_without_calls`. Servers of others may take it amiss.
   * @default false
   */
  readonly keepaliveWithoutCalls?: boolean | undefined;
  /**
   * A peer that pings a server more often than this, three times in a row with nothing sent to it in between (a long message counts as long as it leaves), is told `too_many_pings`, and its connection
   * closed: gRPC's `min_recv_ping_interval_without_data_ms`. grpc-js's server does not watch it.
   * @default 5 seconds: clients of gRPC ping every 10 at most
   */
  readonly minPingIntervalMs?: number | undefined;
  /**
   * A connection to a server that carries no call for so long is told to go elsewhere (GOAWAY).
   * @default for ever
   */
  readonly maxConnectionIdleMs?: number | undefined;
  /**
   * A connection to a server that is so old, give or take a tenth, is told to go elsewhere (GOAWAY), so that callers come to see new nodes, and
   * certificates that were replaced.
   * @default for ever
   */
  readonly maxConnectionAgeMs?: number | undefined;
  /**
   * The time that calls have to finish on such a connection; those left are aborted.
   * @default for ever
   */
  readonly maxConnectionAgeGraceMs?: number | undefined;
  /**
   * How many calls a server takes at a time on one connection. A client's further calls wait.
   * @default 10,000
   */
  readonly maxCalls?: number | undefined;
  /**
   * Largest metadata sent, in headers and again in trailers, and largest taken by a server; in bytes, as HTTP/2 counts them (RFC 9113, section
   * 6.5.2: names, values, and 32 for each). What is larger is RESOURCE_EXHAUSTED (`metadata.too_large`) and is not sent. Peers have limits of their own, often
   * 8 KiB. A client takes 64 KiB, whatever is said here.
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
  /**
   * What answers calls: gRPC written on node:http2, or grpc-js's server.
   * @default 'http2'
   */
  readonly server?: 'grpc-js' | 'http2' | undefined;
  /**
   * Further options of grpc-js, under their names there (`grpc-node.flow_control_window`), for clients and servers.
   * @default {}
   */
  readonly channelOptions?: Readonly<Record<string, string | number>> | undefined;
  /** @default the system's own */
  readonly runtime?: (Pick<Runtime, 'clock' | 'timers'> & Partial<Runtime>) | undefined;
  /**
   * Told of certificates that were replaced, and of those that cannot be used.
   * @default writes nothing
   */
  readonly logger?: Logger | undefined;
}
/** Container key of the {@link GrpcTransportOptions}. */
export const GrpcTransportOptions: ServiceIdentifier<GrpcTransportOptions> = token('transport', 'GrpcTransportOptions');

const defaults = {
  idleMs: 300_000,
  maxReconnectMs: 5_000,
  keepaliveTimeoutMs: 20_000,
  serverKeepaliveMs: 60_000,
  minPingIntervalMs: 5_000,
  maxCalls: 10_000,
  maxMetadataBytes: defaultMaxMetadataBytes,
  channelOptions: {},
  runtime: systemRuntime,
  logger: silentLogger,
} as const satisfies GrpcTransportOptions;

/**
 * Native gRPC, over grpc-js: any gRPC client can call what listens here, and any gRPC server can be called. Connections are shared per address.
 */
@injectable()
export class GrpcTransport implements Transport {
  static readonly capabilities: TransportCapabilities = { network: true, grpc: true };

  readonly #options: GrpcTransportOptions & typeof defaults;
  readonly #lines: Lines;
  #dialer: TlsDialer | undefined;

  constructor(@inject(GrpcTransportOptions) @optional() options: GrpcTransportOptions = {}) {
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
    this.#options = { ...defaults, ...given };
    const { idleMs, runtime } = this.#options;
    this.#lines = new Lines({
      credentials: () => this.#credentials(),
      channelOptions: this.#clientOptions(),
      maxMetadataBytes: this.#options.maxMetadataBytes,
      idleMs,
      clock: runtime.clock,
    });
  }

  dial(address: string, options: DialOptions): TransportClient {
    return new GrpcClientSocket(
      this.#lines.to(address, options.maxReceiveBytes, options.compress),
      options,
      this.#options.runtime.clock,
    );
  }

  unary(address: string, message: Message, options: DialOptions): Promise<Message> {
    return options.compress ? this.#compressedUnary(address, message, options) : this.#unary(address, message, options);
  }

  async listen(address: string, options: ListenOptions): Promise<Listener> {
    const { runtime, logger, serverTls, channelOptions, maxMetadataBytes } = this.#options;
    const { serverKeepaliveMs: keepaliveMs, keepaliveTimeoutMs } = this.#options;
    const engine =
      this.#options.server === 'grpc-js'
        ? grpcJsEngine({ ...this.#grpcJsServerOptions(), ...channelOptions, maxMetadataBytes })
        : http2Engine({
            maxMetadataBytes,
            maxCalls: this.#options.maxCalls,
            keepaliveMs,
            keepaliveTimeoutMs,
            rules: this.#options,
            random: runtime.random ?? systemRandom,
          });
    const listener = new SocketListener(options, engine, {
      places: hostPorts,
      runtime,
      logger,
      tls: serverTls,
      protocols: ['h2'],
    });
    await listener.open(address, options.signal);
    return listener;
  }

  async close(): Promise<void> {
    this.#lines.close();
    this.#dialer?.close();
    this.#dialer = undefined;
  }

  isSecure(): boolean {
    return this.#options.tls !== undefined;
  }

  toString(): string {
    return 'grpc';
  }

  #unary(address: string, message: Message, options: DialOptions): Promise<Message> {
    return new Promise((resolve, reject) => {
      const line = this.#lines.to(address, options.maxReceiveBytes, options.compress);
      new GrpcUnaryCall(line, options, this.#options.runtime.clock, resolve, reject).start(message);
    });
  }

  async #compressedUnary(address: string, message: Message, options: DialOptions): Promise<Message> {
    const reply = await this.#unary(address, message, options);
    return notUnderstood(reply.status) ? this.#unary(address, message, { ...options, compress: false }) : reply;
  }

  /** Made with the first connection: what is wrong with a file is told to who calls. */
  #credentials(): ChannelCredentials {
    const { tls, runtime, logger } = this.#options;
    if (!tls) return credentials.createInsecure();
    return new TlsChannelCredentials((this.#dialer ??= new TlsDialer(tls, { runtime, logger })));
  }

  #grpcJsServerOptions(): ServerOptions {
    const { maxConnectionIdleMs, maxConnectionAgeMs, maxConnectionAgeGraceMs, maxCalls } = this.#options;
    const { serverKeepaliveMs, keepaliveTimeoutMs } = this.#options;
    return {
      'grpc.enable_channelz': 0,
      ...pings(serverKeepaliveMs, keepaliveTimeoutMs),
      'grpc.max_concurrent_streams': maxCalls,
      ...(maxConnectionIdleMs !== undefined && { 'grpc.max_connection_idle_ms': maxConnectionIdleMs }),
      ...(maxConnectionAgeMs !== undefined && { 'grpc.max_connection_age_ms': maxConnectionAgeMs }),
      ...(maxConnectionAgeGraceMs !== undefined && { 'grpc.max_connection_age_grace_ms': maxConnectionAgeGraceMs }),
    };
  }

  #clientOptions(): ChannelOptions {
    const { maxReconnectMs, keepaliveMs, keepaliveTimeoutMs, keepaliveWithoutCalls, channelOptions } = this.#options;
    return {
      // Whether a call may be sent again is the client's business; here it would only hold back every message in a buffer.
      'grpc.enable_retries': 0,
      'grpc.per_rpc_retry_buffer_size': 0,
      'grpc.enable_channelz': 0,
      'grpc.service_config_disable_resolution': 1,
      // Services of one fleet do not talk through the proxy that the environment names for the outside world.
      'grpc.enable_http_proxy': 0,
      // Not shared with other transports of the process: what this one closes must be closed.
      'grpc.use_local_subchannel_pool': 1,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': maxReconnectMs,
      ...pings(keepaliveMs ?? Number.POSITIVE_INFINITY, keepaliveTimeoutMs),
      'grpc.keepalive_permit_without_calls': keepaliveWithoutCalls ? 1 : 0,
      ...channelOptions,
    };
  }
}

/** As grpc-js is told of them. */
function pings(keepaliveMs: number, keepaliveTimeoutMs: number): ChannelOptions {
  if (keepaliveMs === Number.POSITIVE_INFINITY) return {};
  return { 'grpc.keepalive_time_ms': keepaliveMs, 'grpc.keepalive_timeout_ms': keepaliveTimeoutMs };
}
