import type { Field, Scalar } from './message-fields.ts';

/*
 * Readers and writers are generated as source text, one function per message type, as protobufjs does: each object has
 * one shape, and each call site sees one type. A loop over a table of fields is three to six times slower.
 *
 * The text holds only numbers, method names from the tables here, and names from the `.proto` as JSON strings.
 */

/** Compiles `source`, an expression that may use the keys of `scope` as variables. */
export function compile<T>(source: string, scope: Readonly<Record<string, unknown>>): T {
  const names = Object.keys(scope);
  // Names from a .proto are in the source as JSON strings only, so they cannot be run as code.
  // oxlint-disable-next-line typescript/no-implied-eval
  const make = new Function(...names, `"use strict";\nreturn ${source};`) as (...values: unknown[]) => T;
  return make(...names.map((name) => scope[name]));
}

/** Source text that reads an own property: a field may be named `constructor`, which every object inherits. */
export function access(object: string, property: string): string {
  const name = JSON.stringify(property);
  return property in Object.prototype
    ? `(Object.hasOwn(${object}, ${name}) ? ${object}[${name}] : undefined)`
    : `${object}[${name}]`;
}

const wireTypes: Readonly<Record<Scalar, 0 | 1 | 2 | 5>> = {
  double: 1, float: 5, int32: 0, uint32: 0, sint32: 0, fixed32: 5, sfixed32: 5,
  int64: 0, uint64: 0, sint64: 0, fixed64: 1, sfixed64: 1, bool: 0, string: 2, bytes: 2, enum: 0,
}; // prettier-ignore

/** The wire type of a scalar; that of a message if there is none. */
export function wireType(scalar: Scalar | undefined): number {
  return scalar === undefined ? 2 : wireTypes[scalar];
}

/** The tag of a field: its number and a wire type. */
export function tagOf(number: number, type: number): number {
  return ((number << 3) | type) >>> 0;
}

/** True if lists of the scalar may be packed into one length-delimited value. */
export function isPackable(scalar: Scalar | undefined): boolean {
  return scalar !== undefined && scalar !== 'string' && scalar !== 'bytes';
}

const longScalars: ReadonlySet<Scalar | undefined> = new Set<Scalar>([
  'int64',
  'uint64',
  'sint64',
  'fixed64',
  'sfixed64',
]);

/** True for 64-bit integers. */
export function isLong(scalar: Scalar | undefined): boolean {
  return longScalars.has(scalar);
}

/** True if `null` is a value of the field's type, and not the absence of one. */
export function takesNull(field: Field): boolean {
  return field.typeName === 'google.protobuf.Value' || field.typeName === 'google.protobuf.NullValue';
}
