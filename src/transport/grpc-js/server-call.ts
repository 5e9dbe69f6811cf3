import { type Metadata as GrpcMetadata, ServerInterceptingCall } from '@grpc/grpc-js';

import type { Metadata } from '../../context/metadata.ts';
import type { PeerCertificate } from '../../context/peer-certificate.ts';
import type { Status } from '../../context/status.ts';
import { Code, codeFrom } from '../../errors/errors.ts';
import { isMicroCall } from '../../go-micro/call-headers.ts';
import { wellFormed } from '../../internal/well-formed.ts';
import type { MethodDescriptor } from '../../pipeline/pipeline.ts';
import { systemClock } from '../../runtime/system.ts';
import type { Message } from '../transport.ts';
import { formatPeer } from '../sockets/address.ts';
import { callCancelled, deadlineExceeded } from '../call/failures.ts';
import { clipped } from '../grpc/grpc-headers.ts';
import { bufferOf, noMetadata, requestMetadata, toGrpc, trailersOf } from './metadata.ts';
import { peerCertificateOf } from '../sockets/peer-certificate.ts';
import { ServerCall, type ServerSide } from '../call/server-call.ts';

/** The call that grpc-js hands to the innermost interceptor. */
export type BaseCall = ConstructorParameters<typeof ServerInterceptingCall>[0];

/**
 * grpc-js's own server, whose handler would put a Duplex on the call, is given this one instead: nothing ever happens
 * on it.
 */
export class TakenCall extends ServerInterceptingCall {
  override start(): void {}
}

// A stream's write costs a fifth when it need not be waited for, and so many are enough for that.
const maxOutstanding = 64;
const maxOutstandingBytes = 64 * 1024;
const noop = (): void => {};

/** The listener of a call, with its limit. */
export interface GrpcJsServerSide extends ServerSide {
  /** Limit of headers, and again of trailers, in bytes. */
  readonly maxMetadataBytes: number;
}

/** The server's end of a call, put directly on what grpc-js has below its own stream classes. */
export class GrpcJsServerCall extends ServerCall {
  deadline: number | undefined;
  readonly #base: BaseCall;
  readonly #maxMetadataBytes: number;
  #headers: GrpcMetadata | undefined;
  #sentHeaders = false;
  #outstanding = 0;
  #outstandingBytes = 0;
  #room: Promise<void> | undefined;
  #tellRoom: (() => void) | undefined;

  constructor(base: BaseCall, side: GrpcJsServerSide, route: MethodDescriptor) {
    super(side, route);
    this.#base = base;
    this.#maxMetadataBytes = side.maxMetadataBytes;
    base.start(this);
  }

  get local(): string {
    const { localAddress, localPort } = this.#base.getConnectionInfo();
    return formatPeer(localAddress, localPort);
  }

  get remote(): string {
    const { remoteAddress, remotePort } = this.#base.getConnectionInfo();
    return formatPeer(remoteAddress, remotePort);
  }

  get peerCertificate(): PeerCertificate | undefined {
    // grpc-js gives it only for verified connections.
    const { sslPeerCertificate } = this.#base.getAuthContext();
    return sslPeerCertificate && peerCertificateOf(sslPeerCertificate.raw);
  }

  onReceiveMetadata(metadata: GrpcMetadata): void {
    this.#headers = metadata;
    // grpc-js gives a date that it computed at this moment from the time-out: the remaining time counts.
    const date = Number(this.#base.getDeadline());
    if (date !== Number.POSITIVE_INFINITY)
      this.deadline = this.side.clock.monotonicMs() + Math.max(0, date - systemClock.now());
    this.onHeaders();
  }

  onReceiveMessage(body: Buffer): void {
    this.onRequest({ body });
  }

  onReceiveHalfClose(): void {
    this.onHalfClose();
  }

  /** Called at every end of a call, also a good one. */
  onCancel(): void {
    this.side.release(this);
    this.#tellRoom?.();
    if (this.isOver) return;
    const { deadline } = this;
    const isLate = deadline !== undefined && deadline <= this.side.clock.monotonicMs() + 1;
    const { path } = this.route;
    this.onBroken(
      isLate ? deadlineExceeded(path) : callCancelled(`the caller cancelled ${path}, or its connection was lost`),
    );
  }

  protected requestHeaders(): Metadata {
    return requestMetadata(this.#headers as GrpcMetadata);
  }

  protected override mustHalfClose(headers: Metadata): boolean {
    return !isMicroCall(headers);
  }

  protected read(): void {
    this.#base.startRead();
  }

  protected writeHeaders(headers: Metadata): void {
    this.#sendHeaders(toGrpc(headers, this.#maxMetadataBytes));
  }

  protected writeMessage(_message: Message, body: Uint8Array, isLast: boolean): void {
    if (this.#hasTimedOut) {
      // A message behind its status would cost the caller the status: Node takes it for an error of the stream.
      this.onBroken(deadlineExceeded(this.route.path));
      return;
    }
    this.#sendHeaders(noMetadata);
    if (isLast) {
      this.#base.sendMessage(bufferOf(body), noop);
      return;
    }
    this.#outstanding += 1;
    this.#outstandingBytes += body.length;
    this.#base.sendMessage(bufferOf(body), () => this.#written(body.length));
  }

  protected writeStatus(status: Status): void {
    const code = codeFrom(status.code);
    // A lone surrogate in it would be an uncaught error that ends the process; and on success grpc-js would say "OK"
    // without ours.
    const details = code === Code.Ok ? '' : wellFormed(clipped(status.message));
    this.#base.sendStatus({ code, details, metadata: trailersOf(status, this.#maxMetadataBytes) });
  }

  protected room(): Promise<void> | undefined {
    return this.#isFull ? (this.#room ??= new Promise((resolve) => (this.#tellRoom = resolve))) : undefined;
  }

  /**
   * True once grpc-js has given a call that has begun to answer the status of its deadline. It reports that only
   * after it has sent what is buffered; until then only its own state shows it.
   */
  get #hasTimedOut(): boolean {
    return (this.#base as { readonly wantTrailers?: boolean }).wantTrailers === true;
  }

  get #isFull(): boolean {
    return this.#outstanding >= maxOutstanding || this.#outstandingBytes >= maxOutstandingBytes;
  }

  #sendHeaders(metadata: GrpcMetadata): void {
    if (this.#sentHeaders) return;
    this.#sentHeaders = true;
    this.#base.sendMetadata(metadata);
  }

  #written(bytes: number): void {
    this.#outstanding -= 1;
    this.#outstandingBytes -= bytes;
    if (!this.#room || this.#isFull) return;
    this.#room = undefined;
    this.#tellRoom?.();
  }
}
