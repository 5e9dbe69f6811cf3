import type { ConnectionOptions } from 'node:tls';

import { onAbort } from '../internal/abort.ts';
import { bounded } from '../runtime/bounded.ts';
import { ConnectionLoop, type ServerAddress, type ServerAddresses } from '../runtime/connection-loop.ts';
import type { Runtime, Timer } from '../runtime/runtime.ts';
import { Connection, type ConnectionInit, type PendingRequest } from './connection.ts';
import {
  addWatchRequest,
  closeSessionRequest,
  createRequest,
  deleteRequest,
  digestPacket,
  existsRequest,
  getChildrenRequest,
  getDataRequest,
  multiRequest,
  packetOf,
  removeWatchesRequest,
  setDataRequest,
  type ZooKeeperRequest,
} from './requests.ts';
import { WatchTable } from './watches.ts';
import {
  type Acl,
  type CreateMode,
  isZooKeeperError,
  type Operation,
  type ReadOptions,
  type Session,
  type Stat,
  type ZooKeeper,
  ZooKeeperError,
  type ZooKeeperListener,
} from './zookeeper.ts';

/** TLS and credentials, as they are at the time of each connection. */
export interface ZooKeeperSecurity {
  readonly tls?: ConnectionOptions | undefined;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

/** Options of a {@link ZooKeeperClient}. */
export interface ZooKeeperClientOptions {
  readonly runtime: Runtime;
  readonly addresses: ServerAddresses;
  readonly security: ZooKeeperSecurity;
  readonly listener: ZooKeeperListener;
  /** The time-out of the session that is asked for, in milliseconds. ZooKeeper has bounds for it. */
  readonly sessionTimeoutMs: number;
  /** Time for one server to accept a connection and to answer the handshake, in milliseconds. */
  readonly connectTimeoutMs: number;
  /** A server that is asked, and says nothing for so long, is left for the next, in milliseconds. */
  readonly maxSilenceMs: number;
  /** A longer silence of the server is told to the listener, in milliseconds. @default 3_500 */
  readonly maxGapMs?: number | undefined;
  /** A larger answer fails its request with `PacketTooLarge`, in bytes. @default 4_194_304 */
  readonly maxReplyBytes?: number | undefined;
}

// As that of ZooKeeper's own client (jute.maxbuffer).
const maxReplyBytes = 4_194_304;
// Less than the shortest session that ZooKeeper grants by default (two ticks of 2 s).
const maxGapMs = 3_500;
// A server closes the connection for a packet above jute.maxbuffer, which is 0xfffff unless it is told otherwise.
const maxPacketBytes = 0xfffff;
const maxBackoffMs = 1_000;
// A read that is cut off so often fails.
const maxAttempts = 5;
const closeMs = 500;
// Requests without an answer. A server reads no more of them than its globalOutstandingLimit, of all clients together.
const maxInFlight = 128;
// So many handshakes, of each server, that end without an answer are taken for a refusal.
const maxRefusals = 2;

/** A request that waits for a connection or for its answer. */
interface Call extends PendingRequest {
  isOver: boolean;
}

/** The session with what resumes it. */
interface OwnSession extends Session {
  readonly password: Buffer;
}

/** A {@link ZooKeeper} over TCP or TLS. */
export class ZooKeeperClient implements ZooKeeper {
  readonly #options: ZooKeeperClientOptions;
  readonly #watches = new WatchTable();
  readonly #loop: ConnectionLoop<Connection, ZooKeeperSecurity>;
  /** Requests without a connection, in their order. */
  #waiting: Call[] = [];
  #connection: Connection | undefined;
  #session: OwnSession | undefined;
  #lastZxid = 0n;
  /** When a server was last heard of, as of the last connection that ended. */
  #heardAtMs = 0;
  #expiry: Timer | undefined;
  /** Handshakes in a row that servers ended without an answer. */
  #refusals = 0;

