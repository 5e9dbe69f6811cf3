import { isError } from '../internal/is-error.ts';

/**
 * gRPC's seventeen status codes, under the names of its specification
 * (grpc: doc/statuscodes.md). Programs act upon the code, never upon a message.
 */
export const Code = {
  Ok: 0,
  Cancelled: 1,
  Unknown: 2,
  InvalidArgument: 3,
  DeadlineExceeded: 4,
  NotFound: 5,
  AlreadyExists: 6,
  PermissionDenied: 7,
  ResourceExhausted: 8,
  FailedPrecondition: 9,
  Aborted: 10,
  OutOfRange: 11,
  Unimplemented: 12,
  Internal: 13,
  Unavailable: 14,
  DataLoss: 15,
  Unauthenticated: 16,
} as const;
/** One of gRPC's status codes, 0 to 16. */
export type Code = (typeof Code)[keyof typeof Code];

const names: readonly string[] = Object.keys(Code).map((name) =>
  name.replace(/([a-z])([A-Z])/g, '$1_$2').toUpperCase(),
);

/** The code's name in gRPC's spelling: `codeName(14)` is `"UNAVAILABLE"`. */
export function codeName(code: Code): string {
  return names[code] ?? 'UNKNOWN';
}

/** The number as a {@link Code}: anything that is not an integer from 0 to 16 is UNKNOWN. */
export function codeFrom(value: unknown): Code {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 16
    ? (value as Code)
    : Code.Unknown;
}

/**
 * A machine-readable addition to an error: a `google.protobuf.Any`. `type` is the full message name
 * (`google.rpc.BadRequest`), `value` the encoded message.
 */
export interface ErrorDetail {
  readonly type: string;
  readonly value: Uint8Array;
}

/** The parts that a {@link TenonError} is made of. */
export interface TenonErrorInit {
  readonly code: Code;
  /** A stable dotted id, `<room>.<what>`: each is listed in `docs/errors.md`. */
  readonly reason?: string | undefined;
  /** The message for people, which names the thing and the remedy. It is sent to the caller. */
  readonly message: string;
  /** The details, sent as `grpc-status-details-bin` in this order. */
  readonly details?: readonly ErrorDetail[] | undefined;
  /** Metadata sent as trailers. Keys are lower case; the values of keys that end in `-bin` are bytes. */
  readonly metadata?: Readonly<Record<string, string | Uint8Array>> | undefined;
  /** The error beneath, which stays in this process. */
  readonly cause?: unknown;
}

const brand = Symbol.for('tenon.errors.TenonError');
const inspected = Symbol.for('nodejs.util.inspect.custom');

/**
 * The one class of errors of tenon: its calls reject with it, and a handler throws it to choose the status that its
 * caller gets.
 *
 * `code`, `reason`, `message`, `details` and `metadata` travel to the peer, `cause` and the stack never do.
 * `instanceof` and {@link TenonError.is} hold across copies of the package.
 *
 * @example
 * ```ts
 * const id = 'atlantis';
 * throw new TenonError({ code: Code.NotFound, reason: 'places.unknown', message: `no place has the id ${id}` });
 * ```
 */
export class TenonError extends Error {
  readonly code: Code;
  readonly reason: string | undefined;
  readonly details: readonly ErrorDetail[];
  readonly metadata: Readonly<Record<string, string | Uint8Array>>;

  constructor(init: TenonErrorInit) {
    super(init.message, init.cause === undefined ? undefined : { cause: init.cause });
    this.code = init.code;
    this.reason = init.reason;
    this.details = init.details ?? [];
    this.metadata = init.metadata ?? {};
  }

  static {
    Object.defineProperty(this.prototype, 'name', { value: 'TenonError', configurable: true, writable: true });
    Object.defineProperty(this.prototype, brand, { value: true });
  }

