import protobuf from 'protobufjs';

import type { ProtoType } from '../../pipeline/pipeline.ts';
import { bundledProtos } from './bundled-protos.ts';
import { encodeOptions, encodeValueOptions } from './descriptor-options.ts';
import { propertyName } from './message-fields.ts';
import type { ParsedProto, SourceFile } from './parse-protos.ts';
import { ProtoTypes } from './proto-types.ts';

type Descriptor = Record<string, unknown>;

/**
 * Serializes each file as a `google.protobuf.FileDescriptorProto`, after those that it imports. protobufjs's own
 * descriptors are not used: they have one file per package, no imports, and map entries under names that grpcurl
 * refuses.
 *
 * They hold options, custom ones too, but not those of a file (`go_package` and the like).
 */
export function fileDescriptorsOf(parsed: ParsedProto): readonly Uint8Array[] {
  const { file: type, optionsOf } = descriptorTypes();
  return parsed.files.map((file) => type.encode(fileDescriptor(parsed.root, file, optionsOf)));
}

/** Gives the message type of options, by the name of their descriptor: `FieldDescriptorProto`. */
type OptionsOf = (descriptor: string) => protobuf.Type;

function descriptorTypes(): { readonly file: ProtoType; readonly optionsOf: OptionsOf } {
  const root = new protobuf.Root();
  protobuf.parse(bundledProtos.get('google/protobuf/descriptor.proto') as string, root, { keepCase: true });
  root.resolveAll();
  const options = new Map<string, protobuf.Type>();
  for (const type of (root.lookup('google.protobuf') as protobuf.Namespace).nestedArray) {
    const field = type instanceof protobuf.Type ? type.fields['options'] : undefined;
    if (!(field?.resolvedType instanceof protobuf.Type)) continue;
    options.set(type.name, field.resolvedType);
    // On the wire a message is bytes, and options hold fields that no type of this root has.
    field.type = 'bytes';
    field.resolvedType = null;
  }
  return {
    file: new ProtoTypes(root, 'bigint').of(root.lookupType('google.protobuf.FileDescriptorProto')),
    optionsOf: (descriptor) => options.get(descriptor) as protobuf.Type,
  };
}

function fileDescriptor(root: protobuf.Root, file: SourceFile, optionsOf: OptionsOf): Descriptor {
  const namespace = file.package === '' ? root : root.lookup(file.package.split('.'));
  const ours = (namespace instanceof protobuf.Namespace ? namespace.nestedArray : []).filter(
    (nested) => nested.filename === file.path,
  );
  const edition = /^\d+$/.test(file.syntax);
  return {
    name: file.name,
    package: file.package === '' ? undefined : file.package,
    dependency: file.imports,
    publicDependency: file.publicImports.map((name) => file.imports.indexOf(name)),
    ...members(ours, optionsOf),
    service: ours
      .filter((nested) => nested instanceof protobuf.Service)
      .map((service) => serviceDescriptor(service, optionsOf)),
    syntax: edition ? 'editions' : file.syntax === 'proto2' ? undefined : file.syntax,
    edition: edition ? `EDITION_${file.syntax}` : undefined,
  };
}

/** Describes the messages, enums and extensions of a file or of a message. */
function members(nested: readonly protobuf.ReflectionObject[], optionsOf: OptionsOf): Descriptor {
  return {
    enumType: nested.filter((one) => one instanceof protobuf.Enum).map((type) => enumDescriptor(type, optionsOf)),
    extension: nested
      .filter((one) => one instanceof protobuf.Field)
      .map((field) => fieldDescriptor(field, undefined, optionsOf)),
    messageType: nested.filter((one) => one instanceof protobuf.Type).map((type) => messageDescriptor(type, optionsOf)),
  };
}

function messageDescriptor(type: protobuf.Type, optionsOf: OptionsOf): Descriptor {
  // protoc puts the oneofs that it synthesizes for "optional" after the others.
  const oneofs = [...type.oneofsArray].sort((a, b) => Number(a.isProto3Optional) - Number(b.isProto3Optional));
  const { messageType, ...rest } = members(type.nestedArray, optionsOf);
  const reserved = type.reserved ?? [];
  return {
    name: type.name,
    ...rest,
    field: type.fieldsArray
      .filter((field) => field.declaringField === null)
      .map((field) => fieldDescriptor(field, oneofs, optionsOf)),
    nestedType: [
      ...(messageType as Descriptor[]),
      ...type.fieldsArray.filter((field) => field instanceof protobuf.MapField).map(entryDescriptor),
    ],
    oneofDecl: oneofs.map((oneof) => ({
      name: oneof.name,
      options: encodeOptions(oneof, optionsOf('OneofDescriptorProto')),
    })),
    // Ranges end before their end in descriptors of messages, with it in the .proto.
    extensionRange: ((type.extensions as number[][] | undefined) ?? []).map(([start = 0, end = 0]) => ({
      start,
      end: end + 1,
    })),
    reservedRange: reserved
      .filter((one): one is number[] => typeof one !== 'string')
      .map(([start = 0, end = 0]) => ({ start, end: end + 1 })),
    reservedName: reserved.filter((one) => typeof one === 'string'),
    options: encodeOptions(type, optionsOf('DescriptorProto')),
  };
}

const labels = { optional: 'LABEL_OPTIONAL', required: 'LABEL_REQUIRED', repeated: 'LABEL_REPEATED' };

