import { expect, test } from '@jest/globals';

import { murmur2 } from '../../src/kafka/murmur2.ts';

test.each([
  ['21', -973_932_308],
  ['foobar', -790_332_482],
  ['a-little-bit-long-string', -985_981_536],
  ['a-little-bit-longer-string', -1_486_304_829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58_897_971],
  ['abc', 479_470_107],
])("the hash of %j is that of Kafka's own clients", (key, hash) => {
  expect(murmur2(Buffer.from(key))).toBe(hash & 0x7fff_ffff);
  // Wherever the bytes begin in their buffer.
  expect(murmur2(Buffer.from(`x${key}`).subarray(1))).toBe(hash & 0x7fff_ffff);
});
