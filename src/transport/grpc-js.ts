import { type ChannelCredentials, type ChannelOptions, credentials, type ServerOptions } from '@grpc/grpc-js';
import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';
import type { GrpcTransportOptions } from './grpc.ts';
import { type grpcDefaults, withDefaults } from './internal/grpc-defaults.ts';
import { notUnderstood } from './internal/grpc-encoding.ts';
import { GrpcChannels } from './internal/grpc-js-channels.ts';
import { GrpcJsSocket, GrpcJsUnaryCall } from './internal/grpc-js-client.ts';
import { TlsChannelCredentials } from './internal/grpc-js-credentials.ts';
import { grpcJsEngine } from './internal/grpc-js-engine.ts';
import { hostPorts } from './internal/places.ts';
import { SocketListener } from './internal/socket-listener.ts';
import { TlsDialer } from './internal/tls-client.ts';
import type {
  DialOptions,
  Listener,
  ListenOptions,
  Message,
  Transport,
  TransportCapabilities,
  TransportClient,
} from './transport.ts';

/** How a {@link GrpcJsTransport} connects and listens. grpc-js does not watch `minPingIntervalMs`. */
export interface GrpcJsTransportOptions extends GrpcTransportOptions {
  /**
   * Further options of grpc-js, under their names there (`grpc-node.flow_control_window`), for clients and servers.
   * @default {}
   */
  readonly channelOptions?: Readonly<Record<string, string | number>> | undefined;
}
/** Container key of the {@link GrpcJsTransportOptions}. */
export const GrpcJsTransportOptions: ServiceIdentifier<GrpcJsTransportOptions> = token(
  'transport',
  'GrpcJsTransportOptions',
);

/**
 * Native gRPC, over grpc-js on both sides: what `GrpcTransport` does, less what grpc-js does not let through (docs/parity.md says what), and with its channel options.
 */
@injectable()
export class GrpcJsTransport implements Transport {
  static readonly capabilities: TransportCapabilities = { network: true, grpc: true };

  readonly #options: GrpcJsTransportOptions & typeof grpcDefaults;
  readonly #channels: GrpcChannels;
  #dialer: TlsDialer | undefined;

  constructor(@inject(GrpcJsTransportOptions) @optional() options: GrpcJsTransportOptions = {}) {
    this.#options = withDefaults(options);
    const { idleMs, runtime, maxMetadataBytes } = this.#options;
    this.#channels = new GrpcChannels({
      credentials: () => this.#credentials(),
      channelOptions: this.#clientOptions(),
      maxMetadataBytes,
      idleMs,
      clock: runtime.clock,
    });
  }

  dial(address: string, options: DialOptions): TransportClient {
    const channel = this.#channels.to(address, options.maxReceiveBytes, options.compress);
    return new GrpcJsSocket(channel, options, this.#options.runtime.clock);
  }

  unary(address: string, message: Message, options: DialOptions): Promise<Message> {
    return options.compress ? this.#compressedUnary(address, message, options) : this.#unary(address, message, options);
  }

  async listen(address: string, options: ListenOptions): Promise<Listener> {
    const { runtime, logger, serverTls, channelOptions, maxMetadataBytes } = this.#options;
    const engine = grpcJsEngine({ ...this.#serverOptions(), ...channelOptions, maxMetadataBytes });
    const seams = { places: hostPorts, runtime, logger, tls: serverTls, protocols: ['h2'] };
    const listener = new SocketListener(options, engine, seams);
    await listener.open(address, options.signal);
    return listener;
  }

  async close(): Promise<void> {
    this.#channels.close();
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
      const channel = this.#channels.to(address, options.maxReceiveBytes, options.compress);
      new GrpcJsUnaryCall(channel, options, this.#options.runtime.clock, resolve, reject).start(message);
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

  #serverOptions(): ServerOptions {
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
