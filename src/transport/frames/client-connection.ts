import type { Socket as NetSocket } from 'node:net';

import type { TenonError } from '../../errors/errors.ts';
import { notTenon } from '../call/failures.ts';
import type { CallConnection, ClientCall } from '../call/client-call.ts';
import { type ConnectionOptions, FrameConnection } from './connection.ts';
import { FrameError, lastCallId } from './format.ts';
import { FrameStream } from './frame-stream.ts';
import type { Line } from '../call/subchannel.ts';
import type { Places } from '../sockets/address-scheme.ts';

// So many calls in a row that ran out of time, with not a word from the server in between, and the connection is taken for dead.
const silentCalls = 3;

/** The client's end of a connection. */
export class FrameClientConnection extends FrameConnection implements CallConnection {
  readonly #line: Line<CallConnection>;
  readonly #net: NetSocket;
  readonly #places: Places;
  #isConnected = false;
  #isWaitedFor = false;
  #silent = 0;
  #stranger: TenonError | undefined;

  constructor(socket: NetSocket, options: ConnectionOptions & { readonly places: Places }, line: Line<CallConnection>) {
    super(socket, options, true);
    this.#net = socket;
    this.#line = line;
    this.#places = options.places;
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

  override leftAlone(heard: number): void {
    this.#silent = heard === this.heard ? this.#silent + 1 : 0;
    if (this.#silent < silentCalls || this.isLeaving) return;
    this.isLeaving = true;
    this.#line.retire(this);
  }

  /** The number of a new call. */
  #nextId(): number {
    // While there are calls the process waits for them, and a connection without any keeps nobody alive.
    if (this.streams.size === 0) this.#net.ref();
    this.lastId += 1;
    if (this.lastId === lastCallId) {
      this.isLeaving = true;
      this.#line.retire(this);
    }
    return this.lastId;
  }

  protected override ready(): void {
    this.#isConnected = true;
    this.#net.unref();
    this.#line.connected(this, this.#places.localOf(this.#net));
  }

  protected override called(): void {
    throw new FrameError('a call from a server');
  }

  protected override peerLeaves(lastId: number, isError: boolean, text: string): void {
    if (isError) {
      this.#stranger = notTenon(this.#line.address, text);
      this.fatal(`it ended the connection: ${text}`);
      return;
    }
    this.isLeaving = true;
    this.#line.retire(this);
    for (const stream of this.streams.all()) {
      if (stream.id > lastId) stream.owner.lost('it is going away', false);
    }
    if (this.streams.size === 0) this.finish();
  }

  protected override stranger(text: string, isOtherVersion: boolean): string {
    const what = isOtherVersion ? text : `its answer begins with ${JSON.stringify(text)}`;
    this.#stranger = notTenon(this.#line.address, what);
    return '';
  }

  protected override released(): void {
    if (this.streams.size === 0 && !this.#isWaitedFor) this.#net.unref();
    if (this.streams.size === this.peerMaxCalls - 1) this.#line.next();
  }

  protected override ended(why: string): void {
    if (!this.#isConnected) {
      this.#line.notConnected(this, why, this.#stranger);
      return;
    }
    this.#line.gone(this);
    for (const stream of this.streams.all()) stream.owner.lost(why, stream.id <= this.sentId);
  }
}
