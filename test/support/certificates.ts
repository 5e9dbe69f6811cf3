import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIP } from 'node:net';

/**
 * A certificate with its key, and what can be signed with it. Node cannot make certificates, so they are written here,
 * in DER (RFC 5280).
 */
export interface Certified {
  /** In PEM, and those of the authorities in between after it. */
  readonly cert: string;
  /** In PEM (PKCS #8). */
  readonly key: string;
  readonly issue: (options: CertificateOptions) => Certified;
}

/** What a certificate says. */
export interface CertificateOptions {
  readonly name: string;
  /** DNS names, IP addresses and URIs of the subjectAltName. */
  readonly names?: readonly string[];
  readonly isAuthority?: boolean;
  /** Days from now, when it begins and ends. */
  readonly fromDays?: number;
  readonly toDays?: number;
}

/** An authority that signs itself. */
export function authority(name = 'Test authority'): Certified {
  return certify({ name, isAuthority: true }, undefined);
}

interface Issuer {
  readonly name: string;
  readonly key: KeyObject;
  readonly chain: string;
}

function certify(options: CertificateOptions, issuer: Issuer | undefined): Certified {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = sequence(oid('2a8648ce3d040302')); // ecdsa-with-SHA256
  const { name, fromDays = -1, toDays = 30 } = options;
  const body = sequence(
    tagged(0xa0, tagged(0x02, Buffer.of(2))),
    tagged(0x02, Buffer.concat([Buffer.of(1), randomBytes(8)])),
    algorithm,
    named(issuer?.name ?? name),
    sequence(time(fromDays), time(toDays)),
    named(name),
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, sequence(...extensions(options))),
  );
  const signature = sign('sha256', body, issuer?.key ?? privateKey);
  const der = sequence(body, algorithm, tagged(0x03, Buffer.concat([Buffer.of(0), signature])));
  const lines = der.toString('base64').replace(/.{64}(?=.)/g, '$&\n');
  const cert = `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
  // The root is not sent along: who trusts it has it.
  const chain = issuer ? cert + issuer.chain : '';
  return {
    cert: issuer ? chain : cert,
    key: String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
    issue: (more) => certify(more, { name, key: privateKey, chain }),
  };
}

function* extensions({ names = [], isAuthority = false }: CertificateOptions): Generator<Buffer> {
  if (isAuthority) yield extension('551d13', sequence(tagged(0x01, Buffer.of(0xff))));
  if (names.length > 0) yield extension('551d11', sequence(...names.map(alternativeName)));
  // Some value has to be there, or the list of extensions would be empty.
  if (!isAuthority) yield extension('551d25', sequence(oid('2b06010505070301'), oid('2b06010505070302')));
}

function extension(id: string, value: Buffer): Buffer {
  return sequence(oid(id), tagged(0x04, value));
}

function alternativeName(name: string): Buffer {
  if (isIP(name) === 4) return tagged(0x87, Buffer.from(name.split('.').map(Number)));
  return tagged(name.includes('://') ? 0x86 : 0x82, Buffer.from(name));
}

function named(commonName: string): Buffer {
  return sequence(tagged(0x31, sequence(oid('550403'), tagged(0x0c, Buffer.from(commonName)))));
}

function time(days: number): Buffer {
  const text = new Date(Date.now() + days * 86_400_000).toISOString().replace(/[-:T]|\.\d+/g, '');
  return tagged(0x17, Buffer.from(text.slice(2)));
}

function oid(hex: string): Buffer {
  return tagged(0x06, Buffer.from(hex, 'hex'));
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(parts));
}

function tagged(tag: number, content: Buffer): Buffer {
  const { length } = content;
  // No more bytes than needed, or Go refuses it (X.690, section 10.1).
  if (length < 0x80) return Buffer.concat([Buffer.of(tag, length), content]);
  if (length < 0x100) return Buffer.concat([Buffer.of(tag, 0x81, length), content]);
  return Buffer.concat([Buffer.of(tag, 0x82, length >> 8, length & 0xff), content]);
}
