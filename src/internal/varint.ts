/** The most bytes of a varint. */
export const maxVarintBytes = 10;
/** The most bytes of a varint from 0 to 2^53; the number of a longer one would not be exact. */
export const maxExactVarintBytes = 8;

const nothing = new Uint8Array(0);

/**
 * Writes a whole number, 7 bits a byte, the lowest first (LEB128, as in protobuf), and gives the offset after it. A
 * negative one is written as its complement in 64 bits, in ten bytes, as protobuf has an int64. `into` must have room.
 */
export function writeVarint(into: Uint8Array, at: number, value: number): number {
  if (value >= 0 && value < 0x80) {
    into[at] = value;
    return at + 1;
  }
  let next = at;
  let low = value >>> 0;
  let high = Math.floor(value / 0x1_0000_0000) >>> 0;
  while (high > 0 || low > 0x7f) {
    into[next++] = (low & 0x7f) | 0x80;
    low = ((low >>> 7) | (high << 25)) >>> 0;
    high >>>= 7;
  }
  into[next++] = low;
  return next;
}

/** Reads whole numbers from the bytes between `at` and `end`. */
export class VarintReader<Bytes extends Uint8Array = Uint8Array> {
  data: Bytes;
  /** The offset of the next number. */
  at = 0;
  end = 0;

  constructor(data: Bytes = nothing as Uint8Array as Bytes) {
    this.data = data;
    this.end = data.length;
  }

  /** Reads a number up to 2^53; NaN if the bytes end within it (then none are left), or if it is larger. */
  varint(): number {
    const { data, at } = this;
    if (at < this.end) {
      const first = data[at] as number;
      if (first < 0x80) {
        this.at = at + 1;
        return first;
      }
    }
    return this.#longVarint();
  }

  /**
   * Reads a number as protobuf's int64: up to ten bytes, and negative if the highest of 64 bits is set. It is not exact
   * beyond 2^53; NaN if the bytes end within it.
   */
  int64(): number {
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 7 * maxVarintBytes && this.at < this.end; shift += 7) {
      const byte = this.data[this.at++] as number;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else if (shift < 64) high |= bits << (shift - 32);
      if (byte < 0x80) return high * 0x1_0000_0000 + (low >>> 0);
    }
    return Number.NaN;
  }

  #longVarint(): number {
    let value = 0;
    let factor = 1;
    for (let length = 0; length < maxExactVarintBytes && this.at < this.end; length += 1) {
      const byte = this.data[this.at++] as number;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return Number.isSafeInteger(value) ? value : Number.NaN;
      factor *= 0x80;
    }
    return Number.NaN;
  }
}
