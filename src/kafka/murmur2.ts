/**
 * The hash by which Kafka's own clients give a key its partition, so that all programs write a key into the same one.
 * Gives a number of 31 bits.
 */
export function murmur2(key: Uint8Array): number {
  const m = 0x5bd1e995;
  const whole = key.length & ~3;
  const view = new DataView(key.buffer, key.byteOffset, key.byteLength);
  let hash = 0x9747b28c ^ key.length;
  for (let at = 0; at < whole; at += 4) {
    let k = Math.imul(view.getInt32(at, true), m);
    k = Math.imul(k ^ (k >>> 24), m);
    hash = Math.imul(hash, m) ^ k;
  }
  const rest = key.length - whole;
  if (rest > 0) {
    for (let index = rest - 1; index >= 0; index -= 1) hash ^= view.getUint8(whole + index) << (8 * index);
    hash = Math.imul(hash, m);
  }
  hash = Math.imul(hash ^ (hash >>> 13), m);
  return (hash ^ (hash >>> 15)) & 0x7fff_ffff;
}
