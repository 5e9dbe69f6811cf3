import { type ClientHttp2Stream, constants, type IncomingHttpHeaders } from 'node:http2';

import { Code, textOf } from '../../errors/errors.ts';
import type { Linked } from '../../internal/linked-list.ts';
import type { ClientCall } from '../call/client-call.ts';
import { badReply, calmDown, connectionLost, deadlineExceeded, inadequateSecurity, notGrpc } from '../call/failures.ts';
import { type Encoding, encodingOf, gzipped, notUnderstood } from '../grpc/message-encoding.ts';
import { frameMessage, MessageTooLarge } from '../grpc/message-framing.ts';
import type { ClientSession } from './client-session.ts';
import { errorName } from './error-names.ts';
import { type RawHeaders, responseMetadataOf, statusFrom } from './metadata.ts';
import { MessageReader, type MessageSink } from './message-reader.ts';
import { MessageWriter } from './message-writer.ts';
import type { CallStream, OutgoingMessage } from '../call/call-stream.ts';

/**
 * Carries a call of gRPC on a stream of node:http2: headers, messages each way, and the end, which comes after all
 * messages that came before it.
 */
export class ClientStream implements CallStream, MessageSink, Linked<ClientStream> {
  next: ClientStream | undefined;
  previous: ClientStream | undefined;
  readonly call: ClientCall;
  readonly #stream: ClientHttp2Stream;
  readonly #connection: ClientSession;
  readonly #reader: MessageReader;
  readonly #sent: Encoding | undefined;
  readonly #activity: number;
  #writer: MessageWriter | undefined;
  /** The headers or trailers with the status, once they have come. */
  #last: IncomingHttpHeaders | undefined;
  #rawLast: RawHeaders = [];
  /** True if the server has begun to answer, so that it certainly processed the call. */
  #isAnswered = false;
  /** Reports to the call why the stream broke off. */
  #broken: (() => void) | undefined;

