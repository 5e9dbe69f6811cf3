import { type ChannelOptions, credentials, type ServerOptions } from '@grpc/grpc-js';
import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';
import { GrpcBase } from './grpc/grpc-base.ts';
import { withGrpcDefaults } from './grpc/grpc-defaults.ts';
import type { GrpcOptions } from './grpc/grpc-options.ts';
import { GrpcJsChannelPool } from './grpc-js/channels.ts';
import { GrpcJsSocket, GrpcJsUnaryCall } from './grpc-js/client-call.ts';
import { TlsChannelCredentials } from './grpc-js/credentials.ts';
import { grpcJsServer } from './grpc-js/server.ts';
import type { MakeServerEngine } from './sockets/server-engine.ts';
import type { DialOptions, Message, Transport, TransportCapabilities, TransportClient } from './transport.ts';

/** Options of a {@link GrpcJsTransport}. grpc-js does not enforce `minPingIntervalMs`. */
export interface GrpcJsTransportOptions extends GrpcOptions {
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
 * Native gRPC, over grpc-js on both sides: what `GrpcTransport` does, less what grpc-js does not let through
 * (docs/transport.md says what), and with its channel options.
 */
@injectable()
export class GrpcJsTransport extends GrpcBase<GrpcJsTransportOptions> implements Transport {
  static readonly capabilities: TransportCapabilities = { network: true, grpc: true, security: 'tls' };

  readonly #channels: GrpcJsChannelPool;

  constructor(@inject(GrpcJsTransportOptions) @optional() options: GrpcJsTransportOptions = {}) {
    super(withGrpcDefaults(options));
    const { tls, idleMs, runtime, maxMetadataBytes } = this.options;
    this.#channels = new GrpcJsChannelPool({
      credentials: () => (tls ? new TlsChannelCredentials(this.dialer(tls)) : credentials.createInsecure()),
      channelOptions: this.#clientOptions(),
      maxMetadataBytes,
      idleMs,
      clock: runtime.clock,
    });
  }

  dial(address: string, options: DialOptions): TransportClient {
    const channel = this.#channels.get(address, options.maxReceiveBytes, options.compress);
    return new GrpcJsSocket(channel, options, this.options.runtime.clock);
  }

  protected override call(address: string, message: Message, options: DialOptions): Promise<Message> {
    return new Promise((resolve, reject) => {
      const channel = this.#channels.get(address, options.maxReceiveBytes, options.compress);
      new GrpcJsUnaryCall(channel, options, this.options.runtime.clock, resolve, reject).start(message);
    });
  }

  protected override engine(): MakeServerEngine {
    const { channelOptions, maxMetadataBytes } = this.options;
    return grpcJsServer({ ...this.#serverOptions(), ...channelOptions, maxMetadataBytes });
  }

  protected override closeConnections(): void {
    this.#channels.close();
  }

  #serverOptions(): ServerOptions {
    const { maxConnectionIdleMs, maxConnectionAgeMs, maxConnectionAgeGraceMs, maxCalls } = this.options;
    const { serverKeepaliveMs, keepaliveTimeoutMs } = this.options;
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
    const { maxReconnectMs, keepaliveMs, keepaliveTimeoutMs, keepaliveWithoutCalls, channelOptions } = this.options;
    return {
      // Whether a call may be sent again is the client's business; here it would only hold back every message in a
      // buffer.
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
      // A name may have moved: it is asked for again as often as it is connected to.
      'grpc.dns_min_time_between_resolutions_ms': maxReconnectMs,
      ...pings(keepaliveMs ?? Number.POSITIVE_INFINITY, keepaliveTimeoutMs),
      'grpc.keepalive_permit_without_calls': keepaliveWithoutCalls ? 1 : 0,
      ...channelOptions,
    };
  }
}

/** Returns the pings of clients as options of grpc-js. */
function pings(keepaliveMs: number, keepaliveTimeoutMs: number): ChannelOptions {
  if (keepaliveMs === Number.POSITIVE_INFINITY) return {};
  return { 'grpc.keepalive_time_ms': keepaliveMs, 'grpc.keepalive_timeout_ms': keepaliveTimeoutMs };
}
