import { below, keyStep, Misfit, misfit, show } from './misfit.ts';

/**
 * Values nested deeper than this are neither written nor read, as in Jackson: whoever walks one, here or in a handler, would run out of stack, and
 * near its end even V8 gives up the whole process.
 */
export const deepestJson = 1_000;

// In ASCII, brackets and braces differ in one bit.
const braces = 0x20;
const open = 0x7b;
const close = 0x7d;
const quote = 0x22;
const backslash = 0x5c;

/** Throws a {@link Misfit} for JSON that is nested too deep. It need not be JSON: what it is not, parsing says. */
export function assertShallow(bytes: Uint8Array): void {
  // Each level takes two bytes at least.
  if (bytes.length <= 2 * deepestJson) return;
  let depth = 0;
  for (let index = 0; index < bytes.length; index += 1) {
    const byte = bytes[index] as number;
    if (byte === quote) index = endOfString(bytes, index);
    else if ((byte | braces) === open) {
      depth += 1;
      if (depth > deepestJson) tooDeep();
    } else if ((byte | braces) === close) depth -= 1;
  }
}

/** Where the string that begins at `start` ends. */
function endOfString(bytes: Uint8Array, start: number): number {
  for (let end = bytes.indexOf(quote, start + 1); end >= 0; end = bytes.indexOf(quote, end + 1)) {
    let before = end - 1;
    while (bytes[before] === backslash) before -= 1;
    if ((end - before) % 2 === 1) return end;
  }
  return bytes.length;
}

function tooDeep(): never {
  return misfit(`expected at most ${deepestJson} levels of nesting, got more: send a list of its parts`);
}

/**
 * `JSON.stringify` that refuses what it would lose: NaN and the infinities become null there, bytes an object of numbers, maps an
 * empty one, functions and symbols nothing. Text for `undefined` is `null`, and properties that are `undefined` are left out.
 *
 * The check is a walk of its own behind the stringifying: a replacer would make that many times slower.
 */
export function stringify(value: unknown): string {
  if (value === undefined) return 'null';
  let text: string | undefined;
  try {
    // The library's type forgets that a function has no text.
    text = JSON.stringify(value) as string | undefined;
  } catch (error) {
    // A bigint, or a cycle. Where it is, the walk says.
    check(value, 0, new Set());
    throw error;
  }
  check(value, 0, undefined);
  return text ?? 'null';
}

/** Throws a {@link Misfit} with the path of what JSON cannot carry. Cycles are looked for where `above` is given. */
function check(value: unknown, depth: number, above: Set<object> | undefined): void {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return;
    case 'number':
      if (!Number.isFinite(value))
        misfit(`expected a JSON value, got ${value}, which JSON does not have: send null, or a string`);
      return;
    case 'object':
      if (value !== null) checkObject(value, depth + 1, above);
      return;
    default:
      misfit(`expected a JSON value, got ${show(value)}: ${remedies[typeof value] ?? 'leave it out'}`);
  }
}

const remedies: Readonly<Record<string, string>> = {
  bigint: 'send it as a string, or use application/grpc+proto',
  undefined: 'a list cannot leave it out, send null',
};

function checkObject(value: object, depth: number, above: Set<object> | undefined): void {
  if (above?.has(value)) misfit('leads back to itself: leave the link back out');
  if (depth > deepestJson) tooDeep();
  above?.add(value);
  if (Array.isArray(value)) checkList(value, depth, above);
  else if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
    misfit(
      `expected a JSON value, got ${show(value)}: send base64, or use application/grpc+proto or application/grpc+bytes`,
    );
  } else if (value instanceof Map || value instanceof Set || value instanceof Promise) {
    misfit(
      `expected a JSON value, got ${show(value)}: ${value instanceof Promise ? 'await it' : 'make an object or an array of it'}`,
    );
  } else if (typeof (value as { toJSON?: unknown }).toJSON === 'function') {
    if (value instanceof Date && Number.isNaN(value.getTime())) misfit('expected a Date, got an invalid one');
  } else checkProperties(value as Record<string, unknown>, depth, above);
  above?.delete(value);
}

function checkList(list: readonly unknown[], depth: number, above: Set<object> | undefined): void {
  let index = 0;
  try {
    for (; index < list.length; index += 1) check(list[index], depth, above);
  } catch (error) {
    throw below(keyStep(index), error);
  }
}

const plainName = /^[\p{L}_$][\p{L}\p{N}_$]*$/u;

function checkProperties(object: Record<string, unknown>, depth: number, above: Set<object> | undefined): void {
  let key = '';
  try {
    for (key in object) {
      const value = object[key];
      if (typeof value !== 'string' && value !== undefined) check(value, depth, above);
    }
  } catch (error) {
    if (!(error instanceof Misfit)) throw error;
    // JSON takes an object's own properties; inherited ones are checked only because asking first would cost more.
    if (!Object.hasOwn(object, key)) return checkOwn(object, depth, above);
    throw below(plainName.test(key) ? key : keyStep(key), error);
  }
}

function checkOwn(object: Record<string, unknown>, depth: number, above: Set<object> | undefined): void {
  checkProperties(Object.fromEntries(Object.entries(object)), depth, above);
}
