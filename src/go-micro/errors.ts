import { findDetail } from '../errors/details.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { MicroError } from './go-micro.ts';
import { codeOfHttp, httpCodeOf, reasonPhrase } from './http-codes.ts';

/** The parts of an error that are sent to a peer. */
type ToldParts = Pick<TenonError, 'code' | 'message' | 'reason' | 'details' | 'metadata'>;

/**
 * Gives an error the form that clients of Go Micro read: its `errors.Error` is the first detail, and the message is the
 * same as JSON. Other details come after it. A client of Go Micro takes whatever is first for the error, and its
 * process ends if that is none.
 *
 * An error without a reason gets `id`, the name of the service.
 */
export function toMicroForm(error: ToldParts, id: string): ToldParts {
  const { code, message, reason, metadata } = error;
  const http = httpCodeOf(code);
  const told = findDetail(error, MicroError) ?? {
    id: reason ?? id,
    code: http,
    detail: message,
    status: reasonPhrase(http),
  };
  const first = { type: MicroError.type, value: MicroError.encode(told) };
  const details = [first, ...error.details.filter(({ type }) => type !== MicroError.type)];
  return { code, message: writeJson(told), reason, details, metadata };
}

/**
 * Reads the message of an error without details, which may be an `errors.Error` as JSON: that becomes a detail of the
 * error, and its `detail` the message. Any other error is given back as it is.
 */
export function fromMicroForm(error: TenonError): TenonError {
  const micro = error.details.length === 0 ? readJson(error.message) : undefined;
  if (!micro) return error;
  const { code, reason, metadata } = error;
  const details = [{ type: MicroError.type, value: MicroError.encode(micro) }];
  return new TenonError({ ...partsOf(code, micro), reason, details, metadata });
}

/** The first detail of an error if that is an `errors.Error`. */
export function firstMicroError(details: ToldParts['details']): MicroError | undefined {
  const first = details[0];
  return first?.type === MicroError.type ? MicroError.decode(first.value) : undefined;
}

/**
 * Code and message that an `errors.Error` gives to a status of this code. Go Micro knows none of gRPC's for most codes
 * of HTTP, and says UNKNOWN then.
 */
export function partsOf(code: Code, micro: MicroError): Pick<TenonError, 'code' | 'message'> {
  return {
    code: code === Code.Unknown ? codeOfHttp(micro.code) : code,
    message: micro.detail === '' ? micro.status : micro.detail,
  };
}

/** As Go's encoding/json writes it: empty fields left out, and what HTML would take for its own escaped. */
function writeJson({ id, code, detail, status }: MicroError): string {
  const shown = {
    id: id || undefined,
    code: code || undefined,
    detail: detail || undefined,
    status: status || undefined,
  };
  return JSON.stringify(shown).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Go Micro takes a message for its own when it is JSON with a code. */
function readJson(message: string): MicroError | undefined {
  if (!message.startsWith('{')) return undefined;
  let value: Partial<Record<keyof MicroError, unknown>>;
  try {
    value = JSON.parse(message) as typeof value;
  } catch {
    return undefined;
  }
  const { code } = value;
  if (typeof code !== 'number' || !Number.isInteger(code) || code <= 0 || code > 0x7fff_ffff) return undefined;
  return { id: textOr(value.id), code, detail: textOr(value.detail), status: textOr(value.status) };
}

function textOr(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
