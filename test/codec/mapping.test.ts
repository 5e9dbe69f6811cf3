import { describe, expect, it } from '@jest/globals';

import { loadProto, ProtoMarshaler } from '../../src/codec/proto.ts';
import { durationFromMs, durationToMs, Timestamp } from '../../src/codec/time.ts';
import { kinds, messageOf, noScalars, scalars, typeOf } from './support.ts';

const { type } = { type: (name: string) => typeOf(`kinds.${name}`) };
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const round = (name: string, value: unknown): unknown => type(name).decode(type(name).encode(value));

const refusal = (name: string, value: unknown): string => messageOf(() => type(name).encode(value));
const refusedBytes = (name: string, text: string): string => messageOf(() => type(name).decode(bytes(text)));

describe('numbers', () => {
  it('takes 64-bit integers as bigint, safe number or digits', () => {
    for (const anInt64 of [-5n, -5, '-5'])
      expect(hex(type('Scalars').encode({ anInt64 }))).toBe('20fbffffffffffffffff01');
    expect(
      round('Scalars', {
        anInt64: Number.MAX_SAFE_INTEGER,
        aUint64: '18446744073709551615',
        aSint64: -Number.MAX_SAFE_INTEGER,
      }),
    ).toMatchObject({
      anInt64: 9_007_199_254_740_991n,
      aUint64: 2n ** 64n - 1n,
      aSint64: -9_007_199_254_740_991n,
    });
  });

  it.each([
    [
      { anInt64: 2n ** 63n },
      'anInt64: expected an int64 (a bigint, a safe integer or digits), got 9223372036854775808n',
    ],
    [{ anInt64: 2 ** 53 }, 'anInt64: expected an int64 (a bigint, a safe integer or digits), got 9007199254740992'],
    [{ anInt64: 1.5 }, 'anInt64: expected an int64 (a bigint, a safe integer or digits), got 1.5'],
    [{ anInt64: '1.5' }, 'anInt64: expected an int64 (a bigint, a safe integer or digits), got "1.5"'],
    [{ aUint64: -1n }, 'aUint64: expected a uint64 (a bigint, a safe integer or digits), got -1n'],
    [{ aUint64: -1 }, 'aUint64: expected a uint64 (a bigint, a safe integer or digits), got -1'],
    [{ anInt32: 2 ** 31 }, 'anInt32: expected an int32, got 2147483648'],
    [{ anInt32: 0.5 }, 'anInt32: expected an int32, got 0.5'],
    [{ anInt32: '1' }, 'anInt32: expected an int32, got "1"'],
    [{ anInt32: NaN }, 'anInt32: expected an int32, got NaN'],
    [{ aUint32: -1 }, 'aUint32: expected a uint32, got -1'],
    [{ aUint32: 2 ** 32 }, 'aUint32: expected a uint32, got 4294967296'],
    [{ aSint32: 1n }, 'aSint32: expected a sint32, got 1n'],
    [{ anSfixed32: 2 ** 31 }, 'anSfixed32: expected an sfixed32, got 2147483648'],
    [{ aFixed32: -1 }, 'aFixed32: expected a fixed32, got -1'],
    [{ aFloat: 1e39 }, 'aFloat: expected a float, got 1e+39, which is beyond its range'],
    [{ aDouble: '1' }, 'aDouble: expected a double, got "1"'],
    [{ aBool: 1 }, 'aBool: expected a bool, got 1'],
    [{ aString: 5 }, 'aString: expected a string, got 5'],
    [{ someBytes: 'aGk=' }, 'someBytes: expected bytes (a Uint8Array), got "aGk="'],
    [{ someBytes: '' }, 'someBytes: expected bytes (a Uint8Array), got ""'],
    [{ someBytes: [1] }, 'someBytes: expected bytes (a Uint8Array), got an array'],
    [{ aColor: 1.5 }, 'aColor: expected a name or a number of kinds.Color, got 1.5'],
    [{ aColor: 'COLOR_REDD' }, 'aColor: kinds.Color has no value "COLOR_REDD". Did you mean "COLOR_RED"?'],
    [{ aString: Symbol('x') }, 'aString: expected a string, got a symbol'],
  ])('refuses to encode %o', (value, problem) => {
    expect(refusal('Scalars', value)).toBe(`codec.encode: kinds.Scalars.${problem}`);
  });

  it('keeps NaN, the infinities and minus zero', () => {
    const value = round('Scalars', { aDouble: NaN, aFloat: -Infinity }) as typeof noScalars;
    expect([value.aDouble, value.aFloat]).toEqual([NaN, -Infinity]);
    expect(round('Scalars', { aDouble: -0, aFloat: -0 })).toMatchObject({ aDouble: -0, aFloat: -0 });
    expect(hex(type('Scalars').encode({ aDouble: 0, aFloat: 0 }))).toBe('');
  });

  it('reads a 32-bit field from as many bits as were sent', () => {
    // -1 as ten bytes, as a sender of int64 writes it, and a boolean that is neither 0 nor 1 in its low half.
    expect(type('Scalars').decode(bytes('18 ffffffffffffffffff01'))).toMatchObject({ anInt32: -1 });
    expect(type('Scalars').decode(bytes('68 808080808001'))).toMatchObject({ aBool: true });
    expect(type('Scalars').decode(bytes('68 8000'))).toMatchObject({ aBool: false });
  });

  it.each(['string', 'number'] as const)('decodes 64-bit integers to a %s if the option int64 says so', (int64) => {
    const file = loadProto(new URL('./all-kinds.proto', import.meta.url), { int64 });
    const other = typeOf('kinds.Scalars', file);
    const of = int64 === 'string' ? String : Number;
    expect(other.decode(other.encode({ anInt64: -5n, aFixed64: 7 }))).toMatchObject({
      anInt64: of(-5),
      aFixed64: of(7),
      aUint64: of(0),
    });
    expect(other.fromJson({ anInt64: '-5' })).toMatchObject({ anInt64: of(-5), aSint64: of(0) });
    const wrapped = typeOf('kinds.WellKnown', file);
    expect(wrapped.decode(wrapped.encode({ int64Value: 8n }))).toMatchObject({ int64Value: of(8) });
  });

  it('refuses a 64-bit integer that a number cannot hold exactly', () => {
    const other = typeOf(
      'kinds.Scalars',
      loadProto(new URL('./all-kinds.proto', import.meta.url), { int64: 'number' }),
    );
    expect(messageOf(() => other.decode(type('Scalars').encode({ anInt64: 2n ** 60n })))).toBe(
      "codec.decode: kinds.Scalars.anInt64: 1152921504606846976 does not fit a number; load the .proto with int64: 'bigint'",
    );
  });
});

