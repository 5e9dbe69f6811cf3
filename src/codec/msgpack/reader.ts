import { BinaryReader } from '../internal/binary-reader.ts';
import { fail } from '../internal/codec-errors.ts';
import { numberOrBigint } from '../internal/int64-words.ts';

/** Reads MessagePack. Extension types are refused: no value of a message needs one. */
export class MsgpackReader extends BinaryReader {
  protected override value(depth: number): unknown {
    const type = this.uint8();
    if (type < 0x80) return type;
    if (type < 0x90) return this.map(type & 0x0f, depth);
    if (type < 0xa0) return this.list(type & 0x0f, depth);
    if (type < 0xc0) return this.text(type & 0x1f);
    if (type >= 0xe0) return type - 0x100;
    return this.#typed(type, depth);
  }

  protected override key(): string {
    const type = this.uint8();
    if (type >= 0xa0 && type < 0xc0) return this.text(type & 0x1f);
    if (type >= 0xd9 && type <= 0xdb) return this.text(this.#length(type - 0xd9));
    return this.refuseKey(type);
  }

  #typed(type: number, depth: number): unknown {
    switch (type) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.copy(this.#length(type - 0xc4));
      case 0xc7:
      case 0xc8:
      case 0xc9:
        return this.#extension(this.#length(type - 0xc7));
      case 0xca:
        return this.float();
      case 0xcb:
        return this.double();
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.#length(type - 0xcc);
      case 0xcf:
        return numberOrBigint(this.bytes.readBigUInt64BE(this.take(8)));
      case 0xd0:
        return this.bytes.readInt8(this.take(1));
      case 0xd1:
        return this.bytes.readInt16BE(this.take(2));
      case 0xd2:
        return this.bytes.readInt32BE(this.take(4));
      case 0xd3:
        return numberOrBigint(this.bytes.readBigInt64BE(this.take(8)));
      case 0xd4:
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8:
        return this.#extension(2 ** (type - 0xd4));
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.text(this.#length(type - 0xd9));
      case 0xdc:
      case 0xdd:
        return this.list(this.#length(type - 0xdb), depth);
      case 0xde:
      case 0xdf:
        return this.map(this.#length(type - 0xdd), depth);
      default:
        return fail(`the byte 0x${type.toString(16)} at ${this.pos - 1} begins no value`);
    }
  }

  /** Reads a length of one byte (0), two (1) or four (2). */
  #length(size: number): number {
    if (size === 0) return this.uint8();
    return size === 1 ? this.uint16() : this.uint32();
  }

  #extension(length: number): never {
    const type = this.bytes.readInt8(this.take(1));
    this.take(length);
    const what = type === -1 ? 'a timestamp (an extension of type -1)' : `an extension of type ${type}`;
    return this.refuse(what, 'send a text, a number or bytes');
  }
}
