import { X509Certificate } from 'node:crypto';
import { TLSSocket } from 'node:tls';

import type { PeerCertificate } from '../../context/peer-certificate.ts';

/** Returns the certificate of the other end, if it was verified. */
export function certificateBehind(connection: unknown): PeerCertificate | undefined {
  if (!(connection instanceof TLSSocket) || !connection.authorized) return undefined;
  const certificate = connection.getPeerX509Certificate();
  return certificate && peerCertificateOf(certificate.raw);
}

/** Reads a certificate in DER. */
export function peerCertificateOf(raw: Uint8Array): PeerCertificate {
  const certificate = new X509Certificate(raw);
  const { CN } = certificate.toLegacyObject().subject as { readonly CN?: string | readonly string[] };
  const names = alternativeNames(certificate.subjectAltName ?? '');
  return {
    commonName: typeof CN === 'string' ? CN : undefined,
    dnsNames: names('DNS'),
    uris: names('URI'),
    emails: names('email'),
    ipAddresses: names('IP Address'),
    subject: certificate.subject.replaceAll('\n', ', '),
    issuer: certificate.issuer.replaceAll('\n', ', '),
    serialNumber: certificate.serialNumber,
    fingerprint256: certificate.fingerprint256,
    validFrom: Date.parse(certificate.validFrom),
    validTo: Date.parse(certificate.validTo),
    raw,
  };
}

/** Parses the alternative names of a certificate. Node writes `DNS:a, URI:b`, and quotes ambiguous names as JSON. */
function alternativeNames(text: string): (type: string) => string[] {
  const found = [...text.matchAll(/([^:,]+):("(?:[^"\\]|\\.)*"|[^,]*)(?:, |$)/gy)].map(([, type, value = '']) => ({
    type,
    value: value.startsWith('"') ? String(JSON.parse(value)) : value,
  }));
  return (type) => found.filter((name) => name.type === type).map((name) => name.value);
}
