import type { Socket as NetSocket } from 'node:net';
import type { Duplex } from 'node:stream';

import { Metadata } from '../../context/metadata.ts';
import type { PeerCertificate } from '../../context/peer-certificate.ts';
import { type Status, statusOf } from '../../context/status.ts';
import { Code, codeFrom, type TenonError } from '../../errors/errors.ts';
import type { MethodDescriptor } from '../../pipeline/pipeline.ts';
import type { Expiring } from '../../runtime/deadlines.ts';
import type { Timer } from '../../runtime/runtime.ts';
import { defaultMaxMessageBytes, type ListenOptions, type Message } from '../transport.ts';
import { callCancelled, deadlineExceeded, tooLarge, unsendable } from '../call/failures.ts';
import { type ConnectionOptions, FrameConnection } from './connection.ts';
import { pathKey } from './fields.ts';
import { firstFrame, Flag, FrameError } from './format.ts';
import { FrameStream } from './frame-stream.ts';
import { type AdmittedCall, CallAdmission } from '../call/call-admission.ts';
import type { StreamOwner } from '../call/call-stream.ts';
import type { WatchableCall, DeferredWatch } from '../call/deferred-watch.ts';
import { certificateBehind } from '../sockets/peer-certificate.ts';
import type { AddressScheme } from '../sockets/address-scheme.ts';
import { Routes } from '../call/routes.ts';
import { ServerCall, type ServerSide } from '../call/server-call.ts';
import type { ServerEngine } from '../sockets/server-engine.ts';
import type { SocketServerLimits } from '../sockets/socket-defaults.ts';
import { SendBudget } from '../call/send-budget.ts';

/** State that the connections of one listener share. */
interface ListenerState {
  readonly side: ServerSide;
  readonly routes: Routes;
  readonly maxReceiveBytes: number;
  readonly deferredWatch: DeferredWatch;
  readonly maxCalls: number;
  readonly addresses: AddressScheme;
  readonly budget: SendBudget;
}

/** State that the listeners of one transport share. */
interface Shared {
  readonly deferredWatch: DeferredWatch;
  readonly addresses: AddressScheme;
  readonly limits: SocketServerLimits;
}

/** Speaks the protocol of frames on the connections of a listener. */
export class FrameServer implements ServerEngine {
  readonly #listener: ListenerState;
  readonly #options: ConnectionOptions;
  readonly #limits: SocketServerLimits;
  readonly #connections = new Set<ServerConnection>();
  /** The number of connections whose peers have not introduced themselves. */
  #strangers = 0;
  #stalls: Timer | undefined;
  #whenGone: (() => void) | undefined;

