import { type Metadata as GrpcMetadata, ServerInterceptingCall } from '@grpc/grpc-js';

import type { Status } from '../../context/status.ts';
import { statusOf } from '../../context/status.ts';
import { Code, codeFrom, TenonError } from '../../errors/errors.ts';
import { clientStreams, type MethodDescriptor, serverStreams } from '../../pipeline/pipeline.ts';
import type { Clock, Timers } from '../../runtime/runtime.ts';
import type { Accept, Message, Socket } from '../transport.ts';
import { formatAddress } from './address.ts';
import { aborted, badReply, callCancelled, deadlineExceeded, tooLarge, wrongCount } from './failures.ts';
import { bufferOf, requestMetadata, noMetadata, toGrpc, trailersOf } from './grpc-metadata.ts';
import { Inbox } from './inbox.ts';

/** What grpc-js hands to the innermost interceptor. */
export type BaseCall = ConstructorParameters<typeof ServerInterceptingCall>[0];

/** grpc-js's own server, whose handler would put a Duplex on the call, is given this one instead: nothing ever happens on it. */
export class TakenCall extends ServerInterceptingCall {
  override start(): void {}
}

/** What a call needs to know of who listens. */
export interface ServerSide {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly maxSendBytes: number | undefined;
  readonly accept: Accept;
  readonly calls: Set<GrpcServerSocket>;
  /** The call is over and its last byte handed to the connection. */
  readonly release: (socket: GrpcServerSocket) => void;
}

// A stream's write costs a fifth when it need not be waited for, and so many are enough for that.
const maxOutstanding = 64;
const maxOutstandingBytes = 64 * 1024;
const over = Promise.resolve(undefined);
const noop = (): void => {};

/** The server's end of a call, put directly on what grpc-js has below its own stream classes. */
export class GrpcServerSocket implements Socket {
  readonly #base: BaseCall;
  readonly #side: ServerSide;
  readonly #route: MethodDescriptor;
  readonly #inbox: Inbox | undefined;
  #headers: GrpcMetadata | undefined;
  #first: Message | undefined;
  #wasAccepted = false;
  #sentHeaders = false;
  #isOver = false;
  #broken: TenonError | undefined;
  #listener: ((error: TenonError) => void) | undefined;
  #replies = 0;
  #outstanding = 0;
  #outstandingBytes = 0;
  #room: Promise<void> | undefined;
  #tellRoom: (() => void) | undefined;

  constructor(base: BaseCall, side: ServerSide, route: MethodDescriptor) {
    this.#base = base;
    this.#side = side;
    this.#route = route;
    if (route.kind !== 'unary') this.#inbox = new Inbox();
    side.calls.add(this);
    base.start(this);
  }

  get local(): string {
    const { localAddress, localPort } = this.#base.getConnectionInfo();
    return place(localAddress, localPort);
  }

  get remote(): string {
    const { remoteAddress, remotePort } = this.#base.getConnectionInfo();
    return place(remoteAddress, remotePort);
  }

