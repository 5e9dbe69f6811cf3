import { isIP } from 'node:net';
import { checkServerIdentity, type ConnectionOptions } from 'node:tls';

import { whyTlsFailed } from './failures.ts';
import { TlsMaterial, type TlsOwner, type TlsSeams } from './material.ts';
import type { ClientTlsOptions } from './tls.ts';

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
  readonly #options: ClientTlsOptions;
  readonly #owner: TlsOwner;

  /** Throws FAILED_PRECONDITION (`tls.invalid`) for what is missing or does not fit. */
  constructor(options: ClientTlsOptions, owner: TlsOwner, seams: TlsSeams) {
    const material = new TlsMaterial(options, owner, seams);
    const { serverName } = options;
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

  /** Explains an error of a handshake with `host`, and what to do, in one sentence. */
  explain(error: Error, host: string): string {
    const hasIdentity = this.#material.current.cert !== undefined;
    const { serverName = host } = this.#options;
    return whyTlsFailed(error, { serverName, hasIdentity, variables: this.#owner.variables });
  }

  /** Follows the files no longer. */
  close(): void {
    this.#material.close();
  }
}
