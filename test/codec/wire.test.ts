import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import protobuf from 'protobufjs';

import { Timestamp } from '../../src/codec/time.ts';
import { arbitrary, names, tidy } from './arbitraries.ts';
import { kinds, typeOf } from './support.ts';

/** The same .proto in protobufjs alone: what our bytes are compared with, both ways. */
const root = protobuf.loadSync(new URL('./all-kinds.proto', import.meta.url).pathname);

describe.each(names)('a message of kinds.%s', (name) => {
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

describe('golden bytes of protobuf', () => {
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

  it.each(cases)('are what both tenon and protobufjs write for %s %p', (name, value, theirValue, golden) => {
    const theirs = root.lookupType(`kinds.${name}`);
    const type = typeOf(`kinds.${name}`);
    expect(Buffer.from(type.encode(value)).toString('hex')).toBe(golden);
    expect(Buffer.from(theirs.encode(theirs.fromObject(theirValue)).finish()).toString('hex')).toBe(golden);
    expect(type.decode(Buffer.from(golden, 'hex'))).toMatchObject(value);
  });

  it('cover every type of the file', () => {
    expect(new Set(cases.map(([name]) => name))).toEqual(new Set(names.filter((name) => name !== 'Tree')));
    expect(kinds.services).toHaveLength(1);
  });
});
