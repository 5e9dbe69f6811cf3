import { maxVarintBytes, VarintReader, writeVarint } from './varint.ts';

/*
 * Fields of serialized messages without their types (protobuf.dev: programming-guides/encoding): for rooms that know a
 * handful of messages, and no codec.
 */

/** A field as it came: an integer, or the content of a length-delimited one. */
export type FieldValue = number | Uint8Array;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const scratch = new Uint8Array(maxVarintBytes);

/**
 * Calls `visit` for each field in order: with its value, which is `undefined` for one of a fixed size, and with the
 * place of all of it, tag included. False where the bytes end in the middle of a field, or are no fields.
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

/** Text as the content of a field. */
export function bytesOf(text: string): Uint8Array {
  return encoder.encode(text);
}

/** The content of a field as text; what is no UTF-8 is replaced. */
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
