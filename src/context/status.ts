import { Code, codeFrom, type ErrorDetail, TenonError } from '../errors/errors.ts';
import { decodeRichStatus, encodeRichStatus } from '../errors/status-details.ts';
import { firstMicroError, partsOf } from '../go-micro/errors.ts';
import { setOwn } from '../internal/own.ts';
import { Metadata } from './metadata.ts';

/** The end of a call: gRPC's status and the trailers that come with it. */
export interface Status {
  readonly code: Code;
  readonly message: string;
  /** The trailers; absent if there are none. */
  readonly metadata?: Metadata | undefined;
}

/** The status of a call that succeeded and sends no trailers. */
export const okStatus: Status = { code: Code.Ok, message: '' };

// Headers of HTTP and gRPC, which are among the trailers of a Trailers-Only answer.
const transportHeaders: ReadonlySet<string> = new Set([
  'accept-encoding',
  'content-length',
  'content-type',
  'date',
  'grpc-accept-encoding',
  'grpc-encoding',
  'grpc-message',
  'grpc-status',
]);

/** Trailer that carries {@link TenonError.reason}. */
export const reasonKey = 'tenon-reason';
/** Trailer that carries a `google.rpc.Status` with the details. */
export const detailsKey = 'grpc-status-details-bin';

/** The parts of an error that are sent to the peer. */
export type SentError = Pick<TenonError, 'code' | 'message' | 'reason' | 'details' | 'metadata'>;

/** Makes the status that sends `error` to a peer, with `trailers`. */
export function statusOf(error: SentError, trailers?: Metadata): Status {
  const keys = Object.keys(error.metadata);
  if (error.reason === undefined && error.details.length === 0 && keys.length === 0) {
    return { code: error.code, message: error.message, metadata: trailers };
  }
  const metadata = new Metadata();
  if (trailers) metadata.merge(trailers);
  for (const key of keys) metadata.set(key, error.metadata[key] as string | Uint8Array);
  if (error.reason !== undefined) metadata.set(reasonKey, error.reason);
  if (error.details.length > 0) {
    metadata.set(detailsKey, encodeRichStatus({ code: error.code, message: error.message, details: error.details }));
  }
  return { code: error.code, message: error.message, metadata };
}

/**
 * Makes the error of a status other than OK. Its `metadata` are the trailers without those of tenon and gRPC. Where the
 * first detail is Go Micro's `errors.Error`, the message is its `detail`: a server of Go Micro puts the whole error
 * into the status's message, as JSON.
 */
export function errorOf(status: Status): TenonError {
  const trailers: Record<string, string | Uint8Array> = {};
  let reason: string | undefined;
  let details: readonly ErrorDetail[] = [];
  for (const [key, value] of status.metadata ?? []) {
    if (key === reasonKey && typeof value === 'string') reason = value;
    else if (transportHeaders.has(key)) continue;
    else if (key === detailsKey && typeof value !== 'string') details = decodeRichStatus(value)?.details ?? [];
    else setOwn(trailers, key, value);
  }
  const error = { code: codeFrom(status.code), message: status.message, reason, details, metadata: trailers };
  const micro = firstMicroError(details);
  return new TenonError(micro ? { ...error, ...partsOf(error.code, micro) } : error);
}
