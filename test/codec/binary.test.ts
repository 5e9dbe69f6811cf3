import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { CborMarshaler } from '../../src/codec/cbor.ts';
import type { Marshaler } from '../../src/codec/codec.ts';
import { MsgpackMarshaler } from '../../src/codec/msgpack.ts';
import { Code } from '../../src/errors/errors.ts';
import { anySchema, type MessageLimits } from '../../src/pipeline/pipeline.ts';
import { thrownBy } from '../../src/testing/failures.ts';
import { arbitrary, names, tidy } from './arbitraries.ts';
import { bytesOf, messageOf, noScalars, schemaOf, typeOf } from './support.ts';

/** A format, and its bytes of the values that are tried on both. */
interface Format {
  readonly Codec: new (limits?: MessageLimits) => Marshaler;
  /** The heads of a list of one value, and of a map of one entry whose key is `a`. */
  readonly list: string;
  readonly map: string;
  /** Lengths that say four thousand millions, and what they are lengths of. */
  readonly endless: Readonly<Record<'list' | 'map' | 'text' | 'bytes', string>>;
  readonly twice: string;
  readonly proto: string;
}

const formats: Readonly<Record<string, Format>> = {
  msgpack: {
    Codec: MsgpackMarshaler,
    list: '91',
    map: '81a161',
    endless: { list: 'ddffffffff', map: 'dfffffffff', text: 'dbffffffff', bytes: 'c6ffffffff' },
    twice: '82 a161 01 a161 02',
    proto: '81 a9 5f5f70726f746f5f5f 81 a8 706f6c6c75746564 c3',
  },
  cbor: {
    Codec: CborMarshaler,
    list: '81',
    map: 'a16161',
    endless: { list: '9affffffff', map: 'baffffffff', text: '7affffffff', bytes: '5affffffff' },
    twice: 'a2 6161 01 6161 02',
    proto: 'a1 69 5f5f70726f746f5f5f a1 68 706f6c6c75746564 f5',
  },
};

const cycle: Record<string, unknown> = { name: 'x' };
cycle['self'] = [cycle];

