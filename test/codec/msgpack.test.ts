import { decode, encode } from '@msgpack/msgpack';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { codecName } from '../../src/codec/content-type.ts';
import { MsgpackMarshaler } from '../../src/codec/msgpack.ts';
import { anySchema } from '../../src/pipeline/pipeline.ts';
import { bytesOf, messageOf } from './support.ts';

declare global {
  /** A type of browsers that the declarations of @msgpack/msgpack name. */
  type BufferSource = ArrayBufferView | ArrayBuffer;
}

const marshaler = new MsgpackMarshaler();
const written = (value: unknown): string => Buffer.from(marshaler.marshal(anySchema, value)).toString('hex');
const read = (text: string): unknown => marshaler.unmarshal(anySchema, bytesOf(text));

describe('MessagePack', () => {
  // The types of the specification at the ends of their ranges.
  it.each<[string, unknown]>([
    ['c0', null],
    ['c2', false],
    ['c3', true],
    ['00', 0],
    ['7f', 127],
    ['cc80', 128],
    ['ccff', 255],
    ['cd0100', 256],
    ['cdffff', 65_535],
    ['ce00010000', 65_536],
    ['ceffffffff', 2 ** 32 - 1],
    ['cf0000000100000000', 2 ** 32],
    ['cf001fffffffffffff', 2 ** 53 - 1],
    ['cf0020000000000000', 2n ** 53n],
    ['cfffffffffffffffff', 2n ** 64n - 1n],
    ['ff', -1],
    ['e0', -32],
    ['d0df', -33],
    ['d080', -128],
    ['d1ff7f', -129],
    ['d18000', -32_768],
    ['d2ffff7fff', -32_769],
    ['d280000000', -(2 ** 31)],
    ['d3ffffffff7fffffff', -(2 ** 31) - 1],
    ['d3ffe0000000000001', -(2 ** 53 - 1)],
    ['d38000000000000000', -(2n ** 63n)],
    ['ca3f000000', 0.5],
    ['ca80000000', -0],
    ['ca7fc00000', NaN],
    ['ca7f800000', Infinity],
    ['cb3fb999999999999a', 0.1],
    ['a0', ''],
    ['a4f09fa68a', '🦊'],
    [`bf${'61'.repeat(31)}`, 'a'.repeat(31)],
    [`d920${'61'.repeat(32)}`, 'a'.repeat(32)],
    [`d9ff${'61'.repeat(255)}`, 'a'.repeat(255)],
    [`da0100${'61'.repeat(256)}`, 'a'.repeat(256)],
    [`db00010000${'61'.repeat(65_536)}`, 'a'.repeat(65_536)],
    ['c400', new Uint8Array(0)],
    [`c4ff${'07'.repeat(255)}`, new Uint8Array(255).fill(7)],
    [`c50100${'07'.repeat(256)}`, new Uint8Array(256).fill(7)],
    [`c600010000${'07'.repeat(65_536)}`, new Uint8Array(65_536).fill(7)],
    ['90', []],
    [`9f${'00'.repeat(15)}`, Array.from({ length: 15 }, () => 0)],
    [`dc0010${'00'.repeat(16)}`, Array.from({ length: 16 }, () => 0)],
    [`dd00010000${'00'.repeat(65_536)}`, Array.from({ length: 65_536 }, () => 0)],
    ['80', {}],
    ['82a16101a162c0', { a: 1, b: null }],
  ])('is written and read: case %#', (text, value) => {
    expect(written(value)).toBe(text);
    expect(read(text)).toStrictEqual(value);
  });

  it('has maps of more than fifteen entries', () => {
    for (const [count, head] of [
      [15, '8f'],
      [16, 'de0010'],
      [70_000, 'df00011170'],
    ] as const) {
      const value = Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, index]));
      expect(written(value).startsWith(head)).toBe(true);
      expect(read(written(value))).toEqual(value);
    }
  });

  it.each<[string, unknown]>([
    ['cc05', 5],
    ['cf0000000000000005', 5],
    ['d300000000000000ff', 255],
    ['d3ffffffffffffffff', -1],
    ['cb3ff0000000000000', 1],
    ['d90161', 'a'],
    ['db0000000161', 'a'],
    ['c60000000107', Uint8Array.of(7)],
    ['dd00000001c0', [null]],
    ['df00000001a16101', { a: 1 }],
  ])('is read in a longer form than needed: %s', (text, value) => {
    expect(read(text)).toStrictEqual(value);
  });

  it.each([
    ['d6ff 00000000', 'a timestamp (an extension of type -1) is not read: send a text, a number or bytes'],
    ['c70105 00', 'an extension of type 5 is not read: send a text, a number or bytes'],
    ['c8000105 00', 'an extension of type 5 is not read: send a text, a number or bytes'],
    ['d4', 'the bytes end at 1, and a value at 1 needs 1 more'],
    ['c7ff05', 'the bytes end at 3, and a value at 3 needs 255 more'],
    ['c1', 'the byte 0xc1 at 0 begins no value'],
    ['a2c328', 'the text at 1 is not valid UTF-8'],
    ['a3eda080', 'the text at 1 is not valid UTF-8'],
    ['8101c0', 'expected a text as the key of a map at 1, got a value that begins with 0x1'],
    [`81${'81'.repeat(50_000)}`, 'expected a text as the key of a map at 1, got a value that begins with 0x81'],
  ])('is refused: case %#', (text, problem) => {
    expect(messageOf(() => read(text))).toBe(`codec.decode: any: ${problem}`);
  });

  it.each(['application/msgpack', 'application/x-msgpack', 'application/vnd.msgpack', 'application/grpc+msgpack'])(
    'is what %s names',
    (contentType) => {
      expect(codecName(contentType)).toBe('msgpack');
    },
  );
});

