import { Code, TenonError, textOf } from '../../errors/errors.ts';

/**
 * An error inside one conversion: the value or the bytes are not of the type. Each level of nesting puts its segment in
 * front of the path, and the outermost call turns the error into a TenonError.
 */
export class ConversionError extends Error {
  /** The field at fault: `items[3].name`; empty for the message as a whole. */
  path: string;
  /** True if the value is valid but larger than a limit allows. */
  readonly exceedsLimit: boolean;

  constructor(problem: string, path = '', exceedsLimit = false) {
    super(problem);
    this.path = path;
    this.exceedsLimit = exceedsLimit;
  }
}

/** Throws a {@link ConversionError}. A call is an expression, which a `throw` statement is not. */
export function fail(problem: string, path = ''): never {
  throw new ConversionError(problem, path);
}

/** Puts `segment` (`items`, `[3]`) in front of the path of a {@link ConversionError}; other errors stay as they are. */
export function withFieldPath(segment: string, error: unknown): unknown {
  if (error instanceof ConversionError) {
    error.path = error.path === '' || error.path.startsWith('[') ? segment + error.path : `${segment}.${error.path}`;
  }
  return error;
}

/** The segment of a path for an item of a list or a map: `[3]`, `["odd key"]`. A long key is cut off. */
export function keySegment(key: string | number): string {
  return typeof key === 'number' ? `[${key}]` : `[${describeValue(key)}]`;
}

const longestName = 40;
const plainName = /^[\p{L}_$][\p{L}\p{N}_$]*$/u;

/** The segment of a path for a property: its name if that is plain and short. */
export function propertySegment(key: string): string {
  return key.length <= longestName && plainName.test(key) ? key : keySegment(key);
}

/**
 * The error that `marshal` throws: INVALID_ARGUMENT (`codec.encode`) that names the type and the field, or
 * RESOURCE_EXHAUSTED for a limit.
 */
export function encodeFailure(name: string, error: unknown): TenonError {
  return failure('codec.encode', name, error);
}

/** The error that `unmarshal` throws: as {@link encodeFailure}, with the reason `codec.decode`. */
export function decodeFailure(name: string, error: unknown): TenonError {
  return failure('codec.decode', name, error);
}

function failure(reason: 'codec.encode' | 'codec.decode', name: string, error: unknown): TenonError {
  if (TenonError.is(error)) return error;
  const path = error instanceof ConversionError ? error.path : '';
  const segment = path === '' || path.startsWith('[') ? path : `.${path}`;
  const exceedsLimit = error instanceof ConversionError && error.exceedsLimit;
  // Only a getter or a proxy of the caller's value throws anything but a ConversionError: that is kept as the cause.
  return new TenonError({
    code: exceedsLimit ? Code.ResourceExhausted : Code.InvalidArgument,
    reason: exceedsLimit ? 'codec.too_many_elements' : reason,
    message: `${name}${segment}: ${textOf(error)}`,
    cause: error instanceof ConversionError ? undefined : error,
  });
}

const shownLength = 40;

/** Describes a value in an error message: in few characters, and without calling any code of the value. */
export function describeValue(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length > shownLength ? `${value.slice(0, shownLength)}…` : value);
    case 'bigint':
      return `${value}n`;
    case 'object':
      return value === null ? 'null' : `${/^[AEIOaeio]/.test(kindOf(value)) ? 'an' : 'a'} ${kindOf(value)}`;
    case 'function':
      return 'a function';
    case 'symbol':
      return 'a symbol';
    default:
      return Object.is(value, -0) ? '-0' : String(value);
  }
}

/** Names the kind of an object (`array`, `Date`, `Uint8Array`); a plain one is an `object`. */
export function kindOf(value: object): string {
  if (Array.isArray(value)) return 'array';
  if (value instanceof Uint8Array) return 'Uint8Array';
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  return kind === 'Object' ? 'object' : kind;
}

/** True for an object of properties, false for lists, bytes and built-in classes such as Map and Date. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && kindOf(value) === 'object';
}
