import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';

import type { Metadata } from '../../context/metadata.ts';
import type { PeerCertificate } from '../../context/peer-certificate.ts';
import type { Status } from '../../context/status.ts';
import { TenonError } from '../../errors/errors.ts';
import { isMicroCall } from '../../go-micro/call-headers.ts';
import { clientStreams, type MethodDescriptor } from '../../pipeline/pipeline.ts';
import type { Deadlines, Expiring } from '../../runtime/deadlines.ts';
import { defaultMaxMessageBytes, type Message } from '../transport.ts';
import type { AdmittedCall, CallAdmission } from '../call/call-admission.ts';
import { callCancelled, deadlineExceeded, tooLarge } from '../call/failures.ts';
import { badMessage, frameMessage, MessageTooLarge } from '../grpc/message-framing.ts';
import { acceptedBy, acceptedEncodings, type Encoding, encodingOf } from '../grpc/message-encoding.ts';
import { addMetadata, type RawHeaders, requestMetadataOf, statusHeaders, timeoutMsOf } from './metadata.ts';
import { MessageReader, type MessageSink } from './message-reader.ts';
import { MessageWriter } from './message-writer.ts';
import { ServerCall, type ServerSide } from '../call/server-call.ts';

/** The listener of a call, with its limits. */
export interface Http2ServerSide extends ServerSide {
  readonly deadlines: Deadlines;
  readonly maxReceiveBytes: number | undefined;
  /** Limit of headers, and again of trailers, in bytes. */
  readonly maxMetadataBytes: number;
}

/** The connection of a call: its ends, and what its calls count on it. */
export interface ConnectionInfo {
  /** Calls that broke off and whose handlers still run. */
  abandoned: number;
  /** Called when a call is over. */
  onCallEnd(): void;
  /** Decides when its calls may begin. */
  readonly admission: CallAdmission;
  readonly local: string;
  readonly remote: string;
  certificate(): PeerCertificate | undefined;
  /** True if something was sent on it since its peer's last ping. */
  hasSent: boolean;
}

/** The server's end of a call, put on a stream of node:http2. */
export class ServerStream extends ServerCall implements MessageSink, AdmittedCall {
  readonly local: string;
  readonly remote: string;
  readonly deadline: number | undefined;
  readonly #connection: ConnectionInfo;
  readonly #stream: ServerHttp2Stream;
  readonly #headers: IncomingHttpHeaders;
  readonly #raw: RawHeaders;
  readonly #http: Http2ServerSide;
  readonly #maxReceiveBytes: number;
  #reader: MessageReader | undefined;
  #writer: MessageWriter | undefined;
  #sent: Encoding | undefined;
  #sentHeaders = false;
  #trailers: OutgoingHttpHeaders | undefined;
  /** The last message, which leaves with the end. */
  #last: Buffer | undefined;
  /** The encoding of the requests. */
  #received: Encoding | undefined;
  /** Unsent bytes of this call that the connection counts. */
  #counted = 0;
  #isGone = false;