  get deadline(): number | undefined {
    const deadline = Number(this.#base.getDeadline());
    return deadline === Number.POSITIVE_INFINITY ? undefined : deadline;
  }

  send(message: Message): void | Promise<void> {
    if (this.#isOver) return undefined;
    const { headers, body, status } = message;
    try {
      if (headers) this.#sendHeaders(toGrpc(headers));
      if (body && !this.#sendBody(body, status !== undefined)) return undefined;
      if (status) {
        this.#finish(status);
        return undefined;
      }
    } catch (error) {
      this.refuse(
        new TenonError({
          code: Code.Internal,
          reason: 'metadata.invalid',
          message: TenonError.from(error).message,
          cause: error,
        }),
      );
      return undefined;
    }
    return this.#isFull ? (this.#room ??= new Promise((resolve) => (this.#tellRoom = resolve))) : undefined;
  }

  recv(): Promise<Message | undefined> {
    const first = this.#first;
    if (first) {
      this.#first = undefined;
      return Promise.resolve(first);
    }
    if (this.#inbox) return this.#inbox.recv();
    return this.#broken ? Promise.reject(this.#broken) : over;
  }

  end(): void {
    // Only clients half-close: a server ends with its status.
  }

  abort(code: Code, message?: string): void {
    if (this.#isOver) return;
    const error = aborted(code, message);
    this.#finish({ code, message: error.message });
    this.#first = undefined;
    this.#broken = error;
    this.#inbox?.discard(error);
  }

  close(): void {
    this.abort(Code.Cancelled, 'the server let go of the call');
  }

  onAbort(listener: (error: TenonError) => void): void {
    if (this.#broken) listener(this.#broken);
    else this.#listener = listener;
  }

  /** Ends the call in the handler's place, and tells the handler. */
  refuse(error: TenonError): void {
    if (this.#isOver) return;
    this.#finish(statusOf(error));
    this.#breakOff(error);
  }

  onReceiveMetadata(metadata: GrpcMetadata): void {
    this.#headers = metadata;
    if (clientStreams(this.#route.kind)) this.#accept(undefined);
    this.#base.startRead();
  }

  onReceiveMessage(body: Buffer): void {
    if (this.#isOver) return;
    const { kind } = this.#route;
    if (clientStreams(kind)) {
      const inbox = this.#inbox as Inbox;
      inbox.push({ body });
      if (inbox.isFull) inbox.onRoom = () => this.#base.startRead();
      else this.#base.startRead();
      return;
    }
    if (this.#first || this.#wasAccepted) {
      this.refuse(wrongCount(this.#route.path, 'a second'));
      return;
    }
    if (kind === 'unary') this.#first = this.#opening(body);
    // Go Micro's clients never half-close a server stream: the one message is enough to begin.
    else this.#accept(body);
    this.#base.startRead();
  }

  onReceiveHalfClose(): void {
    if (this.#isOver) return;
    const { kind } = this.#route;
    if (kind === 'unary' && this.#first) this.#hand();
    else if (!clientStreams(kind) && !this.#wasAccepted) this.refuse(wrongCount(this.#route.path, 'no'));
    else this.#endUnlessReset();
  }

  /** Comes with every end of a call, also a good one. */
  onCancel(): void {
    this.#side.release(this);
    this.#tellRoom?.();
    if (this.#isOver) return;
    this.#isOver = true;
    const { deadline } = this;
    const isLate = deadline !== undefined && deadline <= this.#side.clock.now() + 1;
    const { path } = this.#route;
    this.#breakOff(
      isLate ? deadlineExceeded(path) : callCancelled(`the caller cancelled ${path}, or its connection was lost`),
    );
  }

  get #isFull(): boolean {
    return this.#outstanding >= maxOutstanding || this.#outstandingBytes >= maxOutstandingBytes;
  }

  #opening(body: Uint8Array | undefined): Message {
    return { headers: requestMetadata(this.#headers as GrpcMetadata), body };
  }

  #accept(body: Uint8Array | undefined): void {
    this.#first = this.#opening(body);
    this.#hand();
  }

  #hand(): void {
    this.#wasAccepted = true;
    this.#side.accept(this, this.#route);
  }

  /**
   * A client on node:http2 that cancels ends its stream first and resets it after, in a packet of its own. A handler should not take that for
   * the end of the requests: one turn of the event loop is enough to see most of the resets, and costs nothing else.
   */
  #endUnlessReset(): void {
    this.#side.timers.soon(() => this.#inbox?.end());
  }

  #sendHeaders(metadata: GrpcMetadata): void {
    if (this.#sentHeaders) return;
    this.#sentHeaders = true;
    this.#base.sendMetadata(metadata);
  }

  /** Whether it was sent; otherwise the call has failed. */
  #sendBody(body: Uint8Array, isLast: boolean): boolean {
    const { maxSendBytes } = this.#side;
    const { path, kind } = this.#route;
    if (maxSendBytes !== undefined && body.length > maxSendBytes) {
      this.refuse(tooLarge(`a reply of ${path}`, body.length, maxSendBytes, 'maxSendBytes of the server'));
      return false;
    }
    this.#replies += 1;
    if (this.#replies > 1 && !serverStreams(kind)) {
      this.refuse(badReply(path, 'more than one message'));
      return false;
    }
    this.#sendHeaders(noMetadata);
    if (isLast) {
      this.#base.sendMessage(bufferOf(body), noop);
      return true;
    }
    this.#outstanding += 1;
    this.#outstandingBytes += body.length;
    this.#base.sendMessage(bufferOf(body), () => this.#written(body.length));
    return true;
  }

  #written(bytes: number): void {
    this.#outstanding -= 1;
    this.#outstandingBytes -= bytes;
    if (!this.#room || this.#isFull) return;
    this.#room = undefined;
    this.#tellRoom?.();
  }

  #finish(status: Status): void {
    this.#isOver = true;
    this.#inbox?.discard();
    const code = codeFrom(status.code);
    // A lone surrogate in it would be an uncaught error that ends the process; and on success grpc-js would say "OK" without ours.
    const details = code === Code.Ok ? '' : wellFormed(status.message);
    this.#base.sendStatus({ code, details, metadata: trailersOf(status) });
  }

  #breakOff(error: TenonError): void {
    this.#broken = error;
    this.#inbox?.end(error);
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.(error);
  }
}

/** The types of the library are older than the method, which every supported Node has. */
function wellFormed(text: string): string {
  return (text as unknown as { toWellFormed(): string }).toWellFormed();
}

function place(address: string | undefined, port: number | undefined): string {
  if (address === undefined || port === undefined) return '';
  // How a socket that takes both families shows IPv4.
  return formatAddress(address.replace(/^::ffff:/, ''), port);
}
