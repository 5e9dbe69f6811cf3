import { nestedTooDeep, tooManyElements } from './limits.ts';
import { ConversionError, describeValue, fail, keySegment, propertySegment, withFieldPath } from './codec-errors.ts';

// In ASCII, brackets and braces differ in one bit.
const braces = 0x20;
const open = 0x7b;
const close = 0x7d;
const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const backslash = 0x5c;

/**
 * Throws a {@link ConversionError} for the bytes of JSON that is nested deeper, or holds more values and keys, than the
 * limits allow. It is called before the parser, which would allocate first. Bytes that are no JSON are left to the
 * parser to refuse.
 */
export function assertJsonLimits(bytes: Uint8Array, maxElements: number, maxDepth: number): void {
  // A level takes two bytes at least, an element one.
  if (bytes.length <= Math.min(2 * maxDepth, maxElements)) return;
  let depth = 0;
  let left = maxElements - 1;
  for (let index = 0; index < bytes.length; index += 1) {
    const byte = bytes[index] as number;
    if (byte === quote) index = endOfString(bytes, index);
    else if ((byte | braces) === open) {
      depth += 1;
      left -= 1;
      if (depth > maxDepth) nestedTooDeep(maxDepth);
    } else if ((byte | braces) === close) depth -= 1;
    else if (byte === comma || byte === colon) left -= 1;
    if (left < 0) throw tooManyElements(maxElements);
  }
}

/** Finds the end of the string that begins at `start`. */
function endOfString(bytes: Uint8Array, start: number): number {
  for (let end = bytes.indexOf(quote, start + 1); end >= 0; end = bytes.indexOf(quote, end + 1)) {
    let before = end - 1;
    while (bytes[before] === backslash) before -= 1;
    if ((end - before) % 2 === 1) return end;
  }
  return bytes.length;
}

/**
 * Formats JSON as `JSON.stringify` does, but refuses values that would be lost: it would write NaN and the infinities
 * as null, bytes as an object of numbers, maps as an empty object, functions and symbols not at all. `undefined` is
 * written as `null`, and properties that are `undefined` are left out.
 *
 * The check walks the value after it was stringified: a replacer would make that many times slower.
 */
export function stringify(value: unknown, maxDepth: number): string {
  if (value === undefined) return 'null';
  let text: string | undefined;
  try {
    // The declared type leaves out that a function gives undefined.
    text = JSON.stringify(value) as string | undefined;
  } catch (error) {
    // There is a bigint or a cycle: the walk finds its path.
    check(value, 0, { ancestors: new Set(), maxDepth });
    throw error;
  }
  check(value, 0, { ancestors: undefined, maxDepth });
  return text ?? 'null';
}

/** State of a walk over a value: its limit, and the objects that contain the current one if cycles are looked for. */
interface Walk {
  readonly ancestors: Set<object> | undefined;
  readonly maxDepth: number;
}

/** Throws a {@link ConversionError} with the path of a value that JSON cannot carry. */
function check(value: unknown, depth: number, walk: Walk): void {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return;
    case 'number':
      if (!Number.isFinite(value))
        fail(`expected a JSON value, got ${value}, which JSON does not have: send null, or a string`);
      return;
    case 'object':
      if (value !== null) checkObject(value, depth + 1, walk);
      return;
    default:
      fail(`expected a JSON value, got ${describeValue(value)}: ${remedies[typeof value] ?? 'leave it out'}`);
  }
}

const remedies: Readonly<Record<string, string>> = {
  bigint: 'send it as a string, or use application/grpc+proto',
  undefined: 'a list cannot leave it out, send null',
};

function checkObject(value: object, depth: number, walk: Walk): void {
  const { ancestors, maxDepth } = walk;
  if (ancestors?.has(value)) fail('leads back to itself: leave the link back out');
  if (depth > maxDepth) nestedTooDeep(maxDepth);
  ancestors?.add(value);
  if (Array.isArray(value)) checkList(value, depth, walk);
  else if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
    fail(
      `expected a JSON value, got ${describeValue(value)}: send base64, or use application/grpc+proto or application/grpc+bytes`,
    );
  } else if (value instanceof Map || value instanceof Set || value instanceof Promise) {
    fail(
      `expected a JSON value, got ${describeValue(value)}: ${value instanceof Promise ? 'await it' : 'make an object or an array of it'}`,
    );
  } else if (typeof (value as { toJSON?: unknown }).toJSON === 'function') {
    if (value instanceof Date && Number.isNaN(value.getTime())) fail('expected a Date, got an invalid one');
  } else checkProperties(value as Record<string, unknown>, depth, walk);
  ancestors?.delete(value);
}

function checkList(list: readonly unknown[], depth: number, walk: Walk): void {
  let index = 0;
  try {
    for (; index < list.length; index += 1) check(list[index], depth, walk);
  } catch (error) {
    throw withFieldPath(keySegment(index), error);
  }
}

function checkProperties(object: Record<string, unknown>, depth: number, walk: Walk): void {
  let key = '';
  try {
    for (key in object) {
      const value = object[key];
      if (typeof value !== 'string' && value !== undefined) check(value, depth, walk);
    }
  } catch (error) {
    if (!(error instanceof ConversionError)) throw error;
    // JSON has own properties only. Inherited ones are checked because a test for each property would cost more.
    if (!Object.hasOwn(object, key)) return checkOwn(object, depth, walk);
    throw withFieldPath(propertySegment(key), error);
  }
}

function checkOwn(object: Record<string, unknown>, depth: number, walk: Walk): void {
  checkProperties(Object.fromEntries(Object.entries(object)), depth, walk);
}
