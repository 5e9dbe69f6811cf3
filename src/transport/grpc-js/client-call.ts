import type { ChannelInterface, InterceptingListener, Metadata as GrpcMetadata, StatusObject } from '@grpc/grpc-js';

import type { Context } from '../../context/context.ts';
import type { Status } from '../../context/status.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { serverStreams } from '../../pipeline/pipeline.ts';
import type { Clock } from '../../runtime/runtime.ts';
import { systemClock } from '../../runtime/system.ts';
import type { DialOptions, Message, TransportClient } from '../transport.ts';
import { notGrpc, notToBegin, transportClosed, wrongReplyCount } from '../call/failures.ts';
import { notUnderstood } from '../grpc/message-encoding.ts';
import type { GrpcJsChannel, OpenCall } from './channels.ts';
import { bufferOf, responseMetadata, toGrpc } from './metadata.ts';
import { outcomeOf, statusOfHttp, wasUnanswered } from './call-status.ts';
import { ClientEnd } from '../call/client-end.ts';
import { Inbox } from '../call/inbox.ts';

type GrpcCall = ReturnType<ChannelInterface['createCall']>;

// Timers of Node and of grpc-js's server overflow beyond it, and the call would end at once.
const longestTimeoutMs = 2 ** 31 - 1;
/** The most unsent messages of a call before its writer has to wait, as on the server. */
const maxOutstanding = 64;
const maxOutstandingBytes = 64 * 1024;
// Bounded by the bytes: small messages are read ahead so far, because an error status overtakes in grpc-js what was
// not.
const maxReadAhead = 1024;
const noContext = {};
// WriteFlags of grpc-js, which exports only the name: NoCompress.
const uncompressed = { flags: 2 };

/** A call on a channel of grpc-js. It follows its context, and ends once. */
abstract class GrpcJsCall extends ClientEnd implements InterceptingListener, OpenCall {
  protected readonly channel: GrpcJsChannel;
  protected call: GrpcCall | undefined;
  readonly #clock: Clock;
  #unfollow: (() => void) | undefined;
  #activity = 0;
  /** The content type of an answer that is not gRPC. */
  #stranger: string | undefined;

  constructor(channel: GrpcJsChannel, options: DialOptions, clock: Clock) {
    super(options);
    this.channel = channel;
    // The channel is not closed as idle before the call has begun.
    channel.usedMs = clock.monotonicMs();
    this.#clock = clock;
  }