describe('text and bytes', () => {
  it.each([
    'a',
    'é',
    '€',
    '🦊',
    'a'.repeat(42) + '🦊',
    '€'.repeat(42),
    '€'.repeat(43),
    '\uFFFD',
    '\uFEFFmark',
    '\0',
    'x'.repeat(200),
  ])('round-trips the text %j', (aString) => {
    const encoded = type('Scalars').encode({ aString });
    expect(Buffer.from(encoded).includes(Buffer.from(aString))).toBe(true);
    expect(type('Scalars').decode(encoded)).toMatchObject({ aString });
  });

  it.each(['\uD83E', 'a\uDD8Ab', '\uD83E\uD83E', 'x'.repeat(50) + '\uDD8A'])(
    'refuses a lone surrogate: %j',
    (aString) => {
      expect(refusal('Scalars', { aString })).toBe(
        'codec.encode: kinds.Scalars.aString: the string has half of a surrogate pair, which UTF-8 cannot carry',
      );
    },
  );

  it.each(['72 01 ff', '72 02 c328', '72 03 eda080', '72 04 f0288cbc', '72 02 c080'])(
    'refuses bytes that are not UTF-8: %s',
    (text) => {
      expect(refusedBytes('Scalars', text)).toBe(
        'codec.decode: kinds.Scalars.aString: the bytes of the string are not valid UTF-8',
      );
    },
  );

  it('copies bytes out of the message that it decodes, and encodes a Buffer', () => {
    const encoded = Buffer.from(type('Scalars').encode({ someBytes: Buffer.from('abc') }));
    const { someBytes } = type('Scalars').decode(encoded) as typeof scalars;
    encoded.fill(0);
    expect(someBytes).toEqual(Uint8Array.from(Buffer.from('abc')));
    expect(someBytes.constructor).toBe(Uint8Array);
    expect(someBytes.buffer.byteLength).toBe(3);
  });
});

