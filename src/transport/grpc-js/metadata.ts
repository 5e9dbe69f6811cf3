import { Metadata as GrpcMetadata } from '@grpc/grpc-js';

import { type LazyMetadata, Metadata, type MetadataValue } from '../../context/metadata.ts';
import { detailsKey, type Status } from '../../context/status.ts';
import type { Code } from '../../errors/errors.ts';
import { assertSingle, isReserved, MetadataSize } from '../grpc/grpc-headers.ts';

/**
 * Keeps `__proto__`, a key like any other, which grpc-js loses by assigning it to plain objects. In capitals it is an
 * ordinary property, and node:http2 writes every name in lower case.
 */
class ProtoKeyMetadata extends GrpcMetadata {
  override clone(): ProtoKeyMetadata {
    const copy = new ProtoKeyMetadata(this.getOptions());
    copy.merge(super.clone());
    return copy;
  }

  override toHttp2Headers(): ReturnType<GrpcMetadata['toHttp2Headers']> {
    const headers = super.toHttp2Headers();
    return { ...headers, __PROTO__: this.get('__proto__').map(String) };
  }
}

/** Metadata without entries. Shared, because grpc-js copies what it changes. */
export const noMetadata = new GrpcMetadata();

/**
 * Converts metadata to that of grpc-js. Throws INVALID_ARGUMENT (`metadata.invalid`) for a second value of a header
 * that HTTP allows once, and RESOURCE_EXHAUSTED (`metadata.too_large`) for more than `maxBytes`.
 */
export function toGrpc(metadata: Metadata | undefined, maxBytes: number): GrpcMetadata {
  if (!metadata || metadata.isEmpty) return noMetadata;
  const result = metadata.has('__proto__') ? new ProtoKeyMetadata() : new GrpcMetadata();
  const size = new MetadataSize();
  for (const [key, value] of metadata) {
    if (isReserved(key)) continue;
    if (result.get(key).length > 0) assertSingle(key);
    size.add(key, typeof value === 'string' ? value.length : Math.ceil((value.length * 4) / 3));
    result.add(key, typeof value === 'string' ? value : bufferOf(value));
  }
  size.assertWithin(maxBytes);
  return result;
}

/** Converts the trailers of `status` to metadata of grpc-js. Throws as `toGrpc` does. */
export function trailersOf(status: Status, maxBytes: number): GrpcMetadata | null {
  if (!status.metadata) return null;
  const result = toGrpc(status.metadata, maxBytes);
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

// Headers of HTTP, which are not metadata of the application.
const http: ReadonlySet<string> = new Set(['content-type', 'date']);

/** Returns the metadata of a request, which is read only when it is looked into. */
export function requestMetadata(raw: GrpcMetadata): Metadata {
  return Metadata.lazy({ raw, read: ofRequest.read, find: ofRequest.find });
}

/** Returns the metadata of a response, from its headers or its trailers. */
export function responseMetadata(raw: GrpcMetadata): Metadata {
  return Metadata.lazy({ raw, read: ofResponse.read, find: ofResponse.find });
}

/** Returns bytes as a Buffer, since grpc-js copies with `Buffer.copy`. */
export function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function* entriesOf(raw: GrpcMetadata, hidden?: ReadonlySet<string>): Iterable<[string, MetadataValue]> {
  for (const [key, values] of Object.entries(raw.toJSON())) {
    if (hidden?.has(key)) continue;
    for (const value of values) yield [key, value];
  }
  // Assigned to a plain object, these have become its prototype.
  for (const value of raw.get('__proto__')) yield ['__proto__', value];
}

/**
 * Extends the details of a status so that grpc-js, which pads base64 although gRPC forbids it (PROTOCOL-HTTP2.md:
 * Binary-Header), adds no padding: their length must be a multiple of three. The `code` of the google.rpc.Status is
 * repeated, two bytes each time, and the last one counts.
 */
function withoutPadding(details: Buffer, code: Code): Buffer {
  const again = Buffer.from([0x08, code]);
  const missing = (3 - (details.length % 3)) % 3;
  if (missing === 0) return details;
  return Buffer.concat(missing === 2 ? [details, again] : [details, again, again]);
}
