import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import protobuf from 'protobufjs';

import { Timestamp } from '../../src/codec/proto.ts';
import { TenonError } from '../../src/errors/errors.ts';
import { kinds, typeOf } from './support.ts';

/** The same .proto in protobufjs alone: what our bytes are compared with, both ways. */
const root = protobuf.loadSync(new URL('./all-kinds.proto', import.meta.url).pathname);

const text = fc.string({ unit: 'binary', maxLength: 60 });
const int32 = fc.integer();
const uint32 = fc.nat(0xffff_ffff).map((value) => value >>> 0);
const int64 = fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n);
const uint64 = fc.bigInt(0n, 2n ** 64n - 1n);
const float = fc.float();
const bytes = fc.uint8Array({ maxLength: 40 }).map((list) => Uint8Array.from(list));
const color = fc.constantFrom('COLOR_UNSPECIFIED', 'COLOR_RED', 'COLOR_GREEN', 'COLOR_NEGATIVE', 5, -7);
const treeOf = (depth: number): fc.Arbitrary<unknown> =>
  depth === 0
    ? fc.record({ name: text, children: fc.constant([]) })
    : fc.record({
        name: text,
        children: fc.array(treeOf(depth - 1), { maxLength: 2 }),
        parent: fc.option(treeOf(depth - 1), { nil: undefined }),
      });
const tree = treeOf(3);

const scalarArbitraries = {
  aDouble: fc.double(),
  aFloat: float,
  anInt32: int32,
  anInt64: int64,
  aUint32: uint32,
  aUint64: uint64,
  aSint32: int32,
  aSint64: int64,
  aFixed32: uint32,
  aFixed64: uint64,
  anSfixed32: int32,
  anSfixed64: int64,
  aBool: fc.boolean(),
  aString: text,
  someBytes: bytes,
  aColor: color,
};
const list = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(one, { maxLength: 5 });
const map = <T>(key: fc.Arbitrary<unknown>, one: fc.Arbitrary<T>): fc.Arbitrary<Record<string, T>> =>
  fc
    .array(fc.tuple(key.map(String), one), { maxLength: 4 })
    .map((entries) => Object.fromEntries(entries) as Record<string, T>);
const json = fc.jsonValue({ maxDepth: 3 });

/** Values of each type, with all that is filled in on reading. */
const arbitraries: Record<string, fc.Arbitrary<Record<string, unknown>>> = {
  Scalars: fc.record(scalarArbitraries),
  Optionals: fc.record({ ...scalarArbitraries, nested: fc.record(scalarArbitraries) }, { requiredKeys: [] }),
  Lists: fc.record({
    doubles: list(fc.double()), floats: list(float), int32s: list(int32), int64s: list(int64), uint32s: list(uint32), uint64s: list(uint64),
    sint32s: list(int32), sint64s: list(int64), fixed32s: list(uint32), fixed64s: list(uint64), sfixed32s: list(int32), sfixed64s: list(int64),
    bools: list(fc.boolean()), strings: list(text), byteStrings: list(bytes), colors: list(color), trees: list(tree), unpacked: list(int32),
  }),
  Maps: fc.record({
    texts: map(text, text), int32s: map(int32, int32), int64s: map(int64, int64), uint32s: map(uint32, fc.double()), uint64s: map(uint64, bytes),
    sint32s: map(int32, fc.boolean()), sint64s: map(int64, color), fixed32s: map(uint32, tree), fixed64s: map(uint64, float),
    sfixed32s: map(int32, uint64), sfixed64s: map(int64, int64), bools: map(fc.boolean(), text),
  }),
  Choice: fc.tuple(
    int32,
    fc.oneof(
      fc.constant({}),
      text.map((value) => ({ kindOfChoice: 'text', text: value })),
      int64.map((value) => ({ kindOfChoice: 'number', number: value })),
      tree.map((value) => ({ kindOfChoice: 'tree', tree: value })),
      color.map((value) => ({ kindOfChoice: 'color', color: value })),
      bytes.map((value) => ({ kindOfChoice: 'raw', raw: value })),
    ),
    fc.oneof(fc.constant({}), fc.boolean().map((value) => ({ second: 'yes', yes: value }))),
  ).map(([before, first, second]) => ({ before, ...first, ...second })),
  Tree: tree as fc.Arbitrary<Record<string, unknown>>,
  WellKnown: fc.record(
    {
      at: fc.oneof(
        fc.date({ min: new Date(-62_135_596_800_000), max: new Date(253_402_300_799_999), noInvalidDate: true }).map((date) => new Date(date.getTime())),
        fc.tuple(fc.integer({ min: -1e9, max: 1e9 }), fc.nat(999_999_999)).map(([seconds, nanos]) => (nanos % 1e6 === 0 ? new Date(seconds * 1000 + nanos / 1e6) : new Timestamp(seconds, nanos))),
      ),
      took: fc.tuple(fc.nat(1e9), fc.nat(999_999_999), fc.boolean()).map(([seconds, nanos, isNegative]) => ({ seconds: BigInt(isNegative ? -seconds : seconds), nanos: isNegative && nanos > 0 ? -nanos : nanos })),
      struct: fc.dictionary(text, json).map((value) => ({ ...value })),
      value: json,
      list: list(json),
      any: fc.record({ typeUrl: fc.constant('type.googleapis.com/x.Y'), value: bytes }),
      mask: fc.record({ paths: list(fc.constantFrom('a', 'a_b', 'a.b_c')) }),
      empty: fc.constant({}),
      doubleValue: fc.double(), floatValue: float, int64Value: int64, uint64Value: uint64, int32Value: int32, uint32Value: uint32,
      boolValue: fc.boolean(), stringValue: text, bytesValue: bytes,
    },
    { requiredKeys: [] },
  ).map((value) => ({ nullValue: null, times: [], values: {}, strings: [], ...value })),
}; // prettier-ignore

