import { isUtf8 } from 'node:buffer';

import { longs, lowWord, highWord, unsignedLongs, words } from './int64-words.ts';
import { Budget } from './limits.ts';
import { fail } from './codec-errors.ts';

const floats = new DataView(new ArrayBuffer(8));
const nothing: Buffer = Buffer.alloc(0);

/**
 * Reads protobuf's wire format (protobuf.dev: programming-guides/encoding). protobufjs's Reader is not used because it
 * makes a Long of every 64-bit integer, cuts strings off at the end of the buffer and accepts invalid UTF-8.
 *
 * Every read is checked against `end`, the end of the message that is being read.
 */
export class WireReader extends Budget {
  buffer: Buffer = nothing;
  pos = 0;
  end = 0;
  /** The two words of the 64 bits that `#bits()` read last. */
  #low = 0;
  #high = 0;

  /** Begins to read `bytes`, within the limits set before. */
  reset(bytes: Uint8Array): void {
    this.buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.pos = 0;
    this.end = bytes.length;
  }

  /** Drops the bytes, so that a long-lived reader keeps no memory alive. */
  clear(): void {
    this.buffer = nothing;
  }

  /** Reads the tag of the next field: its number and wire type. */
  tag(): number {
    const tag = this.uint32();
    if (tag < 8) fail('the bytes are not a message of this type: a field has the number 0');
    return tag;
  }

  /** Enters a length-delimited value. Returns the end of the enclosing message, for `leave`. */
  enter(): number {
    const outer = this.end;
    const length = this.uint32();
    const end = this.pos + length;
    if (end > outer) this.#truncated();
    this.end = end;
    return outer;
  }

  leave(outer: number): void {
    this.end = outer;
  }

  uint32(): number {
    const { buffer, pos } = this;
    if (pos < this.end) {
      const first = buffer[pos] as number;
      if (first < 128) {
        this.pos = pos + 1;
        return first;
      }
    }
    return this.#longUint32();
  }

  int32(): number {
    return this.uint32() | 0;
  }

  sint32(): number {
    const value = this.uint32();
    return (value >>> 1) ^ -(value & 1);
  }

  bool(): boolean {
    const { buffer, pos } = this;
    if (pos < this.end) {
      const first = buffer[pos] as number;
      if (first < 128) {
        this.pos = pos + 1;
        return first !== 0;
      }
    }
    this.#bits();
    return (this.#low | this.#high) !== 0;
  }

  int64(): bigint {
    this.#bits();
    return this.#signed();
  }

  uint64(): bigint {
    this.#bits();
    return this.#unsigned();
  }

  sint64(): bigint {
    this.#bits();
    const low = this.#low;
    const high = this.#high;
    const sign = -(low & 1);
    this.#low = (((low >>> 1) | (high << 31)) ^ sign) >>> 0;
    this.#high = ((high >>> 1) ^ sign) >>> 0;
    return this.#signed();
  }

  fixed64(): bigint {
    this.#fixedBits();
    return this.#unsigned();
  }

  sfixed64(): bigint {
    this.#fixedBits();
    return this.#signed();
  }

  fixed32(): number {
    const at = this.#take(4);
    return this.buffer.readUInt32LE(at);
  }

  sfixed32(): number {
    const at = this.#take(4);
    return this.buffer.readInt32LE(at);
  }

  float(): number {
    const at = this.#take(4);
    floats.setUint32(0, this.buffer.readUInt32LE(at));
    return floats.getFloat32(0);
  }

  double(): number {
    return this.buffer.readDoubleLE(this.#take(8));
  }

  string(): string {
    const length = this.uint32();
    const start = this.#take(length);
    if (length === 0) return '';
    const text = this.buffer.toString('utf8', start, start + length);
    // The decoder puts U+FFFD in the place of invalid bytes; but the sender may have sent that character.
    if (text.includes('\uFFFD') && !isUtf8(this.buffer.subarray(start, start + length))) {
      fail('the bytes of the string are not valid UTF-8');
    }
    return text;
  }

  /** Reads bytes into a copy, as the owner of the buffer may reuse it. */
  bytes(): Uint8Array {
    this.take(1);
    const length = this.uint32();
    const start = this.#take(length);
    return new Uint8Array(this.buffer.subarray(start, start + length));
  }

  /** Skips the field whose tag was read last. */
  skip(tag: number, depth: number): void {
    switch (tag & 7) {
      case 0:
        this.#bits();
        break;
      case 1:
        this.#take(8);
        break;
      case 2:
        this.#take(this.uint32());
        break;
      case 3:
        this.#skipGroup(tag, depth);
        break;
      case 5:
        this.#take(4);
        break;
      default:
        fail(`the bytes are not a message of this type: a field has the wire type ${tag & 7}`);
    }
  }

  #skipGroup(start: number, depth: number): void {
    this.checkDepth(depth);
    for (;;) {
      const tag = this.tag();
      if ((tag & 7) === 4) {
        if (tag >>> 3 !== start >>> 3)
          fail('the bytes are not a message of this type: a group ends that did not begin');
        return;
      }
      this.skip(tag, depth + 1);
    }
  }

  #longUint32(): number {
    this.#bits();
    return this.#low;
  }

  #bits(): void {
    const { buffer, end } = this;
    let { pos } = this;
    let low = 0;
    let high = 0;
    for (let shift = 0; ; shift += 7) {
      if (pos >= end) this.#truncated();
      if (shift > 63) fail('the bytes are not a message of this type: a number is longer than ten bytes');
      const byte = buffer[pos] as number;
      pos += 1;
      const bits = byte & 127;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (shift - 32);
      if (byte < 128) break;
    }
    this.pos = pos;
    this.#low = low >>> 0;
    this.#high = high >>> 0;
  }

  #fixedBits(): void {
    const at = this.#take(8);
    this.#low = this.buffer.readUInt32LE(at);
    this.#high = this.buffer.readUInt32LE(at + 4);
  }

  #signed(): bigint {
    words[lowWord] = this.#low;
    words[highWord] = this.#high;
    return longs[0] as bigint;
  }

  #unsigned(): bigint {
    words[lowWord] = this.#low;
    words[highWord] = this.#high;
    return unsignedLongs[0] as bigint;
  }

  #take(length: number): number {
    const at = this.pos;
    if (length > this.end - at) this.#truncated();
    this.pos = at + length;
    return at;
  }

  #truncated(): never {
    fail('the bytes are not a message of this type: they end in the middle of a field');
  }
}

/** Converts a 64-bit integer to a number. Throws if it is not a safe integer. */
export function safeNumber(value: bigint): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) fail(`${value} does not fit a number; load the .proto with int64: 'bigint'`);
  return number;
}
