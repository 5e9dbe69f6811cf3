/** One 64-bit integer, seen as such and as its halves: the cheapest way from a bigint to words and back. */
export const longs = new BigInt64Array(1);
export const unsignedLongs = new BigUint64Array(longs.buffer);
export const words = new Uint32Array(longs.buffer);

/** Where the halves are in `words`: on machines of the other byte order they are the other way round. */
export const lowWord = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1 ? 0 : 1;
export const highWord = 1 - lowWord;

const maxSigned = 2n ** 63n - 1n;
const minSigned = -(2n ** 63n);
const maxUnsigned = 2n ** 64n - 1n;
const decimal = /^-?\d{1,20}$/;
const twoTo32 = 4_294_967_296;

/**
 * Puts a 64-bit integer into `words`: a bigint, a safe integer or decimal digits. Returns whether it is one.
 */
export function splitLong(value: unknown, isUnsigned: boolean): boolean {
  if (typeof value === 'bigint') {
    if (isUnsigned ? value < 0n || value > maxUnsigned : value < minSigned || value > maxSigned) return false;
    longs[0] = value;
    return true;
  }
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value) || (isUnsigned && value < 0)) return false;
    words[lowWord] = value;
    words[highWord] = Math.floor(value / twoTo32);
    return true;
  }
  return typeof value === 'string' && decimal.test(value) && splitLong(BigInt(value), isUnsigned);
}