  /**
   * Sends the headers and returns grpc-js's call; `undefined` for a call that may not begin, after `ended` was called
   * with the reason.
   */
  protected begin(headers: Message['headers']): GrpcCall | undefined {
    const { ctx } = this.options;
    const failure = notToBegin(this.path, ctx, this.#clock);
    if (failure) {
      this.fail(failure);
      return undefined;
    }
    let metadata: GrpcMetadata;
    try {
      metadata = toGrpc(headers, this.channel.maxMetadataBytes);
    } catch (error) {
      this.fail(TenonError.from(error));
      return undefined;
    }
    if (this.options.waitForReady) {
      metadata = metadata.clone();
      metadata.setOptions({ waitForReady: true });
    }
    this.channel.calls.add(this);
    this.#activity = this.channel.activity;
    let call: GrpcCall;
    try {
      call = this.channel.raw.createCall(this.path, this.#deadline(ctx), null, null, null);
    } catch {
      // The transport was closed between `dial` and now.
      this.fail(transportClosed());
      return undefined;
    }
    this.call = call;
    if (ctx) this.#unfollow = ctx.onAbort((reason) => this.fail(reason));
    call.start(metadata, this);
    // Read at once: before the first read, grpc-js buffers without bound.
    call.startRead();
    return call;
  }

  override fail(error: TenonError): void {
    if (this.isOver) return;
    this.release();
    this.call?.cancelWithStatus(Code.Cancelled, 'cancelled');
    this.ended(error);
  }

  onReceiveMetadata(metadata: GrpcMetadata): void {
    if (this.isOver) return;
    this.channel.noteActivity();
    const contentType = metadata.get('content-type')[0];
    // Else the page that a web server answers with is read as a message, of a size that its first letters spell. Its
    // status of HTTP comes later.
    if (typeof contentType === 'string' && !contentType.startsWith('application/grpc')) this.#stranger = contentType;
    else this.onHeaders(metadata);
  }

  /** Returns true if the bytes that came are no message of gRPC; then the call has failed. */
  protected isNoMessage(): boolean {
    if (this.#stranger !== undefined) this.fail(notGrpc(this.channel.address, this.#stranger));
    return this.isOver;
  }

  abstract onReceiveMessage(body: Buffer): void;

  onReceiveStatus(ended: StatusObject): void {
    if (this.isOver) return;
    this.release();
    if (wasUnanswered(ended)) this.channel.noteUnanswered(this.#activity);
    else this.channel.noteActivity();
    if (this.#stranger !== undefined) {
      this.ended(notGrpc(this.channel.address, this.#stranger, statusOfHttp(ended)));
      return;
    }
    const outcome = outcomeOf(ended, {
      address: this.channel.address,
      path: this.path,
      maxReceiveBytes: this.channel.maxReceiveBytes,
      deadline: this.options.ctx?.deadline,
      clock: this.#clock,
    });
    if (this.channel.compresses && !TenonError.is(outcome) && notUnderstood(outcome)) this.channel.notUnderstood();
    this.ended(outcome);
  }

  protected abstract onHeaders(metadata: GrpcMetadata): void;
  /** Called once, when the call is over. */
  protected abstract ended(outcome: Status | TenonError): void;

  protected release(): void {
    this.isOver = true;
    this.channel.release(this);
    this.channel.usedMs = this.#clock.monotonicMs();
    this.#unfollow?.();
  }

  #deadline(ctx: Context | undefined): number {
    const deadline = ctx?.deadline;
    if (deadline === undefined) return Number.POSITIVE_INFINITY;
    // grpc-js takes a date, and makes a time-out of it at once.
    return systemClock.now() + Math.min(deadline - this.#clock.monotonicMs(), longestTimeoutMs);
  }
}

/** A unary call that is made in one step, without a queue. */
export class GrpcJsUnaryCall extends GrpcJsCall {
  readonly #resolve: (message: Message) => void;
  readonly #reject: (error: TenonError) => void;
  #headers: GrpcMetadata | undefined;
  #body: Buffer | undefined;

  constructor(
    channel: GrpcJsChannel,
    options: DialOptions,
    clock: Clock,
    resolve: (message: Message) => void,
    reject: (error: TenonError) => void,
  ) {
    super(channel, options, clock);
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start({ headers, body, compressed }: Message): void {
    if (body && !this.fits(body)) return;
    const call = this.begin(headers);
    if (!call) return;
    if (body) call.sendMessageWithContext(compressed === false ? uncompressed : noContext, bufferOf(body));
    call.halfClose();
  }

  override onReceiveMessage(body: Buffer): void {
    if (this.isOver || this.isNoMessage()) return;
    if (this.#body) {
      this.fail(wrongReplyCount(this.path, 'a second'));
      return;
    }
    this.#body = body;
    this.call?.startRead();
  }

  protected override onHeaders(metadata: GrpcMetadata): void {
    this.#headers = metadata;
  }

  protected override ended(outcome: Status | TenonError): void {
    if (TenonError.is(outcome)) this.#reject(outcome);
    else if (outcome.code === Code.Ok && !this.#body) this.#reject(wrongReplyCount(this.path, 'no'));
    else
      this.#resolve({ headers: this.#headers && responseMetadata(this.#headers), body: this.#body, status: outcome });
  }
}

/** The client's end of a call that is made message by message. */
export class GrpcJsSocket extends GrpcJsCall implements TransportClient {
  readonly local = '';
  readonly deadline = undefined;
  readonly #inbox = new Inbox(maxReadAhead);
  readonly #unsent: Message[] = [];
  #isEnded = false;
  #isHalfClosed = false;
  #replies = 0;
  /** True if grpc-js has a stream to write on. Before that it keeps only one message. */
  #isFlowing = false;
  #writing = 0;
  #outstandingBytes = 0;
  #room: Promise<void> | undefined;
  #tellRoom: (() => void) | undefined;

  get remote(): string {
    const peer = this.call?.getPeer();
    return peer === undefined || peer === 'unknown' ? '' : peer;
  }

  send(message: Message): void | Promise<void> {
    if (this.isOver || this.#isEnded) return undefined;
    const { headers, body } = message;
    if (body && !this.fits(body)) return undefined;
    if (!this.call && !this.begin(headers)) return undefined;
    if (!body) return undefined;
    this.#outstandingBytes += body.length;
    if (this.#mayWrite) this.#write(message);
    else this.#unsent.push(message);
    return this.#isFull ? (this.#room ??= new Promise((resolve) => (this.#tellRoom = resolve))) : undefined;
  }

  recv(): Promise<Message | undefined> {
    if (!this.call && !this.isOver) this.begin(undefined);
    return this.#inbox.recv();
  }

  end(): void {
    if (this.isOver || this.#isEnded) return;
    if (!this.call && !this.begin(undefined)) return;
    this.#isEnded = true;
    this.#halfClose();
  }

  protected override get inbox(): Inbox {
    return this.#inbox;
  }

  override onReceiveMessage(body: Buffer): void {
    if (this.isOver || this.isNoMessage()) return;
    this.#replies += 1;
    if (this.#replies > 1 && !serverStreams(this.options.route.kind)) {
      this.fail(wrongReplyCount(this.path, 'a second'));
      return;
    }
    this.#inbox.push({ body });
    if (this.#inbox.isFull) this.#inbox.onRoom = () => this.call?.startRead();
    else this.call?.startRead();
  }

  protected override onHeaders(metadata: GrpcMetadata): void {
    this.#inbox.push({ headers: responseMetadata(metadata) });
  }

  protected override ended(outcome: Status | TenonError): void {
    if (TenonError.is(outcome)) {
      this.#inbox.end(outcome);
    } else {
      this.#inbox.push({ status: outcome });
      this.#inbox.end();
    }
    this.#unsent.length = 0;
    this.#tellRoom?.();
  }

  get #isFull(): boolean {
    return this.#writing + this.#unsent.length >= maxOutstanding || this.#outstandingBytes >= maxOutstandingBytes;
  }

  /** True if a message may be written now. Two compressed messages at a time could overtake each other in grpc-js. */
  get #mayWrite(): boolean {
    return this.#writing === 0 || (this.#isFlowing && !this.channel.compresses);
  }

  #write({ body, compressed }: Message): void {
    this.#writing += 1;
    const bytes = bufferOf(body as Uint8Array);
    const callback = (): void => this.#written(bytes.length);
    this.call?.sendMessageWithContext(compressed === false ? { ...uncompressed, callback } : { callback }, bytes);
  }

  #written(bytes: number): void {
    this.#isFlowing = true;
    this.#writing -= 1;
    this.#outstandingBytes -= bytes;
    while (this.#unsent.length > 0 && this.#mayWrite) this.#write(this.#unsent.shift() as Message);
    if (this.#isEnded) this.#halfClose();
    if (this.#room && !this.#isFull) {
      this.#room = undefined;
      this.#tellRoom?.();
    }
  }

  /**
   * Closes the sending side once at most one write is on its way: grpc-js lets a half-close overtake the second of two.
   */
  #halfClose(): void {
    if (this.#writing > 1 || this.#unsent.length > 0 || this.#isHalfClosed) return;
    this.#isHalfClosed = true;
    this.call?.halfClose();
  }
}
