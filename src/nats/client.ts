import type { ConnectionOptions } from 'node:tls';

import { onAbort } from '../internal/abort.ts';
import { bounded, pause } from '../runtime/bounded.ts';
import { repeatedly } from '../runtime/retrying.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { Connection } from './connection.ts';
import {
  type Nats,
  NatsError,
  type NatsListener,
  type NatsMessage,
  type NatsPublication,
  type NatsSubscription,
  type ServerAddresses,
} from './nats.ts';
import { type MessageOperation, type NatsCredentials, subscribeOperation, unsubscribeOperation } from './protocol.ts';

/** TLS and credentials, as they are at the time of each connection. */
export interface NatsSecurity extends NatsCredentials {
  readonly tls?: ConnectionOptions | undefined;
}

/** Options of a {@link NatsClient}. */
export interface NatsClientOptions {
  readonly runtime: Runtime;
  readonly addresses: ServerAddresses;
  readonly security: NatsSecurity;
  readonly listener: NatsListener;
  /** A name for people who look at the connections of a server. */
  readonly name: string;
  /** Time for one server to accept a connection and the credentials, in milliseconds. */
  readonly connectTimeoutMs: number;
  /** A server that is asked, and says nothing for so long, is left for the next, in milliseconds. */
  readonly maxSilenceMs: number;
  /** A larger payload is passed over, in bytes. @default 4_194_304 */
  readonly maxPayloadBytes?: number | undefined;
}

const maxPayloadBytes = 4_194_304;
// Soon, but full jitter: a server that comes back has all its clients again.
const backoff = { initialMs: 100, maxMs: 2_000, jitter: 'full', minMs: 10 } as const;
// A connection that ends earlier is a failure, so that a server that ends them all is not tried without pause.
const stableMs = 500;

interface Subscription extends NatsSubscription {
  readonly subject: string;
  readonly onMessage: (message: NatsMessage) => void;
}

/** Waits for the connection of the attempt that is under way, or comes next. */
interface Waiter {
  resolve(connection: Connection): void;
  reject(error: unknown): void;
}

/** A {@link Nats} over TCP or TLS. */
export class NatsClient implements Nats {
  readonly #options: NatsClientOptions;
  readonly #closing = new AbortController();
  readonly #subscriptions = new Map<number, Subscription>();
  readonly #waiters = new Set<Waiter>();
  #connection: Connection | undefined;
  #lastSid = 0;
  #isStarted = false;
  #wasConnected = false;
  #failedHost: string | undefined;

  constructor(options: NatsClientOptions) {
    this.#options = options;
  }

  get isConnected(): boolean {
    return this.#connection !== undefined;
  }

  get wasConnected(): boolean {
    return this.#wasConnected;
  }

  get failedHost(): string | undefined {
    return this.#failedHost;
  }

  async deliver(
    messages: readonly NatsPublication[],
    signal: AbortSignal,
    subjects: readonly string[] = [],
  ): Promise<void> {
    this.#closing.signal.throwIfAborted();
    const connection = this.#connection ?? (await this.#connected(signal));
    for (const message of messages) connection.publish(message);
    await connection.flush([...subjects, ...messages.map(({ subject }) => subject)]);
  }

  publish(message: NatsPublication): boolean {
    try {
      this.#connection?.publish(message);
      return this.isConnected;
    } catch {
      return false;
    }
  }

  subscribe(subject: string, onMessage: (message: NatsMessage) => void): NatsSubscription {
    this.#lastSid += 1;
    const sid = this.#lastSid;
    const unsubscribe = (): void => {
      if (this.#subscriptions.delete(sid)) this.#connection?.write(unsubscribeOperation(sid));
    };
    this.#subscriptions.set(sid, { subject, onMessage, unsubscribe });
    this.#connection?.write(subscribeOperation(subject, sid));
    return { unsubscribe };
  }

  close(): void {
    const closed = new NatsError('unreachable', 'the client was closed');
    this.#closing.abort(closed);
    this.#subscriptions.clear();
    this.#connection?.close(closed);
    this.#failWaiters(closed);
  }

  #connected(signal: AbortSignal): Promise<Connection> {
    return new Promise((resolve, reject) => {
      if (this.#closing.signal.aborted) return reject(this.#closing.signal.reason);
      const end = (): void => {
        this.#waiters.delete(waiter);
        forget();
      };
      const waiter: Waiter = {
        resolve: (connection) => {
          end();
          resolve(connection);
        },
        reject: (error) => {
          end();
          reject(error);
        },
      };
      let forget = (): void => {};
      this.#waiters.add(waiter);
      forget = onAbort(signal, (reason) => waiter.reject(reason));
      this.#start();
    });
  }

  #start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    const { runtime } = this.#options;
    void repeatedly(() => this.#runConnection(), { runtime, backoff, signal: this.#closing.signal }).catch(() => {});
  }

  /** Opens a connection, and resolves when it has ended. Rejects if there was none, or only for a moment. */
  async #runConnection(): Promise<void> {
    const { runtime, listener } = this.#options;
    const { clock, timers, random } = runtime;
    let connection: Connection;
    try {
      connection = await this.#openAny();
    } catch (error) {
      this.#failWaiters(error);
      throw error;
    }
    const openedAtMs = clock.monotonicMs();
    this.#attach(connection);
    const error = await connection.ended;
    this.#connection = undefined;
    if (!this.#closing.signal.aborted) listener.onLost?.(error);
    if (clock.monotonicMs() - openedAtMs < stableMs) throw error;
    await pause(timers, random.next() * backoff.initialMs, this.#closing.signal);
  }

  /** Tries the addresses, each once. Rejects with the failure of the last. */
  async #openAny(): Promise<Connection> {
    const { addresses } = this.#options;
    let failure: unknown = new NatsError('unreachable', 'there is no address');
    for (const address of addresses.inOrder) {
      this.#closing.signal.throwIfAborted();
      try {
        const connection = await this.#open(address);
        addresses.succeeded(address);
        return connection;
      } catch (error) {
        addresses.failed(address);
        this.#failedHost = address.host;
        failure = error;
      }
    }
    throw failure;
  }

  async #open(address: { readonly host: string; readonly port: number }): Promise<Connection> {
    const { security, runtime, name, connectTimeoutMs, maxSilenceMs } = this.#options;
    const { clock, timers } = runtime;
    const { tls, username, password, token } = security;
    const init = {
      address,
      tls,
      credentials: { username, password, token },
      name,
      clock,
      timers,
      maxSilenceMs,
      maxPayloadBytes: this.#options.maxPayloadBytes ?? maxPayloadBytes,
      onMessage: (message: MessageOperation): void => this.#subscriptions.get(message.sid)?.onMessage(message),
    };
    return bounded((signal) => Connection.open(init, signal), {
      timers,
      timeoutMs: connectTimeoutMs,
      signal: this.#closing.signal,
      keepAlive: false,
      onTimeout: (ms) => new NatsError('unreachable', `it did not answer the handshake within ${Math.round(ms)} ms`),
    });
  }

  /** Takes a connection into use: subscriptions go before everything that waits. */
  #attach(connection: Connection): void {
    const isFirst = !this.#wasConnected;
    this.#wasConnected = true;
    this.#connection = connection;
    for (const [sid, { subject }] of this.#subscriptions) connection.write(subscribeOperation(subject, sid));
    for (const waiter of this.#waiters) waiter.resolve(connection);
    this.#options.listener.onConnected?.(isFirst);
  }

  #failWaiters(error: unknown): void {
    for (const waiter of this.#waiters) waiter.reject(error);
  }
}
