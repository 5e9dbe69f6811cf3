import { connect, type Socket as NetSocket } from 'node:net';

import { TenonError, textOf } from '../../errors/errors.ts';
import { backoffMs } from '../../internal/backoff.ts';
import type { Clock, Random, Timer, Timers } from '../../runtime/runtime.ts';
import { transportClosed, unreachable, usedAfterClose } from './failures.ts';
import type { DeferredWatch } from './deferred-watch.ts';
import type { AddressScheme } from '../sockets/address-scheme.ts';

/** A call that waits for a connection of a {@link Subchannel}. */
export interface PendingCall<Connection> {
  /** True if the call waits for a connection instead of failing when there can be none now. */
  readonly waitsForReady: boolean;
  /** Called when there is a connection. */
  onConnection(connection: Connection): void;
  fail(error: TenonError): void;
}

/** A connection that calls share. It calls `onConnected`, `retire` and `onClosed` of its {@link Subchannel}. */
export interface SharedConnection {
  /** True if it takes another call now. */
  readonly hasRoom: boolean;
  /** True if it will take no more calls. */
  readonly isLeaving: boolean;
  /** The number of its calls. */
  readonly size: number;
  /** Ends its calls with an error. */
  fail(error: TenonError): void;
  /** Keeps the process alive while calls wait for room on it, as its own calls do. */
  keepAlive(isWaitedFor: boolean): void;
  /** Closes it once everything that was written has left. */
  finish(): void;
}

/** Options of the subchannels of a transport. */
export interface SubchannelOptions<Connection extends SharedConnection> {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Pick<Random, 'next'>;
  readonly deferredWatch: DeferredWatch;
  /** Time without calls after which a connection is closed, in milliseconds. */
  readonly idleMs: number;
  readonly maxReconnectMs: number;
  readonly addresses: AddressScheme;
  /** Encrypts a connection; absent for connections in the clear. */
  readonly secure: ((socket: NetSocket, host: string) => Promise<NetSocket>) | undefined;
  /** Makes a connection of the protocol on a socket, which may not be connected yet. */
  readonly open: (socket: NetSocket, subchannel: Subchannel<Connection>) => Connection;
}

// gRPC's connection-backoff.md, but for the first wait, which is a second there: services of one fleet restart sooner.
const backoff = { initialMs: 100, factor: 1.6, jitter: 0.2 };

/** The states of a subchannel, as gRPC names them (connectivity-semantics-and-api.md). */
export type ConnectivityState = 'IDLE' | 'CONNECTING' | 'READY' | 'TRANSIENT_FAILURE' | 'SHUTDOWN';

/** Keeps the subchannels of a transport, one to each address. */
export class SubchannelPool<Connection extends SharedConnection> {
  readonly #options: SubchannelOptions<Connection>;
  readonly #subchannels = new Map<string, Subchannel<Connection>>();
  #idle: Timer | undefined;
  #isClosed = false;

  constructor(options: SubchannelOptions<Connection>) {
    this.#options = options;
  }

  /**
   * Returns the subchannel of an address. Throws INVALID_ARGUMENT (`transport.invalid_address`), and
   * FAILED_PRECONDITION (`transport.closed`) after `close`.
   */
  get(address: string): Subchannel<Connection> {
    return this.#subchannels.get(address) ?? this.#add(address);
  }

  close(): void {
    this.#isClosed = true;
    this.#idle?.cancel();
    this.#idle = undefined;
    for (const subchannel of this.#subchannels.values()) subchannel.close();
    this.#subchannels.clear();
  }

  #add(address: string): Subchannel<Connection> {
    if (this.#isClosed) throw usedAfterClose();
    const { addresses, timers, idleMs } = this.#options;
    addresses.assertCallable(address);
    const subchannel = new Subchannel(address, this.#options);
    this.#subchannels.set(address, subchannel);
    // Nodes come and go, and each has an address of its own.
    this.#idle ??= timers.every(idleMs, () => this.#closeIdle());
    return subchannel;
  }

  #closeIdle(): void {
    for (const [address, subchannel] of this.#subchannels) {
      if (!subchannel.isIdle()) continue;
      subchannel.closeConnections();
      this.#subchannels.delete(address);
    }
  }
}

/** Connects to one address. It holds the connection that calls share, and the calls that wait for one. */
export class Subchannel<Connection extends SharedConnection> {
  readonly address: string;
  readonly clock: Clock;
  readonly deferredWatch: DeferredWatch;
  local = '';
  readonly #options: SubchannelOptions<Connection>;
  readonly #connections = new Set<Connection>();
  readonly #waiting = new Set<PendingCall<Connection>>();
  /** The connection that takes new calls. */
  #current: Connection | undefined;
  #isConnecting = false;
  #isClosed = false;
  /** The time at which the last attempt to connect began. */
  #attemptMs = 0;
  /** Attempts in a row that brought no connection, or one that never took a call. */
  #failures = 0;
  /** True if the current connection has taken a call. */
  #hasCarried = false;
  #retryMs = 0;
  #retry: Timer | undefined;
  #why = '';
  #error: TenonError | undefined;
  #started = 0;
  #startedBefore = -1;

  constructor(address: string, options: SubchannelOptions<Connection>) {
    this.address = address;
    this.clock = options.clock;
    this.deferredWatch = options.deferredWatch;
    this.#options = options;
  }

