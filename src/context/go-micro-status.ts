import { findDetail } from '../errors/details.ts';
import { TenonError } from '../errors/errors.ts';
import { httpOf, MicroError, reasonPhrase } from '../errors/go-micro.ts';
import type { Metadata } from './metadata.ts';
import { errorOf, microParts, type Status, statusOf, type ToldError } from './status.ts';

/**
 * The status that tells a client of Go Micro of `error`: its `errors.Error` is the first detail, and the message is the
 * same as JSON. Other details come after it. A client of Go Micro takes whatever is first for the error, and its
 * process ends if that is none.
 *
 * `id` is who says so where the error itself does not.
 */
export function microStatusOf(error: ToldError, id: string, trailers?: Metadata): Status {
  const { code, message, reason, metadata } = error;
  const http = httpOf(code);
  const told = findDetail(error, MicroError) ?? {
    id: reason ?? id,
    code: http,
    detail: message,
    status: reasonPhrase(http),
  };
  const first = { type: MicroError.type, value: MicroError.encode(told) };
  const details = [first, ...error.details.filter(({ type }) => type !== MicroError.type)];
  return statusOf({ code, message: microJson(told), reason, details, metadata }, trailers);
}

/**
 * The error that a status of Go Micro stands for, in the order of its own client: the first detail, the message where
 * that is an `errors.Error` as JSON, the status as it is. However it came, the `errors.Error` is a detail of the error,
 * and its `detail` the message.
 */
export function microErrorOf(status: Status): TenonError {
  const error = errorOf(status);
  const micro = error.details.length === 0 ? fromJson(status.message) : undefined;
  if (!micro) return error;
  const { code, reason, metadata } = error;
  const details = [{ type: MicroError.type, value: MicroError.encode(micro) }];
  return new TenonError({ ...microParts(code, micro), reason, details, metadata });
}

/** As Go's encoding/json writes it: empty fields left out, and what HTML would take for its own escaped. */
function microJson({ id, code, detail, status }: MicroError): string {
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
function fromJson(message: string): MicroError | undefined {
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
