import type { Field, Scalar } from './message-fields.ts';

/*
 * Readers and writers are made as source text, one function per message type, as protobufjs makes its own: every
 * property has a fixed place, every call site sees one type. A loop over a table of fields measures three to six times
 * slower.
 *
 * What goes into the text is numbers, names of methods from the tables here, and names from the `.proto` as JSON
 * strings.
 */

/** Compiles `source`, an expression, in which the keys of `scope` are in sight. */
export function compile<T>(source: string, scope: Readonly<Record<string, unknown>>): T {
  const names = Object.keys(scope);
  // The scope is ours and the source is made of names that the parser of .proto files let through, each as a JSON
  // string.
  // oxlint-disable-next-line typescript/no-implied-eval
  const make = new Function(...names, `"use strict";\nreturn ${source};`) as (...values: unknown[]) => T;
  return make(...names.map((name) => scope[name]));
}

/** Property access that reads no more than the value's own: a field may be named `constructor`. */
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

/** Wire type of a scalar; of a message where there is none. */
export function wireType(scalar: Scalar | undefined): number {
  return scalar === undefined ? 2 : wireTypes[scalar];
}

/** A field's tag, for the wire type of its values or for a length-delimited one. */
export function tagOf(number: number, type: number): number {
  return ((number << 3) | type) >>> 0;
}

/** Whether lists of the scalar may be packed into one length-delimited value. */
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

/** Whether the scalar has 64 bits and is an integer. */
export function isLong(scalar: Scalar | undefined): boolean {
  return longScalars.has(scalar);
}

/** Types for which `null` is a value and not the absence of one. */
export function takesNull(field: Field): boolean {
  return field.typeName === 'google.protobuf.Value' || field.typeName === 'google.protobuf.NullValue';
}