  constructor(options: ZooKeeperClientOptions) {
    this.#options = options;
    const { security } = options;
    this.#loop = new ConnectionLoop<Connection, ZooKeeperSecurity>({
      ...options,
      maxBackoffMs,
      security: () => {
        const { tls, username, password } = security;
        return { tls, username, password };
      },
      open: (address, attempt, signal) => this.#openSession(address, attempt, signal),
      onTimeout: (ms) => new Error(`it did not answer the handshake within ${Math.round(ms)} ms`),
      onOpened: (connection, attempt) => this.#attach(connection, attempt),
      onEnded: (connection, error) => this.#detach(connection, error),
      onFailed: (error) => this.#failWaiting(error),
    });
  }

  get session(): Session | undefined {
    return this.#session;
  }

  /** The host of the last attempt to connect that failed. */
  get failedHost(): string | undefined {
    return this.#loop.failedHost;
  }

  get isConnected(): boolean {
    return this.#connection !== undefined;
  }

  create(path: string, data: Uint8Array, mode: CreateMode, acl: Acl, signal?: AbortSignal): Promise<void> {
    return this.#ask(createRequest(path, data, mode, acl), signal);
  }

  delete(path: string, version: number, signal?: AbortSignal): Promise<void> {
    return this.#ask(deleteRequest(path, version), signal);
  }

  setData(path: string, data: Uint8Array, version: number, signal?: AbortSignal): Promise<Stat> {
    return this.#ask(setDataRequest(path, data, version), signal);
  }

  getData(path: string, { watch = false, signal }: ReadOptions = {}): Promise<{ data: Buffer; stat: Stat }> {
    return this.#ask(getDataRequest(path, watch), signal);
  }

  getChildren(path: string, { watch = false, signal }: ReadOptions = {}): Promise<{ children: string[]; stat: Stat }> {
    return this.#ask(getChildrenRequest(path, watch), signal);
  }

  async exists(path: string, { watch = false, signal }: ReadOptions = {}): Promise<Stat | undefined> {
    try {
      return await this.#ask(existsRequest(path, watch), signal);
    } catch (error) {
      if (isZooKeeperError(error, 'NoNode')) return undefined;
      throw error;
    }
  }

  multi(operations: readonly Operation[], signal?: AbortSignal): Promise<void> {
    return this.#ask(multiRequest(operations), signal);
  }

  addWatch(path: string, signal?: AbortSignal): Promise<void> {
    return this.#ask(addWatchRequest(path), signal);
  }

  async removeWatch(path: string, signal?: AbortSignal): Promise<void> {
    this.#watches.remove(path);
    try {
      await this.#ask(removeWatchesRequest(path), signal);
    } catch (error) {
      if (!isZooKeeperError(error, 'NoWatcher', 'Unimplemented')) throw error;
    }
  }

  async close({ endSession }: { readonly endSession: boolean }): Promise<void> {
    const { timers } = this.#options.runtime;
    const closed = new Error('the client was closed');
    if (endSession && this.#connection && !this.#loop.closing.aborted) {
      await bounded((signal) => this.#ask(closeSessionRequest, signal), { timers, timeoutMs: closeMs }).catch(() => {});
    }
    this.#loop.close(closed);
    this.#expiry?.cancel();
    this.#connection?.close(closed);
    this.#failWaiting(closed);
  }

  #ask<T>(request: ZooKeeperRequest<T>, signal?: AbortSignal): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#loop.closing.aborted) return reject(this.#loop.closing.reason);
      const packet = packetOf(request);
      if (packet.length > maxPacketBytes) return reject(tooLarge(request.name, packet.length));
      let forget = (): void => {};
      const end = (): boolean => {
        forget();
        const wasOver = call.isOver;
        call.isOver = true;
        return !wasOver;
      };
      const call: Call = {
        request,
        packet,
        attempts: 0,
        isOver: false,
        onReply: (value) => {
          this.#onAnswered(request);
          this.#sendWaiting();
          if (end()) resolve(value as T);
        },
        onError: (error) => {
          if (isZooKeeperError(error, 'NoNode')) this.#onAbsent(request);
          this.#sendWaiting();
          if (end()) reject(error);
        },
      };
      forget = onAbort(signal, (reason) => {
        if (end()) reject(reason);
      });
      if (call.isOver) return;
      this.#waiting.push(call);
      this.#sendWaiting();
      this.#loop.start();
    });
  }

  #sendWaiting(): void {
    while (this.#connection && this.#connection.inFlight < maxInFlight) {
      const call = this.#waiting.shift();
      if (!call) return;
      if (!call.isOver) this.#connection.send(call);
    }
  }

  /** A read of data that there is arms a watch of data, also where it looked for what is not there. */
  #onAnswered({ watch }: ZooKeeperRequest<unknown>): void {
    if (watch) this.#watches.add(watch.kind === 'absence' ? 'data' : watch.kind, watch.path);
  }

  #onAbsent({ watch }: ZooKeeperRequest<unknown>): void {
    if (watch?.kind === 'absence') this.#watches.add('absence', watch.path);
  }

  /** Goes on with the session, or makes a new one if it has expired. */
  async #openSession(address: ServerAddress, security: ZooKeeperSecurity, signal: AbortSignal): Promise<Connection> {
    try {
      const connection = await this.#open(address, security, signal);
      if (connection.grant.timeoutMs > 0) return connection;
      connection.close(new Error('the session has expired'));
      this.#expire();
      const renewed = await this.#open(address, security, signal);
      if (renewed.grant.timeoutMs > 0) return renewed;
      const refused = new ZooKeeperError('SessionExpired', 'the server grants no session');
      renewed.close(refused);
      throw refused;
    } catch (error) {
      if (isZooKeeperError(error, 'ConnectionLoss')) this.#refusals += 1;
      throw error;
    }
  }

  #open(address: ServerAddress, { tls }: ZooKeeperSecurity, signal: AbortSignal): Promise<Connection> {
    const { addresses, runtime, maxSilenceMs, listener } = this.#options;
    const { clock, timers } = runtime;
    const { id: sessionId = 0n, password = new Uint8Array() } = this.#session ?? {};
    // Servers that lost their data refuse who has seen more. Asked without that, they say that the session is over.
    const lastZxid = this.#refusals < maxRefusals * addresses.inOrder.length ? this.#lastZxid : 0n;
    const handshake = { sessionId, password, timeoutMs: this.#options.sessionTimeoutMs, lastZxid };
    const init: ConnectionInit = {
      address,
      handshake,
      tls,
      clock,
      timers,
      maxSilenceMs,
      maxReplyBytes: this.#options.maxReplyBytes ?? maxReplyBytes,
      maxGapMs: this.#options.maxGapMs ?? maxGapMs,
      onEvent: (event) => {
        if (this.#watches.take(event)) listener.onEvent?.(event);
      },
      onSilence: (silentMs) => listener.onSilence?.(silentMs),
    };
    return Connection.open(init, signal);
  }

  /** Takes a connection into use: credentials and watches go before everything that waits. */
  #attach(connection: Connection, { username = '', password: secret }: ZooKeeperSecurity): void {
    const { listener } = this.#options;
    this.#refusals = 0;
    const { sessionId: id, password, timeoutMs } = connection.grant;
    const isNewSession = this.#session?.id !== id;
    if (isNewSession) this.#watches.clear();
    const session = { id, password, timeoutMs };
    const silentMs = connection.heardAtMs - this.#heardAtMs;
    this.#session = session;
    this.#connection = connection;
    this.#expiry?.cancel();
    if (secret !== undefined) connection.write(digestPacket(username, secret));
    for (const packet of this.#watches.packets(this.#lastZxid)) connection.write(packet);
    this.#sendWaiting();
    if (!isNewSession && silentMs > (this.#options.maxGapMs ?? maxGapMs)) listener.onSilence?.(silentMs);
    listener.onConnected?.(session, isNewSession);
  }

  #detach(connection: Connection, error: Error): void {
    this.#connection = undefined;
    this.#lastZxid = connection.lastZxid;
    this.#heardAtMs = connection.heardAtMs;
    this.#awaitExpiry();
    const isRefused = isZooKeeperError(error, 'AuthFailed', 'SessionClosedRequireAuth');
    const again: Call[] = [];
    for (const call of connection.takeUnanswered() as Call[]) {
      if (call.isOver) continue;
      if (isRefused) call.onError(error);
      else if (call.request.isRead && call.attempts < maxAttempts) again.push(call);
      else call.onError(connectionLost(call.request.name, error));
    }
    this.#waiting = [...again, ...this.#waiting];
    if (this.#loop.closing.aborted) this.#failWaiting(error);
  }

  /** ZooKeeper says that a session has expired only when it is asked again: until then, the own clock counts. */
  #awaitExpiry(): void {
    const { clock, timers } = this.#options.runtime;
    const session = this.#session;
    if (!session || this.#loop.closing.aborted) return;
    const leftMs = Math.max(0, session.timeoutMs - (clock.monotonicMs() - this.#heardAtMs));
    this.#expiry = timers.after(leftMs, () => {
      if (this.#session === session && !this.#connection) this.#expire();
    });
  }

  #expire(): void {
    const session = this.#session;
    this.#expiry?.cancel();
    this.#session = undefined;
    this.#lastZxid = 0n;
    this.#watches.clear();
    if (session) this.#options.listener.onExpired?.(session);
  }

  #failWaiting(error: unknown): void {
    for (const call of this.#waiting.splice(0)) if (!call.isOver) call.onError(error);
  }
}

function connectionLost(request: string, cause: Error): ZooKeeperError {
  const why = `the connection ended before ${request} was answered (${cause.message})`;
  return new ZooKeeperError('ConnectionLoss', why, cause);
}

function tooLarge(request: string, length: number): ZooKeeperError {
  const why = `${request} takes ${length} bytes, and ZooKeeper reads no more than ${maxPacketBytes} (jute.maxbuffer)`;
  return new ZooKeeperError('PacketTooLarge', why);
}
