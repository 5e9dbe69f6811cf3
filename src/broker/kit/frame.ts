import { type EventContent, readEnvelope } from '../../go-micro/event-envelope.ts';
import { setOwn } from '../../internal/own.ts';
import { maxExactVarintBytes as maxVarintBytes, VarintReader, writeVarint } from '../../internal/varint.ts';
import type { EventHeaders } from '../broker.ts';

// 0xf7 is in no UTF-8 text and begins no protobuf message, so that no other payload looks like a frame.
const magic = 0xf7;
const version = 1;
const nothing = Buffer.alloc(0);
const none: EventHeaders = Object.freeze({});

/**
 * Encodes header tables: for each header the length of its name, the name, the length of its value, the value; lengths
 * as varints, text as UTF-8. Publishers mostly send the same headers again, so the last table is cached.
 */
export class HeaderWriter {
  #names: string[] = [];
  #values: string[] = [];
  #table: Buffer = Buffer.alloc(0);

  write(headers: EventHeaders): Buffer {
    let count = 0;
    let same = true;
    // Own properties only, as wherever headers are copied.
    for (const name of Object.keys(headers)) {
      if (same && (this.#names[count] !== name || this.#values[count] !== headers[name])) same = false;
      count += 1;
    }
    if (same && count === this.#names.length) return this.#table;
    this.#names = Object.keys(headers);
    this.#values = this.#names.map((name) => headers[name] as string);
    this.#table = tableOf(this.#names, this.#values);
    return this.#table;
  }
}

function tableOf(names: readonly string[], values: readonly string[]): Buffer {
  let bound = 0;
  for (let i = 0; i < names.length; i += 1) {
    bound += ((names[i] as string).length + (values[i] as string).length) * 3 + 2 * maxVarintBytes;
  }
  const table = Buffer.allocUnsafe(bound);
  let at = 0;
  for (let i = 0; i < names.length; i += 1) {
    at = writeText(table, at, names[i] as string);
    at = writeText(table, at, values[i] as string);
  }
  return table.subarray(0, at);
}

function writeText(into: Buffer, at: number, text: string): number {
  if (text.length < 42) {
    // At most 126 bytes: the length is one byte, and can be filled in afterwards.
    const length = into.write(text, at + 1);
    into[at] = length;
    return at + 1 + length;
  }
  const start = writeVarint(into, at, Buffer.byteLength(text));
  return start + into.write(text, start);
}

/** Decodes header tables. Headers are frozen: events with the same table share them. */
export class HeaderReader {
  #table: Buffer = nothing;
  #headers = none;
  readonly #cursor = new VarintReader<Buffer>();

  /** Decodes a table; `undefined` if the bytes are not one. */
  read(bytes: Buffer, start: number, end: number): EventHeaders | undefined {
    if (start === end) return none;
    if (end - start === this.#table.length && bytes.compare(this.#table, 0, this.#table.length, start, end) === 0) {
      return this.#headers;
    }
    const headers: Record<string, string> = {};
    const cursor = this.#over(bytes, start, end);
    while (cursor.at < end) {
      const name = this.#text();
      const value = name === undefined ? undefined : this.#text();
      if (name === undefined || value === undefined) return undefined;
      setOwn(headers, name, value);
    }
    cursor.data = nothing;
    // A copy: the bytes belong to the connection's buffer.
    this.#table = Buffer.from(bytes.subarray(start, end));
    this.#headers = Object.freeze(headers);
    return this.#headers;
  }

  /** Decodes the headers and the body of a frame; `undefined` if the payload is not one. */
  frame(payload: Buffer): EventContent | undefined {
    const cursor = this.#over(payload, 2, payload.length);
    const length = cursor.varint();
    const start = cursor.at;
    // The cursor must not keep the payload in memory.
    cursor.data = nothing;
    if (!(start + length <= payload.length)) return undefined;
    const headers = this.read(payload, start, start + length);
    return headers && { headers, body: payload.subarray(start + length) };
  }

  #over(bytes: Buffer, start: number, end: number): VarintReader<Buffer> {
    this.#cursor.data = bytes;
    this.#cursor.at = start;
    this.#cursor.end = end;
    return this.#cursor;
  }

  #text(): string | undefined {
    const cursor = this.#cursor;
    const length = cursor.varint();
    const start = cursor.at;
    if (!(start + length <= cursor.end)) return undefined;
    cursor.at = start + length;
    return cursor.data.toString('utf8', start, cursor.at);
  }
}

/** Encodes headers and body as one payload, for servers without headers. */
export function writeFrame(table: Buffer, body: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(2 + maxVarintBytes + table.length + body.length);
  frame[0] = magic;
  frame[1] = version;
  let at = writeVarint(frame, 2, table.length);
  frame.set(table, at);
  at += table.length;
  frame.set(body, at);
  return frame.subarray(0, at + body.length);
}

/**
 * Decodes a payload: a frame, or Go Micro's envelope. Any other payload is a body without headers, from a program that
 * uses none.
 */
export function readPayload(payload: Buffer, reader: HeaderReader): EventContent {
  const first = payload[0];
  if (first === magic && payload[1] === version) return reader.frame(payload) ?? { headers: none, body: payload };
  // Go Micro's envelopes begin with a brace.
  if (first === 0x7b) return readEnvelope(payload) ?? { headers: none, body: payload };
  return { headers: none, body: payload };
}