describe('enums', () => {
  it('are decoded to names, and to numbers where no name is known', () => {
    expect(round('Lists', { colors: ['COLOR_RED', 1, 'COLOR_VERT', 2, 77, -1] })).toMatchObject({
      colors: ['COLOR_RED', 'COLOR_RED', 'COLOR_GREEN', 'COLOR_GREEN', 77, 'COLOR_NEGATIVE'],
    });
  });
});

describe('presence', () => {
  it('fills in defaults of fields with implicit presence, and omits absent optional fields', () => {
    expect(type('Scalars').decode(new Uint8Array(0))).toEqual(noScalars);
    expect(type('Optionals').decode(new Uint8Array(0))).toEqual({});
    expect(Object.keys(type('Lists').decode(new Uint8Array(0)) as object)).toHaveLength(18);
  });

  it('keeps a default that was set explicitly', () => {
    const value = {
      aDouble: 0,
      anInt64: 0n,
      aBool: false,
      aString: '',
      someBytes: new Uint8Array(0),
      aColor: 'COLOR_UNSPECIFIED',
    };
    expect(round('Optionals', value)).toEqual(value);
    expect(type('Scalars').encode(noScalars)).toHaveLength(0);
  });

  it('takes undefined and null as absent', () => {
    expect(type('Optionals').encode({ aDouble: undefined, aString: null, nested: null })).toHaveLength(0);
    expect(type('Scalars').encode({ aDouble: null, aString: undefined })).toHaveLength(0);
    expect(type('Lists').encode({ int32s: null, trees: undefined })).toHaveLength(0);
  });

  it('requires the required fields of proto2, and leaves its defaults to the reader', () => {
    const file = loadProto(new URL('./old.proto', import.meta.url));
    const old = typeOf('old.Old', file);
    expect(old.decode(old.encode({ id: 0 }))).toEqual({ id: 0, unpacked: [], packed: [] });
    expect(messageOf(() => old.encode({}))).toBe('codec.encode: old.Old.id: a required field is missing');
    expect(messageOf(() => old.decode(new Uint8Array(0)))).toBe(
      'codec.decode: old.Old.id: a required field is missing',
    );
    expect(hex(old.encode({ id: 1, unpacked: [1, 2], packed: [1, 2] }))).toBe('0801' + '10011002' + '1a020102');
    // A group, and an extension: both are passed over.
    expect(old.decode(bytes('23 0805 24 0801 a00601'))).toEqual({ id: 1, unpacked: [], packed: [] });
  });
});

describe('oneofs', () => {
  it('name the member that is set', () => {
    expect(round('Choice', { text: 'a' })).toEqual({ before: 0, kindOfChoice: 'text', text: 'a' });
    expect(round('Choice', { before: 2, number: 0, yes: true })).toEqual({
      before: 2,
      kindOfChoice: 'number',
      number: 0n,
      second: 'yes',
      yes: true,
    });
    expect(round('Choice', { nothing: null })).toEqual({ before: 0, kindOfChoice: 'nothing', nothing: null });
    expect(round('Choice', { wrapped: '' })).toEqual({ before: 0, kindOfChoice: 'wrapped', wrapped: '' });
    expect(round('Choice', {})).toEqual({ before: 0 });
  });

  it('keep the last member on the wire', () => {
    expect(type('Choice').decode(bytes('12 0161 18 05'))).toEqual({ before: 0, kindOfChoice: 'number', number: 5n });
  });

  it('refuse two members, and a name that is not that of the member set', () => {
    expect(refusal('Choice', { text: 'a', number: 1n })).toBe(
      'codec.encode: kinds.Choice.number: is set together with "text", but only one of a oneof can be: leave "text" or "number" out',
    );
    expect(refusal('Choice', { kindOfChoice: 'number', text: 'a' })).toBe(
      'codec.encode: kinds.Choice.kindOfChoice: says "number", but the member that is set is "text"',
    );
    expect(refusal('Choice', { kindOfChoice: 'text' })).toBe(
      'codec.encode: kinds.Choice.kindOfChoice: says "text", but no member of it is set',
    );
    expect(type('Choice').encode({ text: undefined, number: 1n })).toHaveLength(2);
  });
});