  constructor(stream: ClientHttp2Stream, connection: ClientSession, call: ClientCall, compresses: boolean) {
    this.call = call;
    this.#stream = stream;
    this.#connection = connection;
    this.#sent = compresses ? gzipped : undefined;
    this.#activity = connection.activity;
    stream.on('error', ignored);
    stream.once('response', (headers, flags, raw?: RawHeaders) => this.#responded(headers, flags, raw ?? []));
    stream.once('trailers', (headers, _flags, raw?: RawHeaders) => this.#ends(headers, raw ?? []));
    stream.once('close', () => this.#closed());
    this.#reader = new MessageReader(stream, this, call.maxReceiveBytes);
    this.#reader.read();
  }

  get id(): number | undefined {
    return this.#stream.id;
  }

  get isOver(): boolean {
    return this.call.isOver;
  }

  send({ body, compressed, isEnd }: OutgoingMessage): void {
    const stream = this.#stream;
    if (stream.destroyed || stream.closed) return;
    if (body) {
      const encoding = compressed === false ? undefined : this.#sent;
      if (isEnd && !encoding && !this.#writer) {
        stream.end(frameMessage(body));
        return;
      }
      (this.#writer ??= new MessageWriter(stream)).write(body, encoding);
    }
    if (!isEnd) return;
    if (this.#writer) this.#writer.inTurn(() => void stream.end());
    else stream.end();
  }

  room(): Promise<void> | undefined {
    return this.#writer?.room();
  }

  resume(): void {
    this.#reader.read();
  }

  close(): void {
    const stream = this.#stream;
    // A server may answer before it has everything: the rest is not sent.
    if (!stream.writableEnded || stream.writableLength > 0) this.#connection.soon(this.#cancel);
  }

  reset(code: Code): void {
    if (code === Code.DeadlineExceeded) this.#connection.noteUnanswered(this.#activity);
    this.#connection.soon(this.#cancel);
  }

  /** @internal Of the reader. */
  onMessage(body: Buffer, compressed: boolean): void {
    this.call.onMessage({ body, compressed });
  }

  /** @internal Of the reader. */
  onEnd(hasPartialMessage: boolean): void {
    const status = this.#last && statusFrom(this.#last, this.#rawLast);
    const { path } = this.call;
    // A success that broke off may lack messages.
    if (!status || (this.#broken && status.code === Code.Ok)) (this.#broken ?? this.#whyBroken())();
    else if (hasPartialMessage && status.code === Code.Ok)
      this.call.onError(badReply(path, 'it ends in the middle of a message'));
    else {
      if (this.#sent && notUnderstood(status)) this.#connection.isUnableToInflate = true;
      this.call.onMessage({ status });
    }
  }

  /** @internal Of the reader. */
  onError(error: unknown): void {
    if (error instanceof MessageTooLarge) this.call.onTooLarge(error.bytes);
    else this.call.onError(badReply(this.call.path, textOf(error)));
  }

  /**
   * Resets the stream, but never while Node processes what came: Node would free the stream before the reset has left,
   * and write to memory that belongs to another.
   */
  readonly #cancel = (): void => {
    if (!this.#stream.closed) this.#stream.close(constants.NGHTTP2_CANCEL);
    this.#writer?.makeRoom();
  };

  #responded(headers: IncomingHttpHeaders, flags: number, raw: RawHeaders): void {
    this.#isAnswered = true;
    this.#connection.noteActivity();
    if (this.isOver) return;
    const status = Number(headers[':status']);
    const contentType = headers['content-type'];
    const isGrpc = contentType === undefined || contentType.startsWith('application/grpc');
    // Else the page that a web server answers with is read as a message, of a size that its first letters spell.
    if (!isGrpc || (status !== 200 && headers['grpc-status'] === undefined)) {
      this.call.onError(notGrpc(this.#connection.address, contentType, status));
      return;
    }
    if ((flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0) {
      this.#last = headers;
      this.#rawLast = raw;
      return;
    }
    try {
      this.#reader.encoding = encodingOf(headers['grpc-encoding']);
    } catch {
      const name = String(headers['grpc-encoding']);
      this.call.onError(badReply(this.call.path, `its messages are compressed in "${name}", which is not understood`));
      return;
    }
    this.call.onMessage({ headers: responseMetadataOf(raw) });
  }

  #ends(headers: IncomingHttpHeaders, raw: RawHeaders): void {
    this.#connection.noteActivity();
    this.#last = headers;
    this.#rawLast = raw;
    this.#reader.takeAll();
  }

  #closed(): void {
    this.#connection.release(this);
    this.#writer?.makeRoom();
    if (this.isOver || this.#reader.hasEnded) return;
    // The cause is known only now; it is reported after the messages that arrived before.
    this.#broken = this.#whyBroken();
    this.#reader.breakOff();
  }

  #whyBroken(): () => void {
    const { call } = this;
    const connection = this.#connection;
    const { path } = call;
    const { id, rstCode } = this.#stream;
    if (id === undefined || (id > connection.lastTaken && !this.#isAnswered))
      return () => call.onLost('it is going away', false);
    if (connection.isGone) return () => call.onLost(connection.why, true);
    switch (rstCode) {
      case constants.NGHTTP2_NO_ERROR:
        // So Node's servers end the calls of a connection that they close.
        if (connection.isLeaving) return () => call.onLost(connection.why, true);
        return () => call.onError(badReply(path, 'it ends without a status'));
      case constants.NGHTTP2_REFUSED_STREAM:
        connection.noteUnanswered(this.#activity);
        if (!this.#isAnswered) return () => call.onReset(true);
        return () => call.onError(badReply(path, 'it was refused after it had begun'));
      case constants.NGHTTP2_CANCEL:
        // Servers reset a call when its deadline passes, and may be the first to see it.
        return call.isLate ? () => call.onError(deadlineExceeded(path)) : () => call.onReset(false);
      case constants.NGHTTP2_ENHANCE_YOUR_CALM:
        return () => call.onError(calmDown(connection.address, path));
      case constants.NGHTTP2_COMPRESSION_ERROR:
        return () =>
          call.onError(
            connectionLost(connection.address, 'headers could not be read; was there metadata of more than 64 KiB?'),
          );
      case constants.NGHTTP2_INADEQUATE_SECURITY:
        return () => call.onError(inadequateSecurity(connection.address, path));
      default:
        return () => call.onError(badReply(path, `it was reset with ${errorName(rstCode)}`));
    }
  }
}

function ignored(): void {}
