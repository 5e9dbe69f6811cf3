import { isIP } from 'node:net';
import { checkServerIdentity, type ConnectionOptions } from 'node:tls';

import { whyHandshakeFailed, whyTlsFailed } from './failures.ts';
import { TlsMaterial, type TlsOwner, type TlsSeams } from './material.ts';
import type { ConnectionTlsOptions } from './tls.ts';

/**
 * TLS of the connections that a client library makes: follows the files from the beginning until `close`.
 *
 * `connectionOptions` is for `node:tls`, and for libraries that hand their options on to it. It is one object for all
 * connections, and what is read of it is what is valid then: a certificate that was renewed counts for the connections
 * that come after it. Printed, or as JSON, it shows no secret.
 */
export class ClientTls {
  readonly connectionOptions: ConnectionOptions;
  readonly #material: TlsMaterial;
  readonly #options: ConnectionTlsOptions;
  readonly #owner: TlsOwner;

  /** Throws FAILED_PRECONDITION (`tls.invalid`) for what is missing or does not fit. */
  constructor(options: ConnectionTlsOptions, owner: TlsOwner, seams: TlsSeams) {
    const material = new TlsMaterial(options, owner, seams);
    const { serverName, insecureSkipVerify } = options;
    this.#material = material;
    this.#options = options;
    this.#owner = owner;
    this.connectionOptions = Object.defineProperty(
      {
        get ca() {
          return material.current.ca;
        },
        get cert() {
          return material.current.cert;
        },
        get key() {
          return material.current.key;
        },
        minVersion: material.current.minVersion,
        // Only what is surely meant turns it off.
        rejectUnauthorized: insecureSkipVerify !== true,
        ...(serverName !== undefined && {
          // RFC 6066, section 3: literal addresses are no names.
          ...(isIP(serverName) === 0 && { servername: serverName }),
          checkServerIdentity: (_host, certificate) => checkServerIdentity(serverName, certificate),
        }),
      } satisfies ConnectionOptions,
      'toJSON',
      { value: () => '***' },
    );
    material.watch();
  }

  /**
   * Explains an error of a handshake with `host`, and what to do, in one sentence; `undefined` for an error that is not
   * of TLS. `wasAnswered`: false if nothing was ever heard of the server, so that a connection that it closed may have
   * ended in the handshake.
   */
  explain(error: Error, host: string, wasAnswered = true): string | undefined {
    const hasIdentity = this.#material.current.cert !== undefined;
    const { serverName = host, caFile } = this.#options;
    const handshake = { serverName, hasIdentity, caFile, variables: this.#owner.variables };
    if (!wasAnswered && (error as NodeJS.ErrnoException).code === 'ECONNRESET') return whyTlsFailed(error, handshake);
    return whyHandshakeFailed(error, handshake);
  }

  /** Follows the files no longer. */
  close(): void {
    this.#material.close();
  }
}
