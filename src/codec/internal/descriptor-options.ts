import protobuf from 'protobufjs';

import { ownValue } from '../../internal/own.ts';

/** The options of one statement, by their names in the `.proto`; those of extensions are in parentheses. */
type OptionValues = Readonly<Record<string, unknown>>;

/** Options that are fields of the descriptor itself. */
const elsewhere: ReadonlySet<string> = new Set(['json_name', 'default', 'proto3_optional']);

/**
 * Serializes the options of a descriptor as a message of `type` (`google.protobuf.FieldOptions` and the like). Custom
 * options are included (protobuf.dev: programming-guides/proto2#customoptions): validation rules and HTTP mappings are
 * such. Options that `type` does not have, or that refer to nothing, are left out.
 */
export function encodeOptions(object: protobuf.ReflectionObject, type: protobuf.Type): Uint8Array | undefined {
  return encodeStatements(statementsOf(object.parsedOptions), type, object.parent ?? object.root);
}

/** Serializes the options of an enum's value, which is no object of protobufjs's. */
export function encodeValueOptions(owner: protobuf.Enum, value: string, type: protobuf.Type): Uint8Array | undefined {
  return encodeStatements(statementsOf(ownValue(owner.valuesOptions ?? {}, value)), type, owner.parent ?? owner.root);
}

function statementsOf(given: unknown): readonly OptionValues[] {
  if (Array.isArray(given)) return given as OptionValues[];
  return typeof given === 'object' && given !== null ? [given as OptionValues] : [];
}

function encodeStatements(
  given: readonly OptionValues[],
  type: protobuf.Type,
  scope: protobuf.NamespaceBase,
): Uint8Array | undefined {
  const writer = protobuf.Writer.create();
  for (const said of given) writeMessage(writer, type, said, scope);
  const bytes = writer.finish();
  // A copy, as protobufjs gives a view of a pooled buffer.
  return bytes.length === 0 ? undefined : Uint8Array.from(bytes);
}

function writeMessage(
  writer: protobuf.Writer,
  type: protobuf.Type,
  values: OptionValues,
  scope: protobuf.NamespaceBase,
): void {
  for (const [name, value] of Object.entries(values)) {
    if (elsewhere.has(name)) continue;
    const field = fieldNamed(type, name, scope);
    if (!field || value === undefined || value === null) continue;
    // A reader merges two occurrences of a field that is not repeated.
    for (const one of Array.isArray(value) ? value : [value]) writeField(writer, field, one, scope);
  }
}

/** Finds a field, or an extension: `(buf.validate.field)`, or `[buf.validate.field]` within a value. */
function fieldNamed(type: protobuf.Type, name: string, scope: protobuf.NamespaceBase): protobuf.Field | undefined {
  const extension = /^[([]\.?([\w.]+)[)\]]$/.exec(name)?.[1];
  if (extension === undefined) return ownValue(type.fields, name);
  const path = extension.split('.');
  for (let at: protobuf.NamespaceBase | null = scope; at; at = at.parent) {
    let found: protobuf.ReflectionObject | null = at;
    for (const part of path) found = found instanceof protobuf.Namespace ? found.get(part) : null;
    if (found instanceof protobuf.Field && found.extend !== undefined) return found;
  }
  return undefined;
}

function writeField(
  writer: protobuf.Writer,
  field: protobuf.Field,
  value: unknown,
  scope: protobuf.NamespaceBase,
): void {
  const { id, resolvedType, type } = field;
  if (field instanceof protobuf.MapField) {
    writeEntry(writer, field, value as OptionValues, scope);
  } else if (resolvedType instanceof protobuf.Type) {
    if (typeof value !== 'object' || value === null) return;
    writer.uint32(id * 8 + (field.delimited ? 3 : 2));
    if (!field.delimited) writer.fork();
    writeMessage(writer, resolvedType, value as OptionValues, scope);
    if (field.delimited) writer.uint32(id * 8 + 4);
    else writer.ldelim();
  } else if (resolvedType instanceof protobuf.Enum) {
    const number = typeof value === 'number' ? value : ownValue(resolvedType.values, String(value));
    if (number !== undefined) writer.uint32(id * 8).int32(number);
  } else {
    writeScalar(writer, id, type, value);
  }
}

/** Writes an entry of a map: `{ key: "a", value: 1 }` (protobuf.dev: reference/protobuf/textformat-spec). */
function writeEntry(
  writer: protobuf.Writer,
  field: protobuf.MapField,
  entry: OptionValues,
  scope: protobuf.NamespaceBase,
): void {
  writer.uint32(field.id * 8 + 2).fork();
  if (entry['key'] !== undefined) writeScalar(writer, 1, field.keyType, entry['key']);
  const value = new protobuf.Field('value', 2, field.type);
  value.resolvedType = field.resolvedType;
  if (entry['value'] !== undefined) writeField(writer, value, entry['value'], scope);
  writer.ldelim();
}

const wireTypes: Readonly<Record<string, number>> = { ...protobuf.types.basic };

function writeScalar(writer: protobuf.Writer, id: number, type: string, value: unknown): void {
  const wire = ownValue(wireTypes, type);
  if (wire === undefined) return;
  writer.uint32(id * 8 + wire);
  if (type === 'string') writer.string(String(value));
  else if (type === 'bytes') writer.bytes(Buffer.from(String(value)));
  else if (type === 'bool') writer.bool(value === true || value === 'true');
  else writeNumber(writer, type, numberOf(value));
}

function writeNumber(writer: protobuf.Writer, type: string, value: number): void {
  writer[type as 'double'](value);
}

/** Converts a number; the parser leaves `inf` and `nan` as text. */
function numberOf(value: unknown): number {
  if (typeof value === 'number') return value;
  const text = String(value).replace(/inf(inity)?$/i, 'Infinity');
  return text.toLowerCase().endsWith('nan') ? Number.NaN : Number(text);
}