  /** Opens the call, or lets it wait for a connection. */
  start(call: PendingCall<Connection>): void {
    if (this.#isClosed) {
      call.fail(transportClosed());
      return;
    }
    this.#started += 1;
    if (this.#current?.isLeaving) this.retire(this.#current);
    const connection = this.#current;
    if (connection?.hasRoom) {
      this.#hasCarried = true;
      call.onConnection(connection);
      return;
    }
    const { state } = this;
    if (state === 'TRANSIENT_FAILURE' && !call.waitsForReady) {
      call.fail(this.#error ?? unreachable(this.address, this.#why));
      return;
    }
    this.#waiting.add(call);
    connection?.keepAlive(true);
    if (state === 'TRANSIENT_FAILURE') this.#retryLater();
    else if (state === 'IDLE') this.#connect();
  }

  /** The state of the subchannel. IDLE means that there is no connection and no back-off: the next call connects. */
  get state(): ConnectivityState {
    if (this.#isClosed) return 'SHUTDOWN';
    if (this.#current) return 'READY';
    if (this.#isConnecting) return 'CONNECTING';
    return this.#isResting ? 'TRANSIENT_FAILURE' : 'IDLE';
  }

  /** Forgets a call that waits no longer. */
  forget(call: PendingCall<Connection>): void {
    if (!this.#waiting.delete(call) || this.#waiting.size > 0) return;
    // Without waiting calls, the attempt to connect does not keep the process alive.
    this.#current?.keepAlive(false);
    this.#retry?.cancel();
    this.#retry = undefined;
  }

  /** Called when the connection is ready for calls. */
  onConnected(connection: Connection, local: string): void {
    this.#isConnecting = false;
    this.#hasCarried = false;
    this.#current = connection;
    this.local = local;
    this.startWaiting();
    if (this.#waiting.size > 0) this.#current?.keepAlive(true);
  }

  /** Starts the calls that wait for room on the connection. */
  startWaiting(): void {
    for (const call of this.#waiting) {
      const connection = this.#current;
      if (!connection?.hasRoom) return;
      this.#hasCarried = true;
      this.forget(call);
      call.onConnection(connection);
    }
  }

  /** Called when the connection takes no more calls. */
  retire(connection: Connection): void {
    if (this.#current !== connection) return;
    this.#current = undefined;
    if (this.#waiting.size > 0) connection.keepAlive(false);
    if (this.#hasCarried) {
      this.#failures = 0;
    } else {
      // Without a back-off, a server that accepts connections but no calls would be connected to without end.
      this.#rest(this.#attemptMs, 'it went away before it took a call', undefined);
      if (this.#isResting) this.#failWaiting();
    }
    if (this.#waiting.size === 0) return;
    if (this.#isResting) this.#retryLater();
    else this.#connect();
  }

  onClosed(connection: Connection): void {
    this.#connections.delete(connection);
    this.retire(connection);
  }

  /** Handles an attempt to connect that failed. */
  onConnectFailed(connection: Connection | undefined, why: string, error: TenonError | undefined): void {
    if (connection) this.#connections.delete(connection);
    this.#isConnecting = false;
    this.#rest(this.clock.monotonicMs(), why, error);
    // Calls that do not wait for ready fail now, as their attempt has failed.
    this.#failWaiting();
    if (this.#waiting.size > 0) this.#retryLater();
  }

  /** Returns true if no call was made since the last time that this was called. */
  isIdle(): boolean {
    const isUsed = this.#started !== this.#startedBefore || this.#waiting.size > 0;
    this.#startedBefore = this.#started;
    return !isUsed && [...this.#connections].every(({ size }) => size === 0);
  }

  /** Closes its connections, on which there are no calls. */
  closeConnections(): void {
    for (const connection of this.#connections) connection.finish();
  }

  close(): void {
    this.#isClosed = true;
    this.#retry?.cancel();
    for (const call of this.#waiting) call.fail(transportClosed());
    for (const connection of this.#connections) {
      connection.fail(transportClosed());
      connection.finish();
    }
  }

  get #isResting(): boolean {
    return this.clock.monotonicMs() < this.#retryMs;
  }

  /** Begins a back-off at `fromMs`, in which no attempt to connect is made. */
  #rest(fromMs: number, why: string, error: TenonError | undefined): void {
    this.#failures += 1;
    this.#why = why;
    this.#error = error;
    const { random, maxReconnectMs } = this.#options;
    const times = { ...backoff, maxMs: maxReconnectMs };
    this.#retryMs = fromMs + backoffMs(this.#failures, () => random.next(), times);
  }

  /** Fails the waiting calls that do not wait for ready, or all calls if no attempt will ever succeed. */
  #failWaiting(): void {
    for (const call of this.#waiting) {
      if (this.#error) call.fail(this.#error);
      else if (!call.waitsForReady) call.fail(unreachable(this.address, this.#why));
    }
  }

  #connect(): void {
    this.#retry?.cancel();
    this.#retry = undefined;
    this.#isConnecting = true;
    this.#attemptMs = this.clock.monotonicMs();
    const { addresses, secure } = this.#options;
    const socket = addresses.connect?.(this.address) ?? connect(addresses.connecting(this.address));
    if (!secure) {
      this.#take(socket);
      return;
    }
    // Without this listener, an error of a socket whose TLS fails would be uncaught.
    socket.on('error', () => {});
    secure(socket, addresses.hostOf(this.address)).then(
      (secured) => (this.#isClosed ? secured.destroy() : this.#take(secured)),
      (error: unknown) => {
        socket.destroy();
        this.onConnectFailed(undefined, textOf(error), TenonError.is(error) ? error : undefined);
      },
    );
  }

  #take(socket: NetSocket): void {
    this.#connections.add(this.#options.open(socket, this));
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