const names = Object.keys(arbitraries);
const arbitrary = (name: string): fc.Arbitrary<Record<string, unknown>> =>
  arbitraries[name] as fc.Arbitrary<Record<string, unknown>>;

/** Without what is `undefined`, and with every key an own one: what fast-check makes has neither. */
function tidy(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array || value instanceof Date) return value;
  if (Array.isArray(value)) return value.map(tidy);
  const copy: Record<string, unknown> = {};
  for (const [key, part] of Object.entries(value)) {
    if (part !== undefined)
      Object.defineProperty(copy, key, { value: tidy(part), enumerable: true, configurable: true, writable: true });
  }
  return copy;
}

describe.each(names)('kinds.%s', (name) => {
  const type = typeOf(`kinds.${name}`);

  it('is the same after a round trip', () => {
    fc.assert(
      fc.property(arbitrary(name).map(tidy), (value) => {
        expect(type.decode(type.encode(value))).toEqual(value);
      }),
    );
  });

  it('is the same after a round trip through JSON text', () => {
    fc.assert(
      fc.property(arbitrary(name).map(tidy), (value) => {
        const read = type.fromJson(JSON.parse(JSON.stringify(type.toJson(value))));
        // JSON has one zero; where it matters, on the wire, minus zero is kept.
        expect(plusZero(read)).toEqual(plusZero(value));
      }),
    );
  });

  it('is the same after protobufjs has read it and written it again', () => {
    const theirs = root.lookupType(`kinds.${name}`);
    fc.assert(
      fc.property(arbitrary(name).map(tidy), (value) => {
        // Keys of maps that protobufjs reads but cannot write back: of 64 bits, which it hashes, and false, which it
        // takes for true.
        if (name === 'Maps')
          Object.assign(value as object, {
            int64s: {},
            uint64s: {},
            sint64s: {},
            fixed64s: {},
            sfixed64s: {},
            bools: {},
          });
        const message = theirs.decode(type.encode(value));
        expect(type.decode(theirs.encode(message).finish())).toEqual(value);
      }),
    );
  });

  it('never does anything but read or refuse', () => {
    const readOrRefuse = (bytesOf: Uint8Array): void => {
      try {
        type.decode(bytesOf);
      } catch (error) {
        expect(error).toBeInstanceOf(TenonError);
        expect((error as TenonError).reason).toBe('codec.decode');
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), readOrRefuse), { numRuns: 1500 });
    fc.assert(
      fc.property(arbitrary(name), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }), (value, changes) => {
        const changed = Uint8Array.from(type.encode(tidy(value)));
        for (const [at, byte] of changes) if (changed.length > 0) changed[at % changed.length] = byte;
        readOrRefuse(changed);
      }),
      { numRuns: 500 },
    );
  });
});

function plusZero(value: unknown): unknown {
  if (Object.is(value, -0)) return 0;
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array || value instanceof Date) return value;
  if (Array.isArray(value)) return value.map(plusZero);
  const copy: Record<string, unknown> = {};
  for (const [key, part] of Object.entries(value))
    Object.defineProperty(copy, key, { value: plusZero(part), enumerable: true, configurable: true, writable: true });
  return copy;
}

