import type {
  DialOptions,
  Listener,
  ListenOptions,
  Message,
  Transport,
  TransportClient,
  TransportEncryption,
} from '../transport.ts';
import { checkFields, clientTlsFields, serverTlsFields } from '../../tls/option-fields.ts';
import type { ClientTlsOptions } from '../../tls/tls.ts';
import { notUnderstood } from './message-encoding.ts';
import type { grpcDefaults } from './grpc-defaults.ts';
import type { GrpcOptions } from './grpc-options.ts';
import { tcpAddresses } from '../sockets/address-scheme.ts';
import type { MakeServerEngine } from '../sockets/server-engine.ts';
import { SocketListener } from '../sockets/socket-listener.ts';
import { TlsDialer } from '../sockets/tls-dialer.ts';

/** The protocols offered in TLS (ALPN, RFC 7301). */
export const grpcProtocols = ['h2'];

/** The common base of the gRPC transports. */
export abstract class GrpcBase<Options extends GrpcOptions> implements Transport {
  protected readonly options: Options & typeof grpcDefaults;
  #dialer: TlsDialer | undefined;

  constructor(options: Options & typeof grpcDefaults) {
    checkFields('tls', options.tls, clientTlsFields);
    checkFields('serverTls', options.serverTls, serverTlsFields);
    this.options = options;
  }

  abstract dial(address: string, options: DialOptions): TransportClient;
  /** Makes one attempt of a unary call. */
  protected abstract call(address: string, message: Message, options: DialOptions): Promise<Message>;
  /** Makes the engine that answers calls. */
  protected abstract engine(): MakeServerEngine;
  protected abstract closeConnections(): void;

  unary(address: string, message: Message, options: DialOptions): Promise<Message> {
    return options.compress ? this.#compressed(address, message, options) : this.call(address, message, options);
  }

  async listen(address: string, options: ListenOptions): Promise<Listener> {
    const { runtime, logger, serverTls: tls } = this.options;
    const seams = { addresses: tcpAddresses, runtime, logger, tls, protocols: grpcProtocols, limits: this.options };
    const listener = new SocketListener(options, this.engine(), seams);
    await listener.open(address, options.signal);
    return listener;
  }

  async close(): Promise<void> {
    this.closeConnections();
    this.#dialer?.close();
    this.#dialer = undefined;
  }

  get encryption(): TransportEncryption {
    return { client: this.isSecure(), server: this.options.serverTls !== undefined };
  }

  isSecure(): boolean {
    return this.options.tls !== undefined;
  }

  toString(): string {
    return 'grpc';
  }

  /** Makes the dialer with the first connection, so that the caller gets the error of a file that cannot be used. */
  protected dialer(tls: ClientTlsOptions): TlsDialer {
    const { runtime, logger } = this.options;
    return (this.#dialer ??= new TlsDialer(tls, { runtime, logger }));
  }

  async #compressed(address: string, message: Message, options: DialOptions): Promise<Message> {
    const reply = await this.call(address, message, options);
    return notUnderstood(reply.status) ? this.call(address, message, { ...options, compress: false }) : reply;
  }
}
