import protobuf from 'protobufjs';

import type { Converter } from './converter.ts';

/** The scalar types of protobuf, and `enum`. */
export type Scalar =
  | 'double' | 'float' | 'int32' | 'uint32' | 'sint32' | 'fixed32' | 'sfixed32'
  | 'int64' | 'uint64' | 'sint64' | 'fixed64' | 'sfixed64' | 'bool' | 'string' | 'bytes' | 'enum'; // prettier-ignore

/** The names and numbers of an enum. With aliases, a number has its first name. */
export interface EnumValues {
  readonly name: string;
  readonly byName: ReadonlyMap<string, number>;
  readonly byNumber: ReadonlyMap<number, string>;
}

/** The type of a field's values: a scalar, an enum or a message. */
export interface FieldType {
  readonly scalar: Scalar | undefined;
  readonly enum: EnumValues | undefined;
  /** Gives the converter of the message. A function, as types may be recursive. */
  readonly message: (() => Converter) | undefined;
}

/** A field of a message, in the form that converters need. */
export interface Field extends FieldType {
  /** Name of the property: camelCase. */
  readonly property: string;
  /** Name in the `.proto`. */
  readonly original: string;
  /** `json_name` where one is given, else the property. */
  readonly jsonName: string;
  readonly number: number;
  /** Scalar type, or full name of the message or enum. */
  readonly typeName: string;
  readonly cardinality: 'single' | 'repeated' | 'map';
  readonly packed: boolean;
  readonly required: boolean;
  /** True if an unset field differs from one set to its default: the property is absent if it is not set. */
  readonly hasPresence: boolean;
  readonly oneof: OneOf | undefined;
  /** Type of a map's keys. */
  readonly key: Scalar | undefined;
}

/** A oneof of a message, but none that protoc synthesizes for `optional`. */
export interface OneOf {
  /** The property with the name of the member that is set; `undefined` if a field has the same name. */
  readonly property: string | undefined;
  readonly members: readonly string[];
}

/** Finds the converter of a message type. */
export type ConverterOf = (type: protobuf.Type) => Converter;

/**
 * Gives the fields of a message in the order of their numbers, without groups and extensions, which readers skip.
 */
export function fieldsOf(type: protobuf.Type, converterOf: ConverterOf): readonly Field[] {
  const declared = type.fieldsArray
    .map((field) => field.resolve())
    .filter((field) => !field.delimited && field.declaringField === null);
  const properties = new Set(declared.map((field) => propertyName(field.name)));
  const oneofs = new Map<protobuf.OneOf, OneOf>();
  for (const oneof of type.oneofsArray) {
    if (oneof.isProto3Optional) continue;
    const property = propertyName(oneof.name);
    oneofs.set(oneof, {
      property: properties.has(property) ? undefined : property,
      members: oneof.fieldsArray.map((field) => propertyName(field.name)),
    });
  }
  return declared.map((field) => fieldOf(field, oneofs, converterOf)).sort((a, b) => a.number - b.number);
}

function fieldOf(field: protobuf.Field, oneofs: ReadonlyMap<protobuf.OneOf, OneOf>, converterOf: ConverterOf): Field {
  const property = propertyName(field.name);
  const given: unknown = field.options?.['json_name'];
  const { resolvedType } = field;
  const isEnum = resolvedType instanceof protobuf.Enum;
  const message = resolvedType instanceof protobuf.Type ? resolvedType : undefined;
  return {
    property,
    original: field.name,
    jsonName: typeof given === 'string' ? given : property,
    number: field.id,
    typeName: resolvedType === null ? field.type : bareName(resolvedType),
    cardinality: field.map ? 'map' : field.repeated ? 'repeated' : 'single',
    packed: field.packed,
    required: field.required,
    hasPresence: Boolean(field.hasPresence) || (message !== undefined && !field.repeated && !field.map),
    oneof: field.partOf === null ? undefined : oneofs.get(field.partOf),
    key: field instanceof protobuf.MapField ? (field.keyType as Scalar) : undefined,
    scalar: isEnum ? 'enum' : message === undefined ? (field.type as Scalar) : undefined,
    enum: isEnum ? enumValues(resolvedType) : undefined,
    message: message === undefined ? undefined : () => converterOf(message),
  };
}

/** Gives the elements, of `maxElements`, that a message with these fields takes, whatever it holds. */
export function elementsOf(fields: readonly Field[]): number {
  const own = fields.filter(({ cardinality, scalar }) => cardinality !== 'single' || scalar === 'bytes').length;
  return 1 + own + Math.ceil((fields.length - own) / 8);
}

const enums = new WeakMap<protobuf.Enum, EnumValues>();

function enumValues(type: protobuf.Enum): EnumValues {
  const known = enums.get(type);
  if (known) return known;
  const byName = new Map(Object.entries(type.values));
  const byNumber = new Map<number, string>();
  for (const [name, number] of byName) if (!byNumber.has(number)) byNumber.set(number, name);
  const values = { name: bareName(type), byName, byNumber };
  enums.set(type, values);
  return values;
}

/** Gives a full name without protobufjs's leading dot. */
export function bareName(object: protobuf.ReflectionObject): string {
  return object.fullName.replace(/^\./, '');
}

/** Converts a name to the lowerCamelCase of protobuf's JSON mapping: `a_b_1` to `aB1`. */
export function propertyName(name: string): string {
  return name.replace(/_+(.?)/g, (_, next: string) => next.toUpperCase());
}
