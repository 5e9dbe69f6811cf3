import type { Context } from '../../context/context.ts';
import type { Metadata } from '../../context/metadata.ts';
import type { Status } from '../../context/status.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { serverStreams } from '../../pipeline/pipeline.ts';
import type { Expiring } from '../../runtime/deadlines.ts';
import { defaultMaxMessageBytes, type DialOptions, type Message, type TransportClient } from '../transport.ts';
import {
  callCancelled,
  connectionLost,
  deadlineExceeded,
  notToBegin,
  tooLarge,
  unreachable,
  wrongReplyCount,
} from './failures.ts';
import { ClientEnd } from './client-end.ts';
import { Inbox } from './inbox.ts';
import type { WatchableCall } from './deferred-watch.ts';
import type { Subchannel, PendingCall, SharedConnection } from './subchannel.ts';
import type { CallStream, OutgoingMessage, StreamOwner } from './call-stream.ts';

// The messages and bytes that are buffered before there is a connection, without holding back the writer: as many as
// are on their way once there is one.
const maxUnsent = 64;
const maxUnsentBytes = 64 * 1024;

/** A connection that carries calls of clients. */
export interface CallConnection extends SharedConnection {
  /** Sends the head of a call, and its first step. Throws where its metadata cannot be sent. */
  open(call: ClientCall, timeoutMs: number | undefined): CallStream;
}

/** The client's end of a call on a {@link CallStream}. It follows context and deadline, and ends once. */
export abstract class ClientCall extends ClientEnd implements StreamOwner, PendingCall<CallConnection>, WatchableCall {
  newer: WatchableCall | undefined;
  older: WatchableCall | undefined;
  readonly maxReceiveBytes: number;
  readonly waitsForReady: boolean;
  protected readonly subchannel: Subchannel<CallConnection>;
  protected stream: CallStream | undefined;
  readonly #ctx: Context | undefined;
  #unfollow: (() => void) | undefined;
  #isWatched = false;

  constructor(subchannel: Subchannel<CallConnection>, options: DialOptions) {
    super(options);
    this.subchannel = subchannel;
    this.maxReceiveBytes = options.maxReceiveBytes ?? defaultMaxMessageBytes;
    this.waitsForReady = options.waitForReady === true;
    this.#ctx = options.ctx;
  }

  get deadline(): number | undefined {
    return this.#ctx?.deadline;
  }

  /**
   * True if no time is left for the call, or almost none: the server's own answer to that arrives at about the same
   * time.
   */
  get isLate(): boolean {
    const { deadline } = this;
    // Time-outs travel in whole milliseconds, and each side has a clock of its own.
    return deadline !== undefined && deadline <= this.subchannel.clock.monotonicMs() + 2;
  }

  /** Opens the call on a connection. */
  onConnection(connection: CallConnection): void {
    const deadline = this.#ctx?.deadline;
    let timeoutMs: number | undefined;
    if (deadline !== undefined) {
      timeoutMs = Math.ceil(deadline - this.subchannel.clock.monotonicMs());
      if (timeoutMs <= 0) {
        this.fail(deadlineExceeded(this.path));
        return;
      }
      // A time-out beyond the safe integers counts as none.
      if (timeoutMs > Number.MAX_SAFE_INTEGER) timeoutMs = undefined;
    }
    try {
      this.stream = connection.open(this, timeoutMs);
    } catch (error) {
      this.fail(TenonError.from(error));
    }
  }

  /** Returns the part of the request that is known when the call goes out. */
  abstract firstStep(): OutgoingMessage;
  abstract onMessage(message: Message): void;
  /** Called once, when the call is over. */
  protected abstract ended(outcome: Status | TenonError): void;

