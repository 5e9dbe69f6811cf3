import { bytesOf, pushBytes, pushInteger, readFields, textOfBytes } from '../internal/protobuf-fields.ts';
import type { DetailType } from './details.ts';
import { Code, TenonError } from './errors.ts';

/** Go Micro's own error, `errors.Error`: what its services return, and what its clients give their callers. */
export interface MicroError {
  /** Who says so, or what went wrong: `go.micro.srv.greeter`, `greeter.fail`. */
  readonly id: string;
  /** A status code of HTTP: 404. */
  readonly code: number;
  /** For people. */
  readonly detail: string;
  /** The reason phrase of `code`: `Not Found`. */
  readonly status: string;
}

/** For `findDetail`: `errors.Error{1: id, 2: int32 code, 3: detail, 4: status}`. */
export const MicroError: DetailType<MicroError> = {
  type: 'errors.Error',
  encode({ id, code, detail, status }) {
    const bytes: number[] = [];
    if (id !== '') pushBytes(bytes, 1, bytesOf(id));
    if (code !== 0) pushInteger(bytes, 2, code);
    if (detail !== '') pushBytes(bytes, 3, bytesOf(detail));
    if (status !== '') pushBytes(bytes, 4, bytesOf(status));
    return Uint8Array.from(bytes);
  },
  decode(bytes) {
    const error = { id: '', code: 0, detail: '', status: '' };
    const isWhole = readFields(bytes, (field, value) => {
      // int32: a negative one takes all 64 bits.
      if (field === 2 && typeof value === 'number') error.code = Number(BigInt.asIntN(32, BigInt(value)));
      else if (typeof value !== 'object') return;
      else if (field === 1) error.id = textOfBytes(value);
      else if (field === 3) error.detail = textOfBytes(value);
      else if (field === 4) error.status = textOfBytes(value);
    });
    return isWhole ? error : undefined;
  },
};

/** What a {@link microError} is made of. */
export interface MicroErrorInit {
  readonly id: string;
  /** A status code of HTTP: 400 to 599. */
  readonly code: number;
  readonly detail: string;
  /** @default the reason phrase of `code` */
  readonly status?: string | undefined;
  /** Stays in this process. */
  readonly cause?: unknown;
}

/**
 * An error of Go Micro, for a handler to throw: callers in Go Micro get exactly this `errors.Error`, all others the
 * status code of gRPC that Go Micro gives it, with `detail` as its message. It is a detail of the error:
 * `findDetail(error, MicroError)` reads it.
 *
 * @example
 * ```ts
 * throw microError({ id: 'greeter.hello', code: 409, detail: 'the name is taken' });
 * ```
 */
export function microError({ id, code, detail, status = reasonPhrase(code), cause }: MicroErrorInit): TenonError {
  const value = MicroError.encode({ id, code, detail, status });
  return new TenonError({
    code: codeOfHttp(code),
    message: detail,
    details: [{ type: MicroError.type, value }],
    cause,
  });
}

// Go Micro: server/grpc, microErr.
const codes: ReadonlyMap<number, Code> = new Map([
  [400, Code.InvalidArgument],
  [401, Code.Unauthenticated],
  [403, Code.PermissionDenied],
  [404, Code.NotFound],
  [408, Code.DeadlineExceeded],
  [409, Code.AlreadyExists],
  [412, Code.FailedPrecondition],
  [500, Code.Internal],
  [501, Code.Unimplemented],
  [503, Code.Unavailable],
]);

const https: ReadonlyMap<Code, number> = new Map([...codes].map(([http, code]) => [code, http]));

/** gRPC's status code for an `errors.Error`, by Go Micro's table; UNKNOWN for what is not in it. */
export function codeOfHttp(code: number): Code {
  return codes.get(code) ?? Code.Unknown;
}

/** The code of an `errors.Error` for a status of gRPC, by Go Micro's table; 500 for what is not in it. */
export function httpOf(code: Code): number {
  return https.get(code) ?? 500;
}

const phrases: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  402: 'Payment Required',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  406: 'Not Acceptable',
  408: 'Request Timeout',
  409: 'Conflict',
  410: 'Gone',
  412: 'Precondition Failed',
  413: 'Request Entity Too Large',
  415: 'Unsupported Media Type',
  418: "I'm a teapot",
  422: 'Unprocessable Entity',
  423: 'Locked',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
};

/** As `http.StatusText` of Go says it; empty for codes that it has none for. */
export function reasonPhrase(code: number): string {
  return phrases[code] ?? '';
}
