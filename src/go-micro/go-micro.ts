import type { DetailType } from '../errors/details.ts';
import { TenonError } from '../errors/errors.ts';
import { bytesOf, pushBytes, pushInteger, readFields, textOfBytes } from '../internal/protobuf-fields.ts';
import { codeOfHttp, reasonPhrase } from './http-codes.ts';

/** The dialects that may be spoken over gRPC. */
export const dialects = ['grpc', 'go-micro'] as const;
/** One of {@link dialects}: plain gRPC, or beside it what Go Micro's servers and clients add to it. */
export type Dialect = (typeof dialects)[number];

/** The form of events on the wire: the broker's own, or that of Go Micro's brokers. Both are read. */
export type BrokerDialect = 'native' | 'go-micro';

/** The places where a registry has records: its own, or those of Go Micro's registry as well. */
export type RegistryDialect = 'native' | 'go-micro';

/** Go Micro's own error, `errors.Error`: what its services return, and what its clients give their callers. */
export interface MicroError {
  /** The service that made the error, or a name of the fault: `go.micro.srv.greeter`, `greeter.fail`. */
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

/** The parts of a {@link microError}. */
export interface MicroErrorInit {
  readonly id: string;
  /** A status code of HTTP: 400 to 599. */
  readonly code: number;
  readonly detail: string;
  /** @default the reason phrase of `code` */
  readonly status?: string | undefined;
  /** The cause of the error, for logs of this process; it is not sent. */
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