  /** Hands the call to the subchannel, unless it may not begin. */
  protected begin(): void {
    const failure = notToBegin(this.path, this.#ctx, this.subchannel.clock);
    if (failure) this.fail(failure);
    else this.subchannel.start(this);
  }

  override fail(error: TenonError): void {
    if (this.isOver) return;
    this.finish(error);
  }

  /** Ends the call and its stream. Resets the stream unless the status of the server has arrived. */
  protected finish(outcome: Status | TenonError): void {
    this.isOver = true;
    const { stream } = this;
    if (stream) {
      if (TenonError.is(outcome))
        stream.reset(outcome.code === Code.DeadlineExceeded ? Code.DeadlineExceeded : Code.Cancelled);
      else stream.close();
    } else {
      this.subchannel.forget(this);
    }
    if (this.#isWatched) {
      this.#unfollow?.();
      if (this.deadline !== undefined) this.subchannel.deferredWatch.deadlines.delete(this as Expiring);
    } else {
      this.subchannel.deferredWatch.remove(this);
    }
    this.ended(outcome);
  }

  onTooLarge(bytes: number | undefined): void {
    this.fail(tooLarge(`a reply of ${this.path}`, bytes, this.maxReceiveBytes, 'maxReceiveBytes of the client'));
  }

  onReset(isRefused: boolean): void {
    const { address } = this.subchannel;
    this.stream?.close();
    this.fail(
      isRefused
        ? unreachable(address, 'it takes no more calls on this connection')
        : callCancelled(`the server at ${address} reset the call ${this.path}`),
    );
  }

  onLost(why: string, wasSent: boolean): void {
    const { address } = this.subchannel;
    this.stream?.close();
    this.fail(wasSent ? connectionLost(address, why) : unreachable(address, why));
  }

  onError(error: TenonError): void {
    this.fail(error);
  }

  onClosed(): void {}

  /** Follows the context and the deadline from now on. */
  watch(): void {
    if (this.#isWatched) return;
    this.#isWatched = true;
    const ctx = this.#ctx;
    if (!ctx) return;
    this.#unfollow = ctx.onAbort((reason) => this.fail(reason));
    if (!this.isOver && ctx.deadline !== undefined) this.subchannel.deferredWatch.deadlines.add(this as Expiring);
  }

  expire(): void {
    this.fail(deadlineExceeded(this.path));
  }
}

/** A unary call that is made in one step, without a queue. */
export class UnaryCall extends ClientCall {
  readonly #message: Message;
  readonly #resolve: (message: Message) => void;
  readonly #reject: (error: TenonError) => void;
  #headers: Metadata | undefined;
  #body: Uint8Array | undefined;
  #compressed: boolean | undefined;

  constructor(
    subchannel: Subchannel<CallConnection>,
    message: Message,
    options: DialOptions,
    resolve: (message: Message) => void,
    reject: (error: TenonError) => void,
  ) {
    super(subchannel, options);
    this.#message = message;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(): void {
    const { body } = this.#message;
    if (body && !this.fits(body)) return;
    this.begin();
    if (!this.isOver && this.options.ctx) this.subchannel.deferredWatch.add(this);
  }

  override firstStep(): OutgoingMessage {
    const { headers, body, compressed } = this.#message;
    return { headers, body, compressed, isEnd: true };
  }

  override onMessage({ headers, body, compressed, status }: Message): void {
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
    else if (body) this.stream?.resume();
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
  /** Messages that were sent before there was a connection. */
  #unsent: OutgoingMessage[] | undefined = [];
  #unsentBytes = 0;
  #room: Promise<void> | undefined;
  #tellRoom: (() => void) | undefined;

  get local(): string {
    return this.stream ? this.subchannel.local : '';
  }

  get remote(): string {
    return this.stream ? this.subchannel.address : '';
  }

  override get deadline(): number | undefined {
    return super.deadline;
  }

  protected override get inbox(): Inbox {
    return this.#inbox;
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

  override onConnection(connection: CallConnection): void {
    super.onConnection(connection);
    const unsent = this.#unsent;
    this.#unsent = undefined;
    if (!this.isOver && unsent) for (const outgoing of unsent) void this.#put(outgoing);
    this.#tellRoom?.();
  }

  override firstStep(): OutgoingMessage {
    return this.#unsent?.shift() ?? {};
  }

  override onMessage(message: Message): void {
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
    else if (!inbox.isFull) this.stream?.resume();
    else inbox.onRoom = this.#resume;
  }

  protected override ended(outcome: Status | TenonError): void {
    this.#inbox.end(TenonError.is(outcome) ? outcome : undefined);
    this.#unsent = undefined;
    this.#tellRoom?.();
  }

  readonly #resume = (): void => this.stream?.resume();

  #pass(outgoing: OutgoingMessage): void | Promise<void> {
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

  #put(outgoing: OutgoingMessage): void | Promise<void> {
    try {
      this.stream?.send(outgoing);
    } catch (error) {
      this.fail(TenonError.from(error));
    }
    return this.stream?.room();
  }
}
