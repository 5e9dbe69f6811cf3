import { Code, TenonError } from '../../errors/errors.ts';
import { ByteQueue } from '../call/byte-queue.ts';

/**
 * Length of what precedes a message: one byte for compression, four for the length (PROTOCOL-HTTP2.md:
 * Length-Prefixed-Message).
 */
const prefixBytes = 5;

/**
 * Splits a stream of bytes into messages. It keeps no more than one message, whose length is checked before its bytes
 * come, and takes at most twice the memory of what has come.
 */
export class MessageDeframer {
  readonly #maxBytes: number;
  #head: Buffer | undefined;
  #at = 0;
  readonly #tail = new ByteQueue();
  #size = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** True if a part of a message has come. */
  get hasPartialMessage(): boolean {
    return this.#size > 0;
  }

  push(chunk: Buffer): void {
    if (this.#head) this.#tail.add(chunk);
    else this.#head = chunk;
    this.#size += chunk.length;
  }

  /** Returns the next whole message, if it is there. Throws for a length beyond the limit, and for an unknown flag. */
  take(): ReceivedMessage | undefined {
    if (this.#size < prefixBytes) return undefined;
    let head = this.#atLeast(prefixBytes);
    const flag = head[this.#at] as number;
    if (flag > 1) throw badMessage(`its compression flag is ${flag}`);
    const length = head.readUInt32BE(this.#at + 1);
    if (length > this.#maxBytes) throw new MessageTooLarge(length);
    const total = prefixBytes + length;
    if (this.#size < total) return undefined;
    head = this.#atLeast(total);
    const body = head.subarray(this.#at + prefixBytes, this.#at + total);
    this.#at += total;
    this.#size -= total;
    if (this.#at === head.length) {
      this.#head = this.#tail.size > 0 ? this.#tail.join() : undefined;
      this.#at = 0;
    }
    return { body, isCompressed: flag === 1 };
  }

  /** Returns at least so many bytes in one piece, from `#at` on. */
  #atLeast(bytes: number): Buffer {
    const head = this.#head as Buffer;
    if (head.length - this.#at >= bytes) return head;
    const joined = this.#tail.join(head.subarray(this.#at));
    this.#head = joined;
    this.#at = 0;
    return joined;
  }
}

/** A message as it stands on the wire. */
export interface ReceivedMessage {
  readonly body: Buffer;
  readonly isCompressed: boolean;
}

/** A message that is longer than allowed. */
export class MessageTooLarge extends Error {
  /** The length that its prefix gives, if that is known. */
  readonly bytes: number | undefined;

  constructor(bytes?: number) {
    super('message too large');
    this.bytes = bytes;
  }
}

/** Puts the length prefix of gRPC before a message. */
export function frameMessage(body: Uint8Array, isCompressed = false): Buffer {
  const frame = Buffer.allocUnsafe(prefixBytes + body.length);
  frame[0] = isCompressed ? 1 : 0;
  frame.writeUInt32BE(body.length, 1);
  frame.set(body, prefixBytes);
  return frame;
}

/** INTERNAL: the peer sent bytes that are no message of gRPC. */
export function badMessage(why: string): TenonError {
  return new TenonError({
    code: Code.Internal,
    reason: 'transport.bad_message',
    message: `what came is no message of gRPC: ${why}`,
  });
}
