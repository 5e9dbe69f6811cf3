import type { Logger } from '../../logger/logger.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { checkFields, clientTlsFields, serverTlsFields } from '../../tls/option-fields.ts';
import type { ClientTlsOptions, ServerTlsOptions } from '../../tls/tls.ts';
import type {
  DialOptions,
  Listener,
  ListenOptions,
  Message,
  Transport,
  TransportClient,
  TransportEncryption,
} from '../transport.ts';
import { type CallConnection, ClientSocket, UnaryCall } from '../call/client-call.ts';
import type { ConnectionOptions } from './connection.ts';
import { minWindowBytes } from './format.ts';
import { FrameClientConnection } from './client-connection.ts';
import { Sections } from './sections.ts';
import { FrameServer } from './server.ts';
import { DeferredWatch } from '../call/deferred-watch.ts';
import { SubchannelPool } from '../call/subchannel.ts';
import type { AddressScheme } from '../sockets/address-scheme.ts';
import { socketServerDefaults, type SocketServerLimits } from '../sockets/socket-defaults.ts';
import { SocketListener, type SocketListenerOptions } from '../sockets/socket-listener.ts';
import { TlsDialer } from '../sockets/tls-dialer.ts';

/** Options of the transports that use frames. */
export interface FrameTransportOptions extends SocketServerLimits {
  readonly idleMs: number;
  readonly maxReconnectMs: number;
  readonly handshakeTimeoutMs: number;
  readonly keepaliveMs?: number | undefined;
  readonly keepaliveTimeoutMs: number;
  readonly serverKeepaliveMs: number;
  readonly windowBytes: number;
  readonly maxCalls: number;
  readonly tls?: ClientTlsOptions | undefined;
  readonly serverTls?: ServerTlsOptions | undefined;
  readonly runtime: Runtime;
  readonly logger: Logger;
}

/** The defaults of these options. */
export const frameDefaults = {
  ...socketServerDefaults,
  idleMs: 300_000,
  maxReconnectMs: 800,
  handshakeTimeoutMs: 20_000,
  keepaliveTimeoutMs: 20_000,
  serverKeepaliveMs: 60_000,
  windowBytes: 256 * 1024,
  maxCalls: 10_000,
} as const;

// The protocol offered in TLS (ALPN, RFC 7301).
const protocols = ['tenon/1'];

/** A transport over sockets with tenon's own frames; `addresses` parses the addresses of the sockets. */
export class FrameTransport implements Transport {
  readonly #options: FrameTransportOptions;
  readonly #addresses: AddressScheme;
  readonly #makeServer: SocketListenerOptions['makeServer'];
  readonly #connection: ConnectionOptions;
  readonly #deferredWatch: DeferredWatch;
  readonly #subchannels: SubchannelPool<CallConnection>;
  #dialer: TlsDialer | undefined;

  /** @param makeServer makes what takes the connections of a listener, if they are none of `node:net` */
  constructor(
    options: FrameTransportOptions,
    addresses: AddressScheme,
    makeServer?: SocketListenerOptions['makeServer'],
  ) {
    const { windowBytes, maxCalls, keepaliveMs, keepaliveTimeoutMs, handshakeTimeoutMs, runtime } = options;
    checkFields('tls', options.tls, clientTlsFields);
    checkFields('serverTls', options.serverTls, serverTlsFields);
    this.#options = options;
    this.#addresses = addresses;
    this.#makeServer = makeServer;
    this.#deferredWatch = new DeferredWatch(runtime.clock, runtime.timers);
    this.#connection = {
      windowBytes: Math.max(windowBytes, minWindowBytes),
      maxCalls,
      keepaliveMs,
      keepaliveWithoutCalls: false,
      keepaliveTimeoutMs,
      handshakeMs: handshakeTimeoutMs,
      timers: runtime.timers,
      sections: new Sections(),
    };
    this.#subchannels = new SubchannelPool({
      timers: runtime.timers,
      clock: runtime.clock,
      random: runtime.random,
      deferredWatch: this.#deferredWatch,
      idleMs: options.idleMs,
      maxReconnectMs: options.maxReconnectMs,
      addresses,
      open: (socket, subchannel) => new FrameClientConnection(socket, { ...this.#connection, addresses }, subchannel),
      secure: options.tls && (async (socket, host) => this.#dial().connect(socket, host, protocols)),
    });
  }

  dial(address: string, options: DialOptions): TransportClient {
    return new ClientSocket(this.#subchannels.get(address), options);
  }

  unary(address: string, message: Message, options: DialOptions): Promise<Message> {
    return new Promise((resolve, reject) => {
      new UnaryCall(this.#subchannels.get(address), message, options, resolve, reject).start();
    });
  }

  async listen(address: string, options: ListenOptions): Promise<Listener> {
    const { runtime, logger, serverTls } = this.#options;
    const shared = { deferredWatch: this.#deferredWatch, addresses: this.#addresses, limits: this.#options };
    const connection = {
      ...this.#connection,
      keepaliveMs: this.#options.serverKeepaliveMs,
      keepaliveWithoutCalls: true,
    };
    const listener = new SocketListener(
      options,
      (listening, side) => new FrameServer(listening, side, connection, shared),
      {
        addresses: this.#addresses,
        runtime,
        logger,
        tls: serverTls,
        protocols,
        limits: this.#options,
        makeServer: this.#makeServer,
      },
    );
    await listener.open(address, options.signal);
    return listener;
  }

  get encryption(): TransportEncryption {
    return { client: this.#options.tls !== undefined, server: this.#options.serverTls !== undefined };
  }

  isSecure(): boolean {
    return this.#options.tls !== undefined;
  }

  async close(): Promise<void> {
    this.#subchannels.close();
    this.#dialer?.close();
    this.#dialer = undefined;
  }

  /** Makes the dialer with the first connection, so that the caller gets the error of a file that cannot be used. */
  #dial(): TlsDialer {
    const { tls = {}, runtime, logger } = this.#options;
    return (this.#dialer ??= new TlsDialer(tls, { runtime, logger }));
  }
}