  constructor(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    raw: RawHeaders,
    side: Http2ServerSide,
    route: MethodDescriptor,
    connection: ConnectionInfo,
  ) {
    super(side, route);
    this.local = connection.local;
    this.remote = connection.remote;
    this.#connection = connection;
    this.#stream = stream;
    this.#headers = headers;
    this.#raw = raw;
    this.#http = side;
    this.#maxReceiveBytes = side.maxReceiveBytes ?? defaultMaxMessageBytes;
    stream.on('error', ignored);
    stream.once('close', () => this.#closed());
    try {
      const timeoutMs = timeoutMsOf(headers);
      if (timeoutMs !== undefined) {
        this.deadline = side.clock.monotonicMs() + timeoutMs;
        side.deadlines.add(this as Expiring);
      }
      this.#received = encodingOf(headers['grpc-encoding']);
    } catch (error) {
      this.deadline = undefined;
      this.refuse(TenonError.from(error));
      return;
    }
    connection.admission.admit(this);
  }

  /** @internal Begins to read the requests; called by the admission. */
  begin(): void {
    if (this.isOver) return;
    this.#reader = new MessageReader(this.#stream, this, this.#maxReceiveBytes);
    this.#reader.encoding = this.#received;
    this.onHeaders();
  }

  get peerCertificate(): PeerCertificate | undefined {
    return this.#connection.certificate();
  }

  /** Ends the call at its deadline; called by the timer of deadlines. */
  expire(): void {
    this.refuse(deadlineExceeded(this.route.path));
  }

  protected requestHeaders(): Metadata {
    return requestMetadataOf(this.#raw);
  }

  protected override mustHalfClose(headers: Metadata): boolean {
    return !isMicroCall(headers);
  }

  protected writeHeaders(headers: Metadata | undefined, message: Message): void {
    if (this.#sentHeaders) return;
    // The header names the encoding before the first message, even if only a later message is compressed.
    if (message.compressed !== undefined) this.#sent = acceptedBy(this.#headers['grpc-accept-encoding']);
    const outgoing = addMetadata(this.#opening(), headers, this.#http.maxMetadataBytes);
    this.#sentHeaders = true;
    if (this.#stream.destroyed || this.#stream.closed) return;
    this.#stream.respond(outgoing, { waitForTrailers: true });
    this.#stream.once('wantTrailers', () => this.#sendTrailers());
  }

  protected writeMessage(message: Message, body: Uint8Array, isLast: boolean): void {
    this.writeHeaders(undefined, message);
    this.#connection.hasSent = true;
    const encoding = message.compressed ? this.#sent : undefined;
    this.#connection.admission.replied(body.length);
    if (isLast && !encoding && !this.#writer?.isBusy) this.#last = frameMessage(body);
    else (this.#writer ??= new MessageWriter(this.#stream, () => this.#count())).write(body, encoding);
    this.#count();
  }

  protected writeStatus(status: Status): void {
    const trailers = addMetadata(statusHeaders(status), status.metadata, this.#http.maxMetadataBytes);
    if (this.deadline !== undefined) this.#http.deadlines.delete(this as Expiring);
    if (this.#writer) this.#writer.inTurn(() => this.#end(trailers));
    else this.#end(trailers);
  }

  protected override abandoned(): void {
    this.#connection.abandoned += 1;
  }

  protected override settled(): void {
    this.#connection.abandoned -= 1;
  }

  protected read(): void {
    this.#reader?.read();
  }

  protected room(): Promise<void> | undefined {
    return this.#writer?.room();
  }

  /** @internal Called by the reader. */
  onMessage(body: Buffer, compressed: boolean): void {
    this.onRequest({ body, compressed });
  }

  /** @internal Called by the reader. */
  onEnd(hasPartialMessage: boolean): void {
    if (hasPartialMessage) this.refuse(badMessage('it ends in its middle'));
    else this.onHalfClose();
  }

  /** @internal Called by the reader. */
  onError(error: unknown): void {
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

  /**
   * Returns the first headers of every answer, with the content type of the request (PROTOCOL-HTTP2.md: Content-Type).
   */
  #answer(): OutgoingHttpHeaders {
    return {
      ':status': 200,
      'content-type': this.#headers['content-type'] ?? 'application/grpc',
      'grpc-accept-encoding': acceptedEncodings,
    };
  }

  #end(trailers: OutgoingHttpHeaders): void {
    const stream = this.#stream;
    this.#connection.hasSent = true;
    if (stream.destroyed || stream.closed) return;
    if (this.#sentHeaders) {
      this.#trailers = trailers;
      stream.end(this.#last);
      this.#writer?.uncork();
    } else {
      this.#sentHeaders = true;
      stream.respond({ ...this.#answer(), ...trailers }, { endStream: true });
      this.#letGo();
    }
    if (!this.#reader?.hasEnded) stream.resume();
  }

  #sendTrailers(): void {
    try {
      this.#stream.sendTrailers(this.#trailers ?? {});
      this.#letGo();
    } catch {
      // An error in an event of the stream would be uncaught; the reset reports the failure to the caller.
      this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    }
  }

  /** Resets the stream of a client that still sends (RFC 9113, section 8.1), once the trailers have left. */
  #letGo(): void {
    if (this.#reader?.hasEnded) return;
    this.side.timers.soon(() => {
      if (!this.#stream.closed) this.#stream.close(constants.NGHTTP2_NO_ERROR);
    });
  }

  /** Tells the connection how many bytes of this call are unsent. */
  #count(): void {
    if (this.#isGone) return;
    const unsent = (this.#writer?.unsentBytes ?? 0) + (this.#last?.length ?? 0);
    if (unsent === this.#counted) return;
    const change = unsent - this.#counted;
    this.#counted = unsent;
    this.#connection.admission.change(change);
  }

  #closed(): void {
    const { admission } = this.#connection;
    this.#isGone = true;
    if (this.#counted > 0) admission.change(-this.#counted);
    admission.forget(this);
    this.#connection.onCallEnd();
    if (this.deadline !== undefined) this.#http.deadlines.delete(this as Expiring);
    this.side.release(this);
    this.#writer?.makeRoom();
    if (this.isOver) return;
    // Requests that have come are read before the error.
    if (clientStreams(this.route.kind)) this.#reader?.flush();
    const { path } = this.route;
    this.onBroken(callCancelled(`the caller cancelled ${path}, or its connection was lost`));
  }
}

function ignored(): void {}
