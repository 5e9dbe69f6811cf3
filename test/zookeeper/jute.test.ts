import { describe, expect, it } from '@jest/globals';

import { JuteReader, JuteWriter, MalformedPacket, PacketSplitter } from '../../src/zookeeper/jute.ts';
import { int, long, packet, text } from './support.ts';

function lengthsOf(splitter: PacketSplitter, chunk: Buffer): number[] {
  return Array.from(splitter.split(chunk), ({ bytes }) => bytes.length);
}

describe('JuteWriter', () => {
  it('writes what the protocol says, with the length in front', () => {
    const writer = new JuteWriter()
      .int(-7)
      .long(2n ** 40n)
      .bool(true)
      .text('ü')
      .bytes(Buffer.of(1, 2));
    writer.list(['a', 'bc'], (to, one) => to.text(one));
    const expected = packet(
      int(-7),
      long(2n ** 40n),
      Buffer.of(1),
      text('ü'),
      int(2),
      Buffer.of(1, 2),
      int(2),
      text('a'),
      text('bc'),
    );
    expect(writer.packet()).toEqual(expected);
  });

  it('grows with what is written', () => {
    const long = 'x'.repeat(100_000);
    const written = new JuteWriter().text('a').text(long).int(5).packet();
    const reader = new JuteReader(written.subarray(4));
    expect([reader.text(), reader.text(), reader.int(), reader.left]).toEqual(['a', long, 5, 0]);
  });
});

describe('JuteReader', () => {
  it('reads null as empty', () => {
    const reader = new JuteReader(Buffer.concat([int(-1), int(-1), int(-1)]));
    expect([reader.text(), reader.bytes().length, reader.list((one) => one.text())]).toEqual(['', 0, []]);
  });

  it.each<[what: string, bytes: Buffer, read: (reader: JuteReader) => unknown]>([
    ['an int of 3 bytes', Buffer.alloc(3), (reader) => reader.int()],
    ['a long of 7 bytes', Buffer.alloc(7), (reader) => reader.long()],
    ['no bool', Buffer.alloc(0), (reader) => reader.bool()],
    ['a text longer than the packet', Buffer.concat([int(5), Buffer.alloc(4)]), (reader) => reader.text()],
    ['a negative length', int(-2), (reader) => reader.bytes()],
    ['the least length', int(-(2 ** 31)), (reader) => reader.text()],
    ['the largest length', int(2 ** 31 - 1), (reader) => reader.bytes()],
    ['a list of 2 billion', int(2 ** 31 - 1), (reader) => reader.list((one) => one.text())],
    ['a negative list', int(-9), (reader) => reader.list((one) => one.text())],
    ['a list that ends early', Buffer.concat([int(2), text('a')]), (reader) => reader.list((one) => one.text())],
  ])('refuses %s', (_what, bytes, read) => {
    expect(() => read(new JuteReader(bytes))).toThrow(MalformedPacket);
  });
});

describe('PacketSplitter', () => {
  it('gives the same packets wherever what is received was cut', () => {
    const stream = Buffer.concat([packet(text('a')), packet(), packet(Buffer.alloc(300, 7)), packet(int(1))]);
    for (const size of [1, 2, 3, 5, 100, 1_000]) {
      const splitter = new PacketSplitter(1_000);
      const lengths: number[] = [];
      for (let at = 0; at < stream.length; at += size)
        lengths.push(...lengthsOf(splitter, stream.subarray(at, at + size)));
      expect(lengths).toEqual([5, 0, 300, 4]);
    }
  });

  it('keeps the head of a packet that is too large, and passes over the rest', () => {
    const stream = Buffer.concat([
      packet(Buffer.alloc(90, 1)),
      packet(int(5)),
      packet(Buffer.alloc(11)),
      packet(int(6)),
    ]);
    for (const size of [1, 7, 19, 20, 21, 94, 1_000]) {
      const splitter = new PacketSplitter(10);
      const found: unknown[] = [];
      for (let at = 0; at < stream.length; at += size)
        for (const { bytes, length, isTooLarge } of splitter.split(stream.subarray(at, at + size)))
          found.push([bytes.length, length, isTooLarge]);
      expect(found).toEqual([
        [16, 90, true],
        [4, 4, false],
        [11, 11, true],
        [4, 4, false],
      ]);
    }
  });

  it.each([-1, -(2 ** 31), 2 ** 31 - 1, 1_213_486_160])('refuses a length of %d', (length) => {
    expect(() => lengthsOf(new PacketSplitter(1_000), int(length))).toThrow(MalformedPacket);
  });
});
