import { describe, expect, it } from '@jest/globals';

import { JsonMarshaler } from '../../src/codec/json.ts';
import { loadProto } from '../../src/codec/proto.ts';
import { Timestamp } from '../../src/codec/time.ts';
import { TenonError } from '../../src/errors/errors.ts';
import { anySchema } from '../../src/pipeline/pipeline.ts';
import { messageOf, noScalars, scalars, schemaOf, typeOf } from './support.ts';

const marshaler = new JsonMarshaler();
const type = (name: string): ReturnType<typeof typeOf> => typeOf(`kinds.${name}`);

describe('JSON without a .proto', () => {
  const text = (value: unknown): string => Buffer.from(marshaler.marshal(anySchema, value)).toString();
  const cycle: Record<string, unknown> = { name: 'x' };
  cycle['self'] = [cycle];
  const shared = { a: 1 };

  it('writes what JSON.stringify writes', () => {
    const value = {
      a: [1, 'é\uD83E', null, true],
      at: new Date(5),
      own: { toJSON: () => 'mine' },
      none: undefined,
      twice: [shared, shared],
    };
    expect(text(value)).toBe(JSON.stringify(value));
    expect(text(undefined)).toBe('null');
    expect(text({ toJSON: () => undefined })).toBe('null');
    class Point {
      x = 1;
      get length(): number {
        return 1;
      }
      scale(): void {}
    }
    expect(text(new Point())).toBe('{"x":1}');
    const inherits = Object.create({ method: () => 1 }) as Record<string, unknown>;
    inherits['own'] = 2;
    expect(text(inherits)).toBe('{"own":2}');
  });

  it.each([
    ['[', ']'],
    ['{"a":', '}'],
    ['{"]": [', ']}'],
  ])('takes a thousand levels of nesting, and refuses more: %s', (open, close) => {
    const levels = close.length;
    const nested = (depth: number) => Buffer.from(`${open.repeat(depth / levels)}1${close.repeat(depth / levels)}`);
    const value = marshaler.unmarshal(anySchema, nested(1_000));
    expect(JSON.parse(text(value))).toEqual(value);
    const refusal =
      'expected at most 1000 levels of nesting, the maxDepth of the codec, got more: send a list of its parts';
    expect(messageOf(() => marshaler.unmarshal(anySchema, nested(1_002)))).toBe(`codec.decode: any: ${refusal}`);
    expect(messageOf(() => marshaler.marshal(anySchema, [[value]]))).toMatch(
      new RegExp(`^codec\\.encode: any.*: ${refusal}$`),
    );
  });

  it('refuses a value nested a hundred thousand levels deep, and does not overflow the stack', () => {
    let value: unknown = 1;
    for (let depth = 0; depth < 100_000; depth += 1) value = { a: value };
    expect(messageOf(() => marshaler.marshal(anySchema, value))).toMatch(/levels of nesting/);
    const bytes = Buffer.from(`${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`);
    expect(messageOf(() => marshaler.unmarshal(anySchema, bytes))).toMatch(/levels of nesting/);
  });

  it('does not count brackets within strings as nesting', () => {
    const value = { ['["\\']: '[{"\\'.repeat(2_000), a: ['\\'], b: '' };
    expect(marshaler.unmarshal(anySchema, marshaler.marshal(anySchema, value))).toEqual(value);
  });

  it.each<[unknown, string]>([
    [
      { user: { id: 5n } },
      'any.user.id: expected a JSON value, got 5n: send it as a string, or use application/grpc+proto',
    ],
    [
      { list: [1, { data: new Uint8Array(1) }] },
      'any.list[1].data: expected a JSON value, got a Uint8Array: send base64, or use application/grpc+proto or application/grpc+bytes',
    ],
    [
      { 'odd key': NaN },
      'any["odd key"]: expected a JSON value, got NaN, which JSON does not have: send null, or a string',
    ],
    [[Infinity], 'any[0]: expected a JSON value, got Infinity, which JSON does not have: send null, or a string'],
    [() => 1, 'any: expected a JSON value, got a function: leave it out'],
    [{ f: () => 1 }, 'any.f: expected a JSON value, got a function: leave it out'],
    [{ s: Symbol('s') }, 'any.s: expected a JSON value, got a symbol: leave it out'],
    [[undefined], 'any[0]: expected a JSON value, got undefined: a list cannot leave it out, send null'],
    [{ m: new Map([[1, 2]]) }, 'any.m: expected a JSON value, got a Map: make an object or an array of it'],
    [{ p: Promise.resolve(1) }, 'any.p: expected a JSON value, got a Promise: await it'],
    [{ d: new Date(NaN) }, 'any.d: expected a Date, got an invalid one'],
    [cycle, 'any.self[0]: leads back to itself: leave the link back out'],
    [
      { buffer: Buffer.from('a') },
      'any.buffer: expected a JSON value, got a Uint8Array: send base64, or use application/grpc+proto or application/grpc+bytes',
    ],
  ])('refuses to write %p', (value, problem) => {
    expect(messageOf(() => marshaler.marshal(anySchema, value))).toBe(`codec.encode: ${problem}`);
  });

  it('reads an empty body as undefined, or as the defaults of a .proto', () => {
    expect(marshaler.unmarshal(anySchema, new Uint8Array(0))).toBeUndefined();
    expect(marshaler.unmarshal(schemaOf('kinds.Scalars'), new Uint8Array(0))).toEqual(noScalars);
  });

  it('names the position of bytes that are not UTF-8, or not JSON', () => {
    const read = (bytes: Uint8Array): string => messageOf(() => marshaler.unmarshal(anySchema, bytes));
    expect(read(Uint8Array.from([0x22, 0x61, 0xff, 0x22]))).toBe(
      'codec.decode: any: the bytes are not valid UTF-8, at 2 of 4',
    );
    expect(read(Uint8Array.from([0x22, 0xc3]))).toBe('codec.decode: any: the bytes are not valid UTF-8, at 1 of 2');
    expect(read(Buffer.from('{"a": x}'))).toMatch(/^codec\.decode: any: .*x.*(position 6|"\{"a": x\}")/);
  });

  it('does not change the prototype of an object for a key __proto__', () => {
    const value = marshaler.unmarshal(anySchema, Buffer.from('{"__proto__": {"polluted": true}}')) as object;
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect((value as { polluted?: boolean }).polluted).toBeUndefined();
  });
});

