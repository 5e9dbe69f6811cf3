import { Code, TenonError, textOf } from '../../errors/errors.ts';

/**
 * A value or bytes that are not of the type, on its way up: each level of nesting puts its part in front of
 * the path, and the outermost turns it into a TenonError.
 */
export class Misfit extends Error {
  path: string;
  /** Whether it is more than a limit allows, rather than wrong. */
  readonly isTooMuch: boolean;

  constructor(problem: string, path = '', isTooMuch = false) {
    super(problem);
    this.path = path;
    this.isTooMuch = isTooMuch;
  }
}

/** Throws a {@link Misfit}. A function, so that the call is an expression. */
export function misfit(problem: string, path = ''): never {
  throw new Misfit(problem, path);
}

/** The error, with `step` (`items`, `[3]`) in front of its path if it is a {@link Misfit}. */
export function below(step: string, error: unknown): unknown {
  if (error instanceof Misfit) {
    error.path = error.path === '' || error.path.startsWith('[') ? step + error.path : `${step}.${error.path}`;
  }
  return error;
}

/** `["odd key"]` or `[3]`: a step of a path into a list or a map. A long key is cut off. */
export function keyStep(key: string | number): string {
  return typeof key === 'number' ? `[${key}]` : `[${show(key)}]`;
}

/**
 * What the contract promises of every failure: INVALID_ARGUMENT that names the type and the place in it,
 * RESOURCE_EXHAUSTED for a limit.
 */
export function encodeFailure(name: string, error: unknown): TenonError {
  return failure('codec.encode', name, error);
}

/** The same for bytes or JSON that are not a message of the type. */
export function decodeFailure(name: string, error: unknown): TenonError {
  return failure('codec.decode', name, error);
}

function failure(reason: 'codec.encode' | 'codec.decode', name: string, error: unknown): TenonError {
  if (TenonError.is(error)) return error;
  const path = error instanceof Misfit ? error.path : '';
  const step = path === '' || path.startsWith('[') ? path : `.${path}`;
  const isTooMuch = error instanceof Misfit && error.isTooMuch;
  // A Misfit says all there is to say; anything else was thrown by a getter or a proxy of the caller's value.
  return new TenonError({
    code: isTooMuch ? Code.ResourceExhausted : Code.InvalidArgument,
    reason: isTooMuch ? 'codec.too_many_elements' : reason,
    message: `${name}${step}: ${textOf(error)}`,
    cause: error instanceof Misfit ? undefined : error,
  });
}

const shownLength = 40;

/** A value as error messages show it: short, and never by calling code of the value. */
export function show(value: unknown): string {
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

/** `Array`, `Date`, `Uint8Array` … of an object; `object` where it is nothing special. */
export function kindOf(value: object): string {
  if (Array.isArray(value)) return 'array';
  if (value instanceof Uint8Array) return 'Uint8Array';
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  return kind === 'Object' ? 'object' : kind;
}

/** Whether the value is an object with properties of its own choosing, rather than a list, a Map, a Date, bytes … */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && kindOf(value) === 'object';
}
