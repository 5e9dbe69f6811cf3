import { maxVarintBytes, VarintReader, writeVarint } from './varint.ts';

/*
 * Reads and writes fields of serialized messages without their types (protobuf.dev: programming-guides/encoding), for
 * rooms that know a few messages and have no codec.
 */

/** The value of a field: an integer, or the content of a length-delimited field. */
export type FieldValue = number | Uint8Array;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const scratch = new Uint8Array(maxVarintBytes);

/**
 * Calls `visit` for each field in order: with its value, which is `undefined` for one of a fixed size, and with the
 * range of its bytes, tag included. Returns false if the bytes end within a field, or are no fields.
 */
export function readFields(
  bytes: Uint8Array,
  visit: (field: number, value: FieldValue | undefined, from: number, to: number) => void,
): boolean {
  const reader = new VarintReader(bytes);
  while (reader.at < reader.end) {
    const from = reader.at;
    const tag = reader.varint();
    const wire = tag % 8;
    let value: FieldValue | undefined;
    if (wire === 0) {
      value = reader.int64();
      if (Number.isNaN(value)) return false;
    } else if (wire === 2) {
      const length = reader.varint();
      if (!(length <= reader.end - reader.at)) return false;
      value = bytes.subarray(reader.at, reader.at + length);
      reader.at += length;
    } else if (wire === 1 || wire === 5) reader.at += wire === 1 ? 8 : 4;
    else return false;
    if (reader.at > reader.end) return false;
    visit(Math.floor(tag / 8), value, from, reader.at);
  }
  return true;
}

/** Encodes a string as the content of a field. */
export function bytesOf(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Decodes the content of a field as a string; invalid UTF-8 is replaced. */
export function textOfBytes(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** Appends a length-delimited field. */
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

function pushVarint(bytes: number[], value: number): void {
  const length = writeVarint(scratch, 0, value);
  for (let index = 0; index < length; index += 1) bytes.push(scratch[index] as number);
}
