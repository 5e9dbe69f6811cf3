import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';

import { formatPeer } from './address.ts';
import type { Logger } from '../../logger/logger.ts';
import { invalidTls, remedyFor, TlsMaterial, type TlsOwner, type TlsSeams } from '../../tls/material.ts';
import type { ServerTlsOptions } from '../../tls/tls.ts';

const defaultHandshakeTimeoutMs = 10_000;

/** Options of a {@link TlsAcceptor}. */
export interface TlsAcceptorOptions extends TlsSeams {
  readonly tls: ServerTlsOptions;
  /** The protocols offered (ALPN, RFC 7301). */
  readonly protocols: readonly string[];
  /** The most handshakes that may be in progress at a time. */
  readonly maxHandshakes: number;
  /** Takes a connection whose handshake is over. */
  readonly take: (connection: TLSSocket) => void;
}

/** Decrypts the connections of a server. A new certificate counts for the connections that come after it. */
export class TlsAcceptor {
  readonly #material: TlsMaterial;
  readonly #server: Server;
  readonly #maxHandshakes: number;
  readonly #logger: Logger;
  /** The addresses of the peers whose handshakes are in progress. */
  readonly #handshakes = new Set<string>();

  /** Throws FAILED_PRECONDITION (`tls.invalid`) for what is missing or does not fit. */
  constructor({ tls, protocols, maxHandshakes, take, ...seams }: TlsAcceptorOptions) {
    this.#maxHandshakes = maxHandshakes;
    this.#logger = seams.logger;
    const owner: TlsOwner = { name: 'a server' };
    const material = new TlsMaterial(tls, owner, seams);
    this.#material = material;
    const { ca, cert } = material.current;
    if (cert === undefined)
      throw invalidTls(
        owner,
        `it has no certificate to show: ${remedyFor('cert', owner)}, and ${remedyFor('key', owner)}`,
      );
    const clientAuth = tls.clientAuth ?? (ca === undefined ? 'none' : 'require');
    if (clientAuth !== 'none' && ca === undefined)
      throw invalidTls(owner, `clientAuth is "${clientAuth}" and no authority is trusted: ${remedyFor('ca', owner)}`);
    this.#server = createServer({
      ...material.current,
      ALPNProtocols: [...protocols],
      handshakeTimeout: tls.handshakeTimeoutMs ?? defaultHandshakeTimeoutMs,
      requestCert: clientAuth !== 'none',
      rejectUnauthorized: clientAuth !== 'none' && clientAuth !== 'request',
    });
    const refused = (connection: TLSSocket, error: unknown): void => {
      // Any peer can cause failed handshakes without limit, so they are logged at the level debug.
      seams.logger.debug('a TLS handshake failed', {
        peer: peerOf(connection),
        error,
      });
      connection.destroy();
    };
    this.#server.on('secureConnection', (connection: TLSSocket) => {
      this.#handshakes.delete(peerOf(connection));
      // Clients without a certificate are admitted, those with an untrusted one are not.
      const isForged = clientAuth === 'request' && !connection.authorized && hasCertificate(connection);
      if (isForged) refused(connection, connection.authorizationError);
      else take(connection);
    });
    this.#server.on('tlsClientError', (error: Error, connection: TLSSocket) => refused(connection, error));
  }

  /** Follows changes of the files until `close`. */
  watch(): void {
    this.#material.watch(() => this.#server.setSecureContext(this.#material.current));
  }

  /** Takes a connection that was accepted. */
  inject(connection: Socket): void {
    const peer = peerOf(connection);
    if (this.#handshakes.size >= this.#maxHandshakes) {
      this.#logger.debug('a connection is refused: maxHandshakes are under way', { peer });
      connection.destroy();
      return;
    }
    this.#handshakes.add(peer);
    connection.once('close', () => this.#handshakes.delete(peer));
    this.#server.emit('connection', connection);
  }

  close(): void {
    this.#material.close();
  }
}

function peerOf({ remoteAddress, remotePort }: Socket): string {
  return formatPeer(remoteAddress, remotePort);
}

function hasCertificate(connection: TLSSocket): boolean {
  return connection.getPeerX509Certificate() !== undefined;
}
