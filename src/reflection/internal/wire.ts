/** A field of a serialized message: its number, and its value where it is a varint or has a length. */
export interface WireField {
  readonly number: number;
  readonly varint: number;
  readonly bytes: Uint8Array;
  /** All of it, tag included. */
  readonly raw: Uint8Array;
}

const nothing = new Uint8Array(0);
const texts = new TextDecoder();

/**
 * The fields of a serialized message in order, without its type (protobuf.dev: programming-guides/encoding): descriptors are read here as bytes, so that this
 * room needs no codec.
 */
export function* fieldsOf(bytes: Uint8Array): Generator<WireField> {
  let at = 0;
  const varint = (): number => {
    let [value, factor] = [0, 1];
    for (;;) {
      const byte = bytes[at++] ?? 0;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      factor *= 128;
    }
  };
  while (at < bytes.length) {
    const from = at;
    const tag = varint();
    const number = Math.floor(tag / 8);
    switch (tag % 8) {
      case 0: {
        const value = varint();
        yield { number, varint: value, bytes: nothing, raw: bytes.subarray(from, at) };
        break;
      }
      case 2: {
        const length = varint();
        at += length;
        yield { number, varint: 0, bytes: bytes.subarray(at - length, at), raw: bytes.subarray(from, at) };
        break;
      }
      default:
        at += tag % 8 === 1 ? 8 : 4;
        yield { number, varint: 0, bytes: nothing, raw: bytes.subarray(from, at) };
    }
  }
}

/** The text of a field that is one. */
export function textOf(field: WireField): string {
  return texts.decode(field.bytes);
}

/** A field with a text, serialized. */
export function textField(number: number, text: string): Uint8Array {
  const bytes = new TextEncoder().encode(text);
  return Uint8Array.from([number * 8 + 2, ...varintOf(bytes.length), ...bytes]);
}

function varintOf(value: number): number[] {
  return value < 128 ? [value] : [(value & 0x7f) | 0x80, ...varintOf(value >>> 7)];
}
