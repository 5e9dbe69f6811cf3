import type { Metadata } from '../../context/metadata.ts';
import { type Status, statusOf } from '../../context/status.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { unsendable } from '../call/failures.ts';
import type { FrameConnection } from './connection.ts';
import type { CallStream, OutgoingMessage, StreamOwner } from '../call/call-stream.ts';
import { firstFrame, Flag, frameCost, FrameError, partBytes } from './format.ts';

interface Waiting {
  readonly outgoing: OutgoingMessage;
  sent: number;
}

/**
 * Carries one call on a connection, in parts and with credit each way. Messages that a reader has not read yet hold
 * back the writer of this call and no other.
 */
export class FrameStream implements CallStream {
  readonly id: number;
  readonly owner: StreamOwner;
  readonly #connection: FrameConnection;
  /** The number of bytes that may be sent. */
  #credit: number;
  /** The number of bytes that the peer may send. */
  #allowance: number;
  /** Bytes that were read, and whose credit was not returned to the peer yet. */
  #debt = 0;
  #queue: Waiting[] | undefined;
  #room: Promise<void> | undefined;
  #tellRoom: (() => void) | undefined;
  #parts: Uint8Array[] | undefined;
  #size = 0;
  #came = 0;
  /** The credit of bodies that came and were not read. */
  #owed = 0;
  #isOver = false;
  /** True if metadata was received, or a part that must follow it. */
  #hasBegun = false;
  /** True if the client sends no more. */
  #hasEnded = false;
  /** The count of `activity` of the connection when the call began. */
  readonly #activity: number;

  constructor(connection: FrameConnection, id: number, owner: StreamOwner) {
    this.#connection = connection;
    this.id = id;
    this.owner = owner;
    this.#credit = connection.peerWindowBytes;
    this.#allowance = connection.windowBytes;
    this.#activity = connection.activity;
    connection.streams.add(this);
  }

