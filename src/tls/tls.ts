/**
 * Says what one side of a TLS connection shows and trusts, as PEM: from files, which are read again when they change,
 * or as text. Give each of the three once, as a file or as text.
 */
export interface TlsOptions {
  /** The certificate that this side shows, followed by those of the authorities in between. Goes with a key. */
  readonly certFile?: string | undefined;
  /** Its private key, not encrypted. */
  readonly keyFile?: string | undefined;
  /** The certificates of the authorities that are trusted, one after the other. */
  readonly caFile?: string | undefined;
  /** In place of `certFile`. */
  readonly cert?: string | Uint8Array | undefined;
  /** In place of `keyFile`. */
  readonly key?: string | Uint8Array | undefined;
  /** In place of `caFile`. */
  readonly ca?: string | Uint8Array | undefined;
  /**
   * The oldest version of TLS that is spoken.
   * @default 'TLSv1.2'
   */
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3' | undefined;
  /**
   * Time between two looks at the files, in milliseconds; 0 for never. New connections use what was found last; those
   * there are stay. A set that does not fit together is logged, and the one before it kept.
   * @default 10_000
   */
  readonly reloadMs?: number | undefined;
  /**
   * A handshake that takes longer is given up, in milliseconds.
   * @default 10_000
   */
  readonly handshakeTimeoutMs?: number | undefined;
}

/**
 * The certificates that a server asks of its clients. `request` admits clients without a certificate, and refuses
 * untrusted ones.
 */
export type ClientAuth = 'none' | 'request' | 'require';

/** TLS of a server. It needs a certificate and its key. */
export interface ServerTlsOptions extends TlsOptions {
  /**
   * True if callers have to show a certificate that one of the authorities in `ca` signed.
   * @default 'require' where there is a `ca`, else 'none'
   */
  readonly clientAuth?: ClientAuth | undefined;
}

/** TLS of a client. Without a `ca` it trusts the authorities that Node trusts. */
export interface ClientTlsOptions extends TlsOptions {
  /**
   * The name that certificates of servers must be for.
   * @default the host of the address
   */
  readonly serverName?: string | undefined;
}

/** TLS of the connections that a registry or a broker makes to its server. */
export interface ConnectionTlsOptions extends ClientTlsOptions {
  /**
   * Accepts every certificate, whoever signed it and whatever name it is for: what is sent is encrypted, and the server
   * may be anybody. For a laptop; it is logged as a warning.
   * @default false
   */
  readonly insecureSkipVerify?: boolean | undefined;
}