describe('@msgpack/msgpack', () => {
  // It reads no key __proto__.
  const values = fc.anything({
    key: fc.string({ maxLength: 20 }).filter((key) => key !== '__proto__'),
    values: [
      fc.string({ maxLength: 40 }),
      fc.integer(),
      // It writes minus zero as zero.
      fc.double().filter((value) => !Object.is(value, -0)),
      fc.boolean(),
      fc.constant(null),
    ],
    withNullPrototype: false,
  });

  it('reads what is written here', () => {
    fc.assert(
      fc.property(values, (value) => {
        expect(decode(marshaler.marshal(anySchema, value))).toEqual(value === undefined ? null : value);
      }),
      { numRuns: 200 },
    );
    const longs = [2n ** 64n - 1n, -(2n ** 63n), 2n ** 53n];
    expect(decode(marshaler.marshal(anySchema, longs), { useBigInt64: true })).toEqual(longs);
    expect(decode(marshaler.marshal(anySchema, Uint8Array.of(1, 2)))).toEqual(Uint8Array.of(1, 2));
  });

  it('writes what is read here', () => {
    fc.assert(
      fc.property(values, (value) => {
        expect(marshaler.unmarshal(anySchema, encode(value))).toEqual(value);
      }),
      { numRuns: 200 },
    );
    const longs = [2n ** 64n - 1n, -(2n ** 63n), 2n ** 53n];
    expect(marshaler.unmarshal(anySchema, encode(longs, { useBigInt64: true }))).toEqual(longs);
    expect(messageOf(() => marshaler.unmarshal(anySchema, encode(new Date(0))))).toMatch(/a timestamp/);
  });

  it('reads what is refused here, and other than it was written: why it is not what the codec stands on', () => {
    const marked = `\uFEFF${'a'.repeat(250)}`;
    expect(decode(marshaler.marshal(anySchema, marked))).toBe('a'.repeat(250));
    expect(decode(bytesOf('92 a1c3 a161'))).not.toEqual(['\uFFFD', 'a']);
    expect(decode(bytesOf('82 a161 01 a161 02'))).toEqual({ a: 2 });
    expect(() => decode(bytesOf('81 a9 5f5f70726f746f5f5f 01'))).toThrow(/__proto__/);
    expect(decode(marshaler.marshal(anySchema, 2n ** 53n + 1n))).toBe(2 ** 53);
  });
});
