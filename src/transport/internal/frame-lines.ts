import { connect, type Socket as NetSocket } from 'node:net';

import { TenonError, textOf } from '../../errors/errors.ts';
import { backoffMs } from '../../internal/backoff.ts';
import type { Clock, Random, Timer } from '../../runtime/runtime.ts';
import { notTenon, transportClosed, unreachable } from './failures.ts';
import type { FrameClientCall } from './frame-client.ts';
import { type ConnectionOptions, FrameConnection } from './frame-connection.ts';
import { FrameError, lastCallId } from './frame-format.ts';
import type { LateCalls } from './late-calls.ts';
import type { Places } from './places.ts';

/** How connections are made. */
export interface LineOptions extends ConnectionOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly late: LateCalls;
  /** Unused for so long, a connection is let go of. */
  readonly idleMs: number;
  readonly maxReconnectMs: number;
  readonly places: Places;
  /** Makes the connection secret; absent where it travels in the clear. */
  readonly secure: ((socket: NetSocket, host: string) => Promise<NetSocket>) | undefined;
}

/** The lines of a transport, one to each address. */
export class FrameLines {
  readonly #options: LineOptions;
  readonly #lines = new Map<string, FrameLine>();
  #idle: Timer | undefined;

  constructor(options: LineOptions) {
    this.#options = options;
  }

  /** Throws INVALID_ARGUMENT (`transport.invalid_address`). */
  to(address: string): FrameLine {
    return this.#lines.get(address) ?? this.#add(address);
  }

  close(): void {
    this.#idle?.cancel();
    this.#idle = undefined;
    for (const line of this.#lines.values()) line.close();
    this.#lines.clear();
  }

  #add(address: string): FrameLine {
    const { places, timers, idleMs } = this.#options;
    places.assertCallable(address);
    const line = new FrameLine(address, this.#options);
    this.#lines.set(address, line);
    // Nodes come and go, and each has an address of its own.
    this.#idle ??= timers.every(idleMs, () => this.#letGo());
    return line;
  }

  #letGo(): void {
    for (const [address, line] of this.#lines) {
      if (!line.isIdle()) continue;
      line.hangUp();
      this.#lines.delete(address);
    }
  }
}

/** The way to one address: a connection that its calls share, and calls that wait for one. */
export class FrameLine {
  readonly address: string;
  readonly clock: Clock;
  readonly late: LateCalls;
  local = '';
  readonly #options: LineOptions;
  readonly #connections = new Set<ClientConnection>();
  readonly #waiting = new Set<FrameClientCall>();
  /** Takes new calls. */
  #current: ClientConnection | undefined;
  #isConnecting = false;
  #isClosed = false;
  #failures = 0;
  #retryMs = 0;
  #retry: Timer | undefined;
  #why = '';
  #error: TenonError | undefined;
  #started = 0;
  #startedBefore = -1;

  constructor(address: string, options: LineOptions) {
    this.address = address;
    this.clock = options.clock;
    this.late = options.late;
    this.#options = options;
  }

