import type { ConnectionOptions } from 'node:tls';

import { onAbort } from '../internal/abort.ts';
import { bounded } from '../runtime/bounded.ts';
import { ConnectionLoop, type ServerAddress, type ServerAddresses } from '../runtime/connection-loop.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { Connection } from './connection.ts';
import {
  type Nats,
  NatsError,
  type NatsListener,
  type NatsMessage,
  type NatsPublication,
  type NatsSubscription,
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
  /** Asks servers to say where nobody listens to a message with a reply. @default false */
  readonly tellsNobodyThere?: boolean | undefined;
}

const maxPayloadBytes = 4_194_304;
const maxBackoffMs = 2_000;

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
  readonly #loop: ConnectionLoop<Connection, NatsSecurity>;
  readonly #subscriptions = new Map<number, Subscription>();
  readonly #waiters = new Set<Waiter>();
  #connection: Connection | undefined;
  #lastSid = 0;
  #wasConnected = false;

  constructor(options: NatsClientOptions) {
    this.#options = options;
    const { security } = options;
    this.#loop = new ConnectionLoop<Connection, NatsSecurity>({
      ...options,
      maxBackoffMs,
      security: () => {
        const { tls, username, password, token } = security;
        return { tls, username, password, token };
      },
      open: (address, attempt, signal) => this.#open(address, attempt, signal),
      onTimeout: (ms) => new NatsError('unreachable', `it did not answer the handshake within ${Math.round(ms)} ms`),
      onOpened: (connection) => this.#attach(connection),
      onEnded: (_, error) => {
        this.#connection = undefined;
        if (!this.#loop.closing.aborted) options.listener.onLost?.(error);
      },
      onFailed: (error) => this.#failWaiters(error),
    });
  }

  get isConnected(): boolean {
    return this.#connection !== undefined;
  }

  get wasConnected(): boolean {
    return this.#wasConnected;
  }

  get failedHost(): string | undefined {
    return this.#loop.failedHost;
  }

  get maxPayload(): number {
    return this.#connection?.maxPayload ?? 0;
  }

  async deliver(
    messages: readonly NatsPublication[],
    signal: AbortSignal,
    subjects: readonly string[] = [],
  ): Promise<void> {
    this.#loop.closing.throwIfAborted();
    signal.throwIfAborted();
    const connection = this.#connection ?? (await this.#connected(signal));
    for (const message of messages) connection.publish(message);
    const processed = connection.flush([...subjects, ...messages.map(({ subject }) => subject)]);
    await bounded(processed, { timers: this.#options.runtime.timers, signal });
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
    this.#loop.close(closed);
    this.#subscriptions.clear();
    this.#connection?.close(closed);
    this.#failWaiters(closed);
  }

  #connected(signal: AbortSignal): Promise<Connection> {
    return new Promise((resolve, reject) => {
      if (this.#loop.closing.aborted) return reject(this.#loop.closing.reason);
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
      this.#loop.start();
    });
  }

  #open(address: ServerAddress, { tls, ...credentials }: NatsSecurity, signal: AbortSignal): Promise<Connection> {
    const { runtime, name, maxSilenceMs } = this.#options;
    const { clock, timers } = runtime;
    const init = {
      address,
      tls,
      credentials,
      name,
      clock,
      timers,
      maxSilenceMs,
      maxPayloadBytes: this.#options.maxPayloadBytes ?? maxPayloadBytes,
      tellsNobodyThere: this.#options.tellsNobodyThere ?? false,
      onMessage: (message: MessageOperation): void => this.#subscriptions.get(message.sid)?.onMessage(message),
      onRefused: (error: NatsError): void => this.#options.listener.onRefused?.(error),
    };
    return Connection.open(init, signal);
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