function fieldDescriptor(
  field: protobuf.Field,
  oneofs: readonly protobuf.OneOf[] | undefined,
  optionsOf: OptionsOf,
): Descriptor {
  const isMap = field instanceof protobuf.MapField;
  const isOptional = field.options?.['proto3_optional'] === true;
  const given: unknown = field.options?.['json_name'];
  const fallback = field.options?.['default'] as string | number | boolean | null | undefined;
  return {
    name: field.name,
    number: field.id,
    label: field.repeated || isMap ? labels.repeated : field.required ? labels.required : labels.optional,
    ...(isMap
      ? { type: 'TYPE_MESSAGE', typeName: `${String(field.parent?.fullName)}.${entryName(field.name)}` }
      : typeDescriptor(field.type, field.resolvedType, isGroup(field))),
    extendee: field.extend === undefined ? undefined : (field.extensionField?.parent?.fullName ?? field.extend),
    oneofIndex: field.partOf && oneofs ? oneofs.indexOf(field.partOf) : undefined,
    proto3Optional: isOptional || undefined,
    jsonName: typeof given === 'string' ? given : propertyName(field.name),
    defaultValue: fallback === undefined || fallback === null ? undefined : defaultText(field, fallback),
    options: encodeOptions(field, optionsOf('FieldDescriptorProto')),
  };
}

/** True for a group of proto2. A delimited field of an edition is described by a feature instead. */
function isGroup(field: protobuf.Field): boolean {
  return (field.resolvedType as { readonly group?: boolean } | null)?.group === true;
}

/**
 * Formats a default as protoc does: bytes with C's escapes, infinity by C's name (descriptor.proto,
 * FieldDescriptorProto.default_value).
 */
function defaultText(field: protobuf.Field, fallback: string | number | boolean): string {
  const text = String(fallback);
  if (typeof fallback === 'number') return text.replace('Infinity', 'inf').replace('NaN', 'nan');
  return field.type === 'bytes' ? escaped(text) : text;
}

const escapes: Readonly<Record<string, string>> = { '\n': 'n', '\r': 'r', '\t': 't', '"': '"', "'": "'", '\\': '\\' };

function escaped(bytes: string): string {
  return bytes.replace(/[^ !#-&(-[\]-~]/g, (character) => {
    return `\\${escapes[character] ?? character.charCodeAt(0).toString(8).padStart(3, '0')}`;
  });
}

function typeDescriptor(type: string, resolved: protobuf.Type | protobuf.Enum | null, asGroup: boolean): Descriptor {
  if (resolved === null) return { type: `TYPE_${type.toUpperCase()}` };
  const kind = resolved instanceof protobuf.Enum ? 'TYPE_ENUM' : asGroup ? 'TYPE_GROUP' : 'TYPE_MESSAGE';
  return { type: kind, typeName: resolved.fullName };
}

/** `google.protobuf.MessageOptions` with `map_entry`. */
const mapEntryOptions = Uint8Array.of(0x38, 1);

/** Describes the message of a map's entries (protobuf.dev: programming-guides/encoding#maps). */
function entryDescriptor(field: protobuf.MapField): Descriptor {
  const part = (name: string, number: number, type: Descriptor): Descriptor => ({
    name,
    number,
    label: labels.optional,
    jsonName: name,
    ...type,
  });
  return {
    name: entryName(field.name),
    field: [
      part('key', 1, typeDescriptor(field.keyType, null, false)),
      part('value', 2, typeDescriptor(field.type, field.resolvedType, false)),
    ],
    options: mapEntryOptions,
  };
}

/** Gives protoc's name of a map's entries: `LabelsByNameEntry` for `labels_by_name`. */
function entryName(field: string): string {
  return `${propertyName(`_${field}`)}Entry`;
}

function enumDescriptor(type: protobuf.Enum, optionsOf: OptionsOf): Descriptor {
  const reserved = (type as { readonly reserved?: readonly (number[] | string)[] }).reserved ?? [];
  return {
    name: type.name,
    value: Object.entries(type.values).map(([name, number]) => ({
      name,
      number,
      options: encodeValueOptions(type, name, optionsOf('EnumValueDescriptorProto')),
    })),
    // Ranges of enums include their end, unlike those of messages.
    reservedRange: reserved
      .filter((one): one is number[] => typeof one !== 'string')
      .map(([start = 0, end = 0]) => ({ start, end })),
    reservedName: reserved.filter((one) => typeof one === 'string'),
    options: encodeOptions(type, optionsOf('EnumDescriptorProto')),
  };
}

function serviceDescriptor(service: protobuf.Service, optionsOf: OptionsOf): Descriptor {
  return {
    name: service.name,
    method: service.methodsArray.map((method) => methodDescriptor(method, optionsOf)),
    options: encodeOptions(service, optionsOf('ServiceDescriptorProto')),
  };
}

function methodDescriptor(method: protobuf.Method, optionsOf: OptionsOf): Descriptor {
  return {
    name: method.name,
    inputType: method.resolvedRequestType?.fullName,
    outputType: method.resolvedResponseType?.fullName,
    clientStreaming: method.requestStream === true ? true : undefined,
    serverStreaming: method.responseStream === true ? true : undefined,
    options: encodeOptions(method, optionsOf('MethodDescriptorProto')),
  };
}
