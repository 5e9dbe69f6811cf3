import { isIP, type Socket } from 'node:net';
import { connect, type ConnectionOptions, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';

import { textOf } from '../../errors/errors.ts';
import { bounded } from '../../runtime/bounded.ts';
import type { Timers } from '../../runtime/runtime.ts';
import type { ConnectionSecurity } from '../../tls/connection.ts';
import { whyTlsFailed } from '../../tls/failures.ts';
import { TlsMaterial, type TlsSeams } from '../../tls/material.ts';
import type { ClientTlsOptions } from '../../tls/tls.ts';

const defaultHandshakeTimeoutMs = 10_000;

/** Encrypts the connections of a client. */
export class TlsDialer {
  readonly #options: ClientTlsOptions;
  readonly #seams: TlsSeams;
  readonly #material: TlsMaterial;
  #context: SecureContext;

  /** Throws FAILED_PRECONDITION (`tls.invalid`) for what is missing or does not fit. */
  constructor(options: ClientTlsOptions, seams: TlsSeams) {
    this.#options = options;
    this.#seams = seams;
    const material = new TlsMaterial(options, { name: 'a client' }, seams);
    this.#material = material;
    this.#context = createSecureContext(material.current);
    material.watch(() => (this.#context = createSecureContext(material.current)));
  }

  /**
   * Shakes hands over a connection to `host`. Rejects with an error whose message says why that did not work, and what
   * to do.
   */
  async connect(connection: Socket, host: string, protocols: readonly string[]): Promise<TLSSocket> {
    const { serverName = host, handshakeTimeoutMs = defaultHandshakeTimeoutMs } = this.#options;
    const hasIdentity = this.#material.current.cert !== undefined;
    const options = { socket: connection, secureContext: this.#context, ALPNProtocols: [...protocols] };
    try {
      const { timers } = this.#seams.runtime;
      return await shakeHands({ ...options, host: serverName }, serverName, timers, handshakeTimeoutMs);
    } catch (error) {
      throw new Error(whyTlsFailed(error as Error, { serverName, hasIdentity }), { cause: error });
    }
  }

  close(): void {
    this.#material.close();
  }
}

/** The same with TLS that a registry or a broker follows. Rejects with `tls.invalid` for files that cannot be used. */
export async function dialSecurely(
  security: ConnectionSecurity,
  connection: Socket,
  host: string,
  protocols: readonly string[],
  timers: Timers,
): Promise<TLSSocket> {
  const { tls, handshakeTimeoutMs = defaultHandshakeTimeoutMs } = security;
  try {
    const options = { host, ...tls, socket: connection, ALPNProtocols: [...protocols] };
    return await shakeHands(options, tls?.servername ?? host, timers, handshakeTimeoutMs);
  } catch (error) {
    throw new Error(security.explain(error, host, false) ?? textOf(error), { cause: error });
  }
}

async function shakeHands(
  options: ConnectionOptions,
  serverName: string,
  timers: Timers,
  timeoutMs: number,
): Promise<TLSSocket> {
  // RFC 6066, section 3: literal addresses are no names.
  const secured = connect({ ...options, ...(isIP(serverName) === 0 && { servername: serverName }) });
  try {
    await bounded(handshakeOf(secured), {
      timers,
      timeoutMs,
      keepAlive: false,
      onTimeout: () => new Error(`the handshake was not over after ${timeoutMs} ms`),
    });
    return secured;
  } catch (error) {
    secured.destroy();
    throw error;
  }
}

function handshakeOf(secured: TLSSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    const onClose = (): void => reject(new Error('the connection was closed in the handshake'));
    // After a failure there may be a second error.
    secured.on('error', reject);
    secured.once('close', onClose);
    secured.once('secureConnect', () => {
      secured.removeListener('close', onClose);
      resolve();
    });
  });
}
