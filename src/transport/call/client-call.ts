import type { Context } from '../../context/context.ts';
import type { Metadata } from '../../context/metadata.ts';
import type { Status } from '../../context/status.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { serverStreams } from '../../pipeline/pipeline.ts';
import type { Expiring } from '../../runtime/deadlines.ts';
import { defaultMaxMessageBytes, type DialOptions, type Message, type TransportClient } from '../transport.ts';
import {
  aborted,
  callCancelled,
  connectionLost,
  deadlineExceeded,
  notToBegin,
  requestTooLarge,
  tooLarge,
  unreachable,
  wrongReplyCount,
} from './failures.ts';
import { Inbox } from './inbox.ts';
import type { LateCall } from './deferred-watch.ts';
import type { Line, LineCall, LineConnection } from './subchannel.ts';
import type { CallStream, Outgoing, StreamOwner } from './call-stream.ts';

// Before there is a connection, so much is kept without holding back the writer: as much as is on its way once there is one.
const maxUnsent = 64;
const maxUnsentBytes = 64 * 1024;

/** A connection that carries calls of clients. */
export interface CallConnection extends LineConnection {
  /** Sends the head of a call, and its first step. Throws where its metadata cannot be sent. */
  open(call: ClientCall, timeoutMs: number | undefined): CallStream;
}

/** The client's end of a call, whatever brings its frames: its context, its deadline, its one end. */
export abstract class ClientCall implements StreamOwner, LineCall<CallConnection>, LateCall {
  newer: LateCall | undefined;
  older: LateCall | undefined;
  isOver = false;
  readonly maxReceiveBytes: number;
  readonly waitsForReady: boolean;
  readonly path: string;
  readonly options: DialOptions;
  protected readonly line: Line<CallConnection>;
  protected stream: CallStream | undefined;
  readonly #ctx: Context | undefined;
  #unfollow: (() => void) | undefined;
  #isWatched = false;

  constructor(line: Line<CallConnection>, options: DialOptions) {
    this.line = line;
    this.options = options;
    this.path = options.path ?? options.route.path;
    this.maxReceiveBytes = options.maxReceiveBytes ?? defaultMaxMessageBytes;
    this.waitsForReady = options.waitForReady === true;
    this.#ctx = options.ctx;
  }

  get deadline(): number | undefined {
    return this.#ctx?.deadline;
  }

  /** It has no time left; what a server says of that comes about as late. */
  get isLate(): boolean {
    const { deadline } = this;
    // Time-outs travel in whole milliseconds, and each side has a clock of its own.
    return deadline !== undefined && deadline <= this.line.clock.monotonicMs() + 2;
  }

  /** There is a connection for it. */
  opened(connection: CallConnection): void {
    const deadline = this.#ctx?.deadline;
    let timeoutMs: number | undefined;
    if (deadline !== undefined) {
      timeoutMs = Math.ceil(deadline - this.line.clock.monotonicMs());
      if (timeoutMs <= 0) {
        this.fail(deadlineExceeded(this.path));
        return;
      }
      // Beyond what a whole number can say exactly there is no deadline.
      if (timeoutMs > Number.MAX_SAFE_INTEGER) timeoutMs = undefined;
    }
    try {
      this.stream = connection.open(this, timeoutMs);
    } catch (error) {
      this.fail(TenonError.from(error));
    }
  }

  /** What is known of the request when the call goes out. */
  abstract firstStep(): Outgoing;
  abstract received(message: Message): void;
  /** Called once, when the call is over. */
  protected abstract ended(outcome: Status | TenonError): void;

