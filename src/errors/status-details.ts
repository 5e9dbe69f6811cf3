import { bytesOf, pushBytes, pushInteger, readFields, textOfBytes } from '../internal/protobuf-fields.ts';
import { Code, codeFrom, type ErrorDetail } from './errors.ts';

const typePrefix = 'type.googleapis.com/';

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
  if (status.code !== Code.Ok) pushInteger(bytes, 1, status.code);
  if (status.message !== '') pushBytes(bytes, 2, bytesOf(status.message));
  for (const detail of status.details) {
    const any: number[] = [];
    pushBytes(any, 1, bytesOf(typePrefix + detail.type));
    if (detail.value.length > 0) pushBytes(any, 2, detail.value);
    pushBytes(bytes, 3, any);
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
    if (field === 2 && typeof value === 'object') message = textOfBytes(value);
    if (field === 3 && typeof value === 'object') details.push(decodeAny(value));
  });
  return isWhole ? { code, message, details } : undefined;
}

function decodeAny(bytes: Uint8Array): ErrorDetail {
  let type = '';
  let value: Uint8Array = new Uint8Array();
  readFields(bytes, (field, content) => {
    if (field === 1 && typeof content === 'object') type = textOfBytes(content);
    if (field === 2 && typeof content === 'object') value = content;
  });
  return { type: type.slice(type.lastIndexOf('/') + 1), value };
}
