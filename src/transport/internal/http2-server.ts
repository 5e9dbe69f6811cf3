import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';

import type { Metadata } from '../../context/metadata.ts';
import type { PeerCertificate } from '../../context/peer-certificate.ts';
import type { Status } from '../../context/status.ts';
import { TenonError } from '../../errors/errors.ts';
import type { MethodDescriptor } from '../../pipeline/pipeline.ts';
import type { Deadlines, Expiring } from '../../runtime/deadlines.ts';
import { defaultMaxMessageBytes, type Message } from '../transport.ts';
import { callCancelled, deadlineExceeded, tooLarge } from './failures.ts';
import { badMessage, framed, GrpcFrames, MessageTooLarge } from './grpc-frames.ts';
import { isGoMicro } from './grpc-headers.ts';
import { acceptedBy, acceptedEncodings, type Encoding, encodingOf } from './grpc-encoding.ts';
import { addMetadata, type RawHeaders, requestMetadataOf, statusHeaders, timeoutMsOf } from './http2-metadata.ts';
import { ServerCall, type ServerSide } from './server-call.ts';

/** What a call on node:http2 needs to know of who listens. */
export interface Http2Side extends ServerSide {
  readonly deadlines: Deadlines;
  readonly maxReceiveBytes: number | undefined;
  /** Of headers, and of trailers. */
  readonly maxMetadataBytes: number;
}

/** Where a connection comes from and goes to. */
export interface Ends {
  readonly local: string;
  readonly remote: string;
  certificate(): PeerCertificate | undefined;
  /** Something was sent on it since its peer's last ping. */
  hasSent: boolean;
}

const maxOutstandingBytes = 64 * 1024;

/** The server's end of a call, put on a stream of node:http2. */
export class Http2ServerCall extends ServerCall {
  readonly local: string;
  readonly remote: string;
  readonly deadline: number | undefined;
  readonly #ends: Ends;
  readonly #stream: ServerHttp2Stream;
  readonly #headers: IncomingHttpHeaders;
  readonly #raw: RawHeaders;
  readonly #http: Http2Side;
  readonly #frames: GrpcFrames;
  readonly #maxReceiveBytes: number;
  readonly #received: Encoding | undefined;
  #sent: Encoding | undefined;
  #isReading = false;
  #isDelivering = false;
  #isInflating = false;
  #hasEnded = false;
  #sentHeaders = false;
  #trailers: OutgoingHttpHeaders | undefined;
  /** The last message, which leaves with the end. */
  #last: Buffer | undefined;
  #isCorked = false;
  /** The last of what waits to be compressed; what is written behind it waits as well. */
  #compressing: Promise<void> | undefined;
  #compressingBytes = 0;
  #hearsDrain = false;
  #room: Promise<void> | undefined;
  #tellRoom: (() => void) | undefined;

