import protobuf from 'protobufjs';

import type { Converter } from './converter.ts';

/** The scalar types of protobuf, and `enum`. */
export type Scalar =
  | 'double' | 'float' | 'int32' | 'uint32' | 'sint32' | 'fixed32' | 'sfixed32'
  | 'int64' | 'uint64' | 'sint64' | 'fixed64' | 'sfixed64' | 'bool' | 'string' | 'bytes' | 'enum'; // prettier-ignore

/** The names and numbers of an enum. With aliases, a number goes by its first name. */
export interface EnumValues {
  readonly name: string;
  readonly byName: ReadonlyMap<string, number>;
  readonly byNumber: ReadonlyMap<number, string>;
}

/** What a value of a field is: a scalar, an enum or a message. */
export interface FieldType {
  readonly scalar: Scalar | undefined;
  readonly enum: EnumValues | undefined;
  /** Found when first needed: types may be recursive. */
  readonly message: (() => Converter) | undefined;
}

/** A field as the converters need it, from protobufjs's reflection. */
export interface Field extends FieldType {
  /** Name of the property: camelCase. */
  readonly property: string;
  /** As in the `.proto`. */
  readonly original: string;
  /** `json_name` where one is given, else the property. */
  readonly jsonName: string;
  readonly number: number;
  /** Scalar type, or full name of the message or enum. */
  readonly typeName: string;
  readonly cardinality: 'single' | 'repeated' | 'map';
  readonly packed: boolean;
  readonly required: boolean;
  /** Whether "not set" differs from "set to the default": such a field is absent when it is not set. */
  readonly hasPresence: boolean;
  readonly oneof: OneOf | undefined;
  /** Type of a map's keys. */
  readonly key: Scalar | undefined;
}

/** A oneof. Those that protoc makes up for `optional` are none. */
export interface OneOf {
  /** The property that says which member is set; `undefined` where a field has taken the name. */
  readonly property: string | undefined;
  readonly members: readonly string[];
}

/** Finds the converter of a message type. */
export type ConverterOf = (type: protobuf.Type) => Converter;

/**
 * The fields of a message, by number. Groups and extensions are not among them: they are passed over when read.
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

/** What a message with these fields counts for among `maxElements`, whatever is in it. */
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

/** A full name without protobufjs's leading dot. */
export function bareName(object: protobuf.ReflectionObject): string {
  return object.fullName.replace(/^\./, '');
}

/** The lowerCamelCase of protobuf's JSON mapping: `a_b_1` is `aB1`. */
export function propertyName(name: string): string {
  return name.replace(/_+(.?)/g, (_, next: string) => next.toUpperCase());
}
