import type { Http2Stream } from 'node:http2';

import type { Encoding } from '../grpc/message-encoding.ts';
import { frameMessage } from '../grpc/message-framing.ts';

const maxOutstandingBytes = 64 * 1024;

/**
 * Writes messages to a stream of node:http2, in their order whether they are compressed or not. The messages of one
 * turn leave in one piece.
 */
export class MessageWriter {
  readonly #stream: Http2Stream;
  readonly #onWritten: (() => void) | undefined;
  #isCorked = false;
  /** The compression of the last message that waits for it. Later messages wait for it too. */
  #compressing: Promise<void> | undefined;
  #compressingBytes = 0;
  #hearsDrain = false;
  #room: Promise<void> | undefined;
  #tellRoom: (() => void) | undefined;

  /** `onWritten` is called when something that was written has left. */
  constructor(stream: Http2Stream, onWritten?: () => void) {
    this.#stream = stream;
    this.#onWritten = onWritten;
  }

  /** Bytes that were written and have not left. */
  get unsentBytes(): number {
    return this.#stream.writableLength + this.#compressingBytes;
  }

  /** True while a message is being compressed. */
  get isBusy(): boolean {
    return this.#compressing !== undefined;
  }

  write(body: Uint8Array, encoding: Encoding | undefined): void {
    if (!encoding) {
      this.inTurn(() => this.#put(frameMessage(body)));
      return;
    }
    this.#compressingBytes += body.length;
    this.inTurn(async () => {
      const compressed = await encoding.compress(body);
      this.#compressingBytes -= body.length;
      this.#stream.write(frameMessage(compressed, true), this.#onWritten);
    });
  }

  /** Calls `write` at once, or when everything before it has been written. */
  inTurn(write: () => void | Promise<void>): void {
    const before = this.#compressing;
    const result = before ? before.then(write) : write();
    if (!result) return;
    const turn: Promise<void> = result.then(
      () => this.#turned(turn),
      (error: unknown) => {
        this.#turned(turn);
        this.#stream.destroy(error as Error);
      },
    );
    this.#compressing = turn;
  }

  /** Returns a promise while there is no room for more. */
  room(): Promise<void> | undefined {
    if (this.#hasRoom) return undefined;
    if (!this.#room) {
      this.#room = new Promise((resolve) => (this.#tellRoom = resolve));
      if (!this.#hearsDrain) {
        this.#hearsDrain = true;
        this.#stream.on('drain', () => this.makeRoom());
      }
    }
    return this.#room;
  }

  /** Ends the wait for room. Call it when the stream is gone, too. */
  makeRoom(): void {
    if (!this.#room || !this.#hasRoom) return;
    this.#room = undefined;
    this.#tellRoom?.();
  }

  /** Lets what was written leave now, and not at the end of the turn. */
  uncork(): void {
    if (!this.#isCorked) return;
    this.#isCorked = false;
    this.#stream.uncork();
  }

  get #hasRoom(): boolean {
    const { destroyed, closed } = this.#stream;
    return destroyed || closed || this.unsentBytes < maxOutstandingBytes;
  }

  #put(bytes: Buffer): void {
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#stream.cork();
      queueMicrotask(() => this.uncork());
    }
    this.#stream.write(bytes, this.#onWritten);
  }

  #turned(turn: Promise<void>): void {
    if (this.#compressing === turn) this.#compressing = undefined;
    this.makeRoom();
  }
}
