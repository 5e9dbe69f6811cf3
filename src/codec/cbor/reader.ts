import { BinaryReader } from '../internal/binary-reader.ts';
import { describeValue, fail } from '../internal/codec-errors.ts';
import { numberOrBigint } from '../internal/int64-words.ts';
import { Major } from './format.ts';

const endOfIndefinite = 0xff;

/** Reads CBOR. Tags, text and bytes in pieces, and simple values of others are refused: no message needs them. */
export class CborReader extends BinaryReader {
  protected override value(depth: number): unknown {
    const first = this.uint8();
    const info = first & 0x1f;
    switch (first >> 5) {
      case Major.Unsigned:
        return this.#integer(info);
      case Major.Negative:
        return this.#negative(this.#integer(info));
      case Major.Bytes:
        return this.copy(this.#wholeLength('a byte string', info));
      case Major.Text:
        return this.text(this.#wholeLength('a text', info));
      case Major.List:
        return this.list(this.#length(info), depth);
      case Major.Map:
        return this.map(this.#length(info), depth);
      case Major.Tag:
        return this.refuse(`the tag ${this.#integer(info)}`, 'send a text, a number or bytes');
      default:
        return this.#simple(first, info);
    }
  }

  protected override key(): string {
    const first = this.uint8();
    if (first >> 5 === Major.Text) return this.text(this.#wholeLength('a text', first & 0x1f));
    return this.refuseKey(first);
  }

  protected override endsHere(): boolean {
    if (this.bytes[this.pos] !== endOfIndefinite) return false;
    this.pos += 1;
    return true;
  }

  #integer(info: number): number | bigint {
    if (info < 24) return info;
    switch (info) {
      case 24:
        return this.uint8();
      case 25:
        return this.uint16();
      case 26:
        return this.uint32();
      case 27:
        return numberOrBigint(this.bytes.readBigUInt64BE(this.take(8)));
      default:
        return fail(`the byte at ${this.pos - 1} begins no value: the length in it means nothing there`);
    }
  }

  #negative(value: number | bigint): number | bigint {
    if (typeof value === 'number' && value < Number.MAX_SAFE_INTEGER) return -1 - value;
    const negative = -1n - BigInt(value);
    if (negative < -(2n ** 63n)) fail(`expected an integer of 64 bits, got ${describeValue(negative)}`);
    return numberOrBigint(negative);
  }

  /** Reads the length of a list or a map; `Infinity` if there is none. */
  #length(info: number): number {
    // A bigint is more than any number of bytes that can be there.
    return info === 31 ? Infinity : Number(this.#integer(info));
  }

  #wholeLength(what: string, info: number): number {
    if (info === 31) this.refuse(`${what} of indefinite length`, 'send it in one piece');
    return this.#length(info);
  }

  #simple(first: number, info: number): unknown {
    switch (first) {
      case 0xf4:
        return false;
      case 0xf5:
        return true;
      case 0xf6:
      // Undefined, which is null where a value has to be.
      case 0xf7:
        return null;
      case 0xf9:
        return halfFloat(this.uint16());
      case 0xfa:
        return this.float();
      case 0xfb:
        return this.double();
      case endOfIndefinite:
        return fail(`there is an end at ${this.pos - 1} where a value is expected`);
      default:
        return this.refuse(`the simple value ${info === 24 ? this.uint8() : info}`, 'send null, true or false');
    }
  }
}

/** Gives the number that 16 bits are as a float (IEEE 754; RFC 8949, appendix D). */
function halfFloat(bits: number): number {
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  const sign = bits >> 15 === 0 ? 1 : -1;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent < 31) return sign * (1024 + fraction) * 2 ** (exponent - 25);
  return fraction === 0 ? sign * Infinity : NaN;
}
