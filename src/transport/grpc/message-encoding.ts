import { deflate, gunzip, gzip, inflate } from 'node:zlib';

import type { Status } from '../../context/status.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { badMessage, MessageTooLarge } from './message-framing.ts';

/** The encodings that are announced to peers (PROTOCOL-HTTP2.md: Message-Accept-Encoding). */
export const acceptedEncodings = 'identity,deflate,gzip';

/** Compresses and decompresses messages. */
export interface Encoding {
  readonly name: string;
  compress(body: Uint8Array): Promise<Buffer>;
  /** Decompresses a message. It stops after `maxBytes` and rejects with a `MessageTooLarge`. */
  decompress(body: Uint8Array, maxBytes: number): Promise<Buffer>;
}

type Zlib = (
  body: Uint8Array,
  options: { readonly maxOutputLength?: number },
  done: (error: Error | null, result: Buffer) => void,
) => void;

/** The encoding that clients compress with. */
export const gzipped: Encoding = encoding('gzip', gzip, gunzip);

const encodings: ReadonlyMap<string, Encoding> = new Map([
  ['gzip', gzipped],
  // "deflate" is zlib's format there (RFC 9110, section 8.4.1.2).
  ['deflate', encoding('deflate', deflate, inflate)],
]);

/**
 * Returns the encoding that `grpc-encoding` names; `undefined` for none and for `identity`. Throws UNIMPLEMENTED
 * (`transport.unknown_encoding`) for others.
 */
export function encodingOf(name: string | readonly string[] | undefined): Encoding | undefined {
  if (name === undefined || name === 'identity') return undefined;
  const known = typeof name === 'string' ? encodings.get(name) : undefined;
  if (known) return known;
  throw new TenonError({
    code: Code.Unimplemented,
    reason: 'transport.unknown_encoding',
    message: `messages in the encoding "${String(name)}" are not understood, only ${acceptedEncodings}`,
    metadata: { 'grpc-accept-encoding': acceptedEncodings },
  });
}

/** Returns the best encoding that a peer accepts; `undefined` if it accepts none of ours. */
export function acceptedBy(header: string | readonly string[] | undefined): Encoding | undefined {
  const names = String(header ?? '').split(',');
  for (const name of ['gzip', 'deflate']) if (names.some((one) => one.trim() === name)) return encodings.get(name);
  return undefined;
}

/**
 * True if a server does not know the encoding of the request, and has processed nothing (PROTOCOL-HTTP2.md: Message-
 * Accept-Encoding).
 */
export function notUnderstood(status: Status | undefined): boolean {
  if (status?.code !== Code.Unimplemented) return false;
  const accepted = status.metadata?.text('grpc-accept-encoding');
  return accepted !== undefined && !accepted.split(',').some((name) => name.trim() === 'gzip');
}

function encoding(name: string, compress: Zlib, decompress: Zlib): Encoding {
  return {
    name,
    compress: (body) => new Promise((resolve, reject) => compress(body, {}, settle(resolve, reject))),
    decompress: (body, maxBytes) =>
      new Promise((resolve, reject) => {
        const fail = (error: NodeJS.ErrnoException): void => {
          reject(error.code === 'ERR_BUFFER_TOO_LARGE' ? new MessageTooLarge() : badMessage(`it is no ${name}`));
        };
        // Zero would mean no limit.
        decompress(body, { maxOutputLength: Math.max(1, maxBytes) }, settle(resolve, fail));
      }),
  };
}

function settle(resolve: (result: Buffer) => void, reject: (error: Error) => void) {
  return (error: Error | null, result: Buffer): void => {
    if (error) reject(error);
    else resolve(result);
  };
}
