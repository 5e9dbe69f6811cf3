import { expect } from '@jest/globals';

import { type ProtoFile, loadProto } from '../../src/codec/proto.ts';
import { Code } from '../../src/errors/errors.ts';
import { anySchema, type ProtoType, type Schema } from '../../src/pipeline/pipeline.ts';
import type { CodecHarness } from '../../src/testing/codec.ts';
import { thrownBy } from '../../src/testing/failures.ts';

/** `all-kinds.proto`: every kind of field. */
export const kinds: ProtoFile = loadProto(new URL('./all-kinds.proto', import.meta.url));

export function typeOf(name: string, file: ProtoFile = kinds): ProtoType {
  const type = file.type(name);
  if (!type) throw new Error(`${name} is not in the .proto of the test`);
  return type;
}

export function schemaOf(name: string): Schema {
  return { name, proto: typeOf(name) };
}

/** A value of `kinds.Scalars` with nothing at its default. */
export const scalars = {
  aDouble: -1.5,
  aFloat: 0.25,
  anInt32: -2_147_483_648,
  anInt64: -(2n ** 63n),
  aUint32: 4_294_967_295,
  aUint64: 2n ** 64n - 1n,
  aSint32: -2_147_483_648,
  aSint64: -(2n ** 63n),
  aFixed32: 4_294_967_295,
  aFixed64: 2n ** 64n - 1n,
  anSfixed32: -2_147_483_648,
  anSfixed64: -(2n ** 63n),
  aBool: true,
  aString: 'zażółć 🦊',
  someBytes: Uint8Array.of(0, 1, 254, 255),
  aColor: 'COLOR_RED',
};

/** What an empty `kinds.Scalars` is. */
export const noScalars = {
  aDouble: 0,
  aFloat: 0,
  anInt32: 0,
  anInt64: 0n,
  aUint32: 0,
  aUint64: 0n,
  aSint32: 0,
  aSint64: 0n,
  aFixed32: 0,
  aFixed64: 0n,
  anSfixed32: 0,
  anSfixed64: 0n,
  aBool: false,
  aString: '',
  someBytes: new Uint8Array(0),
  aColor: 'COLOR_UNSPECIFIED',
};

const leaf = { name: 'leaf', children: [] };

/** The values that a format with a `.proto` is tried with. */
export const protoSamples: CodecHarness['samples'] = [
  { name: 'scalars', schema: schemaOf('kinds.Scalars'), value: scalars },
  { name: 'nothing', schema: schemaOf('kinds.Scalars'), value: {}, decoded: noScalars },
  { name: 'presence', schema: schemaOf('kinds.Optionals'), value: { ...noScalars, nested: scalars } },
  { name: 'absence', schema: schemaOf('kinds.Optionals'), value: {} },
  {
    name: 'a tree',
    schema: schemaOf('kinds.Tree'),
    value: { name: 'root', children: [leaf, { name: '', children: [leaf] }], parent: leaf },
  },
  {
    name: 'a member of a oneof',
    schema: schemaOf('kinds.Choice'),
    value: { before: 1, kindOfChoice: 'text', text: '', second: 'no', no: false },
  },
  {
    name: 'maps',
    schema: schemaOf('kinds.Maps'),
    value: {
      texts: { a: 'b', '': '' },
      int32s: { '-1': 1 },
      int64s: { '-9223372036854775808': 1n },
      uint32s: { '4294967295': 0.5 },
      uint64s: { '18446744073709551615': Uint8Array.of(1) },
      sint32s: { '-5': true },
      sint64s: { '-6': 'COLOR_GREEN' },
      fixed32s: { '7': leaf },
      fixed64s: { '8': 0.5 },
      sfixed32s: { '-9': 9n },
      sfixed64s: { '-10': -10n },
      bools: { true: 'yes', false: 'no' },
    },
  },
  {
    name: 'well-known types',
    schema: schemaOf('kinds.WellKnown'),
    value: {
      at: new Date(1_700_000_000_123),
      took: { seconds: -1n, nanos: -500 },
      struct: { a: [1, null, 'x', true, { b: {} }] },
      value: null,
      list: [[], {}, 1.5],
      nullValue: null,
      any: { typeUrl: 'type.googleapis.com/kinds.Unknown', value: Uint8Array.of(1, 2, 3) },
      mask: { paths: ['a_b.c', 'd'] },
      empty: {},
      int64Value: 0n,
      stringValue: '',
      bytesValue: Uint8Array.of(9),
      times: [new Date(0)],
      values: { a: 1, b: null },
      strings: ['', 'x'],
    },
  },
];

