import { bytesOf, type FieldValue, pushBytes, readFields, textOfBytes } from '../../internal/protobuf-fields.ts';

/** An extension that a file declares. */
export interface Extension {
  /** Full name of the type that it extends. */
  readonly type: string;
  readonly number: number;
}

/** A serialized `google.protobuf.FileDescriptorProto`, with the names that it declares. */
export interface DescriptorFile {
  readonly name: string;
  readonly dependencies: readonly string[];
  /** The full names of its services, methods, messages, fields, oneofs, enums, their values, and extensions. */
  readonly symbols: readonly string[];
  /** The full names of its messages. */
  readonly messages: readonly string[];
  readonly extensions: readonly Extension[];
  readonly bytes: Uint8Array;
}

// Numbers of the fields, google/protobuf/descriptor.proto.
const inFile = { name: 1, package: 2, dependency: 3, message: 4, enumeration: 5, service: 6, extension: 7 };
const inMessage = { name: 1, field: 2, message: 3, enumeration: 4, extension: 6, oneof: 8 };
const inEnum = { name: 1, value: 2 };
const inService = { name: 1, method: 2 };
const inField = { name: 1, extendee: 2, number: 3 };

/** Reads the names that a file declares. */
export function readFile(bytes: Uint8Array): DescriptorFile {
  const fields = fieldsOf(bytes);
  const scope = text(fields, inFile.package);
  const found: Found = { symbols: [], messages: [], extensions: [] };
  for (const { number, part } of fields) {
    if (number === inFile.message) readMessage(part, scope, found);
    else if (number === inFile.enumeration) readEnum(part, scope, found);
    else if (number === inFile.service) readService(part, scope, found);
    else if (number === inFile.extension) readExtension(part, scope, found);
  }
  const dependencies = fields.filter(({ number }) => number === inFile.dependency).map(({ part }) => textOfBytes(part));
  return { name: text(fields, inFile.name), dependencies, ...found, bytes };
}

/** Returns the file with other names: its own, and those of the files that it imports. */
export function renamed(file: DescriptorFile, names: ReadonlyMap<string, string>): DescriptorFile {
  const parts = fieldsOf(file.bytes).map((field) => {
    const isName = field.number === inFile.name || field.number === inFile.dependency;
    const name = isName ? names.get(textOfBytes(field.part)) : undefined;
    return name === undefined ? field.raw : textField(field.number, name);
  });
  return {
    ...file,
    name: names.get(file.name) ?? file.name,
    dependencies: file.dependencies.map((name) => names.get(name) ?? name),
    bytes: new Uint8Array(Buffer.concat(parts)),
  };
}

/** One field of a descriptor as it stands on the wire, read without a codec. */
interface Field {
  readonly number: number;
  readonly value: FieldValue | undefined;
  /** Its content, if it is delimited by a length. */
  readonly part: Uint8Array;
  /** All of its bytes, tag included. */
  readonly raw: Uint8Array;
}

const nothing = new Uint8Array(0);

/** Returns the fields of a descriptor in order, up to the first that cannot be read. */
function fieldsOf(bytes: Uint8Array): readonly Field[] {
  const fields: Field[] = [];
  readFields(bytes, (number, value, from, to) => {
    const part = typeof value === 'object' ? value : nothing;
    fields.push({ number, value, part, raw: bytes.subarray(from, to) });
  });
  return fields;
}

function textField(number: number, content: string): Uint8Array {
  const bytes: number[] = [];
  pushBytes(bytes, number, bytesOf(content));
  return Uint8Array.from(bytes);
}

interface Found {
  readonly symbols: string[];
  readonly messages: string[];
  readonly extensions: Extension[];
}

function readMessage(bytes: Uint8Array, scope: string, found: Found): void {
  const fields = fieldsOf(bytes);
  const name = join(scope, text(fields, inMessage.name));
  found.symbols.push(name);
  found.messages.push(name);
  for (const { number, part } of fields) {
    if (number === inMessage.field || number === inMessage.oneof) found.symbols.push(join(name, nameIn(part)));
    else if (number === inMessage.message) readMessage(part, name, found);
    else if (number === inMessage.enumeration) readEnum(part, name, found);
    else if (number === inMessage.extension) readExtension(part, name, found);
  }
}

/**
 * Reads an enum. Its values are siblings of the enum (protobuf.dev: programming-guides/proto3#enum), but some clients
 * ask for them below it, so that they have both names.
 */
function readEnum(bytes: Uint8Array, scope: string, found: Found): void {
  const fields = fieldsOf(bytes);
  const name = join(scope, text(fields, inEnum.name));
  found.symbols.push(name);
  for (const { number, part } of fields) {
    if (number === inEnum.value) found.symbols.push(join(scope, nameIn(part)), join(name, nameIn(part)));
  }
}

function readService(bytes: Uint8Array, scope: string, found: Found): void {
  const fields = fieldsOf(bytes);
  const name = join(scope, text(fields, inService.name));
  found.symbols.push(name);
  for (const { number, part } of fields) {
    if (number === inService.method) found.symbols.push(join(name, nameIn(part)));
  }
}

function readExtension(bytes: Uint8Array, scope: string, found: Found): void {
  const fields = fieldsOf(bytes);
  found.symbols.push(join(scope, text(fields, inField.name)));
  const number = fields.find((field) => field.number === inField.number)?.value;
  const type = text(fields, inField.extendee).replace(/^\./, '');
  found.extensions.push({ type, number: typeof number === 'number' ? number : 0 });
}

/** Returns the name of a descriptor, which is its first field. */
function nameIn(bytes: Uint8Array): string {
  return text(fieldsOf(bytes), 1);
}

function text(fields: readonly Field[], number: number): string {
  const field = fields.find((one) => one.number === number);
  return field ? textOfBytes(field.part) : '';
}

function join(scope: string, name: string): string {
  return scope === '' ? name : `${scope}.${name}`;
}