  constructor(listening: ListenOptions, side: ServerSide, options: ConnectionOptions, shared: Shared) {
    this.#options = options;
    this.#limits = shared.limits;
    this.#listener = {
      ...shared,
      side,
      routes: new Routes(listening),
      maxReceiveBytes: listening.maxReceiveBytes ?? defaultMaxMessageBytes,
      maxCalls: options.maxCalls,
      budget: new SendBudget(shared.limits),
    };
  }

  inject(socket: Duplex): void {
    if (this.#strangers >= this.#limits.maxHandshakes) {
      socket.destroy();
      return;
    }
    this.#strangers += 1;
    const connection = new ServerConnection(socket, this.#options, this.#listener, {
      known: () => (this.#strangers -= 1),
      gone: () => this.#gone(connection),
    });
    this.#connections.add(connection);
    this.#watch();
  }

  goAway(): Promise<void> {
    for (const connection of this.#connections) connection.leave();
    if (this.#connections.size === 0) return Promise.resolve();
    return new Promise((resolve) => (this.#whenGone = resolve));
  }

  shutDown(): void {
    for (const connection of this.#connections) connection.destroy();
  }

  /** Watches for peers that take nothing, with one timer for all connections. */
  #watch(): void {
    const { sendTimeoutMs } = this.#limits;
    if (sendTimeoutMs === Number.POSITIVE_INFINITY) return;
    this.#stalls ??= this.#options.timers.every(sendTimeoutMs / looks, () => {
      for (const connection of this.#connections) connection.look(looks, sendTimeoutMs);
    });
  }

  #gone(connection: ServerConnection): void {
    this.#connections.delete(connection);
    if (this.#connections.size > 0) return;
    this.#stalls?.cancel();
    this.#stalls = undefined;
    this.#whenGone?.();
  }
}

// The number of checks in the time that a peer has to take data.
const looks = 4;

/** Follows the life of a connection. */
interface Watcher {
  /** Called when the peer has sent its preamble, or its connection has ended before. */
  known(): void;
  gone(): void;
}

class ServerConnection extends FrameConnection {
  readonly local: string;
  readonly remote: string;
  /** Calls that broke off and whose handlers still run. */
  abandoned = 0;
  /** Decides when its calls may begin. */
  readonly admission: CallAdmission;
  readonly #listener: ListenerState;
  readonly #watcher: Watcher;
  #isKnown = false;
  /** Unsent bytes of this connection that the budget counts. */
  #counted = 0;
  #leftBytes = -1;
  #stalled = 0;

  constructor(socket: Duplex, options: ConnectionOptions, listener: ListenerState, watcher: Watcher) {
    super(socket, options, false);
    this.#listener = listener;
    this.#watcher = watcher;
    this.admission = new CallAdmission(listener.budget, options.timers, () => this.#unsentBytes);
    this.local = listener.addresses.localOf(socket as NetSocket) || listener.side.addr();
    this.remote = listener.addresses.remoteOf(socket as NetSocket);
  }

  /** The socket, which has the peer's certificate. */
  get net(): Duplex {
    return this.socket;
  }

  protected override get pausesReading(): boolean {
    return true;
  }

  /** Closes the connection of a peer that has taken nothing for `timeoutMs`, in which this is called `looks` times. */
  look(looks: number, timeoutMs: number): void {
    const inSocket = this.socket.writableLength;
    const leftBytes = this.handedBytes - inSocket;
    const isLate = inSocket > 0 || (this.waitingBytes > 0 && this.admission.isWaitedFor);
    this.#stalled = isLate && leftBytes === this.#leftBytes ? this.#stalled + 1 : 0;
    this.#leftBytes = leftBytes;
    if (this.#stalled >= looks) this.destroy(`it took nothing of what it was sent for ${timeoutMs} ms`);
  }

  protected override onUnsentChange(): void {
    // Below this size the socket may not report when it has sent the bytes.
    const { writableLength, writableHighWaterMark } = this.socket;
    const inSocket = writableLength < writableHighWaterMark ? 0 : writableLength;
    const bytes = this.isClosed ? 0 : this.waitingBytes + inSocket;
    const change = bytes - this.#counted;
    if (change !== 0) {
      this.#counted = bytes;
      this.admission.change(change);
    }
    this.admission.retry();
  }

  get #unsentBytes(): number {
    return this.waitingBytes + this.writer.bytes + this.socket.writableLength;
  }

  protected override onReady(): void {
    this.#known();
  }

  #known(): void {
    if (this.#isKnown) return;
    this.#isKnown = true;
    this.#watcher.known();
  }

  protected override onData(): void {
    this.admission.expectNothing();
  }

  protected override onCall(id: number, flags: number): void {
    if (id <= this.lastId) throw new FrameError(`call ${id} after call ${this.lastId}`);
    this.lastId = id;
    // The call crossed the GOAWAY, from which the client knows that this server does not process it. Further frames of
    // it may be on their way.
    if (this.isLeaving) return;
    const { cursor, fields } = this;
    const { side, routes, deferredWatch, maxCalls } = this.#listener;
    const deadline = (flags & Flag.Timeout) === 0 ? undefined : side.clock.monotonicMs() + cursor.varint();
    const [key, path] = fields.read(cursor);
    if (key !== pathKey || typeof path !== 'string') throw new FrameError('a call without a path');
    if ((flags & (Flag.Status | Flag.Trailers)) !== 0) throw new FrameError('a status from a client');
    const route = routes.find(path);
    if (this.streams.size + this.abandoned >= maxCalls || !route) {
      this.message(undefined, flags);
      if (route) this.writer.reset(id, Code.Unavailable, true);
      else this.writer.message(id, { status: statusOf(routes.unknown(path)), flags: 0 });
      this.wrote();
      return;
    }
    const call = new FrameServerCall(this, id, route, deadline, this.#listener);
    if (deadline !== undefined) deferredWatch.add(call);
    this.message(call.stream, flags | firstFrame);
  }

  protected override message(stream: FrameStream | undefined, flags: number): void {
    if ((flags & firstFrame) === 0 && (flags & notFromClients) !== 0 && stream)
      throw new FrameError('metadata or a status after the first frame of a call');
    super.message(stream, flags);
  }

  protected override onGoAway(): void {
    this.isLeaving = true;
    if (this.streams.size === 0) this.finish();
  }

  protected override onStranger(text: string): string {
    return /^(?:GET|POST|PUT|HEAD|OPTIONS|DELETE|PATCH|CONNECT|TRACE) /.test(text) ? notHttp : '';
  }

  protected override onRelease(): void {}

  protected override onEnded(): void {
    for (const stream of this.streams.all()) stream.owner.onLost('', true);
    this.onUnsentChange();
    this.admission.close();
    this.#known();
    this.#watcher.gone();
  }
}

const notFromClients = Flag.Headers | Flag.Status | Flag.Trailers | Flag.Timeout;

const notHttp =
  'HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n' +
  "This port speaks tenon's own protocol, not HTTP. Over gRPC a service can be reached by others: TENON_TRANSPORT=grpc.\n";

/** The server's end of a call. */
class FrameServerCall extends ServerCall implements StreamOwner, WatchableCall, AdmittedCall {
  newer: WatchableCall | undefined;
  older: WatchableCall | undefined;
  readonly stream: FrameStream;
  readonly deadline: number | undefined;
  readonly maxReceiveBytes: number;
  readonly #connection: ServerConnection;
  readonly #deferredWatch: DeferredWatch;
  #opening: Metadata | undefined;
  #hasBegun = false;
  #isWatched = false;
  #sentHeaders = false;
  // The parts that wait for the next step, to be sent with it in one frame.
  #headers: Metadata | undefined;
  #body: Uint8Array | undefined;

  constructor(
    connection: ServerConnection,
    id: number,
    route: MethodDescriptor,
    deadline: number | undefined,
    { side, deferredWatch, maxReceiveBytes }: ListenerState,
  ) {
    super(side, route);
    this.#connection = connection;
    this.#deferredWatch = deferredWatch;
    this.deadline = deadline;
    this.maxReceiveBytes = maxReceiveBytes;
    this.stream = new FrameStream(connection, id, this);
  }

  get peerCertificate(): PeerCertificate | undefined {
    return certificateBehind(this.#connection.net);
  }

  get local(): string {
    return this.#connection.local;
  }

  get remote(): string {
    return this.#connection.remote;
  }

  override abort(code: Code, message?: string): void {
    if (!this.isOver) this.stream.dropWaiting();
    super.abort(code, message);
  }

  onMessage({ headers, body }: Message, isEnd: boolean): void {
    if (!this.#hasBegun) {
      this.#hasBegun = true;
      this.#opening = headers;
      this.onHeaders();
    }
    if (body) this.onRequest({ body });
    if (isEnd) this.onHalfClose();
  }

  onTooLarge(bytes: number | undefined): void {
    const { path } = this.route;
    this.refuse(tooLarge(`a request of ${path}`, bytes, this.maxReceiveBytes, 'maxReceiveBytes of the server'));
  }

  onReset(_isRefused: boolean, code: Code): void {
    const { path } = this.route;
    this.#gone(code === Code.DeadlineExceeded ? deadlineExceeded(path) : callCancelled(`the caller cancelled ${path}`));
  }

  onLost(): void {
    this.#gone(callCancelled(`the connection of the caller of ${this.route.path} was lost`));
  }

  onError(error: TenonError): void {
    this.refuse(unsendable(error));
  }

  onClosed(): void {
    this.#connection.admission.forget(this);
    if (this.#isWatched) this.#deferredWatch.deadlines.delete(this as Expiring);
    else this.#deferredWatch.remove(this);
    this.side.release(this);
  }

  watch(): void {
    this.#isWatched = true;
    this.#deferredWatch.deadlines.add(this as Expiring);
  }

  expire(): void {
    this.stream.dropWaiting();
    this.refuse(deadlineExceeded(this.route.path));
  }

  /** Gives the call to its handler; called by the admission. */
  begin(): void {
    this.take();
  }

  protected override requestHeaders(): Metadata {
    return this.#opening ?? new Metadata();
  }

  protected override writeHeaders(headers: Metadata, { body, status }: Message): void {
    if (this.#sentHeaders) return;
    this.#sentHeaders = true;
    if (body || status) this.#headers = headers;
    else this.stream.send({ headers });
  }

  protected override handOver(): void {
    this.#connection.admission.admit(this);
  }

  protected override abandoned(): void {
    this.#connection.abandoned += 1;
  }

  protected override settled(): void {
    this.#connection.abandoned -= 1;
  }

  protected override writeMessage(_message: Message, body: Uint8Array, isLast: boolean): void {
    this.#connection.admission.replied(body.length);
    // Headers precede a message, even if they are empty.
    this.#sentHeaders = true;
    if (isLast) this.#body = body;
    else this.stream.send({ headers: this.#takeHeaders(), body });
  }

  protected override writeStatus(status: Status): void {
    const body = this.#body;
    this.#body = undefined;
    this.stream.send({ headers: this.#takeHeaders(), body, status: { ...status, code: codeFrom(status.code) } });
  }

  protected override read(): void {
    this.stream.resume();
  }

  protected override room(): Promise<void> | undefined {
    return this.stream.room();
  }

  #takeHeaders(): Metadata | undefined {
    const headers = this.#headers;
    this.#headers = undefined;
    return headers;
  }

  #gone(error: TenonError): void {
    this.stream.close();
    this.onBroken(error);
  }
}