describe('lists and maps', () => {
  it('reads packed and unpacked alike', () => {
    for (const text of ['1a 03 010203', '18 01 18 02 18 03', '1a 02 0102 18 03']) {
      expect(type('Lists').decode(bytes(text))).toMatchObject({ int32s: [1, 2, 3] });
    }
    expect(hex(type('Lists').encode({ int32s: [1, 2], unpacked: [1, 2] }))).toBe('1a020102' + '9001019001' + '02');
  });

  it('decodes maps to objects with string keys, __proto__ among them', () => {
    const value = type('Maps').decode(
      type('Maps').encode({
        texts: Object.fromEntries([
          ['__proto__', 'a'],
          ['constructor', 'b'],
        ]),
      }),
    ) as { texts: Record<string, string> };
    expect(Object.keys(value.texts)).toEqual(['__proto__', 'constructor']);
    expect(Object.getPrototypeOf(value.texts)).toBe(Object.prototype);
    expect(({} as Record<string, unknown>)['a']).toBeUndefined();
  });

  it('keeps the last of two entries with one key, and fills in defaults for missing keys and values', () => {
    expect(type('Maps').decode(bytes('0a06 0a0161 120162 0a03 0a0161 0a00'))).toMatchObject({
      texts: { a: '', '': '' },
    });
    expect(type('Maps').decode(bytes('42 00'))).toMatchObject({ fixed32s: { 0: { name: '', children: [] } } });
  });

  it.each([
    ['Lists', { int32s: 5 }, 'Lists.int32s: expected a list (an array), got 5'],
    ['Lists', { int32s: [1, 'x'] }, 'Lists.int32s[1]: expected an int32, got "x"'],
    ['Lists', { int32s: [undefined] }, 'Lists.int32s[0]: expected an int32, got undefined'],
    [
      'Lists',
      { trees: [{}, { children: [{ nam: 'x' }] }] },
      'Lists.trees[1].children[0]: no field "nam" in kinds.Tree. Did you mean "name"?',
    ],
    ['Lists', { trees: [null] }, 'Lists.trees[0]: expected a kinds.Tree (an object), got null'],
    ['Maps', { texts: [] }, 'Maps.texts: expected a map (a plain object), got an array'],
    ['Maps', { texts: new Map() }, 'Maps.texts: expected a map (a plain object), got a Map'],
    ['Maps', { texts: { 'a b': 5 } }, 'Maps.texts["a b"]: expected a string, got 5'],
    ['Maps', { texts: { a: null } }, 'Maps.texts["a"]: expected a string, got null'],
    ['Maps', { int32s: { x: 1 } }, 'Maps.int32s["x"]: expected a key of digits, for int32, got "x"'],
    ['Maps', { int32s: { 2147483648: 1 } }, 'Maps.int32s["2147483648"]: expected an int32, got 2147483648'],
    ['Maps', { bools: { yes: '' } }, 'Maps.bools["yes"]: expected the key true or false, got "yes"'],
    ['Maps', { fixed32s: { 1: { parent: 5 } } }, 'Maps.fixed32s["1"].parent: expected a kinds.Tree (an object), got 5'],
  ])('refuses to encode in %s: %o', (name, value, problem) => {
    expect(refusal(name, value)).toBe(`codec.encode: kinds.${problem}`);
  });
});

