import { decode, encode } from 'cborg';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { CborMarshaler } from '../../src/codec/cbor.ts';
import { codecName } from '../../src/codec/content-type.ts';
import { anySchema } from '../../src/pipeline/pipeline.ts';
import { bytesOf, messageOf } from './support.ts';

const marshaler = new CborMarshaler();
const written = (value: unknown): string => Buffer.from(marshaler.marshal(anySchema, value)).toString('hex');
const read = (text: string): unknown => marshaler.unmarshal(anySchema, bytesOf(text));

describe('CBOR', () => {
  it.each<[string, unknown]>([
    ['00', 0],
    ['17', 23],
    ['1818', 24],
    ['18ff', 255],
    ['190100', 256],
    ['19ffff', 65_535],
    ['1a00010000', 65_536],
    ['1affffffff', 2 ** 32 - 1],
    ['1b0000000100000000', 2 ** 32],
    ['1b000000e8d4a51000', 1_000_000_000_000],
    ['1b001fffffffffffff', 2 ** 53 - 1],
    ['1b0020000000000000', 2n ** 53n],
    ['1bffffffffffffffff', 2n ** 64n - 1n],
    ['20', -1],
    ['37', -24],
    ['3818', -25],
    ['38ff', -256],
    ['390100', -257],
    ['3903e7', -1_000],
    ['3a00010000', -65_537],
    ['3b0000000100000000', -(2 ** 32) - 1],
    ['3b001ffffffffffffe', -(2 ** 53 - 1)],
    ['3b001fffffffffffff', -(2n ** 53n)],
    ['3b7fffffffffffffff', -(2n ** 63n)],
    ['fa3f000000', 0.5],
    ['fa80000000', -0],
    ['fa7fc00000', NaN],
    ['faff800000', -Infinity],
    ['fa7f7fffff', 3.4028234663852886e38],
    ['fb3ff199999999999a', 1.1],
    ['fb7e37e43c8800759c', 1e300],
    ['f4', false],
    ['f5', true],
    ['f6', null],
    ['40', new Uint8Array(0)],
    ['4401020304', Uint8Array.of(1, 2, 3, 4)],
    [`590100${'07'.repeat(256)}`, new Uint8Array(256).fill(7)],
    ['60', ''],
    ['6449455446', 'IETF'],
    ['62225c', '"\\'],
    ['64f0908591', '\u{10151}'],
    [`7818${'61'.repeat(24)}`, 'a'.repeat(24)],
    [`7a00010000${'61'.repeat(65_536)}`, 'a'.repeat(65_536)],
    ['80', []],
    ['8301820203820405', [1, [2, 3], [4, 5]]],
    [`9818${'00'.repeat(24)}`, Array.from({ length: 24 }, () => 0)],
    ['a0', {}],
    ['a26161016162820203', { a: 1, b: [2, 3] }],
    ['826161a161626163', ['a', { b: 'c' }]],
  ])('is written and read: case %#', (text, value) => {
    expect(written(value)).toBe(text);
    expect(read(text)).toStrictEqual(value);
  });

  it.each<[string, unknown]>([
    ['1b0000000000000005', 5],
    ['f90000', 0],
    ['f98000', -0],
    ['f93c00', 1],
    ['f93e00', 1.5],
    ['f97bff', 65_504],
    ['f90001', 5.960464477539063e-8],
    ['f90400', 0.00006103515625],
    ['f9c400', -4],
    ['f97c00', Infinity],
    ['f9fc00', -Infinity],
    ['f97e00', NaN],
    ['fb3ff0000000000000', 1],
    ['f7', null],
    ['9fff', []],
    ['9f018202039f0405ffff', [1, [2, 3], [4, 5]]],
    ['bf61610161629f0203ffff', { a: 1, b: [2, 3] }],
    ['bfff', {}],
    ['5b000000000000000107', Uint8Array.of(7)],
    ['780161', 'a'],
  ])('is read in another form: %s', (text, value) => {
    expect(read(text)).toStrictEqual(value);
  });

  it.each([
    ['c11a514b67b0', 'the tag 1 is not read: send a text, a number or bytes'],
    ['c249010000000000000000', 'the tag 2 is not read: send a text, a number or bytes'],
    ['d9d9f700', 'the tag 55799 is not read: send a text, a number or bytes'],
    ['5f42010243030405ff', 'a byte string of indefinite length is not read: send it in one piece'],
    ['7f657374726561646d696e67ff', 'a text of indefinite length is not read: send it in one piece'],
    ['f0', 'the simple value 16 is not read: send null, true or false'],
    ['f8ff', 'the simple value 255 is not read: send null, true or false'],
    ['3bffffffffffffffff', 'expected an integer of 64 bits, got -18446744073709551616n'],
    ['1c', 'the byte at 0 begins no value: the length in it means nothing there'],
    ['1f', 'the byte at 0 begins no value: the length in it means nothing there'],
    ['df00', 'the byte at 0 begins no value: the length in it means nothing there'],
    ['ff', 'there is an end at 0 where a value is expected'],
    ['62c328', 'the text at 1 is not valid UTF-8'],
    ['63eda080', 'the text at 1 is not valid UTF-8'],
    ['a1010203', 'expected a text as the key of a map at 1, got a value that begins with 0x1'],
    [`a1${'a1'.repeat(50_000)}`, 'expected a text as the key of a map at 1, got a value that begins with 0xa1'],
    ['9bffffffffffffffff', 'a length at 9 says 18446744073709552000 elements, and 0 bytes are left'],
    ['7bffffffffffffffff', 'the bytes end at 9, and a value at 9 needs 18446744073709552000 more'],
  ])('is refused: case %#', (text, problem) => {
    expect(messageOf(() => read(text))).toBe(`codec.decode: any: ${problem}`);
  });

  it('is refused where a list or a map of indefinite length has no end, or an end in the wrong place', () => {
    expect(messageOf(() => read('9f0102'))).toBe(
      'codec.decode: any[2]: the bytes end at 3, and a value at 3 needs 1 more',
    );
    expect(messageOf(() => read('bf6161ff'))).toBe(
      'codec.decode: any.a: there is an end at 3 where a value is expected',
    );
    expect(messageOf(() => read('8201ff'))).toBe(
      'codec.decode: any[1]: there is an end at 2 where a value is expected',
    );
    const tooDeep = /expected at most 1000 levels of nesting/;
    expect(messageOf(() => read('9f'.repeat(100_000)))).toMatch(tooDeep);
    expect(messageOf(() => read('bf6161'.repeat(100_000)))).toMatch(tooDeep);
  });

  it('counts the elements of a list of indefinite length', () => {
    const small = new CborMarshaler({ maxElements: 100 });
    const list = (count: number): Uint8Array => bytesOf(`9f${'00'.repeat(count)}ff`);
    expect(small.unmarshal(anySchema, list(99))).toHaveLength(99);
    expect(() => small.unmarshal(anySchema, list(100))).toThrow(/more than 100 elements/);
  });

  it.each(['application/cbor', 'application/grpc+cbor'])('is what %s names', (contentType) => {
    expect(codecName(contentType)).toBe('cbor');
  });
});