  /** Opens the call, or lets it wait for a connection. */
  start(call: FrameClientCall): void {
    if (this.#isClosed) {
      call.fail(transportClosed());
      return;
    }
    this.#started += 1;
    const connection = this.#current;
    if (connection?.hasRoom) {
      call.opened(connection);
      return;
    }
    const isResting = !connection && !this.#isConnecting && this.clock.monotonicMs() < this.#retryMs;
    if (isResting && !call.waitsForReady) {
      call.fail(this.#error ?? unreachable(this.address, this.#why));
      return;
    }
    this.#waiting.add(call);
    if (isResting) this.#retryLater();
    else if (!connection && !this.#isConnecting) this.#connect();
  }

  /** The call waits no longer. */
  forget(call: FrameClientCall): void {
    this.#waiting.delete(call);
  }

  /** The peer can be spoken to. */
  connected(connection: ClientConnection, local: string): void {
    this.#isConnecting = false;
    this.#failures = 0;
    this.#current = connection;
    this.local = local;
    this.next();
  }

  /** Calls that wait for room on the connection take it. */
  next(): void {
    for (const call of this.#waiting) {
      if (!this.#current?.hasRoom) return;
      this.#waiting.delete(call);
      call.opened(this.#current);
    }
  }

  /** The connection takes no more calls. */
  retire(connection: ClientConnection): void {
    if (this.#current !== connection) return;
    this.#current = undefined;
    if (this.#waiting.size > 0) this.#connect();
  }

  gone(connection: ClientConnection): void {
    this.#connections.delete(connection);
    this.retire(connection);
  }

  /** It was never connected. */
  notConnected(connection: ClientConnection | undefined, why: string, error: TenonError | undefined): void {
    if (connection) this.#connections.delete(connection);
    this.#isConnecting = false;
    this.#failures += 1;
    this.#why = why;
    this.#error = error;
    const { random, maxReconnectMs } = this.#options;
    const restMs = backoffMs(this.#failures, () => random.next(), { initialMs: 100, maxMs: maxReconnectMs });
    this.#retryMs = this.clock.monotonicMs() + restMs;
    for (const call of this.#waiting) {
      if (error) call.fail(error);
      else if (!call.waitsForReady) call.fail(unreachable(this.address, why));
    }
    if (this.#waiting.size > 0) this.#retryLater();
  }

  /** Nothing was asked of it since the last time that this was. */
  isIdle(): boolean {
    const isUsed = this.#started !== this.#startedBefore || this.#waiting.size > 0;
    this.#startedBefore = this.#started;
    return !isUsed && [...this.#connections].every(({ streams }) => streams.size === 0);
  }

  /** Closes its connections, on which there are no calls. */
  hangUp(): void {
    for (const connection of this.#connections) connection.finish();
  }

  close(): void {
    this.#isClosed = true;
    this.#retry?.cancel();
    for (const call of this.#waiting) call.fail(transportClosed());
    for (const connection of this.#connections) {
      for (const { owner } of connection.streams.all()) (owner as FrameClientCall).fail(transportClosed());
      connection.finish();
    }
  }

  #connect(): void {
    this.#retry?.cancel();
    this.#retry = undefined;
    this.#isConnecting = true;
    const { places, secure } = this.#options;
    const socket = connect(places.connecting(this.address));
    if (!secure) {
      this.#take(socket);
      return;
    }
    // Nobody else hears of it where there can be no TLS.
    socket.on('error', () => {});
    secure(socket, places.hostOf(this.address)).then(
      (secured) => (this.#isClosed ? secured.destroy() : this.#take(secured)),
      (error: unknown) => {
        socket.destroy();
        this.notConnected(undefined, textOf(error), TenonError.is(error) ? error : undefined);
      },
    );
  }

  #take(socket: NetSocket): void {
    this.#connections.add(new ClientConnection(socket, this.#options, this));
  }

  #retryLater(): void {
    if (this.#retry) return;
    const restMs = Math.max(0, this.#retryMs - this.clock.monotonicMs());
    this.#retry = this.#options.timers.after(
      restMs,
      () => {
        this.#retry = undefined;
        if (this.#waiting.size > 0 && !this.#current && !this.#isConnecting) this.#connect();
      },
      { keepAlive: true },
    );
  }
}

/** The client's end of a connection. */
export class ClientConnection extends FrameConnection {
  readonly #line: FrameLine;
  readonly #net: NetSocket;
  readonly #places: Places;
  #isConnected = false;
  #stranger: TenonError | undefined;

  constructor(socket: NetSocket, options: LineOptions, line: FrameLine) {
    super(socket, options, true);
    this.#net = socket;
    this.#line = line;
    this.#places = options.places;
  }

  get hasRoom(): boolean {
    return !this.isLeaving && this.streams.size < this.peerMaxCalls;
  }

  /** The number of a new call. */
  nextId(): number {
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
    if (this.streams.size === 0) this.#net.unref();
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
