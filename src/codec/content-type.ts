import { ownValue } from '../internal/own.ts';

/**
 * Gives the sub-type of a gRPC content type: `json` for `application/grpc+json`, and `proto` if there is none
 * (PROTOCOL-HTTP2.md).
 */
export function subType(contentType: string): string {
  const semicolon = contentType.indexOf(';');
  const bare = semicolon < 0 ? contentType : contentType.slice(0, semicolon).trim();
  if (bare === 'application/grpc') return 'proto';
  const slash = bare.indexOf('/');
  const plus = bare.indexOf('+');
  return plus < 0 ? bare.slice(slash + 1) : bare.slice(plus + 1);
}

/**
 * Gives the name of the codec of a content type, be it gRPC's or a web type: `proto` for `application/protobuf` and for
 * `application/grpc`.
 */
export function codecName(contentType: string): string {
  const name = subType(contentType);
  return ownValue(otherNames, name) ?? name;
}

/** Sub-types that name a codec otherwise. The registered name of MessagePack is `application/vnd.msgpack`. */
const otherNames: Readonly<Record<string, string>> = {
  protobuf: 'proto',
  'octet-stream': 'bytes',
  'vnd.msgpack': 'msgpack',
  'x-msgpack': 'msgpack',
};
