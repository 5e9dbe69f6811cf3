/** The header of a call that names the codec of its messages. Go Micro's clients send it with every call. */
export const contentTypeKey = 'x-content-type';

/** The header of a unary call that says how long its caller waits, in nanoseconds. */
export const timeoutKey = 'timeout';

/** Headers that Go Micro's client sends to its server, and that handlers do not see. */
export const hiddenKeys: ReadonlySet<string> = new Set([contentTypeKey, timeoutKey]);

/**
 * True if the caller may be a client of Go Micro. It never ends its side of a server stream, and a `timeout` of anybody
 * else is metadata like any other.
 */
export function isMicroCall(headers: { get(key: string): unknown }): boolean {
  return headers.get(contentTypeKey) !== undefined;
}

/**
 * The codec that `x-content-type` names where nothing else does: Go Micro's client writes bytes that are no message as
 * protobuf.
 */
export function grpcContentType(contentType: string): string {
  return contentType === 'application/octet-stream' ? 'application/grpc+proto' : contentType;
}

/** Returns the milliseconds of a `timeout` header; `undefined` if it is malformed. */
export function readTimeout(nanoseconds: string | undefined): number | undefined {
  return nanoseconds !== undefined && /^\d{1,19}$/.test(nanoseconds) ? Number(nanoseconds) / 1e6 : undefined;
}

/** Formats milliseconds as a `timeout` header. */
export function writeTimeout(ms: number): string {
  // As text: most are beyond what a number holds exactly. Whole milliseconds are fine enough.
  return `${Math.max(0, Math.round(ms))}000000`;
}

// Describe one call between two peers: they are not passed on to the next hop.
const ownKeys: ReadonlySet<string> = new Set([
  ...hiddenKeys,
  'accept-encoding',
  'connection',
  'content-type',
  'host',
  'te',
  'tenon-reason',
  'user-agent',
]);

/** True if a key goes on with a call that is made while another is handled: in Go Micro all do. */
export function isForwarded(key: string): boolean {
  return !ownKeys.has(key) && !key.startsWith(':') && !key.startsWith('grpc-');
}