  /** Writes the first frame of a client's call. Throws for metadata that cannot be sent. */
  open(path: string, timeoutMs: number | undefined, outgoing: OutgoingMessage): void {
    const { body, isEnd } = outgoing;
    if (!body || this.#fits(body)) {
      this.#connection.writer.call(this.id, path, timeoutMs, {
        headers: outgoing.headers,
        body,
        flags: isEnd ? Flag.End : 0,
      });
      this.#connection.wrote();
      return;
    }
    this.#connection.writer.call(this.id, path, timeoutMs, { headers: outgoing.headers, flags: 0 });
    this.#connection.wrote();
    this.#enqueue({ body, isEnd });
  }

  send(outgoing: OutgoingMessage): void {
    const { headers, body, status, isEnd } = outgoing;
    if (this.#isOver || (!headers && !body && !status && !isEnd)) return;
    if (this.#queue || (body && !this.#fits(body))) {
      this.#enqueue(outgoing);
      return;
    }
    this.#connection.writer.message(this.id, { headers, status, body, flags: isEnd ? Flag.End : 0 });
    this.#connection.wrote();
    if (status) this.close();
  }

  room(): Promise<void> | undefined {
    if (!this.#queue) return undefined;
    return (this.#room ??= new Promise((resolve) => (this.#tellRoom = resolve)));
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#parts = undefined;
    this.dropWaiting();
    this.#connection.release(this);
    this.owner.onClosed();
  }

  /** Drops the messages that wait to be sent. */
  dropWaiting(): void {
    const queue = this.#queue;
    this.#queue = undefined;
    if (queue) for (const { outgoing, sent } of queue) this.#connection.waitsFor(sent - costOf(outgoing));
    this.#letGo();
  }

  reset(code: Code, isRefused = false): void {
    if (this.#isOver) return;
    if (code === Code.DeadlineExceeded) this.#connection.noteUnanswered(this.#activity);
    this.#connection.writer.reset(this.id, code, isRefused);
    this.#connection.wrote();
    this.close();
  }

  /** Adds credit: the peer has read so many bytes. */
  credited(bytes: number): void {
    this.#credit += bytes;
    if (this.#credit > 2 ** 31) throw new FrameError('more credit than there can be');
  }

  resume(): void {
    const owed = this.#owed;
    this.#owed = 0;
    this.#give(owed);
  }

  /** Sends one part of what waits, and returns true if there may be another. */
  sendPart(): boolean {
    const queue = this.#queue;
    const head = queue?.[0];
    if (!queue || !head) return false;
    try {
      if (!this.#write(head)) return false;
    } catch (error) {
      this.#unsendable(head.outgoing, TenonError.from(error));
      return false;
    }
    if (this.#isOver) return false;
    if (head.sent < (head.outgoing.body?.length ?? 0)) return true;
    queue.shift();
    this.#connection.waitsFor(-frameCost);
    if (head.outgoing.status) {
      this.close();
      return false;
    }
    if (queue.length > 0) return true;
    this.#queue = undefined;
    this.#letGo();
    return false;
  }

  /** Handles a frame of the call. */
  onFrame(
    flags: number,
    headers: Metadata | undefined,
    status: Status | undefined,
    size: number | undefined,
    part: Uint8Array | undefined,
  ): void {
    const isEnd = (flags & Flag.End) !== 0;
    // Without this limit, frames that cost no credit could arrive without end.
    if (headers) {
      if (this.#hasBegun) throw new FrameError(`call ${this.id} sent metadata again, or late`);
      this.#hasBegun = true;
    }
    if (this.#hasEnded && (part || isEnd)) throw new FrameError(`call ${this.id} goes on after its end`);
    this.#hasEnded ||= isEnd;
    let body: Uint8Array | undefined;
    if (part) {
      this.#hasBegun = true;
      const cost = part.length + frameCost;
      this.#allowance -= cost;
      if (this.#allowance < 0) throw new FrameError(`call ${this.id} sent more than it had credit for`);
      const isPart = this.#parts !== undefined || (flags & Flag.More) !== 0;
      if (!this.#parts && (size ?? part.length) > this.owner.maxReceiveBytes) {
        this.owner.onTooLarge(size ?? part.length);
        return;
      }
      // The reader waits for this whole body, and needs the rest of it: its credit is returned at once.
      const isWanted = isPart && this.#owed === 0 && (flags & Flag.More) !== 0;
      body = isPart ? this.#assemble(part, size, flags) : part;
      if (isWanted) this.#give(cost);
      else this.#owed += cost;
    }
    if (headers || body || status || isEnd || (flags & firstFrame) !== 0)
      this.owner.onMessage({ headers, body, status }, isEnd);
  }

  #assemble(part: Uint8Array, size: number | undefined, flags: number): Uint8Array | undefined {
    const isLast = (flags & Flag.More) === 0;
    if (!this.#parts) {
      if (size === undefined) throw new FrameError(`call ${this.id} sent a part of a body without its size`);
      this.#parts = [part];
      this.#size = size;
      this.#came = part.length;
    } else {
      if (size !== undefined) throw new FrameError(`call ${this.id} began a body inside another`);
      this.#parts.push(part);
      this.#came += part.length;
    }
    const came = this.#came;
    if (came > this.#size || (isLast && came !== this.#size))
      throw new FrameError(`call ${this.id} sent ${came} bytes of a body of ${this.#size}`);
    if (!isLast) {
      // Otherwise a peer could send a body in single bytes, each of which would take a hundred bytes of memory.
      if (part.length !== partBytes) throw new FrameError(`call ${this.id} sent a part of ${part.length} bytes`);
      return undefined;
    }
    const body = Buffer.concat(this.#parts, came);
    this.#parts = undefined;
    return body;
  }

  #give(cost: number): void {
    this.#debt += cost;
    const { windowBytes, writer } = this.#connection;
    if (this.#isOver || this.#debt * 2 < windowBytes) return;
    this.#allowance += this.#debt;
    writer.credit(this.id, this.#debt);
    this.#connection.wrote();
    this.#debt = 0;
  }

  #fits(body: Uint8Array): boolean {
    const cost = body.length + frameCost;
    if (body.length > partBytes || cost > this.#credit || this.#connection.isBlocked) return false;
    this.#credit -= cost;
    return true;
  }

  #enqueue(outgoing: OutgoingMessage): void {
    (this.#queue ??= []).push({ outgoing, sent: 0 });
    this.#connection.waitsFor(costOf(outgoing));
    this.#connection.waits(this);
  }

  #write(head: Waiting): boolean {
    const { headers, body, status, isEnd } = head.outgoing;
    const last = isEnd ? Flag.End : 0;
    const { writer } = this.#connection;
    if (!body) {
      writer.message(this.id, { headers, status, flags: last });
    } else {
      const isFirst = head.sent === 0;
      const length = Math.min(body.length - head.sent, partBytes);
      if (length + frameCost > this.#credit) return false;
      this.#credit -= length + frameCost;
      const isLast = head.sent + length === body.length;
      writer.message(this.id, {
        headers: isFirst ? headers : undefined,
        status: isLast ? status : undefined,
        size: isFirst && !isLast ? body.length : undefined,
        body: isFirst && isLast ? body : body.subarray(head.sent, head.sent + length),
        flags: isLast ? last : Flag.More,
      });
      head.sent += length;
      this.#connection.waitsFor(-length);
    }
    this.#connection.wrote();
    return true;
  }

  #unsendable({ status }: OutgoingMessage, error: TenonError): void {
    if (!status) {
      this.owner.onError(error);
      return;
    }
    this.dropWaiting();
    this.send({ status: statusOf(unsendable(error)) });
  }

  #letGo(): void {
    this.#room = undefined;
    this.#tellRoom?.();
    this.#tellRoom = undefined;
  }
}

/** Returns the number of bytes that a waiting message counts. */
function costOf({ body }: OutgoingMessage): number {
  return (body?.length ?? 0) + frameCost;
}
