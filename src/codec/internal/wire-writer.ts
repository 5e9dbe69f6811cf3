import { highWord, lowWord, splitLong, words } from './int64-words.ts';
import { DepthLimit } from './limits.ts';
import { describeValue, fail } from './codec-errors.ts';

const chunkSize = 16_384;
/** A string of at most this length has a length prefix of one byte: 42 × 3 < 128. */
const shortString = 42;
const none: Buffer = Buffer.alloc(0);

/**
 * Writes protobuf's wire format. Messages are written one after another into a chunk of memory and given out as views
 * of it, as `Buffer.allocUnsafe` does: without a list of operations, a second pass or a copy. Memory of a view is never
 * written again.
 *
 * The methods named after scalar types check their values: see docs/codec.md.
 */
export class WireWriter extends DepthLimit {
  #buffer: Buffer = none;
  #start = 0;
  #pos = 0;

  /** Discards the bytes written since the last `finish`. */
  abandon(): void {
    if (this.#buffer.length > chunkSize) this.#buffer = none;
    if (this.#buffer === none) this.#start = 0;
    this.#pos = this.#start;
  }

  /** Gives the bytes written since the last `finish`. */
  finish(): Uint8Array {
    const bytes = this.#buffer.subarray(this.#start, this.#pos);
    // A large message does not keep the rest of its memory for the next.
    if (this.#buffer.length > chunkSize) this.#buffer = none;
    this.#start = this.#buffer === none ? 0 : this.#pos;
    this.#pos = this.#start;
    return bytes;
  }

  /** Begins a length-delimited value, with one byte for its length, which `close` writes. Most are below 128 bytes. */
  open(): number {
    this.#reserve(1);
    this.#pos += 1;
    return this.#pos - this.#start;
  }

  close(mark: number): void {
    const begin = this.#start + mark;
    const length = this.#pos - begin;
    if (length < 128) {
      this.#buffer[begin - 1] = length;
      return;
    }
    const shift = length < 16_384 ? 1 : length < 2_097_152 ? 2 : length < 268_435_456 ? 3 : 4;
    this.#reserve(shift);
    const at = this.#start + mark;
    this.#buffer.copyWithin(at + shift, at, at + length);
    this.#pos = at - 1;
    this.varint(length);
    this.#pos = at + shift + length;
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#buffer[this.#pos] = value;
    this.#pos += 1;
  }

  /** Writes an unsigned 32-bit integer. */
  varint(value: number): void {
    this.#reserve(5);
    const buffer = this.#buffer;
    let pos = this.#pos;
    let rest = value;
    while (rest > 127) {
      buffer[pos++] = (rest & 127) | 128;
      rest >>>= 7;
    }
    buffer[pos++] = rest;
    this.#pos = pos;
  }

  int32(value: unknown): void {
    if (typeof value !== 'number' || (value | 0) !== value) fail(`expected an int32, got ${describeValue(value)}`);
    if (value >= 0) this.varint(value);
    else {
      // Ten bytes: a negative number is sign-extended to 64 bits.
      words[lowWord] = value;
      words[highWord] = 0xffff_ffff;
      this.#longVarint();
    }
  }

  uint32(value: unknown): void {
    if (typeof value !== 'number' || value >>> 0 !== value) fail(`expected a uint32, got ${describeValue(value)}`);
    this.varint(value);
  }

  sint32(value: unknown): void {
    if (typeof value !== 'number' || (value | 0) !== value) fail(`expected a sint32, got ${describeValue(value)}`);
    this.varint(((value << 1) ^ (value >> 31)) >>> 0);
  }

  fixed32(value: unknown): void {
    if (typeof value !== 'number' || value >>> 0 !== value) fail(`expected a fixed32, got ${describeValue(value)}`);
    this.#word(value);
  }

  sfixed32(value: unknown): void {
    if (typeof value !== 'number' || (value | 0) !== value) fail(`expected an sfixed32, got ${describeValue(value)}`);
    this.#word(value);
  }

  bool(value: unknown): void {
    if (typeof value !== 'boolean') fail(`expected a bool, got ${describeValue(value)}`);
    this.varint(value ? 1 : 0);
  }

  int64(value: unknown): void {
    if (!splitLong(value, false))
      fail(`expected an int64 (a bigint, a safe integer or digits), got ${describeValue(value)}`);
    this.#longVarint();
  }

  uint64(value: unknown): void {
    if (!splitLong(value, true))
      fail(`expected a uint64 (a bigint, a safe integer or digits), got ${describeValue(value)}`);
    this.#longVarint();
  }

  sint64(value: unknown): void {
    if (!splitLong(value, false))
      fail(`expected a sint64 (a bigint, a safe integer or digits), got ${describeValue(value)}`);
    const low = words[lowWord] as number;
    const high = words[highWord] as number;
    const sign = (high | 0) >> 31;
    words[lowWord] = (low << 1) ^ sign;
    words[highWord] = ((high << 1) | (low >>> 31)) ^ sign;
    this.#longVarint();
  }

  fixed64(value: unknown): void {
    if (!splitLong(value, true))
      fail(`expected a fixed64 (a bigint, a safe integer or digits), got ${describeValue(value)}`);
    this.#longWord();
  }

  sfixed64(value: unknown): void {
    if (!splitLong(value, false))
      fail(`expected an sfixed64 (a bigint, a safe integer or digits), got ${describeValue(value)}`);
    this.#longWord();
  }

  float(value: unknown): void {
    if (typeof value !== 'number') fail(`expected a float, got ${describeValue(value)}`);
    if (Number.isFinite(value) && !Number.isFinite(Math.fround(value)))
      fail(`expected a float, got ${value}, which is beyond its range`);
    this.#reserve(4);
    this.#pos = this.#buffer.writeFloatLE(value, this.#pos);
  }

  double(value: unknown): void {
    if (typeof value !== 'number') fail(`expected a double, got ${describeValue(value)}`);
    this.#reserve(8);
    this.#pos = this.#buffer.writeDoubleLE(value, this.#pos);
  }

  bytes(value: unknown): void {
    if (!(value instanceof Uint8Array)) fail(`expected bytes (a Uint8Array), got ${describeValue(value)}`);
    const { length } = value;
    this.varint(length);
    this.#reserve(length);
    this.#buffer.set(value, this.#pos);
    this.#pos += length;
  }

  string(value: unknown): void {
    if (typeof value !== 'string') fail(`expected a string, got ${describeValue(value)}`);
    if (value.length <= shortString) {
      this.#shortString(value);
      return;
    }
    if (!isWellFormed(value)) loneSurrogate();
    const length = Buffer.byteLength(value, 'utf8');
    this.varint(length);
    this.#reserve(length);
    this.#pos += this.#buffer.write(value, this.#pos, length, 'utf8');
  }

  /** Encodes in JavaScript, which for a few dozen characters costs less than a call into the engine. */
  #shortString(value: string): void {
    this.#reserve(1 + value.length * 3);
    const buffer = this.#buffer;
    const begin = this.#pos + 1;
    let pos = begin;
    for (let i = 0; i < value.length; i += 1) {
      const unit = value.charCodeAt(i);
      if (unit < 0x80) buffer[pos++] = unit;
      else if (unit < 0x800) {
        buffer[pos++] = (unit >> 6) | 0xc0;
        buffer[pos++] = (unit & 0x3f) | 0x80;
      } else if (unit < 0xd800 || unit > 0xdfff) {
        buffer[pos++] = (unit >> 12) | 0xe0;
        buffer[pos++] = ((unit >> 6) & 0x3f) | 0x80;
        buffer[pos++] = (unit & 0x3f) | 0x80;
      } else {
        const next = value.charCodeAt(i + 1);
        if (unit > 0xdbff || next < 0xdc00 || !(next <= 0xdfff)) loneSurrogate();
        const point = 0x10000 + ((unit & 0x3ff) << 10) + (next & 0x3ff);
        i += 1;
        buffer[pos++] = (point >> 18) | 0xf0;
        buffer[pos++] = ((point >> 12) & 0x3f) | 0x80;
        buffer[pos++] = ((point >> 6) & 0x3f) | 0x80;
        buffer[pos++] = (point & 0x3f) | 0x80;
      }
    }
    buffer[begin - 1] = pos - begin;
    this.#pos = pos;
  }

  #word(value: number): void {
    this.#reserve(4);
    this.#pos = this.#buffer.writeInt32LE(value | 0, this.#pos);
  }

  #longWord(): void {
    this.#word(words[lowWord] as number);
    this.#word(words[highWord] as number);
  }

