import type { Http2Stream } from 'node:http2';

import { TenonError } from '../../errors/errors.ts';
import type { Encoding } from '../grpc/message-encoding.ts';
import { badMessage, MessageDeframer, MessageTooLarge } from '../grpc/message-framing.ts';

/** Takes what a {@link MessageReader} reads. */
export interface MessageSink {
  /** True if it takes no more messages. */
  readonly isOver: boolean;
  /** Called with a message that was asked for. */
  onMessage(body: Buffer, compressed: boolean): void;
  /** Called at the end, after all messages; `hasPartialMessage` if the stream ends in the middle of one. */
  onEnd(hasPartialMessage: boolean): void;
  /** Called for bytes that are no message or one that is too large, with a `MessageTooLarge` or a TenonError. */
  onError(error: unknown): void;
}

/**
 * Reads messages from a stream of node:http2, one for each call of `read`. Messages that are not read hold back the
 * peer.
 */
export class MessageReader {
  /** The encoding that the peer names for its messages. */
  encoding: Encoding | undefined;
  /** True if the stream has ended. Messages that came before may still wait here. */
  hasEnded = false;
  readonly #stream: Http2Stream;
  readonly #owner: MessageSink;
  readonly #maxBytes: number;
  readonly #frames: MessageDeframer;
  #isReading = false;
  #isDelivering = false;
  #isInflating = false;
  #isTakingAll = false;

  constructor(stream: Http2Stream, owner: MessageSink, maxBytes: number) {
    this.#stream = stream;
    this.#owner = owner;
    this.#maxBytes = maxBytes;
    this.#frames = new MessageDeframer(maxBytes);
    stream.on('data', (chunk: Buffer) => {
      this.#frames.push(chunk);
      this.#deliver();
    });
    stream.once('end', () => this.end());
  }

  /** Asks for the next message. */
  read(): void {
    this.#isReading = true;
    if (this.#stream.isPaused()) this.#stream.resume();
    this.#deliver();
  }

  /**
   * Takes over the bytes that Node keeps for a slow reader, since they would be lost with the connection. They are at
   * most one window.
   */
  takeAll(): void {
    this.#isTakingAll = true;
    if (this.#stream.isPaused()) this.#stream.resume();
  }

  /** Handles the end of the stream. */
  end(): void {
    this.hasEnded = true;
    this.#deliver();
  }

  /**
   * Takes over the bytes that Node keeps for a stream that is gone, and hands them on as they are asked for. They are
   * at most one window.
   */
  breakOff(): void {
    this.#takeRest();
    this.end();
  }

  /** Takes over those bytes and hands on the messages at once, asked for or not. Compressed messages stay behind. */
  flush(): void {
    this.#takeRest();
    this.#isDelivering = true;
    try {
      for (let frame = this.#frames.take(); frame && !frame.isCompressed; frame = this.#frames.take())
        this.#owner.onMessage(frame.body, false);
    } catch {
      // The call is over, and reports the cause.
    } finally {
      this.#isDelivering = false;
    }
  }

  #takeRest(): void {
    for (let chunk = this.#stream.read() as Buffer | null; chunk; chunk = this.#stream.read() as Buffer | null)
      this.#frames.push(chunk);
  }

  /** Hands on messages that have come, as long as they are asked for. */
  #deliver(): void {
    // The receiver of a message may ask for the next one: this loop delivers it.
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    try {
      while (this.#isReading && !this.#isInflating && !this.#owner.isOver) {
        const frame = this.#frames.take();
        if (!frame) {
          if (this.hasEnded) {
            this.#isReading = false;
            this.#owner.onEnd(this.#frames.hasPartialMessage);
          }
          return;
        }
        this.#isReading = false;
        if (frame.isCompressed) void this.#inflate(frame.body);
        else this.#owner.onMessage(frame.body, false);
      }
      if (this.#frames.hasPartialMessage && !this.#owner.isOver && !this.#isTakingAll) this.#stream.pause();
    } catch (error) {
      this.#unreadable(error);
    } finally {
      this.#isDelivering = false;
    }
  }

  async #inflate(body: Buffer): Promise<void> {
    this.#isInflating = true;
    try {
      if (!this.encoding) throw badMessage('it is compressed, and grpc-encoding does not say how');
      const whole = await this.encoding.decompress(body, this.#maxBytes);
      this.#isInflating = false;
      this.#owner.onMessage(whole, true);
      this.#deliver();
    } catch (error) {
      this.#isInflating = false;
      this.#unreadable(error);
    }
  }

  #unreadable(error: unknown): void {
    this.#owner.onError(error instanceof MessageTooLarge ? error : TenonError.from(error));
  }
}
