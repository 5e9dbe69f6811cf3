import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2';

import { type LazyMetadata, Metadata, type MetadataValue } from '../../context/metadata.ts';
import type { Status } from '../../context/status.ts';
import { Code, codeFrom } from '../../errors/errors.ts';
import { ownValue, setOwn } from '../../internal/own.ts';
import { badMessage } from '../grpc/message-framing.ts';
import { assertSingle, clipped, isReserved, MetadataSize } from '../grpc/grpc-headers.ts';

/** Request headers as node:http2 gives them: names and values in turn, repeated ones apart. */
export type RawHeaders = readonly string[];

// Headers of HTTP and gRPC, which are not metadata. `content-type` stays: it names the codec.
const hiddenInRequests = new Set([
  'te',
  'grpc-accept-encoding',
  'grpc-encoding',
  'grpc-timeout',
  'accept-encoding',
  'content-length',
  'host',
]);

// `grpc-accept-encoding` stays: a caller whose encoding the server does not know reads it.
const hiddenInResponses = new Set(['content-type', 'date', 'grpc-encoding', 'grpc-message', 'grpc-status']);

/** Reads headers but for some that are not the application's. */
function reading(hidden: ReadonlySet<string>): Omit<LazyMetadata<RawHeaders>, 'raw'> {
  return {
    read: (raw) => entriesOf(raw, hidden),
    find: (raw, key) => firstOf(raw, key, hidden),
  };
}

function* entriesOf(raw: RawHeaders, hidden: ReadonlySet<string>): Iterable<[string, MetadataValue]> {
  for (let index = 0; index < raw.length; index += 2) {
    const key = raw[index] as string;
    if (key.startsWith(':') || hidden.has(key)) continue;
    const value = raw[index + 1] as string;
    if (key.endsWith('-bin')) for (const one of value.split(',')) yield [key, Buffer.from(one, 'base64')];
    else yield [key, value];
  }
}

function firstOf(raw: RawHeaders, key: string, hidden: ReadonlySet<string>): MetadataValue | undefined {
  if (key.startsWith(':') || hidden.has(key)) return undefined;
  for (let index = 0; index < raw.length; index += 2) {
    if (raw[index] !== key) continue;
    const value = raw[index + 1] as string;
    return key.endsWith('-bin') ? Buffer.from(value.split(',', 1)[0] as string, 'base64') : value;
  }
  return undefined;
}

const ofRequest = reading(hiddenInRequests);
const ofResponse = reading(hiddenInResponses);

/** Returns the metadata of a request, which is read only when it is looked into. */
export function requestMetadataOf(raw: RawHeaders): Metadata {
  return Metadata.lazy({ raw, read: ofRequest.read, find: ofRequest.find });
}

/** Returns the metadata of a response, from its headers or its trailers. */
export function responseMetadataOf(raw: RawHeaders): Metadata {
  return Metadata.lazy({ raw, read: ofResponse.read, find: ofResponse.find });
}

/**
 * Adds metadata to headers as node:http2 takes them. Throws INVALID_ARGUMENT (`metadata.invalid`) for a second value of
 * what HTTP allows once, RESOURCE_EXHAUSTED (`metadata.too_large`) for more than `maxBytes`.
 */
export function addMetadata(
  headers: OutgoingHttpHeaders,
  metadata: Metadata | undefined,
  maxBytes: number,
): OutgoingHttpHeaders {
  if (!metadata) return headers;
  const size = new MetadataSize();
  for (const [key, value] of metadata) {
    if (isReserved(key)) continue;
    const text = typeof value === 'string' ? value : base64(value);
    size.add(key, text.length);
    const before = ownValue(headers, key);
    if (before === undefined) setOwn(headers, key, text);
    else {
      assertSingle(key);
      if (Array.isArray(before)) before.push(text);
      else setOwn(headers, key, [String(before), text]);
    }
  }
  size.assertWithin(maxBytes);
  return headers;
}

/** Encodes bytes in base64 without padding, as gRPC wants it (PROTOCOL-HTTP2.md: Binary-Header). */
function base64(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
  return text.endsWith('=') ? text.slice(0, text.indexOf('=')) : text;
}

/** Returns the trailers of a status, without its metadata. */
export function statusHeaders({ code, message }: Status): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = { 'grpc-status': String(codeFrom(code)) };
  if (message !== '' && code !== Code.Ok) headers['grpc-message'] = percentEncoded(clipped(message));
  return headers;
}

// PROTOCOL-HTTP2.md: Percent-Encoded, all but printable ASCII without "%". HTTP drops blanks at either end, so that
// those are encoded too.
const unsafe = /[^\x20-\x24\x26-\x7e]|^ | $/u;
const encoder = new TextEncoder();

/** Encodes a status message for `grpc-message`. Lone surrogates are replaced. */
function percentEncoded(text: string): string {
  if (!unsafe.test(text)) return text;
  const bytes = encoder.encode(text);
  let result = '';
  for (const [index, byte] of bytes.entries()) {
    const isAtEnd = index === 0 || index === bytes.length - 1;
    result +=
      byte >= (isAtEnd ? 0x21 : 0x20) && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return result;
}

/**
 * Decodes a `grpc-message`. Text that is not percent-encoded is taken as it stands (PROTOCOL-HTTP2.md: Status-Message).
 */
function percentDecoded(text: string): string {
  if (!text.includes('%')) return text;
  const bytes = text.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

/**
 * Reads the status that a server ended with; `undefined` if these headers have none. A number that is no code is
 * UNKNOWN.
 */
export function statusFrom(headers: IncomingHttpHeaders, raw: RawHeaders): Status | undefined {
  const text = headers['grpc-status'];
  if (text === undefined) return undefined;
  const code = /^\d+$/.test(String(text)) ? codeFrom(Number(text)) : Code.Unknown;
  const message = code === Code.Ok ? '' : percentDecoded(String(headers['grpc-message'] ?? ''));
  return { code, message, metadata: responseMetadataOf(raw) };
}

// PROTOCOL-HTTP2.md: TimeoutValue has at most eight digits.
const mostUnits = 99_999_999;

/** Formats a time-out for `grpc-timeout`, in the finest unit that can hold it, rounded up. */
export function timeoutText(timeoutMs: number): string {
  if (timeoutMs <= mostUnits) return `${timeoutMs}m`;
  if (timeoutMs <= mostUnits * 1_000) return `${Math.ceil(timeoutMs / 1_000)}S`;
  if (timeoutMs <= mostUnits * 60_000) return `${Math.ceil(timeoutMs / 60_000)}M`;
  return `${Math.min(mostUnits, Math.ceil(timeoutMs / 3_600_000))}H`;
}

const unitsMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/**
 * Reads a `grpc-timeout` in milliseconds; `undefined` if there is none. Throws for an invalid one (PROTOCOL-HTTP2.md:
 * Timeout).
 */
export function timeoutMsOf(headers: IncomingHttpHeaders): number | undefined {
  const text = headers['grpc-timeout'];
  if (text === undefined) return undefined;
  const match = typeof text === 'string' ? /^(\d{1,8})([HMSmun])$/.exec(text) : null;
  if (!match)
    throw badMessage(`"${String(text)}" is no grpc-timeout, which has at most eight digits and a unit, as in 500m`);
  return Number(match[1]) * (unitsMs[match[2] as string] as number);
}