  /** Hands the call to the line, unless it may not begin. */
  protected begin(): void {
    const failure = notToBegin(this.path, this.#ctx, this.line.clock);
    if (failure) this.fail(failure);
    else this.line.start(this);
  }

  fail(error: TenonError): void {
    if (this.isOver) return;
    this.finish(error);
  }

  /** Over: the stream is let go of, with a word to the server unless its status came. */
  protected finish(outcome: Status | TenonError): void {
    this.isOver = true;
    const { stream } = this;
    if (stream) {
      if (TenonError.is(outcome))
        stream.reset(outcome.code === Code.DeadlineExceeded ? Code.DeadlineExceeded : Code.Cancelled);
      else stream.close();
    } else {
      this.line.forget(this);
    }
    if (this.#isWatched) {
      this.#unfollow?.();
      if (this.deadline !== undefined) this.line.late.deadlines.delete(this as Expiring);
    } else {
      this.line.late.remove(this);
    }
    this.ended(outcome);
  }

  /** The body may be sent; otherwise the call has failed. */
  protected fits(body: Uint8Array): boolean {
    const error = requestTooLarge(this.path, body, this.options.maxSendBytes);
    if (error) this.fail(error);
    return error === undefined;
  }

  tooLarge(bytes: number | undefined): void {
    this.fail(tooLarge(`a reply of ${this.path}`, bytes, this.maxReceiveBytes, 'maxReceiveBytes of the client'));
  }

  wasReset(isRefused: boolean): void {
    const { address } = this.line;
    this.stream?.close();
    this.fail(
      isRefused
        ? unreachable(address, 'it takes no more calls on this connection')
        : callCancelled(`the server at ${address} reset the call ${this.path}`),
    );
  }

  lost(why: string, wasSent: boolean): void {
    const { address } = this.line;
    this.stream?.close();
    this.fail(wasSent ? connectionLost(address, why) : unreachable(address, why));
  }

  failed(error: TenonError): void {
    this.fail(error);
  }

  closed(): void {}

  /** From now on the context and the deadline are followed. */
  watch(): void {
    if (this.#isWatched) return;
    this.#isWatched = true;
    const ctx = this.#ctx;
    if (!ctx) return;
    this.#unfollow = ctx.onAbort((reason) => this.fail(reason));
    if (!this.isOver && ctx.deadline !== undefined) this.line.late.deadlines.add(this as Expiring);
  }

  expire(): void {
    this.fail(deadlineExceeded(this.path));
  }
}

/** A unary call in one go: a promise, and no queue. */
export class UnaryCall extends ClientCall {
  readonly #message: Message;
  readonly #resolve: (message: Message) => void;
  readonly #reject: (error: TenonError) => void;
  #headers: Metadata | undefined;
  #body: Uint8Array | undefined;
  #compressed: boolean | undefined;

  constructor(
    line: Line<CallConnection>,
    message: Message,
    options: DialOptions,
    resolve: (message: Message) => void,
    reject: (error: TenonError) => void,
  ) {
    super(line, options);
    this.#message = message;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(): void {
    const { body } = this.#message;
    if (body && !this.fits(body)) return;
    this.begin();
    if (!this.isOver && this.options.ctx) this.line.late.add(this);
  }

  override firstStep(): Outgoing {
    const { headers, body, compressed } = this.#message;
    return { headers, body, compressed, isEnd: true };
  }

  override received({ headers, body, compressed, status }: Message): void {
    if (headers) this.#headers ??= headers;
    if (body) {
      if (this.#body) {
        this.fail(wrongReplyCount(this.path, 'a second'));
        return;
      }
      this.#body = body;
      this.#compressed = compressed;
    }
    if (status) this.finish(status);
    else if (body) this.stream?.readOn();
  }

  protected override ended(outcome: Status | TenonError): void {
    if (TenonError.is(outcome)) this.#reject(outcome);
    else if (outcome.code === Code.Ok && !this.#body) this.#reject(wrongReplyCount(this.path, 'no'));
    else this.#resolve({ headers: this.#headers, body: this.#body, compressed: this.#compressed, status: outcome });
  }
}

/** The client's end of a call that is made message by message. */
export class ClientSocket extends ClientCall implements TransportClient {
  readonly #inbox = new Inbox();
  #hasBegun = false;
  #isEnded = false;
  #replies = 0;
  /** What was sent before there was a connection. */
  #unsent: Outgoing[] | undefined = [];
  #unsentBytes = 0;
  #room: Promise<void> | undefined;
  #tellRoom: (() => void) | undefined;

  get local(): string {
    return this.stream ? this.line.local : '';
  }

  get remote(): string {
    return this.stream ? this.line.address : '';
  }

  override get deadline(): number | undefined {
    return super.deadline;
  }

  send({ headers, body, compressed }: Message): void | Promise<void> {
    if (this.isOver || this.#isEnded) return undefined;
    if (body && !this.fits(body)) return undefined;
    return this.#pass({ headers: this.#hasBegun ? undefined : headers, body, compressed });
  }

  recv(): Promise<Message | undefined> {
    if (!this.#hasBegun && !this.isOver) void this.#pass({});
    return this.#inbox.recv();
  }

  end(): void {
    if (this.isOver || this.#isEnded) return;
    this.#isEnded = true;
    void this.#pass({ isEnd: true });
  }

  abort(code: Code, message?: string): void {
    if (this.isOver) return;
    const error = aborted(code, message);
    this.fail(error);
    this.#inbox.discard(error);
  }

  close(): void {
    this.abort(Code.Cancelled);
  }

  onAbort(): void {
    // Of the server's side: a client hears of it from `recv`.
  }

  override opened(connection: CallConnection): void {
    super.opened(connection);
    const unsent = this.#unsent;
    this.#unsent = undefined;
    if (!this.isOver && unsent) for (const outgoing of unsent) void this.#put(outgoing);
    this.#tellRoom?.();
  }

  override firstStep(): Outgoing {
    return this.#unsent?.shift() ?? {};
  }

  override received(message: Message): void {
    const { body, status } = message;
    if (body) {
      this.#replies += 1;
      if (this.#replies > 1 && !serverStreams(this.options.route.kind)) {
        this.fail(wrongReplyCount(this.path, 'a second'));
        return;
      }
    }
    const inbox = this.#inbox;
    inbox.push(message);
    if (status) this.finish(status);
    else if (!inbox.isFull) this.stream?.readOn();
    else inbox.onRoom = this.#readOn;
  }

  protected override ended(outcome: Status | TenonError): void {
    this.#inbox.end(TenonError.is(outcome) ? outcome : undefined);
    this.#unsent = undefined;
    this.#tellRoom?.();
  }

  readonly #readOn = (): void => this.stream?.readOn();

  #pass(outgoing: Outgoing): void | Promise<void> {
    const unsent = this.#unsent;
    if (!unsent) return this.#put(outgoing);
    const { length } = unsent;
    const last = unsent[length - 1];
    if (outgoing.isEnd && last && !last.isEnd) unsent[length - 1] = { ...last, isEnd: true };
    else unsent.push(outgoing);
    if (!this.#hasBegun) {
      this.#hasBegun = true;
      this.watch();
      if (!this.isOver) this.begin();
    }
    this.#unsentBytes += outgoing.body?.length ?? 0;
    if (!this.#unsent || (length < maxUnsent && this.#unsentBytes < maxUnsentBytes)) return undefined;
    return (this.#room ??= new Promise((resolve) => (this.#tellRoom = resolve)));
  }

  #put(outgoing: Outgoing): void | Promise<void> {
    try {
      this.stream?.send(outgoing);
    } catch (error) {
      this.fail(TenonError.from(error));
    }
    return this.stream?.room();
  }
}
