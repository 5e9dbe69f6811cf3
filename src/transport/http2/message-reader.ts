import type { Http2Stream } from 'node:http2';

import { TenonError } from '../../errors/errors.ts';
import type { Encoding } from '../grpc/message-encoding.ts';
import { badMessage, MessageDeframer, MessageTooLarge } from '../grpc/message-framing.ts';

/** Takes what a {@link MessageReader} reads. */
export interface MessageSink {
  /** It takes no more of what comes. */
  readonly isOver: boolean;
  /** A message that was asked for. */
  onMessage(body: Buffer, compressed: boolean): void;
  /** All that came was handed on, and no more will. `hasPartialMessage`: it ends in the middle of one. */
  onEnd(hasPartialMessage: boolean): void;
  /** The bytes are no message, or one that is too large: a `MessageTooLarge` or a TenonError. */
  onError(error: unknown): void;
}

/**
 * Takes messages off a stream of node:http2, one each time that it is asked; what nobody asks for holds back the peer.
 */
export class MessageReader {
  /** The encoding that the peer names for its messages. */
  encoding: Encoding | undefined;
  /** The stream has come to its end; what it brought may still wait here. */
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
   * All is on its way: what Node keeps for a reader that is slow is taken over, since it would be lost with the
   * connection. It is no more than the window.
   */
  takeAll(): void {
    this.#isTakingAll = true;
    if (this.#stream.isPaused()) this.#stream.resume();
  }

  /** Nothing more will come. */
  end(): void {
    this.hasEnded = true;
    this.#deliver();
  }

  /**
   * The stream is gone: what Node keeps for a reader that is slow is taken over, and handed on as it is asked for. It
   * is no more than the window.
   */
  breakOff(): void {
    this.#takeRest();
    this.end();
  }

  /** The same, handed on at once, whether it is asked for or not. Messages that are compressed stay behind. */
  flush(): void {
    this.#takeRest();
    this.#isDelivering = true;
    try {
      for (let frame = this.#frames.take(); frame && !frame.isCompressed; frame = this.#frames.take())
        this.#owner.onMessage(frame.body, false);
    } catch {
      // The call is over, and says why.
    } finally {
      this.#isDelivering = false;
    }
  }

  #takeRest(): void {
    for (let chunk = this.#stream.read() as Buffer | null; chunk; chunk = this.#stream.read() as Buffer | null)
      this.#frames.push(chunk);
  }

  /** Hands on what has come, as long as it is asked for. */
  #deliver(): void {
    // What is handed on asks for more: that is this loop's next round.
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
