import fc from 'fast-check';

import { Timestamp } from '../../src/codec/time.ts';

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

/** The types of `all-kinds.proto` that there are values of. */
export const names = Object.keys(arbitraries);
/** Values of one of them. */
export const arbitrary = (name: string): fc.Arbitrary<Record<string, unknown>> =>
  arbitraries[name] as fc.Arbitrary<Record<string, unknown>>;

/** Without what is `undefined`, and with every key an own one: what fast-check makes has neither. */
export function tidy(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array || value instanceof Date) return value;
  if (Array.isArray(value)) return value.map(tidy);
  const copy: Record<string, unknown> = {};
  for (const [key, part] of Object.entries(value)) {
    if (part !== undefined)
      Object.defineProperty(copy, key, { value: tidy(part), enumerable: true, configurable: true, writable: true });
  }
  return copy;
}