describe('golden bytes', () => {
  // Typed by protobufjs as no more than a constructor.
  const Long = protobuf.util.Long as unknown as Record<'ONE' | 'NEG_ONE' | 'MAX_UNSIGNED_VALUE', unknown> & {
    fromString(digits: string): unknown;
  };
  const cases: [string, Record<string, unknown>, Record<string, unknown>, string][] = [
    ['Scalars', { aDouble: 1.5 }, { aDouble: 1.5 }, '09000000000000f83f'],
    ['Scalars', { aFloat: -2 }, { aFloat: -2 }, '15000000c0'],
    ['Scalars', { anInt32: -1 }, { anInt32: -1 }, '18ffffffffffffffffff01'],
    ['Scalars', { anInt64: 300n }, { anInt64: Long.fromString('300') }, '20ac02'],
    ['Scalars', { aUint32: 4_294_967_295 }, { aUint32: 4_294_967_295 }, '28ffffffff0f'],
    ['Scalars', { aUint64: 2n ** 64n - 1n }, { aUint64: Long.MAX_UNSIGNED_VALUE }, '30ffffffffffffffffff01'],
    ['Scalars', { aSint32: -3 }, { aSint32: -3 }, '3805'],
    ['Scalars', { aSint64: -(2n ** 40n) }, { aSint64: Long.fromString('-1099511627776') }, '40ffffffffff3f'],
    ['Scalars', { aFixed32: 1 }, { aFixed32: 1 }, '4d01000000'],
    ['Scalars', { aFixed64: 1n }, { aFixed64: Long.ONE }, '510100000000000000'],
    ['Scalars', { anSfixed32: -1 }, { anSfixed32: -1 }, '5dffffffff'],
    ['Scalars', { anSfixed64: -1n }, { anSfixed64: Long.NEG_ONE }, '61ffffffffffffffff'],
    ['Scalars', { aBool: true }, { aBool: true }, '6801'],
    ['Scalars', { aString: 'é' }, { aString: 'é' }, '7202c3a9'],
    ['Scalars', { someBytes: Uint8Array.of(0, 255) }, { someBytes: Uint8Array.of(0, 255) }, '7a0200ff'],
    ['Scalars', { aColor: 'COLOR_GREEN' }, { aColor: 2 }, '800102'],
    ['Optionals', { anInt32: 0, aString: '' }, { anInt32: 0, aString: '' }, '18007200'],
    ['Lists', { sint64s: [1n, -1n] }, { sint64s: [Long.ONE, Long.NEG_ONE] }, '42020201'],
    ['Lists', { strings: ['a', ''] }, { strings: ['a', ''] }, '7201617200'],
    ['Lists', { unpacked: [1, 2] }, { unpacked: [1, 2] }, '900101900102'],
    ['Lists', { trees: [{ name: 'a' }, {}] }, { trees: [{ name: 'a' }, {}] }, '8a01030a01618a0100'],
    ['Maps', { texts: { k: 'v' } }, { texts: { k: 'v' } }, '0a060a016b120176'],
    ['Maps', { bools: { true: 'y' } }, { bools: { true: 'y' } }, '62050801120179'],
    ['Choice', { tree: { name: 'a' } }, { tree: { name: 'a' } }, '22030a0161'],
    ['WellKnown', { at: new Timestamp(1, 5) }, { at: { seconds: 1, nanos: 5 } }, '0a0408011005'],
    ['WellKnown', { took: { seconds: -1n, nanos: 0 } }, { took: { seconds: -1 } }, '120b08ffffffffffffffffff01'],
    [
      'WellKnown',
      { struct: { a: [null] } },
      { struct: { fields: { a: { listValue: { values: [{ nullValue: 0 }] } } } } },
      '1a0d0a0b0a0161120632040a020800',
    ],
    ['WellKnown', { stringValue: '' }, { stringValue: {} }, '8a0100'],
    ['WellKnown', { mask: { paths: ['a'] } }, { mask: { paths: ['a'] } }, '42030a0161'],
  ];

  it.each(cases)('%s %p', (name, value, theirValue, golden) => {
    const theirs = root.lookupType(`kinds.${name}`);
    const type = typeOf(`kinds.${name}`);
    expect(Buffer.from(type.encode(value)).toString('hex')).toBe(golden);
    expect(Buffer.from(theirs.encode(theirs.fromObject(theirValue)).finish()).toString('hex')).toBe(golden);
    expect(type.decode(Buffer.from(golden, 'hex'))).toMatchObject(value);
  });

  it('covers every type of the file', () => {
    expect(new Set(cases.map(([name]) => name))).toEqual(new Set(names.filter((name) => name !== 'Tree')));
    expect(kinds.services).toHaveLength(1);
  });
});
