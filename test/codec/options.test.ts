import {
  create,
  createFileRegistry,
  type DescExtension,
  type FileRegistry,
  fromBinary,
  getOption,
  hasOption,
} from '@bufbuild/protobuf';
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  MethodOptions_IdempotencyLevel,
} from '@bufbuild/protobuf/wkt';
import { field as validateField, Ignore } from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { describe, expect, it } from '@jest/globals';

import { loadProto } from '../../src/codec/proto.ts';

/** The descriptors as another implementation of protobuf reads them. */
function registryOf(name: string): FileRegistry {
  const files = loadProto(new URL(name, import.meta.url)).fileDescriptors;
  const file = files.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
  return createFileRegistry(create(FileDescriptorSetSchema, { file }));
}

/** Without what the implementation adds of its own. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (key, one: unknown) => {
      if (key.startsWith('$')) return undefined;
      return typeof one === 'bigint' ? Number(one) : one === Number.POSITIVE_INFINITY ? 'inf' : one;
    }),
  );
}

describe('getOption', () => {
  const registry = registryOf('./options.proto');
  const marked = registry.getMessage('options.Marked');
  const option = (target: Parameters<typeof hasOption>[0], name: string): unknown => {
    const extension = registry.getExtension(`options.${name}`) as DescExtension;
    expect(hasOption(target, extension)).toBe(true);
    return plain(getOption(target, extension));
  };
  const defaults = { text: '', numbers: [], colour: 0, weight: 0, raw: {}, signed: 0, flag: false, byName: {} };

  it('reads an option of a message that is a message itself', () => {
    expect(option(marked!, 'on_message')).toEqual({
      ...defaults,
      byName: { a: 7 },
      text: 'whole',
      numbers: [1, -2],
      colour: 1,
      inner: { ...defaults, flag: true, weight: -1.5 },
    });
    expect(marked!.proto.options?.deprecated).toBe(true);
  });

  it('reads an option of a field from several statements, with escapes in strings', () => {
    const name = marked!.field['name']!;
    expect(option(name, 'on_field')).toEqual({
      ...defaults,
      text: 'it\'s "q" \\d\tAAé',
      signed: -5,
      weight: 'inf',
      inner: { ...defaults, numbers: [3] },
    });
    expect(option(name, 'notes')).toEqual(['one "1"', 'two']);
    expect([name.jsonName, name.proto.options?.deprecated]).toEqual(['called', true]);
    expect(marked!.field['packed']?.proto.options?.packed).toBe(false);
    expect(marked!.field['plain']?.proto.options).toBeUndefined();
  });

  it('reads options of oneofs, enums, enum values, services and methods', () => {
    expect(option(marked!.oneofs[0]!, 'on_oneof')).toEqual({ ...defaults, flag: true });
    expect(option(registry.getEnum('options.Marked.Inner')!, 'on_enum')).toBe('inner');
    const red = registry.getEnum('options.Colour')!.values[1]!;
    expect([option(red, 'on_value'), red.proto.options?.deprecated]).toEqual(['rouge', true]);
    const service = registry.getService('options.Service')!;
    expect(option(service, 'on_service')).toBe('all');
    expect(option(service.methods[0]!, 'on_method')).toEqual({ ...defaults, text: 'call' });
    expect(service.methods[0]!.idempotency).toBe(MethodOptions_IdempotencyLevel.IDEMPOTENT);
  });

  it('reads the options of buf/validate/validate.proto, which tenon bundles', () => {
    const field = registryOf('./rules.proto').getMessage('rules.User')!.field['email']!;
    expect(getOption(field, validateField)).toMatchObject({
      required: true,
      ignore: Ignore.IF_ZERO_VALUE,
      cel: [{ id: 'email.at', message: 'it needs an "at"', expression: "this.contains('@')" }],
    });
  });
});
