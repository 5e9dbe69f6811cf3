import type { Socket as NetSocket } from 'node:net';

import type { TenonError } from '../../errors/errors.ts';
import { notTenon } from '../call/failures.ts';
import type { CallConnection, ClientCall } from '../call/client-call.ts';
import { type ConnectionOptions, FrameConnection } from './connection.ts';
import { FrameError, lastCallId } from './format.ts';
import { FrameStream } from './frame-stream.ts';
import type { Subchannel } from '../call/subchannel.ts';
import type { AddressScheme } from '../sockets/address-scheme.ts';
import { maxUnansweredCalls } from '../call/unanswered-calls.ts';

/** The client's end of a connection. */
export class FrameClientConnection extends FrameConnection implements CallConnection {
  readonly #subchannel: Subchannel<CallConnection>;
  readonly #net: NetSocket;
  readonly #addresses: AddressScheme;
  #isConnected = false;
  #isWaitedFor = false;
  #unanswered = 0;
  #stranger: TenonError | undefined;

  constructor(
    socket: NetSocket,
    options: ConnectionOptions & { readonly addresses: AddressScheme },
    subchannel: Subchannel<CallConnection>,
  ) {
    super(socket, options, true);
    this.#net = socket;
    this.#subchannel = subchannel;
    this.#addresses = options.addresses;
  }

  get hasRoom(): boolean {
    return !this.isLeaving && this.streams.size < this.peerMaxCalls;
  }

  get size(): number {
    return this.streams.size;
  }

  keepAlive(isWaitedFor: boolean): void {
    this.#isWaitedFor = isWaitedFor;
    if (this.streams.size > 0) return;
    if (isWaitedFor) this.#net.ref();
    else this.#net.unref();
  }

  fail(error: TenonError): void {
    for (const { owner } of this.streams.all()) (owner as ClientCall).fail(error);
  }

  open(call: ClientCall, timeoutMs: number | undefined): FrameStream {
    const stream = new FrameStream(this, this.#nextId(), call);
    try {
      stream.open(call.path, timeoutMs, call.firstStep());
    } catch (error) {
      stream.close();
      throw error;
    }
    return stream;
  }

  override noteUnanswered(activity: number): void {
    this.#unanswered = activity === this.activity ? this.#unanswered + 1 : 0;
    if (this.#unanswered < maxUnansweredCalls || this.isLeaving) return;
    this.isLeaving = true;
    this.#subchannel.retire(this);
  }

  /** The number of a new call. */
  #nextId(): number {
    // Only a connection with calls keeps the process alive.
    if (this.streams.size === 0) this.#net.ref();
    this.lastId += 1;
    if (this.lastId === lastCallId) {
      this.isLeaving = true;
      this.#subchannel.retire(this);
    }
    return this.lastId;
  }

  protected override onReady(): void {
    this.#isConnected = true;
    this.#net.unref();
    this.#subchannel.onConnected(this, this.#addresses.localOf(this.#net));
  }

  protected override onCall(): void {
    throw new FrameError('a call from a server');
  }

  protected override onGoAway(lastId: number, isError: boolean, text: string): void {
    if (isError) {
      this.#stranger = notTenon(this.#subchannel.address, text);
      this.fatal(`it ended the connection: ${text}`);
      return;
    }
    this.isLeaving = true;
    this.#subchannel.retire(this);
    for (const stream of this.streams.all()) {
      if (stream.id > lastId) stream.owner.onLost('it is going away', false);
    }
    if (this.streams.size === 0) this.finish();
  }

  protected override onStranger(text: string, isOtherVersion: boolean): string {
    const what = isOtherVersion ? text : `its answer begins with ${JSON.stringify(text)}`;
    this.#stranger = notTenon(this.#subchannel.address, what);
    return '';
  }

  protected override onRelease(): void {
    if (this.streams.size === 0 && !this.#isWaitedFor) this.#net.unref();
    if (this.streams.size === this.peerMaxCalls - 1) this.#subchannel.startWaiting();
  }

  protected override onEnded(why: string): void {
    if (!this.#isConnected) {
      this.#subchannel.onConnectFailed(this, why, this.#stranger);
      return;
    }
    this.#subchannel.onClosed(this);
    for (const stream of this.streams.all()) stream.owner.onLost(why, stream.id <= this.sentId);
  }
}