describe('messages', () => {
  it('merges two occurrences of one message field, as the wire format demands', () => {
    // parent { name: "a", children: [{}] } and parent { children: [{}], parent: {} }
    expect(type('Tree').decode(bytes('1a05 0a0161 1200 1a04 1200 1a00'))).toEqual({
      name: '',
      children: [],
      parent: {
        name: 'a',
        children: [
          { name: '', children: [] },
          { name: '', children: [] },
        ],
        parent: { name: '', children: [] },
      },
    });
    expect(type('Choice').decode(bytes('22 03 0a0161 22 02 1200'))).toMatchObject({
      tree: { name: 'a', children: [{}] },
    });
    expect(type('Choice').decode(bytes('22 03 0a0161 18 01 22 02 1200'))).toMatchObject({
      tree: { name: '', children: [{}] },
    });
    expect(type('WellKnown').decode(bytes('0a02 0801 0a02 1005'))).toMatchObject({ at: new Timestamp(1, 5) });
  });

  it('refuses messages nested deeper than 100 levels, both ways', () => {
    const nested = (depth: number): unknown => (depth === 0 ? {} : { parent: nested(depth - 1) });
    expect(() => round('Tree', nested(100))).not.toThrow();
    expect(refusal('Tree', nested(101))).toMatch(
      /^codec\.encode: kinds\.Tree(\.parent){101}: nested deeper than 100 levels, the maxDepth of the codec$/,
    );
    const cycle: Record<string, unknown> = {};
    cycle['parent'] = cycle;
    expect(refusal('Tree', cycle)).toMatch(/nested deeper than 100 levels, the maxDepth of the codec$/);
    let deep = Buffer.alloc(0);
    for (let depth = 0; depth < 20_000; depth += 1) deep = Buffer.concat([Buffer.of(0x1a), varint(deep.length), deep]);
    expect(messageOf(() => type('Tree').decode(deep))).toMatch(
      /nested deeper than 100 levels, the maxDepth of the codec$/,
    );
    expect(messageOf(() => type('Tree').decode(Buffer.alloc(20_000, 0x23)))).toMatch(
      /nested deeper than 100 levels, the maxDepth of the codec$/,
    );
  });

  it('skips unknown fields', () => {
    expect(
      type('Tree').decode(bytes('98 0605 9d 0600000000 99 060000000000000000 9a 06 0161 9b 06 0801 9c 06 0a 0161')),
    ).toEqual({ name: 'a', children: [] });
    // A known field of another wire type is one.
    expect(type('Tree').decode(bytes('08 05'))).toEqual({ name: '', children: [] });
  });

  it.each([
    ['08', 'kinds.Tree.name: the bytes are not a message of this type: they end in the middle of a field'],
    ['0a 05 61', 'kinds.Tree.name: the bytes are not a message of this type: they end in the middle of a field'],
    [
      '0a ffffffff0f 61',
      'kinds.Tree.name: the bytes are not a message of this type: they end in the middle of a field',
    ],
    [
      '12 04 0a0161',
      'kinds.Tree.children[0]: the bytes are not a message of this type: they end in the middle of a field',
    ],
    [
      '12 03 0a0561 1200',
      'kinds.Tree.children[0].name: the bytes are not a message of this type: they end in the middle of a field',
    ],
    ['00 01', 'kinds.Tree: the bytes are not a message of this type: a field has the number 0'],
    ['0e', 'kinds.Tree.name: the bytes are not a message of this type: a field has the wire type 6'],
    ['0c', 'kinds.Tree.name: the bytes are not a message of this type: a field has the wire type 4'],
    ['9b06 9406', 'kinds.Tree: the bytes are not a message of this type: a group ends that did not begin'],
    [
      '98 06 ffffffffffffffffffff01',
      'kinds.Tree: the bytes are not a message of this type: a number is longer than ten bytes',
    ],
  ])('refuses to decode %s', (text, problem) => {
    expect(refusedBytes('Tree', text)).toBe(`codec.decode: ${problem}`);
  });

  it.each([
    [undefined, 'undefined'],
    [null, 'null'],
    ['text', '"text"'],
    [[], 'an array'],
    [new Date(), 'a Date'],
    [new Map(), 'a Map'],
    [Promise.resolve(), 'a Promise'],
    [new Uint8Array(0), 'a Uint8Array'],
  ])('refuses to encode %p as a message', (value, shown) => {
    expect(refusal('Tree', value)).toBe(`codec.encode: kinds.Tree: expected a kinds.Tree (an object), got ${shown}`);
  });

  it('encodes instances of classes, with accessors', () => {
    class Place {
      get name(): string {
        return 'from a getter';
      }
      helper(): void {}
    }
    expect(round('Tree', new Place())).toEqual({ name: 'from a getter', children: [] });
    expect(round('Tree', Object.create(null))).toEqual({ name: '', children: [] });
  });

  it('encodes a value whose getter encodes another message', () => {
    const value = {
      get name(): string {
        return hex(type('Tree').encode({ name: 'inner' }));
      },
    };
    expect(round('Tree', value)).toEqual({ name: '0a05696e6e6572', children: [] });
  });

  it('reports the error that a getter throws', () => {
    const value = {
      get name(): string {
        throw new TypeError('not today');
      },
    };
    expect(refusal('Tree', value)).toMatch(/^codec\.encode: kinds\.Tree.*: not today$/);
  });

  it('takes field names that mean something in JavaScript', () => {
    const value = {
      constructor: 'c',
      toString: 't',
      hasOwnProperty: { a: 1 },
      class: 'k',
      Leading: 'l',
      with1Digit: 'd',
      valueOf: 'proto',
      proto: 'p',
    };
    expect(round('Awkward', value)).toEqual(value);
    expect(round('Awkward', {})).toEqual({
      constructor: '',
      hasOwnProperty: {},
      class: '',
      Leading: '',
      with1Digit: '',
    });
    expect(type('Awkward').toJson(value)).toEqual({
      constructor: 'c',
      toString: 't',
      hasOwnProperty: { a: 1 },
      clazz: 'k',
      Leading: 'l',
      with1Digit: 'd',
      proto: 'p',
    });
    expect(type('Awkward').toJson({ number: 5 })).toEqual({ number: 5 });
    expect(round('Awkward', { number: 5 })).toMatchObject({ valueOf: 'number', number: 5 });
    expect(type('Awkward').fromJson({ clazz: 'k' })).toMatchObject({ class: 'k' });
  });
});

