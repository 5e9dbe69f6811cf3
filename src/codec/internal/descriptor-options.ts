import protobuf from 'protobufjs';

import { ownValue } from '../../internal/own.ts';

/** What was said in one statement: names as they stand in the `.proto`, extensions in parentheses. */
type Said = Readonly<Record<string, unknown>>;

/** They stand among the options, and are members of the descriptor itself. */
const elsewhere: ReadonlySet<string> = new Set(['json_name', 'default', 'proto3_optional']);

/**
 * The options of something in a `.proto` as a serialized message of `type` (`google.protobuf.FieldOptions` and its
 * like), those of others included (protobuf.dev: programming-guides/proto2#customoptions): what validation rules, HTTP
 * mappings and the like are read from. What `type` does not know is left out, and so is what refers to nothing.
 */
export function encodeOptions(object: protobuf.ReflectionObject, type: protobuf.Type): Uint8Array | undefined {
  return encodeSaid(sayings(object.parsedOptions), type, object.parent ?? object.root);
}

/** The options of a value of an enum, which is no object of its own. */
export function encodeValueOptions(owner: protobuf.Enum, value: string, type: protobuf.Type): Uint8Array | undefined {
  return encodeSaid(sayings(ownValue(owner.valuesOptions ?? {}, value)), type, owner.parent ?? owner.root);
}

function sayings(given: unknown): readonly Said[] {
  if (Array.isArray(given)) return given as Said[];
  return typeof given === 'object' && given !== null ? [given as Said] : [];
}

function encodeSaid(
  given: readonly Said[],
  type: protobuf.Type,
  scope: protobuf.NamespaceBase,
): Uint8Array | undefined {
  const writer = protobuf.Writer.create();
  for (const said of given) writeMessage(writer, type, said, scope);
  const bytes = writer.finish();
  // A view of a pooled buffer otherwise.
  return bytes.length === 0 ? undefined : Uint8Array.from(bytes);
}

function writeMessage(writer: protobuf.Writer, type: protobuf.Type, values: Said, scope: protobuf.NamespaceBase): void {
  for (const [name, value] of Object.entries(values)) {
    if (elsewhere.has(name)) continue;
    const field = fieldNamed(type, name, scope);
    if (!field || value === undefined || value === null) continue;
    // What is said twice of a field that holds one is merged by whoever reads it.
    for (const one of Array.isArray(value) ? value : [value]) writeField(writer, field, one, scope);
  }
}

/** `(buf.validate.field)` before a value, `[buf.validate.field]` within one. */
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
    writeEntry(writer, field, value as Said, scope);
  } else if (resolvedType instanceof protobuf.Type) {
    if (typeof value !== 'object' || value === null) return;
    writer.uint32(id * 8 + (field.delimited ? 3 : 2));
    if (!field.delimited) writer.fork();
    writeMessage(writer, resolvedType, value as Said, scope);
    if (field.delimited) writer.uint32(id * 8 + 4);
    else writer.ldelim();
  } else if (resolvedType instanceof protobuf.Enum) {
    const number = typeof value === 'number' ? value : ownValue(resolvedType.values, String(value));
    if (number !== undefined) writer.uint32(id * 8).int32(number);
  } else {
    writeScalar(writer, id, type, value);
  }
}

/** As text has it: `{ key: "a", value: 1 }` (protobuf.dev: reference/protobuf/textformat-spec). */
function writeEntry(
  writer: protobuf.Writer,
  field: protobuf.MapField,
  entry: Said,
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

/** The parser leaves `inf` and `nan` as they are written. */
function numberOf(value: unknown): number {
  if (typeof value === 'number') return value;
  const text = String(value).replace(/inf(inity)?$/i, 'Infinity');
  return text.toLowerCase().endsWith('nan') ? Number.NaN : Number(text);
}
