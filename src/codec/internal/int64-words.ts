/*
 * One 64-bit integer of memory, seen as a bigint and as two words of 32 bits: the cheapest way from one to the other.
 */

/** The memory as a signed 64-bit integer. */
export const longs = new BigInt64Array(1);
/** The memory as an unsigned 64-bit integer. */
export const unsignedLongs = new BigUint64Array(longs.buffer);
/** The memory as two words of 32 bits, at {@link lowWord} and {@link highWord}. */
export const words = new Uint32Array(longs.buffer);

/** Index of the lower 32 bits in `words`, which depends on the byte order of the machine. */
export const lowWord = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1 ? 0 : 1;
/** Index of the upper 32 bits in `words`. */
export const highWord = 1 - lowWord;

const maxSigned = 2n ** 63n - 1n;
const minSigned = -(2n ** 63n);
const maxUnsigned = 2n ** 64n - 1n;
const decimal = /^-?\d{1,20}$/;
const twoTo32 = 4_294_967_296;

/**
 * Writes a 64-bit integer, given as a bigint, a safe integer or decimal digits, into `words`. Returns false for a value
 * that is no such integer, or out of range.
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

/** Gives a 64-bit integer as a number if that is exact, else as a bigint. */
export function numberOrBigint(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
