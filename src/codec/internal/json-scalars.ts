import { didYouMean } from '../../internal/suggest.ts';
import type { JsonForm } from '../../pipeline/pipeline.ts';
import type { Int64 } from './generate-reader.ts';
import type { EnumValues, FieldType, Scalar } from './message-fields.ts';
import { isLong } from './generate.ts';
import { numberOrBigint, splitLong } from './int64-words.ts';
import { describeValue, fail } from './codec-errors.ts';
import { safeNumber } from './wire-reader.ts';

/** Converts a scalar to protobuf's JSON mapping (protobuf.dev: programming-guides/json), in the form asked for. */
export function scalarToJson(type: FieldType, value: unknown, form: JsonForm): unknown {
  const scalar = type.scalar as Scalar;
  switch (scalar) {
    case 'enum':
      return enumName(type.enum as EnumValues, value);
    case 'bytes':
      if (!(value instanceof Uint8Array)) fail(`expected bytes (a Uint8Array), got ${describeValue(value)}`);
      if (form === 'binary') return value;
      return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64');
    case 'string':
      return checkedText(value);
    case 'bool':
      if (typeof value !== 'boolean') fail(`expected a bool, got ${describeValue(value)}`);
      return value;
    case 'float':
    case 'double':
      return floatToJson(scalar, value, form);
    default:
      if (!isLong(scalar)) return checkedInteger(scalar, value);
      if (!splitLong(value, isUnsigned(scalar)))
        fail(`expected ${article(scalar)} (a bigint, a safe integer or digits), got ${describeValue(value)}`);
      return form === 'binary' ? numberOrBigint(BigInt(value as bigint | number | string)) : String(value);
  }
}

/**
 * Converts JSON to a scalar. Integers may be written as strings, and with an exponent; bytes of the form `binary` are
 * taken as they are.
 */
export function scalarFromJson(type: FieldType, json: unknown, int64: Int64, form: JsonForm): unknown {
  const scalar = type.scalar as Scalar;
  switch (scalar) {
    case 'enum':
      return enumName(type.enum as EnumValues, json);
    case 'bytes':
      return form === 'binary' ? checkedBytes(json) : bytesFromJson(json);
    case 'string':
      return checkedText(json);
    case 'bool':
      if (typeof json !== 'boolean') fail(`expected a bool, got ${describeValue(json)}`);
      return json;
    case 'float':
    case 'double':
      return floatFromJson(scalar, json, form);
    default:
      return isLong(scalar)
        ? longFromJson(scalar, json, int64, form)
        : checkedInteger(scalar, typeof json === 'string' ? numberIn(json) : json);
  }
}

/** Gives the value of a field without presence that is absent. */
export function scalarDefault(type: FieldType, int64: Int64): unknown {
  const scalar = type.scalar as Scalar;
  if (scalar === 'enum') return nameOf(type.enum as EnumValues, 0);
  if (scalar === 'string') return '';
  if (scalar === 'bytes') return new Uint8Array(0);
  if (scalar === 'bool') return false;
  return isLong(scalar) ? { bigint: 0n, string: '0', number: 0 }[int64] : 0;
}

/** True if the JSON of a scalar is that of its default, which is left out. */
export function isDefaultJson(type: FieldType, json: unknown): boolean {
  if (type.scalar === 'enum') return json === nameOf(type.enum as EnumValues, 0);
  if (json instanceof Uint8Array) return json.length === 0;
  return json === '' || json === false || Object.is(json, 0) || (json === '0' && isLong(type.scalar));
}

/** True for the unsigned types: `uint32`, `uint64`, `fixed32` and `fixed64`. */
function isUnsigned(scalar: Scalar): boolean {
  return scalar.startsWith('u') || scalar.startsWith('f');
}

function article(scalar: Scalar): string {
  return `${/^(int|sf)/.test(scalar) ? 'an' : 'a'} ${scalar}`;
}

function checkedText(value: unknown): string {
  if (typeof value !== 'string') fail(`expected a string, got ${describeValue(value)}`);
  if (/\p{Surrogate}/u.test(value)) fail('the string has half of a surrogate pair, which UTF-8 cannot carry');
  return value;
}

