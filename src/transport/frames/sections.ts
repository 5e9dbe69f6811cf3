import { Code, TenonError } from '../../errors/errors.ts';
import { maxExactVarintBytes, VarintReader, writeVarint } from '../../internal/varint.ts';
import { FrameError, maxSectionBytes } from './format.ts';

// Below it a loop in JavaScript is faster than a call into Node.
const shortBytes = 32;

/**
 * A buffer for the sections that a frame carries beside its body, filled before their length is known. One serves all
 * connections of a transport: it is empty again when a frame is written.
 */
export class Sections {
  readonly buffer: Buffer = Buffer.allocUnsafeSlow(maxSectionBytes);
  length = 0;

  /** A whole number, up to 2^53. */
  varint(value: number): void {
    this.#room(value < 0x80 ? 1 : maxExactVarintBytes);
    this.length = writeVarint(this.buffer, this.length, value);
  }

  uint32(value: number): void {
    this.#room(4);
    this.length = this.buffer.writeUInt32BE(value, this.length);
  }

  /** Writes printable ASCII after its length. Returns false, with invalid bytes, for any other character. */
  text(value: string): boolean {
    const { length } = value;
    this.varint(length);
    this.#room(length);
    if (length > shortBytes) {
      if (!printable.test(value)) return false;
      this.length += this.buffer.write(value, this.length, 'latin1');
      return true;
    }
    for (let index = 0; index < length; index += 1) {
      const letter = value.charCodeAt(index);
      if (letter < 0x20 || letter > 0x7e) return false;
      this.buffer[this.length + index] = letter;
    }
    this.length += length;
    return true;
  }

  /** Writes any text in UTF-8, after its length in bytes. */
  utf8(value: string): void {
    const length = Buffer.byteLength(value);
    this.varint(length);
    this.#room(length);
    this.length += this.buffer.write(value, this.length);
  }

  bytes(value: Uint8Array): void {
    this.#room(value.length);
    this.buffer.set(value, this.length);
    this.length += value.length;
  }

  #room(bytes: number): void {
    if (this.length + bytes > maxSectionBytes) throw tooMuch();
  }
}

const printable = /^[\x20-\x7e]*$/;

/** Reads the payload of a frame. Every step past its end is a {@link FrameError}. */
export class FrameCursor extends VarintReader<Buffer> {
  constructor() {
    super(Buffer.alloc(0));
  }

  get left(): number {
    return this.end - this.at;
  }

  over(data: Buffer, start: number, end: number): this {
    this.data = data;
    this.at = start;
    this.end = end;
    return this;
  }

  override varint(): number {
    const value = super.varint();
    if (Number.isNaN(value)) throw this.left > 0 ? new FrameError('a number beyond 2^53') : cutOff();
    return value;
  }

  byte(): number {
    if (this.at >= this.end) throw cutOff();
    const value = this.data[this.at] as number;
    this.at += 1;
    return value;
  }

  uint16(): number {
    const start = this.#skip(2);
    return this.data.readUInt16BE(start);
  }

  uint32(): number {
    const start = this.#skip(4);
    return this.data.readUInt32BE(start);
  }

  /** Reads printable ASCII. */
  ascii(length: number): string {
    const start = this.#skip(length);
    const text = this.data.toString('latin1', start, this.at);
    if (!printable.test(text)) throw new FrameError('text outside printable ASCII in metadata');
    return text;
  }

  utf8(length: number): string {
    const start = this.#skip(length);
    return this.data.toString('utf8', start, this.at);
  }

  /** Reads bytes into a copy, which does not keep the received packet in memory. */
  copy(length: number): Uint8Array {
    const start = this.#skip(length);
    return new Uint8Array(this.data.subarray(start, this.at));
  }

  /** Reads the remaining bytes, without a copy. */
  rest(): Buffer {
    const start = this.at;
    this.at = this.end;
    return this.data.subarray(start, this.end);
  }

  #skip(length: number): number {
    const start = this.at;
    // The negation also refuses NaN.
    if (!(length >= 0 && length <= this.end - start)) throw cutOff();
    this.at = start + length;
    return start;
  }
}

function cutOff(): FrameError {
  return new FrameError('a frame is shorter than what it should hold');
}

function tooMuch(): TenonError {
  return new TenonError({
    code: Code.ResourceExhausted,
    reason: 'transport.headers_too_large',
    message: `metadata and status of a message have more than ${maxSectionBytes} bytes: send large things in the message itself`,
  });
}