  #longVarint(): void {
    this.#reserve(10);
    const buffer = this.#buffer;
    let pos = this.#pos;
    let low = words[lowWord] as number;
    let high = words[highWord] as number;
    while (high !== 0) {
      buffer[pos++] = (low & 127) | 128;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    while (low > 127) {
      buffer[pos++] = (low & 127) | 128;
      low >>>= 7;
    }
    buffer[pos++] = low;
    this.#pos = pos;
  }

  #reserve(length: number): void {
    if (this.#pos + length > this.#buffer.length) this.#grow(length);
  }

  #grow(length: number): void {
    const written = this.#pos - this.#start;
    const needed = written + length;
    const buffer = Buffer.allocUnsafeSlow(needed <= chunkSize / 4 ? chunkSize : needed * 2);
    this.#buffer.copy(buffer, 0, this.#start, this.#pos);
    this.#buffer = buffer;
    this.#start = 0;
    this.#pos = written;
  }
}

function loneSurrogate(): never {
  fail('the string has half of a surrogate pair, which UTF-8 cannot carry');
}

/** True for text that UTF-8 can carry: without halves of surrogate pairs. */
export function isWellFormed(text: string): boolean {
  // Every supported Node has the method, but not the library of types that this project compiles against.
  return (text as string & { isWellFormed(): boolean }).isWellFormed();
}