describe('well-known types', () => {
  it('keep the nanoseconds of a time', () => {
    const { at } = round('WellKnown', { at: new Timestamp(-1n, 999_999_999) }) as { at: Timestamp };
    expect(at).toBeInstanceOf(Timestamp);
    expect([at.getTime(), at.nanos, at.toJSON()]).toEqual([-1, 999_999_999, '1969-12-31T23:59:59.999999999Z']);
    const { at: plain } = round('WellKnown', { at: new Date(-1) }) as { at: Date };
    expect([plain.constructor, plain.getTime()]).toEqual([Date, -1]);
    at.setTime(5000);
    expect(round('WellKnown', { at })).toMatchObject({ at: new Date(5000) });
  });

  it.each([
    [{ at: new Date(NaN) }, 'at: expected a Date, got an invalid one'],
    [{ at: '2020-01-01' }, 'at: expected a Date, got "2020-01-01"'],
    [{ at: new Date(8.64e15) }, 'at: expected a Date from the year 1 to 9999, got +275760-09-13T00:00:00.000Z'],
    [
      { at: new Date(-62_135_596_800_001) },
      'at: expected a Date from the year 1 to 9999, got 0000-12-31T23:59:59.999Z',
    ],
    [{ times: [new Date(NaN)] }, 'times[0]: expected a Date, got an invalid one'],
    [{ took: 5 }, 'took: expected a duration ({ seconds, nanos }), got 5'],
    [{ took: { seconds: 1.5 } }, 'took.seconds: expected whole seconds (a bigint or an integer), got 1.5'],
    [{ took: { seconds: 1n, nanos: -1 } }, 'took: expected seconds and nanos of the same sign, got 1 and -1'],
    [{ took: { seconds: 0n, nanos: 1e9 } }, 'took: expected nanos from -999999999 to 999999999, got 1000000000'],
    [
      { took: { seconds: 315_576_000_001n } },
      'took: expected seconds from -315576000000 to 315576000000, got 315576000001',
    ],
    [{ took: { second: 1 } }, 'took: google.protobuf.Duration has no field "second"; it has seconds and nanos'],
    [{ struct: { a: { b: [1, 1n] } } }, 'struct["a"]["b"][1]: expected a JSON value, got 1n'],
    [{ struct: { a: () => 1 } }, 'struct["a"]: expected a JSON value, got a function'],
    [{ struct: [] }, 'struct: expected a JSON object, got an array'],
    [{ list: {} }, 'list: expected a JSON array, got an object'],
    [{ list: [undefined] }, 'list[0]: expected a JSON value, got undefined'],
    [{ int32Value: 1.5 }, 'int32Value: expected an int32, got 1.5'],
    [{ stringValue: 0 }, 'stringValue: expected a string, got 0'],
    [{ bytesValue: '' }, 'bytesValue: expected bytes (a Uint8Array), got ""'],
    [{ boolValue: 0 }, 'boolValue: expected a bool, got 0'],
    [{ nullValue: 'NOTHING' }, 'nullValue: google.protobuf.NullValue has no value "NOTHING".'],
  ])('refuse %o', (value, problem) => {
    expect(refusal('WellKnown', value)).toBe(`codec.encode: kinds.WellKnown.${problem}`);
  });

  it('refuse times that a Date cannot hold, and nanos out of range', () => {
    expect(refusedBytes('WellKnown', '0a0a 08 80a0b0c0d0e0f0fe01')).toMatch(
      /codec\.decode: kinds\.WellKnown\.at: expected a time from the year 1 to 9999, got \d+ seconds/,
    );
    expect(refusedBytes('WellKnown', '0a0b 10 ffffffffffffffffff01')).toBe(
      'codec.decode: kinds.WellKnown.at: expected nanos from 0 to 999999999, got -1',
    );
    expect(refusedBytes('WellKnown', '120d 0801 10 ffffffffffffffffff01')).toBe(
      'codec.decode: kinds.WellKnown.took: expected seconds and nanos of the same sign, got 1 and -1',
    );
  });

  it('map wrappers to bare values', () => {
    const value = {
      doubleValue: 0,
      floatValue: 1.5,
      int64Value: -1n,
      uint64Value: 0n,
      int32Value: 0,
      uint32Value: 7,
      boolValue: false,
      stringValue: '',
      bytesValue: Uint8Array.of(1),
    };
    expect(round('WellKnown', value)).toMatchObject(value);
    expect(hex(typeOf('google.protobuf.Int64Value').encode(5))).toBe('0805');
    expect(typeOf('google.protobuf.StringValue').decode(new Uint8Array(0))).toBe('');
    expect(round('WellKnown', { doubleValue: -0 })).toMatchObject({ doubleValue: -0 });
  });

  it('distinguish null from absence in a Value', () => {
    expect(round('WellKnown', { value: null })).toMatchObject({ value: null });
    expect(round('WellKnown', {})).not.toHaveProperty('value');
    expect(type('WellKnown').decode(bytes('2200'))).toMatchObject({ value: null });
    expect(round('WellKnown', { struct: { __proto__: 1, a: undefined } })).toMatchObject({ struct: {} });
    const struct = JSON.parse('{"__proto__": {"x": 1}}') as unknown;
    expect(Object.keys((round('WellKnown', { struct }) as { struct: object }).struct)).toEqual(['__proto__']);
  });

  it('accept undefined for Empty', () => {
    expect(typeOf('google.protobuf.Empty').encode(undefined)).toHaveLength(0);
    expect(typeOf('google.protobuf.Empty').decode(new Uint8Array(0))).toEqual({});
    expect(messageOf(() => typeOf('google.protobuf.Empty').encode({ a: 1 }))).toBe(
      'codec.encode: google.protobuf.Empty: no field "a" in google.protobuf.Empty.',
    );
  });

  it.each([0, 1, -1, 1.5, -1.5, 999.999999, 1e12, -1e12, 0.000001])('convert %p ms to a duration and back', (ms) => {
    const value = durationFromMs(ms);
    expect(durationToMs(value)).toBe(ms);
    expect(round('WellKnown', { took: value })).toMatchObject({ took: value });
  });

  it('refuse milliseconds that are not a duration', () => {
    expect(messageOf(() => durationFromMs(NaN))).toBe(
      'codec.encode: google.protobuf.Duration: expected milliseconds, got NaN',
    );
    expect(messageOf(() => durationFromMs(1e18))).toMatch(/expected seconds from/);
  });
});

