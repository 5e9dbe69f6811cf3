import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';
import type { ConnectionSecurity } from '../tls/connection.ts';
import { systemRandom } from '../runtime/system.ts';
import { type CallConnection, ClientSocket, UnaryCall } from './call/client-call.ts';
import { GrpcBase, grpcProtocols } from './grpc/grpc-base.ts';
import { withGrpcDefaults } from './grpc/grpc-defaults.ts';
import type { GrpcOptions } from './grpc/grpc-options.ts';
import { ClientSession } from './http2/client-session.ts';
import { http2Server } from './http2/server.ts';
import { Keepalive } from './http2/keepalive.ts';
import { DeferredWatch } from './call/deferred-watch.ts';
import { SubchannelPool } from './call/subchannel.ts';
import { tcpAddresses } from './sockets/address-scheme.ts';
import { dialSecurely } from './sockets/tls-dialer.ts';
import type { MakeServerEngine } from './sockets/server-engine.ts';
import type { DialOptions, Message, Transport, TransportCapabilities, TransportClient } from './transport.ts';

/** Options of a {@link GrpcTransport}. */
export interface GrpcTransportOptions extends GrpcOptions {
  /**
   * TLS of clients in place of `tls`, for a backend whose registry or broker follows the certificates. It is read for
   * each connection, and not closed.
   * @default none
   */
  readonly security?: ConnectionSecurity | undefined;
}
/** Container key of the {@link GrpcTransportOptions}. */
export const GrpcTransportOptions: ServiceIdentifier<GrpcTransportOptions> = token('transport', 'GrpcTransportOptions');

/**
 * Carries calls as native gRPC, written on node:http2: any gRPC client can call what listens here, and any gRPC server
 * can be called. Connections are shared per address.
 */
@injectable()
export class GrpcTransport extends GrpcBase<GrpcTransportOptions> implements Transport {
  static readonly capabilities: TransportCapabilities = { network: true, grpc: true, security: 'tls' };

  readonly #subchannels: SubchannelPool<CallConnection>;

  constructor(@inject(GrpcTransportOptions) @optional() given: GrpcTransportOptions = {}) {
    super(withGrpcDefaults(given));
    const { runtime, tls, security, idleMs, maxReconnectMs, maxMetadataBytes, keepaliveTimeoutMs } = this.options;
    const { keepaliveMs = Number.POSITIVE_INFINITY, keepaliveWithoutCalls: withoutCalls = false } = this.options;
    const { clock, timers } = runtime;
    const connection = {
      timers,
      addresses: tcpAddresses,
      isSecure: this.isSecure(),
      maxMetadataBytes,
      keepalive: new Keepalive(timers, { keepaliveMs, keepaliveTimeoutMs, withoutCalls }),
      keepaliveFactor: new Map<string, number>(),
    };
    this.#subchannels = new SubchannelPool({
      clock,
      timers,
      random: runtime.random ?? systemRandom,
      deferredWatch: new DeferredWatch(clock, timers),
      idleMs,
      maxReconnectMs,
      addresses: tcpAddresses,
      secure: security?.hasTls
        ? (socket, host) => dialSecurely(security, socket, host, grpcProtocols, timers)
        : tls && (async (socket, host) => this.dialer(tls).connect(socket, host, grpcProtocols)),
      open: (socket, subchannel) => new ClientSession(socket, connection, subchannel),
    });
  }

  dial(address: string, options: DialOptions): TransportClient {
    return new ClientSocket(this.#subchannels.get(address), options);
  }

  protected override call(address: string, message: Message, options: DialOptions): Promise<Message> {
    return new Promise((resolve, reject) => {
      new UnaryCall(this.#subchannels.get(address), message, options, resolve, reject).start();
    });
  }

  override isSecure(): boolean {
    return this.options.security?.hasTls === true || super.isSecure();
  }

  protected override engine(): MakeServerEngine {
    const { runtime, maxMetadataBytes, maxCalls, serverKeepaliveMs, keepaliveTimeoutMs } = this.options;
    return http2Server({
      maxMetadataBytes,
      maxCalls,
      keepaliveMs: serverKeepaliveMs,
      keepaliveTimeoutMs,
      rules: this.options,
      limits: this.options,
      random: runtime.random ?? systemRandom,
    });
  }

  protected override closeConnections(): void {
    this.#subchannels.close();
  }
}