  /** True for a TenonError, of this copy of the package or another. */
  static is(value: unknown): value is TenonError {
    if (typeof value !== 'object' || value === null) return false;
    try {
      return (value as Record<symbol, unknown>)[brand] === true;
    } catch {
      // A revoked proxy, or a getter that throws: anything may be thrown.
      return false;
    }
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return this === TenonError ? TenonError.is(value) : Function.prototype[Symbol.hasInstance].call(this, value);
  }

  /**
   * Converts any thrown value to a TenonError. A TenonError is returned itself; an abort becomes CANCELLED, a time-out
   * DEADLINE_EXCEEDED, and anything else INTERNAL (or `fallback`), with the thrown value as `cause` and its text as the
   * message.
   */
  static from(value: unknown, fallback: Partial<TenonErrorInit> = {}): TenonError {
    if (TenonError.is(value)) return value;
    const name = nameOfError(value);
    if (name === 'AbortError' && fallback.code === undefined) {
      return new TenonError({
        code: Code.Cancelled,
        reason: 'call.cancelled',
        message: 'the call was cancelled',
        cause: value,
      });
    }
    if (name === 'TimeoutError' && fallback.code === undefined) {
      return new TenonError({
        code: Code.DeadlineExceeded,
        reason: 'call.deadline_exceeded',
        message: 'the deadline has passed',
        cause: value,
      });
    }
    return new TenonError({
      ...fallback,
      code: fallback.code ?? Code.Internal,
      message: fallback.message ?? textOf(value),
      cause: value,
    });
  }

  /**
   * Copies the error of a call that a handler made, so that the handler can pass it on to its own caller. Thrown
   * unchanged, such an error is a failure of the handler (`server.dependency_failed`): the handler's caller need not be
   * UNAUTHENTICATED because the handler was.
   *
   * @example
   * ```ts
   * async function priceOf(client: { price(request: object): Promise<object> }): Promise<object> {
   *   return client.price({}).catch((error: unknown) => {
   *     throw TenonError.passOn(error);
   *   });
   * }
   * ```
   */
  static passOn(value: unknown): TenonError {
    const { code, reason, message, details, metadata } = TenonError.from(value);
    return new TenonError({ code, reason, message, details, metadata, cause: value });
  }

  /** Converts the error for logs: with the name of its code, without a stack. */
  toJSON(): Record<string, unknown> {
    const { name, message } = this;
    return { name, message, ...fieldsOf(this) };
  }

  /** Formats the error for `console.log`: the stack, and the name of the code. */
  [inspected](depth: number, options: object, inspect: (value: unknown, options: object) => string): string {
    const cause = this.cause === undefined ? {} : { cause: this.cause };
    if (depth < 0) return `[${this.toString()}]`;
    return `${this.stack || this.toString()} ${inspect({ ...fieldsOf(this), ...cause }, options)}`;
  }

  /** Formats the error in one line: `TenonError: UNAVAILABLE (registry.unreachable): …`. */
  override toString(): string {
    const reason = this.reason === undefined ? '' : ` (${this.reason})`;
    return `${this.name}: ${codeName(this.code)}${reason}: ${this.message}`;
  }
}

/** The fields of an error beside its message and its cause, for people. */
function fieldsOf(error: TenonError): Record<string, unknown> {
  const { reason, details, metadata, ...more } = error;
  return {
    ...more,
    code: codeName(error.code),
    ...(reason === undefined ? {} : { reason }),
    ...(details.length === 0 ? {} : { details }),
    ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
  };
}

/** Gives the text of any thrown value. Never throws itself. */
export function textOf(value: unknown): string {
  try {
    if (!isError(value)) return String(value);
    // Node throws one when a name has several addresses and none answers.
    const { errors } = value as Partial<AggregateError>;
    if (value.message === '' && Array.isArray(errors) && errors.length > 0) return errors.map(textOf).join(', ');
    return String(value.message === '' ? value.name : value.message);
  } catch {
    return 'a value that cannot be shown';
  }
}

/** Gives the name of an error; `undefined` for any other value, and for a name that cannot be read. */
export function nameOfError(value: unknown): string | undefined {
  try {
    return isError(value) ? value.name : undefined;
  } catch {
    return undefined;
  }
}