/** The options of a suite over a format that has a `.proto`. */
export const protoOptions: Omit<CodecHarness, 'make' | 'garbage'> = {
  samples: protoSamples,
  unencodable: [
    { schema: schemaOf('kinds.Scalars'), value: { anInt32: 'x' } },
    { schema: schemaOf('kinds.Scalars'), value: { aString: 'fine', aColor: 'COLOR_BLUE' } },
    { schema: schemaOf('kinds.Scalars'), value: { anInt: 1 } },
    { schema: schemaOf('kinds.Scalars'), value: undefined },
    { schema: schemaOf('kinds.Tree'), value: { name: 'x', children: [{ children: [{ name: 5 }] }] } },
    { schema: schemaOf('kinds.Choice'), value: { text: 'a', number: 1n } },
  ],
  large: (bytes) => ({
    schema: schemaOf('kinds.Tree'),
    value: {
      name: 'é'.repeat(bytes / 4),
      children: Array.from({ length: bytes / 512 }, () => ({ name: 'x'.repeat(256), children: [] })),
    },
  }),
  empty: schemaOf('kinds.Scalars'),
};

/** The options of a suite over JSON without a `.proto`. */
export const jsonOptions: Omit<CodecHarness, 'make'> = {
  samples: [
    { name: 'an object', schema: anySchema, value: { a: 1, b: [true, null, 'ż🦊'], c: { d: {} } } },
    { name: 'a string', schema: anySchema, value: 'text' },
    { name: 'null', schema: anySchema, value: null },
    { name: 'nothing', schema: anySchema, value: undefined, decoded: null },
    { name: 'absence', schema: anySchema, value: { a: undefined, b: 1 }, decoded: { b: 1 } },
    { name: 'a date', schema: anySchema, value: { at: new Date(0) }, decoded: { at: '1970-01-01T00:00:00.000Z' } },
  ],
  unencodable: [
    { schema: anySchema, value: { id: 1n } },
    { schema: anySchema, value: { data: new Uint8Array(2) } },
    { schema: anySchema, value: [1, NaN] },
    { schema: anySchema, value: () => 1 },
    { schema: anySchema, value: { deep: [{ when: new Map() }] } },
  ],
  garbage: [
    { schema: anySchema, bytes: Buffer.from('{"a":') },
    { schema: anySchema, bytes: Buffer.from('{"a": 1} x') },
    { schema: anySchema, bytes: Uint8Array.of(0x22, 0xff, 0x22) },
    { schema: anySchema, bytes: Buffer.from('NaN') },
  ],
  large: (bytes) => ({ schema: anySchema, value: { text: 'x'.repeat(bytes) } }),
  empty: anySchema,
};

/** The options of a suite over a binary format without a `.proto`, but for the bytes that it must refuse. */
export const binaryOptions: Omit<CodecHarness, 'make' | 'garbage'> = {
  samples: [
    ...jsonOptions.samples,
    { name: 'bytes', schema: anySchema, value: { data: Uint8Array.of(0, 1, 255), none: new Uint8Array(0) } },
    {
      name: 'integers of 64 bits',
      schema: anySchema,
      value: [2n ** 64n - 1n, -(2n ** 63n), 2 ** 53 - 1, -(2 ** 53 - 1)],
    },
    { name: 'a small bigint', schema: anySchema, value: 5n, decoded: 5 },
    { name: 'floats', schema: anySchema, value: [0.1, 0.5, -0, NaN, Infinity, -Infinity, 1e300, 5e-324] },
    { name: 'a byte order mark', schema: anySchema, value: ['\uFEFFa', `\uFEFF${'ż'.repeat(300)}`] },
    { name: 'a mark of a bad character', schema: anySchema, value: 'a\uFFFDb' },
  ],
  unencodable: [
    { schema: anySchema, value: { id: 2n ** 64n } },
    { schema: anySchema, value: { text: 'half \uD83E' } },
    { schema: anySchema, value: { 'key \uD83E': 1 } },
    { schema: anySchema, value: [new Float64Array(2)] },
    { schema: anySchema, value: () => 1 },
    { schema: anySchema, value: [undefined] },
    { schema: anySchema, value: { deep: [{ when: new Map() }] } },
  ],
  large: jsonOptions.large,
  empty: anySchema,
};

/** Bytes that are written in hexadecimal, with blanks where they help. */
export function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));
}

/** Reason and message of the error, INVALID_ARGUMENT, that `work` throws. */
export function messageOf(work: () => unknown): string {
  const error = thrownBy(work);
  expect(error.code).toBe(Code.InvalidArgument);
  return `${error.reason}: ${error.message}`;
}
