import { CallCredentials, ChannelCredentials, type experimental } from '@grpc/grpc-js';

import { parseAddress } from '../sockets/address.ts';
import type { TlsDialer } from '../sockets/tls-dialer.ts';

type Target = Parameters<ChannelCredentials['_createSecureConnector']>[0];

/** TLS of grpc-js's channels, with handshakes of our own: each uses what is valid then. */
export class TlsChannelCredentials extends ChannelCredentials {
  readonly #dialer: TlsDialer;

  constructor(dialer: TlsDialer) {
    super();
    this.#dialer = dialer;
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(
    target: Target,
    _options: unknown,
    calls: CallCredentials = CallCredentials.createEmpty(),
  ): experimental.SecureConnector {
    const { host } = parseAddress(target.path);
    return {
      connect: async (connection) => ({
        socket: await this.#dialer.connect(connection, host, ['h2']),
        secure: true,
      }),
      waitForReady: async () => {},
      getCallCredentials: () => calls,
      destroy: () => {},
    };
  }
}
