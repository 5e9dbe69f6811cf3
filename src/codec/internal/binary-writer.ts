import { describeValue, fail, keySegment, propertySegment, withFieldPath } from './codec-errors.ts';
import { nestedTooDeep } from './limits.ts';
import { isWellFormed } from './wire-writer.ts';

const firstBytes = 512;
const minSigned = -(2n ** 63n);
const maxUnsigned = 2n ** 64n - 1n;

const remedies: Readonly<Record<string, string>> = { undefined: 'a list cannot leave it out, send null' };

/**
 * Writes one value in a binary format that describes itself. A value that the format cannot carry is refused, and the
 * error names its path.
 */
export abstract class BinaryWriter {
  readonly #maxDepth: number;
  /** The objects that contain the current one. */
  readonly #ancestors = new Set<object>();
  #buffer: Buffer = Buffer.allocUnsafe(firstBytes);
  #pos = 0;

  constructor(maxDepth: number) {
    this.#maxDepth = maxDepth;
  }

  /** Returns the bytes of the value; `undefined` is written as null. Throws a ConversionError. */
  write(value: unknown): Uint8Array {
    this.#value(value === undefined ? null : value, 0);
    return this.#buffer.subarray(0, this.#pos);
  }

  protected abstract null(): void;
  protected abstract bool(value: boolean): void;
  /** Writes a safe integer, or one of 64 bits. */
  protected abstract integer(value: number | bigint): void;
  /** Writes the head of a float of 4 or 8 bytes. */
  protected abstract floatHead(bytes: 4 | 8): void;
  protected abstract textHead(bytes: number): void;
  protected abstract bytesHead(bytes: number): void;
  protected abstract listHead(length: number): void;
  protected abstract mapHead(length: number): void;

  protected byte(value: number): void {
    const at = this.#reserve(1);
    this.#buffer[at] = value;
  }

  /** Writes a byte, and an unsigned integer of one, two, four or eight bytes behind it. */
  protected head(byte: number, value: number | bigint, bytes: 1 | 2 | 4 | 8): void {
    const at = this.#reserve(1 + bytes);
    this.#buffer[at] = byte;
    if (bytes === 8) this.#buffer.writeBigUInt64BE(BigInt.asUintN(64, BigInt(value)), at + 1);
    else this.#buffer.writeUIntBE(Number(value), at + 1, bytes);
  }

  #value(value: unknown, depth: number): void {
    switch (typeof value) {
      case 'string':
        return this.#text(value);
      case 'boolean':
        return this.bool(value);
      case 'number':
        if (Number.isSafeInteger(value) && !Object.is(value, -0)) return this.integer(value);
        return this.#float(value);
      case 'bigint':
        if (value < minSigned || value > maxUnsigned)
          fail(`expected an integer of 64 bits, got ${describeValue(value)}: send its digits`);
        return this.integer(value);
      case 'object':
        return value === null ? this.null() : this.#object(value, depth + 1);
      default:
        fail(`expected a value, got ${describeValue(value)}: ${remedies[typeof value] ?? 'leave it out'}`);
    }
  }

  #object(value: object, depth: number): void {
    if (value instanceof Uint8Array) return this.#bytes(value);
    if (this.#ancestors.has(value)) fail('leads back to itself: leave the link back out');
    if (depth > this.#maxDepth) nestedTooDeep(this.#maxDepth);
    this.#ancestors.add(value);
    const { toJSON } = value as { readonly toJSON?: unknown };
    if (Array.isArray(value)) this.#list(value, depth);
    else if (typeof toJSON === 'function') this.#plain(value, toJSON.call(value, ''), depth);
    else if (value instanceof Number || value instanceof String || value instanceof Boolean) {
      this.#value(value.valueOf(), depth);
    } else {
      refuseOthers(value);
      this.#map(value as Record<string, unknown>, depth);
    }
    this.#ancestors.delete(value);
  }

  /** Writes what `toJSON` of a value has returned. */
  #plain(value: object, plain: unknown, depth: number): void {
    if (value instanceof Date && Number.isNaN(value.getTime())) fail('expected a Date, got an invalid one');
    this.#value(plain === undefined ? null : plain, depth);
  }

  #list(list: readonly unknown[], depth: number): void {
    // It may grow meanwhile, by a getter or `toJSON` of its own.
    const { length } = list;
    this.listHead(length);
    let index = 0;
    try {
      for (; index < length; index += 1) this.#value(list[index], depth);
    } catch (error) {
      throw withFieldPath(keySegment(index), error);
    }
  }

  #map(object: Record<string, unknown>, depth: number): void {
    const keys = Object.keys(object);
    // Each property is read once: a getter may give something else the next time.
    const values = keys.map((key) => object[key]);
    this.mapHead(values.reduce<number>((count, value) => count + Number(value !== undefined), 0));
    for (const [index, key] of keys.entries()) {
      const value = values[index];
      if (value === undefined) continue;
      try {
        this.#text(key);
        this.#value(value, depth);
      } catch (error) {
        throw withFieldPath(propertySegment(key), error);
      }
    }
  }

  #text(text: string): void {
    if (!isWellFormed(text)) fail('the string has half of a surrogate pair, which UTF-8 cannot carry');
    const bytes = Buffer.byteLength(text, 'utf8');
    this.textHead(bytes);
    const at = this.#reserve(bytes);
    this.#buffer.write(text, at, bytes, 'utf8');
  }

  #bytes(bytes: Uint8Array): void {
    this.bytesHead(bytes.length);
    const at = this.#reserve(bytes.length);
    this.#buffer.set(bytes, at);
  }

  /** Writes four bytes if they have the same value. */
  #float(value: number): void {
    const isShort = Object.is(Math.fround(value), value);
    this.floatHead(isShort ? 4 : 8);
    const at = this.#reserve(isShort ? 4 : 8);
    if (isShort) this.#buffer.writeFloatBE(value, at);
    else this.#buffer.writeDoubleBE(value, at);
  }

  /** Makes room for so many bytes, and returns where they begin. */
  #reserve(bytes: number): number {
    const at = this.#pos;
    const end = at + bytes;
    if (end > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(end, 2 * this.#buffer.length));
      this.#buffer.copy(larger, 0, 0, at);
      this.#buffer = larger;
    }
    this.#pos = end;
    return at;
  }
}

/** Throws for an object whose contents are not its properties. */
function refuseOthers(value: object): void {
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer)
    fail(`expected a value, got ${describeValue(value)}: send a Uint8Array`);
  if (value instanceof Map || value instanceof Set)
    fail(`expected a value, got ${describeValue(value)}: make an object or an array of it`);
  if (value instanceof Promise) fail(`expected a value, got ${describeValue(value)}: await it`);
}
