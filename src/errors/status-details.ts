import { Code, codeFrom, type ErrorDetail } from './errors.ts';

const typePrefix = 'type.googleapis.com/';
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A decoded `google.rpc.Status`. */
export interface RichStatus {
  readonly code: Code;
  readonly message: string;
  readonly details: readonly ErrorDetail[];
}

/**
 * Encodes a `google.rpc.Status` (googleapis: google/rpc/status.proto): `code = 1` int32, `message = 2`,
 * `details = 3` repeated `google.protobuf.Any`. Written by hand because it is all of protobuf that
 * errors need, and they must not load a library.
 */
export function encodeRichStatus(status: RichStatus): Uint8Array {
  const bytes: number[] = [];
  if (status.code !== Code.Ok) bytes.push(0x08, status.code);
  if (status.message !== '') pushField(bytes, 0x12, encoder.encode(status.message));
  for (const detail of status.details) {
    const any: number[] = [];
    pushField(any, 0x0a, encoder.encode(typePrefix + detail.type));
    if (detail.value.length > 0) pushField(any, 0x12, detail.value);
    pushField(bytes, 0x1a, any);
  }
  return Uint8Array.from(bytes);
}

/** Decodes a `google.rpc.Status`; `undefined` when the bytes are not one. Unknown fields are skipped. */
export function decodeRichStatus(bytes: Uint8Array): RichStatus | undefined {
  let code: Code = Code.Ok;
  let message = '';
  const details: ErrorDetail[] = [];
  const isWhole = readFields(bytes, (field, value) => {
    if (field === 1 && typeof value === 'number') code = codeFrom(value);
    if (field === 2 && typeof value === 'object') message = decoder.decode(value);
    if (field === 3 && typeof value === 'object') details.push(decodeAny(value));
  });
  return isWhole ? { code, message, details } : undefined;
}

function decodeAny(bytes: Uint8Array): ErrorDetail {
  let type = '';
  let value: Uint8Array = new Uint8Array();
  readFields(bytes, (field, content) => {
    if (field === 1 && typeof content === 'object') type = decoder.decode(content);
    if (field === 2 && typeof content === 'object') value = content;
  });
  return { type: type.slice(type.lastIndexOf('/') + 1), value };
}

function pushField(bytes: number[], tag: number, content: ArrayLike<number>): void {
  bytes.push(tag);
  let length = content.length;
  while (length > 0x7f) {
    bytes.push((length & 0x7f) | 0x80);
    length >>>= 7;
  }
  bytes.push(length);
  for (let index = 0; index < content.length; index += 1) bytes.push(content[index] as number);
}

/** Calls `visit` for each varint and each length-delimited field; false if the bytes end in the middle of one. */
function readFields(bytes: Uint8Array, visit: (field: number, value: number | Uint8Array) => void): boolean {
  let at = 0;
  const varint = (): number => {
    let result = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = bytes[at];
      if (byte === undefined) return Number.NaN;
      at += 1;
      if (shift < 49) result += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return result;
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
      if (!(at + length <= bytes.length)) return false;
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