  constructor(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    raw: RawHeaders,
    side: Http2Side,
    route: MethodDescriptor,
    ends: Ends,
  ) {
    super(side, route);
    this.local = ends.local;
    this.remote = ends.remote;
    this.#ends = ends;
    this.#stream = stream;
    this.#headers = headers;
    this.#raw = raw;
    this.#http = side;
    this.#maxReceiveBytes = side.maxReceiveBytes ?? defaultMaxMessageBytes;
    this.#frames = new GrpcFrames(this.#maxReceiveBytes);
    stream.on('error', ignored);
    stream.once('close', () => this.#closed());
    try {
      const timeoutMs = timeoutMsOf(headers);
      if (timeoutMs !== undefined) {
        this.deadline = side.clock.now() + timeoutMs;
        side.deadlines.add(this as Expiring);
      }
      this.#received = encodingOf(headers['grpc-encoding']);
    } catch (error) {
      this.deadline = undefined;
      this.refuse(TenonError.from(error));
      return;
    }
    stream.on('data', (chunk: Buffer) => {
      this.#frames.push(chunk);
      this.#deliver();
    });
    stream.once('end', () => {
      this.#hasEnded = true;
      this.#deliver();
    });
    this.began();
  }

  get peerCertificate(): PeerCertificate | undefined {
    return this.#ends.certificate();
  }

  /** Of the deadline's wheel. */
  expire(): void {
    this.refuse(deadlineExceeded(this.route.path));
  }

  protected requestHeaders(): Metadata {
    return requestMetadataOf(this.#raw);
  }

  protected override mustHalfClose(headers: Metadata): boolean {
    return !isGoMicro(headers);
  }

  protected writeHeaders(headers: Metadata | undefined, message: Message): void {
    if (this.#sentHeaders) return;
    // The encoding is said before the first message, whether that one is compressed or only a later one.
    if (message.compressed !== undefined) this.#sent = acceptedBy(this.#headers['grpc-accept-encoding']);
    const outgoing = addMetadata(this.#opening(), headers, this.#http.maxMetadataBytes);
    this.#sentHeaders = true;
    if (this.#stream.destroyed || this.#stream.closed) return;
    this.#stream.respond(outgoing, { waitForTrailers: true });
    this.#stream.once('wantTrailers', () => this.#sendTrailers());
  }

  protected writeMessage(message: Message, body: Uint8Array, isLast: boolean): void {
    this.writeHeaders(undefined, message);
    this.#ends.hasSent = true;
    const encoding = message.compressed ? this.#sent : undefined;
    if (encoding) {
      this.#compressingBytes += body.length;
      this.#inTurn(async () => {
        const compressed = await encoding.compress(body);
        this.#compressingBytes -= body.length;
        this.#stream.write(framed(compressed, true));
      });
      return;
    }
    if (isLast && !this.#compressing) {
      this.#last = framed(body);
      return;
    }
    this.#inTurn(() => {
      // What one turn writes leaves together.
      if (!this.#isCorked) {
        this.#isCorked = true;
        this.#stream.cork();
        queueMicrotask(() => this.#uncork());
      }
      this.#stream.write(framed(body));
    });
  }

  protected writeStatus(status: Status): void {
    const trailers = addMetadata(statusHeaders(status), status.metadata, this.#http.maxMetadataBytes);
    if (this.deadline !== undefined) this.#http.deadlines.delete(this as Expiring);
    this.#inTurn(() => this.#end(trailers));
  }

  protected read(): void {
    this.#isReading = true;
    if (this.#stream.isPaused()) this.#stream.resume();
    this.#deliver();
  }

  protected room(): Promise<void> | undefined {
    if (this.#hasRoom) return undefined;
    if (!this.#room) {
      this.#room = new Promise((resolve) => (this.#tellRoom = resolve));
      if (!this.#hearsDrain) {
        this.#hearsDrain = true;
        this.#stream.on('drain', () => this.#makeRoom());
      }
    }
    return this.#room;
  }

  get #hasRoom(): boolean {
    return this.#stream.destroyed || this.#stream.writableLength + this.#compressingBytes < maxOutstandingBytes;
  }

  /** Hands on what has come, as long as it is asked for. */
  #deliver(): void {
    // What is handed on asks for more: that is this loop's next round.
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    try {
      while (this.#isReading && !this.#isInflating && !this.isOver) {
        const frame = this.#frames.take();
        if (!frame) {
          if (this.#hasEnded) this.#ended();
          return;
        }
        this.#isReading = false;
        if (frame.isCompressed) void this.#inflate(frame.body);
        else this.came({ body: frame.body, compressed: false });
      }
      if (this.#frames.isInMessage && !this.isOver) this.#stream.pause();
    } catch (error) {
      this.#refuseMessage(error);
    } finally {
      this.#isDelivering = false;
    }
  }

  #ended(): void {
    this.#isReading = false;
    if (this.#frames.isInMessage) this.refuse(badMessage('it ends in its middle'));
    else this.halfClosed();
  }

  async #inflate(body: Buffer): Promise<void> {
    this.#isInflating = true;
    try {
      if (!this.#received) throw badMessage('it is compressed, and grpc-encoding does not say how');
      const whole = await this.#received.decompress(body, this.#maxReceiveBytes);
      this.#isInflating = false;
      this.came({ body: whole, compressed: true });
      this.#deliver();
    } catch (error) {
      this.#isInflating = false;
      this.#refuseMessage(error);
    }
  }

  #refuseMessage(error: unknown): void {
    const { path } = this.route;
    this.refuse(
      error instanceof MessageTooLarge
        ? tooLarge(`a request of ${path}`, error.bytes, this.#maxReceiveBytes, 'maxReceiveBytes of the server')
        : TenonError.from(error),
    );
  }

  #opening(): OutgoingHttpHeaders {
    const headers = this.#answer();
    if (this.#sent) headers['grpc-encoding'] = this.#sent.name;
    return headers;
  }

  /** What every answer begins with: the content type is the one that was asked in (PROTOCOL-HTTP2.md: Content-Type). */
  #answer(): OutgoingHttpHeaders {
    return {
      ':status': 200,
      'content-type': this.#headers['content-type'] ?? 'application/grpc',
      'grpc-accept-encoding': acceptedEncodings,
    };
  }

  #end(trailers: OutgoingHttpHeaders): void {
    const stream = this.#stream;
    this.#ends.hasSent = true;
    if (stream.destroyed || stream.closed) return;
    if (this.#sentHeaders) {
      this.#trailers = trailers;
      stream.end(this.#last);
      this.#uncork();
    } else {
      this.#sentHeaders = true;
      stream.respond({ ...this.#answer(), ...trailers }, { endStream: true });
      this.#letGo();
    }
    if (!this.#hasEnded) stream.resume();
  }

  #sendTrailers(): void {
    try {
      this.#stream.sendTrailers(this.#trailers ?? {});
      this.#letGo();
    } catch {
      // Nobody would catch it in an event of the stream; the caller learns from the reset that something is wrong.
      this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    }
  }

  /** Whoever still sends is told that nobody listens (RFC 9113, section 8.1), once the trailers have left. */
  #letGo(): void {
    if (this.#hasEnded) return;
    this.side.timers.soon(() => {
      if (!this.#stream.closed) this.#stream.close(constants.NGHTTP2_NO_ERROR);
    });
  }

  /** Writes at once, or behind what is still being compressed. */
  #inTurn(write: () => void | Promise<void>): void {
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

  #turned(turn: Promise<void>): void {
    if (this.#compressing === turn) this.#compressing = undefined;
    this.#makeRoom();
  }

  #uncork(): void {
    if (!this.#isCorked) return;
    this.#isCorked = false;
    this.#stream.uncork();
  }

  #makeRoom(): void {
    if (!this.#room || !this.#hasRoom) return;
    this.#room = undefined;
    this.#tellRoom?.();
  }

  #closed(): void {
    if (this.deadline !== undefined) this.#http.deadlines.delete(this as Expiring);
    this.side.release(this);
    this.#makeRoom();
    if (this.isOver) return;
    const { path } = this.route;
    this.brokeOff(callCancelled(`the caller cancelled ${path}, or its connection was lost`));
  }
}

function ignored(): void {}
