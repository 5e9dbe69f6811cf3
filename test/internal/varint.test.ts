import { describe, expect, it } from '@jest/globals';

import { readFields } from '../../src/internal/protobuf-fields.ts';
import { VarintReader, writeVarint } from '../../src/internal/varint.ts';

const bytesOf = (value: number): number[] => {
  const into = new Uint8Array(10);
  return [...into.subarray(0, writeVarint(into, 0, value))];
};

const numbers = [
  0,
  1,
  127,
  128,
  300,
  2 ** 14 - 1,
  2 ** 14,
  2 ** 28,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 49,
  2 ** 53 - 1,
];

describe('varints', () => {
  it.each(numbers)('round-trip %d', (value) => {
    const bytes = Uint8Array.from([...bytesOf(value), 5]);
    const reader = new VarintReader(bytes);
    expect([reader.varint(), reader.varint(), reader.at]).toEqual([value, 5, bytes.length]);
    reader.at = 0;
    expect([reader.int64(), reader.int64()]).toEqual([value, 5]);
  });

  it('have the bytes that protobuf defines', () => {
    expect(bytesOf(300)).toEqual([0xac, 0x02]);
    expect(bytesOf(-1)).toEqual([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
  });

  it.each([-1, -128, -(2 ** 31), -(2 ** 53 - 1)])('round-trip %d as an int64', (value) => {
    expect(new VarintReader(Uint8Array.from(bytesOf(value))).int64()).toBe(value);
  });

  it('are read as NaN if the bytes end within them', () => {
    for (const value of numbers.filter((one) => one > 127)) {
      const reader = new VarintReader(Uint8Array.from(bytesOf(value)).subarray(0, -1));
      expect([reader.varint(), reader.at === reader.end]).toEqual([Number.NaN, true]);
      reader.at = 0;
      expect(reader.int64()).toBe(Number.NaN);
    }
    expect(new VarintReader().varint()).toBe(Number.NaN);
  });

  it('are read as NaN above 2^53, and if longer than ten bytes', () => {
    expect(new VarintReader(Uint8Array.from([...bytesOf(2 ** 53), 0])).varint()).toBe(Number.NaN);
    const endless = new VarintReader(new Uint8Array(20).fill(0x80));
    expect([endless.varint(), endless.at]).toEqual([Number.NaN, 8]);
    endless.at = 0;
    expect([endless.int64(), endless.at]).toEqual([Number.NaN, 10]);
  });

  it('are not read past the end that the reader has set', () => {
    const reader = new VarintReader(Uint8Array.from([0x80, 0x01]));
    reader.end = 1;
    expect(reader.varint()).toBe(Number.NaN);
  });
});

describe('readFields', () => {
  const read = (...bytes: number[]): { readonly isWhole: boolean; readonly fields: unknown[] } => {
    const fields: unknown[] = [];
    const isWhole = readFields(Uint8Array.from(bytes), (field, value, from, to) => {
      fields.push([field, typeof value === 'object' ? [...value] : value, from, to]);
    });
    return { isWhole, fields };
  };

  it('visits integers, contents and fixed-size fields, with their offsets', () => {
    expect(read(8, 5, 18, 2, 1, 2, 29, 0, 0, 0, 0, 33, 0, 0, 0, 0, 0, 0, 0, 0)).toEqual({
      isWhole: true,
      fields: [
        [1, 5, 0, 2],
        [2, [1, 2], 2, 6],
        [3, undefined, 6, 11],
        [4, undefined, 11, 20],
      ],
    });
  });

  it.each([[[8]], [[8, 0x80]], [[18, 2, 1]], [[18]], [[29, 0, 0]], [[0x80]], [[15]]])(
    'returns false for bytes that are cut or malformed: %j',
    (bytes) => {
      expect(read(...bytes)).toEqual({ isWhole: false, fields: [] });
    },
  );
});
