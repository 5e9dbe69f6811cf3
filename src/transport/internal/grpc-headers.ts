import { Code, TenonError } from '../../errors/errors.ts';

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

/** Whether a key belongs to the protocol, so that an application's value for it is not sent. */
export function isReserved(key: string): boolean {
  return reserved.has(key);
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
