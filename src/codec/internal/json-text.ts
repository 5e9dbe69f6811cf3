import { below, keyStep, Misfit, misfit, show } from './misfit.ts';

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
    check(value, new Set());
    throw error;
  }
  check(value, undefined);
  return text ?? 'null';
}

/** Throws a {@link Misfit} with the path of what JSON cannot carry. Cycles are looked for where `above` is given. */
function check(value: unknown, above: Set<object> | undefined): void {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return;
    case 'number':
      if (!Number.isFinite(value))
        misfit(`expected a JSON value, got ${value}, which JSON does not have: send null, or a string`);
      return;
    case 'object':
      if (value !== null) checkObject(value, above);
      return;
    default:
      misfit(`expected a JSON value, got ${show(value)}: ${remedies[typeof value] ?? 'leave it out'}`);
  }
}

const remedies: Readonly<Record<string, string>> = {
  bigint: 'send it as a string, or use application/grpc+proto',
  undefined: 'a list cannot leave it out, send null',
};

function checkObject(value: object, above: Set<object> | undefined): void {
  if (above?.has(value)) misfit('leads back to itself: leave the link back out');
  above?.add(value);
  if (Array.isArray(value)) checkList(value, above);
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
  } else checkProperties(value as Record<string, unknown>, above);
  above?.delete(value);
}

function checkList(list: readonly unknown[], above: Set<object> | undefined): void {
  let index = 0;
  try {
    for (; index < list.length; index += 1) check(list[index], above);
  } catch (error) {
    throw below(keyStep(index), error);
  }
}

const plainName = /^[\p{L}_$][\p{L}\p{N}_$]*$/u;

function checkProperties(object: Record<string, unknown>, above: Set<object> | undefined): void {
  let key = '';
  try {
    for (key in object) {
      const value = object[key];
      if (typeof value !== 'string' && value !== undefined) check(value, above);
    }
  } catch (error) {
    // JSON takes an object's own properties; inherited ones are checked only because asking first would cost more.
    if (error instanceof Misfit && !Object.hasOwn(object, key)) return checkOwn(object, above);
    throw below(plainName.test(key) ? key : keyStep(key), error);
  }
}

function checkOwn(object: Record<string, unknown>, above: Set<object> | undefined): void {
  checkProperties(Object.fromEntries(Object.entries(object)), above);
}
