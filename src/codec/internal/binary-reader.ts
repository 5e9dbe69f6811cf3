import { isUtf8 } from 'node:buffer';

import { setOwn } from '../../internal/own.ts';
import { fail, keySegment, propertySegment, withFieldPath } from './codec-errors.ts';
import { nestedTooDeep, tooManyElements } from './limits.ts';

/**
 * Reads one value of a binary format that describes itself, within limits. Each value and each key is an element, and
 * takes a byte at least: what a length declares is not allocated before its bytes are there.
 */
export abstract class BinaryReader {
  protected readonly bytes: Buffer;
  protected pos = 0;
  readonly #maxElements: number;
  readonly #maxDepth: number;
  #left: number;

  constructor(bytes: Uint8Array, maxElements: number, maxDepth: number) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#maxElements = maxElements;
    this.#maxDepth = maxDepth;
    this.#left = maxElements;
  }

  /** Reads the value that all bytes are. Throws a ConversionError. */
  read(): unknown {
    const value = this.#one(0);
    const behind = this.bytes.length - this.pos;
    if (behind > 0) fail(`the value ends at ${this.pos} of ${this.bytes.length} bytes: ${behind} are left`);
    return value;
  }

  /** Reads the value at `pos`, which is within `depth` lists and maps. */
  protected abstract value(depth: number): unknown;

  /** Reads a key of a map. */
  protected abstract key(): string;

  /** Returns true, and passes over it, if a list or a map without a length ends here. */
  protected endsHere(): boolean {
    return false;
  }

  /** Passes over so many bytes, and returns where they begin. */
  protected take(length: number): number {
    const at = this.pos;
    const left = this.bytes.length - at;
    if (length > left) fail(`the bytes end at ${this.bytes.length}, and a value at ${at} needs ${length - left} more`);
    this.pos = at + length;
    return at;
  }

  protected uint8(): number {
    return this.bytes[this.take(1)] as number;
  }

  protected uint16(): number {
    return this.bytes.readUInt16BE(this.take(2));
  }

  protected uint32(): number {
    return this.bytes.readUInt32BE(this.take(4));
  }

  protected float(): number {
    return this.bytes.readFloatBE(this.take(4));
  }

  protected double(): number {
    return this.bytes.readDoubleBE(this.take(8));
  }

  protected text(length: number): string {
    const start = this.take(length);
    const text = this.bytes.toString('utf8', start, this.pos);
    // The decoder puts U+FFFD in the place of invalid bytes; but the sender may have sent that character.
    if (text.includes('\uFFFD') && !isUtf8(this.bytes.subarray(start, this.pos))) {
      fail(`the text at ${start} is not valid UTF-8`);
    }
    return text;
  }

  /** Reads bytes into a copy with memory of its own. */
  protected copy(length: number): Uint8Array {
    const start = this.take(length);
    return new Uint8Array(this.bytes.subarray(start, this.pos));
  }

  /** Reads a list of `length` values; `Infinity` for one that ends where `endsHere` says so. */
  protected list(length: number, depth: number): unknown[] {
    this.#enter(length, depth);
    const list: unknown[] = [];
    try {
      while (list.length < length && !(length === Infinity && this.endsHere())) list.push(this.#one(depth + 1));
    } catch (error) {
      throw withFieldPath(keySegment(list.length), error);
    }
    return list;
  }

  /** Reads a map of `length` keys with their values, as {@link list} does. */
  protected map(length: number, depth: number): Record<string, unknown> {
    this.#enter(2 * length, depth);
    const map: Record<string, unknown> = {};
    for (let index = 0; index < length && !(length === Infinity && this.endsHere()); index += 1) {
      this.#count();
      const key = this.key();
      if (Object.hasOwn(map, key)) fail('is there twice in one map', propertySegment(key));
      try {
        setOwn(map, key, this.#one(depth + 1));
      } catch (error) {
        throw withFieldPath(propertySegment(key), error);
      }
    }
    return map;
  }

  /** The error of a value that there is none of in messages: it says what to send in its place. */
  protected refuse(what: string, remedy: string): never {
    fail(`${what} is not read: ${remedy}`);
  }

  /** The error of a key whose first byte, which was read last, begins no text. */
  protected refuseKey(first: number): never {
    fail(
      `expected a text as the key of a map at ${this.pos - 1}, got a value that begins with 0x${first.toString(16)}`,
    );
  }

  #one(depth: number): unknown {
    this.#count();
    return this.value(depth);
  }

  #count(): void {
    this.#left -= 1;
    if (this.#left < 0) throw tooManyElements(this.#maxElements);
  }

  /** Checks the depth of a list or a map, and that so many elements may follow, and can. */
  #enter(elements: number, depth: number): void {
    if (depth >= this.#maxDepth) nestedTooDeep(this.#maxDepth);
    if (elements === Infinity) return;
    const left = this.bytes.length - this.pos;
    if (elements > left) fail(`a length at ${this.pos} says ${elements} elements, and ${left} bytes are left`);
    if (elements > this.#left) throw tooManyElements(this.#maxElements);
  }
}
