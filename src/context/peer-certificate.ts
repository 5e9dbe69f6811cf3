/**
 * The certificate of the other end of a connection (X.509, RFC 5280), sent in the TLS handshake and verified against
 * the certificate authorities that this side trusts. A certificate that was not verified is never given.
 */
export interface PeerCertificate {
  /** The common name of the subject; `undefined` where it has none, or several. */
  readonly commonName: string | undefined;
  /** DNS names of the subjectAltName. */
  readonly dnsNames: readonly string[];
  /** URIs of the subjectAltName: the SPIFFE ID of a workload is one. */
  readonly uris: readonly string[];
  /** Mail addresses of the subjectAltName. */
  readonly emails: readonly string[];
  /** IP addresses of the subjectAltName. */
  readonly ipAddresses: readonly string[];
  /** The whole subject, for people: `O=Acme, CN=greeter`. It can be ambiguous: decide by the names above. */
  readonly subject: string;
  /** The subject of the authority that signed it, for people. */
  readonly issuer: string;
  /** Serial number in hexadecimal digits, upper case; unique for one issuer. */
  readonly serialNumber: string;
  /** SHA-256 of the certificate, in hexadecimal digits, upper case, with colons. */
  readonly fingerprint256: string;
  /** Start of its validity, in milliseconds since the Unix epoch. */
  readonly validFrom: number;
  /** End of its validity, in milliseconds since the Unix epoch. */
  readonly validTo: number;
  /** The certificate itself, in DER. */
  readonly raw: Uint8Array;
}