describe.each(Object.entries(formats))('%s', (_name, { Codec, list, map, endless, twice, proto }) => {
  const marshaler = new Codec();
  const round = (value: unknown): unknown => marshaler.unmarshal(anySchema, marshaler.marshal(anySchema, value));
  const refusal = (text: string): string => messageOf(() => marshaler.unmarshal(anySchema, bytesOf(text)));
  const elements = (count: number): fc.Arbitrary<unknown> =>
    fc.anything({
      maxDepth: 4,
      maxKeys: count,
      values: [
        fc.string({ unit: 'binary', maxLength: 300 }),
        fc.double(),
        fc.integer(),
        fc.maxSafeInteger(),
        fc.boolean(),
        fc.constant(null),
        fc.uint8Array({ maxLength: 300 }).map((bytes) => Uint8Array.from(bytes)),
        fc.bigInt(-(2n ** 63n), 2n ** 64n - 1n).filter((one) => !Number.isSafeInteger(Number(one))),
      ],
      withNullPrototype: false,
    });

  it('gives back every value of JSON, bytes, integers of 64 bits and every float', () => {
    fc.assert(
      fc.property(elements(20).map(tidy), (value) => {
        expect(round(value)).toStrictEqual(value);
      }),
      { numRuns: 300 },
    );
  });

  it('writes the values that JSON.stringify changes as it does', () => {
    class Point {
      x = 1;
      get length(): number {
        return 1;
      }
    }
    const shared = { a: 1 };
    const value = {
      at: new Date(5),
      own: { toJSON: () => 'mine' },
      none: undefined,
      twice: [shared, shared],
      point: new Point(),
      boxed: [Object(1), Object('x'), Object(false)] as unknown[],
      inherits: Object.create({ method: () => 1 }, { own: { value: 2, enumerable: true } }) as unknown,
    };
    expect(round(value)).toEqual(JSON.parse(JSON.stringify(value)));
    expect(round(undefined)).toBeNull();
    expect(round({ toJSON: () => undefined })).toBeNull();
    expect(round(Buffer.from('ab'))).toEqual(Uint8Array.of(97, 98));
  });

  it.each<[unknown, string]>([
    [{ id: 2n ** 64n }, 'any.id: expected an integer of 64 bits, got 18446744073709551616n: send its digits'],
    [[-(2n ** 63n) - 1n], 'any[0]: expected an integer of 64 bits, got -9223372036854775809n: send its digits'],
    [{ f: () => 1 }, 'any.f: expected a value, got a function: leave it out'],
    [{ s: Symbol('s') }, 'any.s: expected a value, got a symbol: leave it out'],
    [[undefined], 'any[0]: expected a value, got undefined: a list cannot leave it out, send null'],
    [{ m: new Map([[1, 2]]) }, 'any.m: expected a value, got a Map: make an object or an array of it'],
    [{ s: new Set() }, 'any.s: expected a value, got a Set: make an object or an array of it'],
    [{ p: Promise.resolve(1) }, 'any.p: expected a value, got a Promise: await it'],
    [{ v: new DataView(new ArrayBuffer(1)) }, 'any.v: expected a value, got a DataView: send a Uint8Array'],
    [{ v: new ArrayBuffer(1) }, 'any.v: expected a value, got an ArrayBuffer: send a Uint8Array'],
    [{ d: new Date(NaN) }, 'any.d: expected a Date, got an invalid one'],
    [cycle, 'any.self[0]: leads back to itself: leave the link back out'],
    [{ text: 'a\uD83E' }, 'any.text: the string has half of a surrogate pair, which UTF-8 cannot carry'],
    [{ 'a\uD83E': 1 }, 'any["a\\ud83e"]: the string has half of a surrogate pair, which UTF-8 cannot carry'],
  ])('refuses to write %p', (value, problem) => {
    expect(messageOf(() => marshaler.marshal(anySchema, value))).toBe(`codec.encode: ${problem}`);
  });

  it('is not confused by a value that changes while it is written, or that uses the codec itself', () => {
    let reads = 0;
    const value = {
      before: 'x',
      get changing() {
        reads += 1;
        return reads > 1 ? undefined : marshaler.marshal(anySchema, { other: 1 }).length;
      },
      after: 'y',
    };
    expect(round(value)).toMatchObject({ before: 'x', changing: expect.any(Number), after: 'y' });
  });

  it.each(Object.entries(endless))(
    'does not believe the length of a %s that is longer than its bytes',
    (_what, head) => {
      expect(refusal(head)).toMatch(
        /^codec\.decode: any: (a length at 5 says \d+ elements, and 0 bytes are left|the bytes end at 5, and a value at 5 needs 4294967295 more)$/,
      );
      expect(refusal(`${map}${head}${'00'.repeat(64)}`)).toMatch(/^codec\.decode: any\.a: /);
    },
  );

  it('names the path of what is wrong in the bytes', () => {
    expect(refusal(`${list}${map}`)).toMatch(
      /^codec\.decode: any\[0\]\.a: the bytes end at \d, and a value at \d needs 1 more$/,
    );
    expect(refusal(`${list}00 00 00`)).toBe('codec.decode: any: the value ends at 2 of 4 bytes: 2 are left');
  });

  it('refuses a key that is there twice', () => {
    expect(refusal(twice)).toBe('codec.decode: any.a: is there twice in one map');
  });

  it('takes __proto__ for a key like any other', () => {
    const value = marshaler.unmarshal(anySchema, bytesOf(proto)) as object;
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect((value as { polluted?: boolean }).polluted).toBeUndefined();
    expect(Object.entries(value)).toEqual([['__proto__', { polluted: true }]]);
    expect(Buffer.from(marshaler.marshal(anySchema, value)).toString('hex')).toBe(proto.replaceAll(' ', ''));
  });

  it.each([
    ['lists', list],
    ['maps', map],
  ])('takes a thousand levels of %s, and refuses more without an overflow of the stack', (_what, head) => {
    const nested = (depth: number): Uint8Array => bytesOf(`${head.repeat(depth)}00`);
    const value = marshaler.unmarshal(anySchema, nested(1_000));
    expect(marshaler.marshal(anySchema, value)).toEqual(Buffer.from(nested(1_000)));
    const tooDeep = /expected at most 1000 levels of nesting, the maxDepth of the codec, got more/;
    expect(messageOf(() => marshaler.marshal(anySchema, [value]))).toMatch(tooDeep);
    for (const depth of [1_001, 100_000])
      expect(messageOf(() => marshaler.unmarshal(anySchema, nested(depth)))).toMatch(tooDeep);
    let deep: unknown = 1;
    for (let depth = 0; depth < 100_000; depth += 1) deep = [deep];
    expect(messageOf(() => marshaler.marshal(anySchema, deep))).toMatch(tooDeep);
  });

  it('counts each value and each key while it reads', () => {
    const small = new Codec({ maxElements: 400 });
    const read = (value: unknown): unknown => small.unmarshal(anySchema, marshaler.marshal(anySchema, value));
    expect(read(Array.from({ length: 399 }, () => 0))).toHaveLength(399);
    const keys = (count: number): object =>
      Object.fromEntries(Array.from({ length: count }, (_one, index) => [index, []]));
    expect(read(keys(199))).toEqual(keys(199));
    for (const value of [Array.from({ length: 400 }, () => 0), keys(200), [Array.from({ length: 399 }, () => '')]]) {
      const { code, reason, message } = thrownBy(() => read(value));
      expect([code, reason]).toEqual([Code.ResourceExhausted, 'codec.too_many_elements']);
      expect(message).toMatch(/more than 400 elements, the maxElements of the codec$/);
    }
  });

  it('reads an empty body as undefined, or as the defaults of a .proto', () => {
    expect(marshaler.unmarshal(anySchema, new Uint8Array(0))).toBeUndefined();
    expect(marshaler.unmarshal(schemaOf('kinds.Scalars'), new Uint8Array(0))).toEqual(noScalars);
  });

  describe('of a .proto', () => {
    const plain = (name: string, value: unknown): unknown =>
      marshaler.unmarshal(anySchema, marshaler.marshal(schemaOf(`kinds.${name}`), value));
    const read = (name: string, value: unknown): unknown =>
      marshaler.unmarshal(schemaOf(`kinds.${name}`), marshaler.marshal(anySchema, value));

    it.each(names)('gives back every value of kinds.%s', (name) => {
      const schema = schemaOf(`kinds.${name}`);
      fc.assert(
        fc.property(arbitrary(name).map(tidy), (value) => {
          expect(marshaler.unmarshal(schema, marshaler.marshal(schema, value))).toStrictEqual(value);
        }),
        { numRuns: 60 },
      );
    });

    it('writes a map by the names of JSON, with bytes, integers and floats as they are', () => {
      expect(
        plain('Scalars', {
          aDouble: NaN,
          aFloat: -Infinity,
          anInt64: 5n,
          aUint64: 2n ** 64n - 1n,
          aBool: true,
          aString: 'x',
          someBytes: Uint8Array.of(1, 2),
          aColor: 'COLOR_RED',
        }),
      ).toEqual({
        aDouble: NaN,
        aFloat: -Infinity,
        anInt64: 5,
        aUint64: 2n ** 64n - 1n,
        aBool: true,
        aString: 'x',
        someBytes: Uint8Array.of(1, 2),
        aColor: 'COLOR_RED',
      });
      expect(plain('Scalars', noScalars)).toEqual({});
      expect(plain('Optionals', { aString: '', anInt64: 0n, someBytes: new Uint8Array(0) })).toEqual({
        aString: '',
        anInt64: 0,
        someBytes: new Uint8Array(0),
      });
      expect(plain('Choice', { kindOfChoice: 'text', text: '' })).toEqual({ text: '' });
      expect(plain('WellKnown', { at: new Date(0), int64Value: 7n, bytesValue: Uint8Array.of(9) })).toEqual({
        at: '1970-01-01T00:00:00Z',
        int64Value: 7,
        bytesValue: Uint8Array.of(9),
      });
    });

    it('writes an Any by its fields, or its bytes if its type is not known', () => {
      const url = 'type.googleapis.com/kinds.Scalars';
      const value = typeOf('kinds.Scalars').encode({ someBytes: Uint8Array.of(3), anInt64: 2n ** 60n });
      const json = { any: { '@type': url, someBytes: Uint8Array.of(3), anInt64: 2n ** 60n } };
      expect(plain('WellKnown', { any: { typeUrl: url, value } })).toEqual(json);
      expect(read('WellKnown', json)).toMatchObject({ any: { typeUrl: url, value } });
      const opaque = { '@type': 'x/no.such.Type', value: Uint8Array.of(1) };
      expect(read('WellKnown', { any: opaque })).toMatchObject({
        any: { typeUrl: 'x/no.such.Type', value: Uint8Array.of(1) },
      });
      expect(plain('WellKnown', { any: { typeUrl: 'x/no.such.Type', value: Uint8Array.of(1) } })).toEqual({
        any: opaque,
      });
      expect(messageOf(() => read('WellKnown', { any: { '@type': 'x/no.such.Type', a: 1 } }))).toMatch(
        /load its \.proto, or give its bytes as "value"$/,
      );
    });

    it('reads what else JSON may say', () => {
      expect(
        read('Scalars', { an_int32: '5', anInt64: '-9223372036854775808', aUint64: 7, aDouble: 'NaN', aColor: 1 }),
      ).toMatchObject({ anInt32: 5, anInt64: -(2n ** 63n), aUint64: 7n, aDouble: NaN, aColor: 'COLOR_RED' });
      expect(read('Scalars', { aString: null })).toEqual(noScalars);
      // Others write a float as an integer where that is shorter.
      expect(read('Scalars', { aDouble: 10n ** 18n, aFloat: 2n ** 60n })).toMatchObject({
        aDouble: 1e18,
        aFloat: 2 ** 60,
      });
    });

    it('writes as many elements as a list had when its head was written', () => {
      const list: unknown[] = [
        {
          toJSON() {
            list.push(1);
            return 0;
          },
        },
      ];
      expect(round(list)).toEqual([0]);
    });

    it.each<[unknown, string]>([
      [{ someBytes: 'AAA=' }, 'someBytes: expected bytes, got "AAA="'],
      [
        { anInt64: 2n ** 63n },
        'anInt64: expected an int64 (digits in a string, or a safe integer), got 9223372036854775808n',
      ],
      [{ anInt32: 2n ** 60n }, 'anInt32: expected an int32, got 1152921504606846976n'],
      [{ anInt32: NaN }, 'anInt32: expected an int32, got NaN'],
      [{ aFloat: 1e300 }, 'aFloat: expected a float, got 1e+300'],
      [{ aString: Uint8Array.of(1) }, 'aString: expected a string, got a Uint8Array'],
    ])('refuses to read %p', (value, problem) => {
      expect(messageOf(() => read('Scalars', value))).toBe(`codec.decode: kinds.Scalars.${problem}`);
    });

    it('refuses values of a Value that JSON does not have', () => {
      for (const value of [{ value: NaN }, { value: Uint8Array.of(1) }, { value: 2n ** 60n }])
        expect(messageOf(() => read('WellKnown', value))).toMatch(/expected a JSON value, got/);
    });

    it('counts the elements of its fields', () => {
      const small = new Codec({ maxElements: 20 });
      const bytes = marshaler.marshal(schemaOf('kinds.Lists'), { int32s: Array.from({ length: 30 }, () => 1) });
      expect(thrownBy(() => small.unmarshal(schemaOf('kinds.Lists'), bytes)).reason).toBe('codec.too_many_elements');
    });
  });
});
