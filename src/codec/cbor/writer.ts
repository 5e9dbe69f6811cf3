import { BinaryWriter } from '../internal/binary-writer.ts';
import { Major } from './format.ts';

/** Writes CBOR with definite lengths. Integers and lengths have their shortest form, floats four bytes or eight. */
export class CborWriter extends BinaryWriter {
  protected override null(): void {
    this.byte(0xf6);
  }

  protected override bool(value: boolean): void {
    this.byte(value ? 0xf5 : 0xf4);
  }

  protected override integer(value: number | bigint): void {
    if (value >= 0) this.#argument(Major.Unsigned, value);
    else this.#argument(Major.Negative, typeof value === 'bigint' ? -1n - value : -1 - value);
  }

  protected override floatHead(bytes: 4 | 8): void {
    this.byte(bytes === 4 ? 0xfa : 0xfb);
  }

  protected override textHead(bytes: number): void {
    this.#argument(Major.Text, bytes);
  }

  protected override bytesHead(bytes: number): void {
    this.#argument(Major.Bytes, bytes);
  }

  protected override listHead(length: number): void {
    this.#argument(Major.List, length);
  }

  protected override mapHead(length: number): void {
    this.#argument(Major.Map, length);
  }

  #argument(major: Major, value: number | bigint): void {
    const type = major << 5;
    if (value < 24) this.byte(type | Number(value));
    else if (value < 2 ** 8) this.head(type | 24, value, 1);
    else if (value < 2 ** 16) this.head(type | 25, value, 2);
    else if (value < 2 ** 32) this.head(type | 26, value, 4);
    else this.head(type | 27, value, 8);
  }
}