describe('JSON of a .proto', () => {
  it('follows the JSON mapping of proto3 for scalars', () => {
    const json = {
      aDouble: -1.5,
      aFloat: 0.25,
      anInt32: -2_147_483_648,
      anInt64: '-9223372036854775808',
      aUint32: 4_294_967_295,
      aUint64: '18446744073709551615',
      aSint32: -2_147_483_648,
      aSint64: '-9223372036854775808',
      aFixed32: 4_294_967_295,
      aFixed64: '18446744073709551615',
      anSfixed32: -2_147_483_648,
      anSfixed64: '-9223372036854775808',
      aBool: true,
      aString: 'zażółć 🦊',
      someBytes: 'AAH+/w==',
      aColor: 'COLOR_RED',
    };
    expect(type('Scalars').toJson(scalars)).toEqual(json);
    expect(type('Scalars').fromJson(json)).toEqual(scalars);
  });

  it('omits fields with default values, and fills them in when it reads', () => {
    expect(type('Scalars').toJson(noScalars)).toEqual({});
    expect(type('Optionals').toJson({ aDouble: 0, aString: '' })).toEqual({ aDouble: 0, aString: '' });
    expect(type('Scalars').fromJson({ aString: null })).toEqual(noScalars);
    expect(type('Optionals').fromJson({ aString: null })).toEqual({});
    expect(type('Lists').toJson({ int32s: [], strings: [''] })).toEqual({ strings: [''] });
    expect(type('Scalars').toJson({ aDouble: -0 })).toEqual({ aDouble: -0 });
  });

  it.each([
    [{ aDouble: NaN }, { aDouble: 'NaN' }],
    [{ aFloat: -Infinity }, { aFloat: '-Infinity' }],
    [{ aFloat: Math.fround(0.1) }, { aFloat: 0.1 }],
    [{ aFloat: Math.fround(16_777_217.5) }, { aFloat: 16_777_218 }],
    [{ aColor: 99 }, { aColor: 99 }],
  ])('writes %p as %p and reads it', (value, json) => {
    expect(type('Scalars').toJson(value)).toEqual(json);
    expect(type('Scalars').fromJson(json)).toMatchObject(value);
  });

  it.each([
    [{ an_int32: 5 }, { anInt32: 5 }],
    [{ anInt32: '5' }, { anInt32: 5 }],
    [{ anInt32: '1e2' }, { anInt32: 100 }],
    [{ anInt32: 1e2 }, { anInt32: 100 }],
    [{ anInt64: 5 }, { anInt64: 5n }],
    [{ anInt64: '1e2' }, { anInt64: 100n }],
    [{ aUint64: '18446744073709551615' }, { aUint64: 2n ** 64n - 1n }],
    [{ aDouble: '1.5' }, { aDouble: 1.5 }],
    [{ aColor: 1 }, { aColor: 'COLOR_RED' }],
    [{ aColor: 'COLOR_VERT' }, { aColor: 'COLOR_GREEN' }],
    [{ someBytes: 'AAH-_w' }, { someBytes: Uint8Array.of(0, 1, 254, 255) }],
  ])('reads %p as %p', (json, value) => {
    expect(type('Scalars').fromJson(json)).toMatchObject(value);
  });

  it.each<[string, unknown, string]>([
    ['Scalars', { anInt32: 1.5 }, 'Scalars.anInt32: expected an int32, got 1.5'],
    ['Scalars', { anInt32: '' }, 'Scalars.anInt32: expected an int32, got ""'],
    ['Scalars', { anInt32: ' 1' }, 'Scalars.anInt32: expected an int32, got " 1"'],
    ['Scalars', { aUint32: -1 }, 'Scalars.aUint32: expected a uint32, got -1'],
    [
      'Scalars',
      { anInt64: 2 ** 60 },
      'Scalars.anInt64: expected an int64 (digits in a string, or a safe integer), got 1152921504606847000',
    ],
    [
      'Scalars',
      { anInt64: '9223372036854775808' },
      'Scalars.anInt64: expected an int64 (digits in a string, or a safe integer), got "9223372036854775808"',
    ],
    ['Scalars', { aFloat: 1e39 }, 'Scalars.aFloat: expected a float, got 1e+39'],
    ['Scalars', { aDouble: 'inf' }, 'Scalars.aDouble: expected a double, got "inf"'],
    ['Scalars', { aBool: 'true' }, 'Scalars.aBool: expected a bool, got "true"'],
    ['Scalars', { aString: 1 }, 'Scalars.aString: expected a string, got 1'],
    [
      'Scalars',
      { aString: '\uD83E' },
      'Scalars.aString: the string has half of a surrogate pair, which UTF-8 cannot carry',
    ],
    ['Scalars', { someBytes: 'a b' }, 'Scalars.someBytes: expected base64, got "a b"'],
    ['Scalars', { someBytes: 'AAAAA' }, 'Scalars.someBytes: expected base64, got "AAAAA"'],
    ['Scalars', { aColor: 'RED' }, 'Scalars.aColor: kinds.Color has no value "RED".'],
    ['Scalars', { anInt3: 1 }, 'Scalars: no field "anInt3" in kinds.Scalars. Did you mean "anInt32"?'],
    ['Scalars', { anInt32: 1, an_int32: 1 }, 'Scalars.anInt32: is given twice, under both its names'],
    ['Scalars', [], 'Scalars: expected a kinds.Scalars (a JSON object), got an array'],
    ['Lists', { int32s: {} }, 'Lists.int32s: expected a list (a JSON array), got an object'],
    ['Lists', { trees: [{}, { name: 5 }] }, 'Lists.trees[1].name: expected a string, got 5'],
    ['Lists', { strings: [null] }, 'Lists.strings[0]: expected a string, got null'],
    ['Maps', { int32s: { x: 1 } }, 'Maps.int32s["x"]: expected an int32, got "x"'],
    ['Maps', { bools: { 1: '' } }, 'Maps.bools["1"]: expected the key true or false, got "1"'],
    [
      'Choice',
      { text: 'a', number: '1' },
      'Choice.number: is set together with "text", but only one of a oneof can be: leave "text" or "number" out',
    ],
    [
      'WellKnown',
      { at: '2020-02-30T00:00:00Z' },
      'WellKnown.at: expected a time as in RFC 3339 ("2006-01-02T15:04:05Z"), got "2020-02-30T00:00:00Z"',
    ],
    [
      'WellKnown',
      { at: '2020-02-03' },
      'WellKnown.at: expected a time as in RFC 3339 ("2006-01-02T15:04:05Z"), got "2020-02-03"',
    ],
    ['WellKnown', { took: '1' }, 'WellKnown.took: expected a duration ("1.5s"), got "1"'],
    ['WellKnown', { mask: 'a_b' }, 'WellKnown.mask: expected camelCase paths, got "a_b"'],
    ['WellKnown', { any: { value: '' } }, 'WellKnown.any["@type"]: expected the URL of a type, got undefined'],
    [
      'WellKnown',
      { any: { '@type': 'type.googleapis.com/x.Y', a: 1 } },
      'WellKnown.any: the type "type.googleapis.com/x.Y" is not among those that were loaded; load its .proto, or give its bytes as "value" in base64',
    ],
  ])('refuses to read for %s: %p', (name, json, problem) => {
    expect(messageOf(() => type(name).fromJson(json))).toBe(`codec.decode: kinds.${problem}`);
  });

  it.each([
    ['1970-01-01T00:00:00Z', new Date(0)],
    ['2020-01-02T03:04:05.6Z', new Date('2020-01-02T03:04:05.600Z')],
    ['2020-01-02T03:04:05.123456Z', new Timestamp(1_577_934_245, 123_456_000)],
    ['2020-01-02T03:04:05.000000001+01:30', new Timestamp(1_577_928_845, 1)],
    ['0001-01-01T00:00:00Z', new Date(-62_135_596_800_000)],
    ['9999-12-31T23:59:59.999999999Z', new Timestamp(253_402_300_799, 999_999_999)],
  ])('reads the time %s', (text, at) => {
    const read = type('WellKnown').fromJson({ at: text }) as { at: Date };
    expect(read.at).toEqual(at);
    expect((read.at as Timestamp).nanos).toBe((at as Timestamp).nanos);
    expect(type('WellKnown').fromJson(type('WellKnown').toJson({ at }))).toEqual(read);
  });

  it.each([
    [new Date(0), '1970-01-01T00:00:00Z'],
    [new Date(120), '1970-01-01T00:00:00.120Z'],
    [new Timestamp(0, 1000), '1970-01-01T00:00:00.000001Z'],
    [new Timestamp(-1, 1), '1969-12-31T23:59:59.000000001Z'],
  ])('writes the time %p as %s', (at, text) => {
    expect(type('WellKnown').toJson({ at })).toEqual({ at: text });
  });

  it.each([
    [{ seconds: 1n, nanos: 500_000_000 }, '1.500s'],
    [{ seconds: 0n, nanos: -1 }, '-0.000000001s'],
    [{ seconds: -3n, nanos: -1000 }, '-3.000001s'],
    [{ seconds: 315_576_000_000n, nanos: 0 }, '315576000000s'],
  ])('writes the duration %p as %s and reads it', (took, text) => {
    expect(type('WellKnown').toJson({ took })).toEqual({ took: text });
    expect(type('WellKnown').fromJson({ took: text })).toMatchObject({ took });
  });

  it('writes and reads well-known types in their special JSON forms', () => {
    const value = {
      struct: { a: [1, null, { b: true }] },
      value: null,
      list: ['x'],
      nullValue: null,
      mask: { paths: ['a_b.c_d', 'e'] },
      empty: {},
      int64Value: 5n,
      boolValue: false,
      bytesValue: Uint8Array.of(1),
      values: { a: null, b: 1 },
      strings: ['', 'x'],
    };
    const json = {
      struct: { a: [1, null, { b: true }] },
      value: null,
      list: ['x'],
      mask: 'aB.cD,e',
      empty: {},
      int64Value: '5',
      boolValue: false,
      bytesValue: 'AQ==',
      values: { a: null, b: 1 },
      strings: ['', 'x'],
    };
    expect(type('WellKnown').toJson(value)).toEqual(json);
    expect(type('WellKnown').fromJson(json)).toEqual({ ...value, times: [] });
    expect(() => type('WellKnown').toJson({ value: NaN })).toThrow(
      'kinds.WellKnown.value: expected a JSON value, got NaN',
    );
    expect(() => type('WellKnown').toJson({ mask: { paths: ['fooBar'] } })).toThrow('has no form in JSON');
  });

  it('writes the message within an Any if its type is known', () => {
    const url = 'type.googleapis.com/';
    const anyOf = (name: string, value: unknown): unknown => ({
      any: { typeUrl: url + name, value: new Uint8Array(typeOf(name).encode(value)) },
    });
    for (const [value, any] of [
      [anyOf('kinds.Tree', { name: 'x' }), { '@type': `${url}kinds.Tree`, name: 'x' }],
      [anyOf('google.protobuf.Duration', { seconds: 1n }), { '@type': `${url}google.protobuf.Duration`, value: '1s' }],
      [{ any: { typeUrl: `${url}x.Y`, value: Uint8Array.of(1, 2) } }, { '@type': `${url}x.Y`, value: 'AQI=' }],
      [{ any: { typeUrl: '', value: new Uint8Array(0) } }, {}],
    ] as const) {
      expect(type('WellKnown').toJson(value)).toEqual({ any });
      expect(type('WellKnown').fromJson({ any })).toMatchObject(value as object);
    }
    expect(() =>
      type('WellKnown').toJson({ any: { typeUrl: `${url}kinds.Tree`, value: Uint8Array.of(0x0a, 9) } }),
    ).toThrow(TenonError);
  });

  it('reads and writes the member of a oneof that is set', () => {
    expect(type('Choice').toJson({ kindOfChoice: 'number', number: 1n })).toEqual({ number: '1' });
    expect(type('Choice').fromJson({ number: '1', yes: false })).toEqual({
      before: 0,
      kindOfChoice: 'number',
      number: 1n,
      second: 'yes',
      yes: false,
    });
    expect(type('Choice').fromJson({ nothing: null, text: null })).toEqual({
      before: 0,
      kindOfChoice: 'nothing',
      nothing: null,
    });
    expect(messageOf(() => type('Choice').toJson({ kindOfChoice: 'text' }))).toMatch(
      /^codec\.encode: kinds\.Choice\.kindOfChoice: says "text"/,
    );
  });

  it('normalizes the keys of maps, and takes __proto__ as an ordinary key', () => {
    const json = JSON.parse('{"texts": {"__proto__": "x"}, "int64s": {"5": "6"}}') as unknown;
    const value = type('Maps').fromJson(json) as { texts: object };
    expect(Object.keys(value.texts)).toEqual(['__proto__']);
    expect(JSON.stringify(type('Maps').toJson(value))).toBe('{"texts":{"__proto__":"x"},"int64s":{"5":"6"}}');
  });

  it('refuses messages nested deeper than 100 levels, both ways', () => {
    let deep: unknown = {};
    for (let depth = 0; depth < 101; depth += 1) deep = { parent: deep };
    expect(messageOf(() => type('Tree').fromJson(deep))).toMatch(
      /nested deeper than 100 levels, the maxDepth of the codec$/,
    );
    expect(messageOf(() => type('Tree').toJson(deep))).toMatch(
      /nested deeper than 100 levels, the maxDepth of the codec$/,
    );
    let list: unknown = [];
    for (let depth = 0; depth < 200; depth += 1) list = [list];
    expect(messageOf(() => type('WellKnown').fromJson({ value: list }))).toMatch(
      /nested deeper than 100 levels, the maxDepth of the codec$/,
    );
    expect(messageOf(() => type('WellKnown').encode({ value: list }))).toMatch(
      /nested deeper than 100 levels, the maxDepth of the codec$/,
    );
  });

  it('refuses a message without a field that proto2 requires', () => {
    const old = typeOf('old.Old', loadProto(new URL('./old.proto', import.meta.url)));
    expect(messageOf(() => old.fromJson({}))).toBe('codec.decode: old.Old.id: a required field is missing');
    expect(messageOf(() => old.toJson({}))).toBe('codec.encode: old.Old.id: a required field is missing');
    expect(old.fromJson({ id: 1, named: 'x' })).toEqual({ id: 1, named: 'x', unpacked: [], packed: [] });
  });
});