describe('cborg', () => {
  const values = fc.anything({
    key: fc.string({ maxLength: 20 }),
    values: [
      fc.string({ maxLength: 40 }),
      fc.maxSafeInteger(),
      // It reads and writes minus zero as zero where it stands for an integer.
      fc.double().filter((value) => !Object.is(value, -0)),
      fc.boolean(),
      fc.constant(null),
      fc.bigInt(-(2n ** 63n), 2n ** 64n - 1n).filter((one) => !Number.isSafeInteger(Number(one))),
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
    expect(decode(marshaler.marshal(anySchema, Uint8Array.of(1, 2)))).toEqual(Uint8Array.of(1, 2));
  });

  it('writes what is read here', () => {
    fc.assert(
      fc.property(values, (value) => {
        expect(marshaler.unmarshal(anySchema, encode(value))).toEqual(value === undefined ? null : value);
      }),
      { numRuns: 200 },
    );
    expect(marshaler.unmarshal(anySchema, encode({ data: Uint8Array.of(1, 2) }))).toEqual({
      data: Uint8Array.of(1, 2),
    });
  });

  it('reads what is refused here, and other than it was written: why it is not what the codec stands on', () => {
    const marked = `\uFEFF${'a'.repeat(250)}`;
    expect(decode(marshaler.marshal(anySchema, marked))).toBe('a'.repeat(250));
    expect(decode(bytesOf('62c328'))).toBe('\uFFFD(');
    expect(decode(bytesOf('a2 6161 01 6161 02'))).toEqual({ a: 2 });
    expect(decode(encode('half \uD83E'))).toBe('half \uFFFD');
  });
});