describe('ProtoMarshaler', () => {
  it('refuses a schema without a .proto', () => {
    const marshaler = new ProtoMarshaler();
    for (const work of [
      () => marshaler.marshal({ name: 'Thing' }, {}),
      () => marshaler.unmarshal({ name: 'Thing' }, new Uint8Array(0)),
    ]) {
      expect(messageOf(work)).toBe(
        'codec.no_proto: Thing has no .proto, so application/grpc+proto cannot carry it. Give the handler its .proto, or use application/grpc+json',
      );
    }
  });
});

describe('fields', () => {
  it('describe a type, recursive ones included', () => {
    const [, children] = type('Tree').fields;
    expect(children).toMatchObject({ name: 'children', type: 'kinds.Tree', repeated: true, map: false });
    expect(children?.message).toBe(type('Tree'));
    expect(type('Maps').fields[6]).toMatchObject({
      name: 'sint64s',
      type: 'kinds.Color',
      repeated: false,
      map: true,
      message: undefined,
    });
    expect(kinds.type('kinds.Color')).toBeUndefined();
    expect(kinds.type('Tree')).toBeUndefined();
  });
});

function varint(value: number): Buffer {
  const out: number[] = [];
  let rest = value;
  while (rest > 127) {
    out.push((rest & 127) | 128);
    rest >>>= 7;
  }
  return Buffer.from([...out, rest]);
}
