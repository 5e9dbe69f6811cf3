const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A field as it came: an integer, or the content of a length-delimited one. */
export type WireValue = number | Uint8Array;

/** Text as the content of a field. */
export function bytesOf(text: string): Uint8Array {
  return encoder.encode(text);
}

/** The content of a field as text; what is no UTF-8 is replaced. */
export function textOfBytes(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** Appends a length-delimited field (protobuf.dev: programming-guides/encoding). */
export function pushBytes(bytes: number[], field: number, content: ArrayLike<number>): void {
  pushVarint(bytes, field * 8 + 2);
  pushVarint(bytes, content.length);
  for (let index = 0; index < content.length; index += 1) bytes.push(content[index] as number);
}

/** Appends an integer field. `value` is a whole number; beyond 2^53 it is not exact. */
export function pushInteger(bytes: number[], field: number, value: number): void {
  pushVarint(bytes, field * 8);
  pushVarint(bytes, value);
}

/** A negative number takes ten bytes: it is sent as its complement in 64 bits. */
function pushVarint(bytes: number[], value: number): void {
  let low = value >>> 0;
  let high = Math.floor(value / 0x1_0000_0000) >>> 0;
  while (high > 0 || low > 0x7f) {
    bytes.push((low & 0x7f) | 0x80);
    low = ((low >>> 7) | (high << 25)) >>> 0;
    high >>>= 7;
  }
  bytes.push(low);
}

/** Calls `visit` for each integer and each length-delimited field; false if the bytes end in the middle of one. */
export function readFields(bytes: Uint8Array, visit: (field: number, value: WireValue) => void): boolean {
  let at = 0;
  const varint = (): number => {
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = bytes[at];
      if (byte === undefined) return Number.NaN;
      at += 1;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else if (shift < 64) high |= bits << (shift - 32);
      if (byte < 0x80) return high * 0x1_0000_0000 + (low >>> 0);
    }
    return Number.NaN;
  };
  while (at < bytes.length) {
    const tag = varint();
    const wire = tag & 7;
    if (wire === 0) {
      const value = varint();
      if (Number.isNaN(value)) return false;
      visit(tag >>> 3, value);
    } else if (wire === 2) {
      const length = varint();
      if (!(length >= 0 && at + length <= bytes.length)) return false;
      visit(tag >>> 3, bytes.subarray(at, at + length));
      at += length;
    } else if (wire === 1 || wire === 5) {
      at += wire === 1 ? 8 : 4;
    } else {
      return false;
    }
  }
  return at === bytes.length;
}
