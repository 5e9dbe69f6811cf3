import { Code, TenonError } from '../../errors/errors.ts';

// Belong to gRPC, to HTTP/2 or to the connection: sent by an application they would break the call, or all calls of the
// connection.
const reserved = new Set([
  'connection',
  'content-length',
  'content-type',
  'grpc-accept-encoding',
  'grpc-encoding',
  'grpc-message',
  'grpc-status',
  'grpc-timeout',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
]);

// node:http2 throws for a second value of these, and grpc-js then drops the whole connection.
const single = new Set(
  (
    'access-control-allow-credentials access-control-max-age access-control-request-method age authorization content-encoding ' +
    'content-language content-location content-md5 content-range date dnt etag expires from if-match if-modified-since ' +
    'if-none-match if-range if-unmodified-since last-modified location max-forwards proxy-authorization range referer retry-after ' +
    'tk upgrade-insecure-requests user-agent x-content-type-options'
  ).split(' '),
);

/** True for a key that belongs to the protocol: an application's value for it is not sent. */
export function isReserved(key: string): boolean {
  return reserved.has(key);
}

/**
 * The default limit of metadata: less than the 64 KiB that clients on Node take, with room for the protocol's own
 * headers.
 */
export const defaultMaxMetadataBytes = 32 * 1024;

/** Bytes that the protocol's own headers take beside an application's. */
export const protocolHeaderBytes = 4 * 1024;

// A header in which each character may take nine bytes.
const longestMessage = 4_096;

/** Cuts a status message to the length that can be sent. */
export function clipped(message: string): string {
  return message.length > longestMessage ? `${message.slice(0, longestMessage)}…` : message;
}

// RFC 9113, section 6.5.2: each field counts so much more than its name and its value.
const fieldBytes = 32;

/** Adds up the fields of one header block. */
export class MetadataSize {
  #bytes = 0;

  add(key: string, valueLength: number): void {
    this.#bytes += key.length + valueLength + fieldBytes;
  }

  /** Throws RESOURCE_EXHAUSTED (`metadata.too_large`) if the fields are larger than `maxBytes`. */
  assertWithin(maxBytes: number): void {
    if (this.#bytes <= maxBytes) return;
    throw new TenonError({
      code: Code.ResourceExhausted,
      reason: 'metadata.too_large',
      message: `the metadata has ${this.#bytes} bytes, more than the ${maxBytes} allowed: put what is large into messages, or raise maxMetadataBytes`,
    });
  }
}

/** Throws INVALID_ARGUMENT (`metadata.invalid`) if HTTP allows the key once: it is about to be sent a second time. */
export function assertSingle(key: string): void {
  if (!single.has(key)) return;
  throw new TenonError({
    code: Code.InvalidArgument,
    reason: 'metadata.invalid',
    message: `HTTP allows the metadata key "${key}" once: give it one value`,
  });
}
