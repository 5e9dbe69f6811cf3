import { BinaryWriter } from '../internal/binary-writer.ts';

const limit8 = 2 ** 8;
const limit16 = 2 ** 16;
const limit32 = 2 ** 32;

/** Writes MessagePack, each value in its shortest form. */
export class MsgpackWriter extends BinaryWriter {
  protected override null(): void {
    this.byte(0xc0);
  }

  protected override bool(value: boolean): void {
    this.byte(value ? 0xc3 : 0xc2);
  }

  protected override integer(value: number | bigint): void {
    if (value >= 0) {
      if (value < 0x80) this.byte(Number(value));
      else if (value < limit8) this.head(0xcc, value, 1);
      else if (value < limit16) this.head(0xcd, value, 2);
      else if (value < limit32) this.head(0xce, value, 4);
      else this.head(0xcf, value, 8);
    } else if (value >= -0x20) this.byte(limit8 + Number(value));
    else if (value >= -limit8 / 2) this.head(0xd0, limit8 + Number(value), 1);
    else if (value >= -limit16 / 2) this.head(0xd1, limit16 + Number(value), 2);
    else if (value >= -limit32 / 2) this.head(0xd2, limit32 + Number(value), 4);
    else this.head(0xd3, value, 8);
  }

  protected override floatHead(bytes: 4 | 8): void {
    this.byte(bytes === 4 ? 0xca : 0xcb);
  }

  protected override textHead(bytes: number): void {
    if (bytes < 32) this.byte(0xa0 | bytes);
    else if (bytes < limit8) this.head(0xd9, bytes, 1);
    else this.#long(0xda, bytes);
  }

  protected override bytesHead(bytes: number): void {
    if (bytes < limit8) this.head(0xc4, bytes, 1);
    else this.#long(0xc5, bytes);
  }

  protected override listHead(length: number): void {
    if (length < 16) this.byte(0x90 | length);
    else this.#long(0xdc, length);
  }

  protected override mapHead(length: number): void {
    if (length < 16) this.byte(0x80 | length);
    else this.#long(0xde, length);
  }

  /** Writes a length of two bytes, or of four, whose type is the next. */
  #long(type: number, length: number): void {
    if (length < limit16) this.head(type, length, 2);
    else this.head(type + 1, length, 4);
  }
}