function checkedInteger(scalar: Scalar, value: unknown): number {
  const fits = typeof value === 'number' && (isUnsigned(scalar) ? value >>> 0 === value : (value | 0) === value);
  if (!fits) fail(`expected ${article(scalar)}, got ${describeValue(value)}`);
  // Adding 0 makes 0 of -0.
  return value + 0;
}

/** True if a finite number is beyond the range of a float. */
function isBeyondFloat(value: number): boolean {
  return Number.isFinite(value) && !Number.isFinite(Math.fround(value));
}

function floatToJson(scalar: 'float' | 'double', value: unknown, form: JsonForm): unknown {
  if (typeof value !== 'number' || (scalar === 'float' && isBeyondFloat(value)))
    fail(`expected a ${scalar}, got ${describeValue(value)}`);
  if (form === 'binary') return scalar === 'float' ? Math.fround(value) : value;
  if (!Number.isFinite(value)) return String(value);
  return scalar === 'float' ? shortest(Math.fround(value)) : value;
}

/** Gives the shortest decimal number that is the same float: 0.1 for 0.10000000149011612. */
function shortest(float: number): number {
  for (let digits = 6; digits < 9; digits += 1) {
    const candidate = Number(float.toPrecision(digits));
    if (Math.fround(candidate) === float) return candidate;
  }
  return float;
}

const decimal = /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** Gives the number in a JSON string, or the string itself if it is none. */
function numberIn(text: string): unknown {
  return decimal.test(text) ? Number(text) : text;
}

function floatFromJson(scalar: 'float' | 'double', json: unknown, form: JsonForm): number {
  if (json === 'NaN' || json === 'Infinity' || json === '-Infinity') return Number(json);
  const given = form === 'binary' && typeof json === 'bigint' ? Number(json) : json;
  const value = typeof given === 'string' ? numberIn(given) : given;
  const isNumber = typeof value === 'number' && (form === 'binary' || Number.isFinite(value));
  if (!isNumber || (scalar === 'float' && isBeyondFloat(value))) {
    fail(`expected a ${scalar}, got ${describeValue(json)}`);
  }
  return scalar === 'float' ? Math.fround(value) : value;
}

function longFromJson(scalar: Scalar, json: unknown, int64: Int64, form: JsonForm): unknown {
  const value = typeof json === 'string' && !/^-?\d{1,20}$/.test(json) ? numberIn(json) : json;
  if ((typeof value === 'bigint' && form === 'text') || !splitLong(value, isUnsigned(scalar))) {
    fail(`expected ${article(scalar)} (digits in a string, or a safe integer), got ${describeValue(json)}`);
  }
  const long = BigInt(value as string | number | bigint);
  if (int64 === 'bigint') return long;
  return int64 === 'string' ? long.toString() : safeNumber(long);
}

function checkedBytes(value: unknown): Uint8Array {
  return value instanceof Uint8Array ? value : fail(`expected bytes, got ${describeValue(value)}`);
}

const base64 = /^[\w+/-]*={0,2}$/;

function bytesFromJson(json: unknown): Uint8Array {
  // Buffer reads the URL alphabet of base64 too, but skips invalid characters: they are checked here.
  if (typeof json !== 'string' || !base64.test(json) || json.replace(/=+$/, '').length % 4 === 1)
    fail(`expected base64, got ${describeValue(json)}`);
  return new Uint8Array(Buffer.from(json, 'base64'));
}

function nameOf(values: EnumValues, number: number): unknown {
  if (values.name === 'google.protobuf.NullValue') return null;
  return values.byNumber.get(number) ?? number;
}

/** Converts an enum value in either direction: to its name if it has one, else to its number. */
function enumName(values: EnumValues, json: unknown): unknown {
  if (values.name === 'google.protobuf.NullValue' && (json === null || json === 'NULL_VALUE' || json === 0))
    return null;
  if (typeof json === 'string') {
    const number = values.byName.get(json);
    if (number === undefined)
      fail(`${values.name} has no value ${describeValue(json)}.${didYouMean(json, values.byName.keys())}`);
    return nameOf(values, number);
  }
  if (typeof json !== 'number' || (json | 0) !== json)
    fail(`expected a name or a number of ${values.name}, got ${describeValue(json)}`);
  return nameOf(values, json);
}
