import { Metadata as GrpcMetadata } from '@grpc/grpc-js';

import { type LazyMetadata, Metadata, type MetadataValue } from '../../context/metadata.ts';
import { detailsKey, type Status } from '../../context/status.ts';
import { Code, TenonError } from '../../errors/errors.ts';

/** What is sent where there is nothing to send. Shared, because grpc-js copies what it changes. */
export const noMetadata = new GrpcMetadata();

// Belong to gRPC, to HTTP/2 or to the connection: sent by an application they would break the call, or all calls of the connection.
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

/** As grpc-js takes it. Throws INVALID_ARGUMENT (`metadata.invalid`) for a second value of what HTTP allows once. */
export function toGrpc(metadata: Metadata | undefined): GrpcMetadata {
  if (!metadata || metadata.isEmpty) return noMetadata;
  const result = new GrpcMetadata();
  for (const [key, value] of metadata) {
    if (reserved.has(key)) continue;
    if (single.has(key) && result.get(key).length > 0) throw repeated(key);
    result.add(key, typeof value === 'string' ? value : bufferOf(value));
  }
  return result;
}

/** The trailers of `status`, as grpc-js takes them. */
export function trailersOf(status: Status): GrpcMetadata | null {
  if (!status.metadata) return null;
  const result = toGrpc(status.metadata);
  const details = result.get(detailsKey)[0];
  if (Buffer.isBuffer(details)) result.set(detailsKey, withoutPadding(details, status.code));
  return result;
}

const ofRequest = {
  read: (raw: GrpcMetadata) => entriesOf(raw),
  find: (raw: GrpcMetadata, key: string) => raw.get(key)[0],
} satisfies Omit<LazyMetadata<GrpcMetadata>, 'raw'>;

const ofResponse = {
  read: (raw: GrpcMetadata) => entriesOf(raw, http),
  find: (raw: GrpcMetadata, key: string) => (http.has(key) ? undefined : raw.get(key)[0]),
} satisfies Omit<LazyMetadata<GrpcMetadata>, 'raw'>;

// Said by HTTP, not by the application that answers.
const http: ReadonlySet<string> = new Set(['content-type', 'date']);

/** What a client sent, read only if somebody looks. */
export function requestMetadata(raw: GrpcMetadata): Metadata {
  return Metadata.lazy({ raw, read: ofRequest.read, find: ofRequest.find });
}

/** What a server sent, before its first message or with its status. */
export function responseMetadata(raw: GrpcMetadata): Metadata {
  return Metadata.lazy({ raw, read: ofResponse.read, find: ofResponse.find });
}

/** grpc-js copies with `Buffer.copy`. */
export function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function* entriesOf(raw: GrpcMetadata, hidden?: ReadonlySet<string>): Iterable<[string, MetadataValue]> {
  for (const [key, values] of Object.entries(raw.toJSON())) {
    if (hidden?.has(key)) continue;
    for (const value of values) yield [key, value];
  }
}

/**
 * grpc-js pads base64, and gRPC says not to (PROTOCOL-HTTP2.md: Binary-Header). A length that is a multiple of three needs no padding: the
 * `code` of the google.rpc.Status is said again, two bytes each time, and the last one counts.
 */
function withoutPadding(details: Buffer, code: Code): Buffer {
  const again = Buffer.from([0x08, code]);
  const missing = (3 - (details.length % 3)) % 3;
  if (missing === 0) return details;
  return Buffer.concat(missing === 2 ? [details, again] : [details, again, again]);
}

function repeated(key: string): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'metadata.invalid',
    message: `HTTP allows the metadata key "${key}" once: give it one value`,
  });
}
