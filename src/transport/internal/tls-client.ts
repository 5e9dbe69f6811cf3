import { isIP, type Socket } from 'node:net';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';

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

  /** Shakes hands over a connection to `host`. Rejects with an error whose message says why that did not work, and what to do. */
  connect(connection: Socket, host: string, protocols: readonly string[]): Promise<TLSSocket> {
    const { serverName = host, handshakeTimeoutMs = defaultHandshakeTimeoutMs } = this.#options;
    const hasIdentity = this.#material.current.cert !== undefined;
    return new Promise((resolve, reject) => {
      const secured = connect({
        socket: connection,
        secureContext: this.#context,
        ALPNProtocols: [...protocols],
        host: serverName,
        // RFC 6066, section 3: literal addresses are no names.
        ...(isIP(serverName) === 0 && { servername: serverName }),
      });
      const fail = (error: Error): void => {
        settled();
        secured.destroy();
        reject(new Error(whyTlsFailed(error, { serverName, hasIdentity })));
      };
      const timer = this.#seams.runtime.timers.after(handshakeTimeoutMs, () =>
        fail(new Error(`the handshake was not over after ${handshakeTimeoutMs} ms`)),
      );
      const onClose = (): void => fail(new Error('the connection was closed in the handshake'));
      const settled = (): void => {
        timer.cancel();
        secured.removeListener('close', onClose);
        secured.removeListener('error', fail);
        // After a failure there may be a second error.
        secured.on('error', ignored);
      };
      secured.once('close', onClose);
      secured.once('error', fail);
      secured.once('secureConnect', () => {
        settled();
        resolve(secured);
      });
    });
  }

  close(): void {
    this.#material.close();
  }
}

function ignored(): void {}
