import { bounded, pause } from './bounded.ts';
import { repeatedly } from './retrying.ts';
import type { Runtime } from './runtime.ts';

/** The host and port of a server. */
export interface ServerAddress {
  readonly host: string;
  readonly port: number;
}

/** The addresses of one server, or of the servers of one cluster. */
export interface ServerAddresses {
  /** In the order in which they are tried. */
  readonly inOrder: readonly ServerAddress[];
  succeeded(address: ServerAddress): void;
  failed(address: ServerAddress): void;
}

/** A connection that tells of its end. */
export interface EndingConnection {
  /** Resolves when it has ended, with the reason. */
  readonly ended: Promise<Error>;
}

/** Options of a {@link ConnectionLoop}. `Security` is what a connection needs of TLS and credentials. */
export interface ConnectionLoopOptions<Connection extends EndingConnection, Security> {
  readonly runtime: Runtime;
  readonly addresses: ServerAddresses;
  /** Time for one address, in milliseconds. */
  readonly connectTimeoutMs: number;
  /** Longest wait between two attempts, in milliseconds. */
  readonly maxBackoffMs: number;
  /** Reads TLS and credentials, before the addresses are tried: what it throws is the fault of none of them. */
  security(): Security;
  /** Opens a connection. An abort of the signal ends the attempt. */
  open(address: ServerAddress, security: Security, signal: AbortSignal): Promise<Connection>;
  /** The error for an address that gives no connection in time. */
  onTimeout(timeoutMs: number): Error;
  onOpened(connection: Connection, security: Security): void;
  onEnded(connection: Connection, error: Error): void;
  /** Called when none of the addresses gave a connection, with the error of the last. */
  onFailed(error: unknown): void;
}

// Soon, but full jitter: a server that comes back has all its clients again.
const backoff = { initialMs: 100, jitter: 'full', minMs: 10 } as const;
// A connection that ends earlier is a failure, so that a server that ends them all is not tried without pause.
const stableMs = 500;

/**
 * Keeps one connection to one of several servers. It tries their addresses in turn, and again with back-off while none
 * gives a connection. When the connection has ended it opens the next one.
 */
export class ConnectionLoop<Connection extends EndingConnection, Security> {
  readonly #options: ConnectionLoopOptions<Connection, Security>;
  readonly #closing = new AbortController();
  #isStarted = false;
  #failedHost: string | undefined;

  constructor(options: ConnectionLoopOptions<Connection, Security>) {
    this.#options = options;
  }

  /** The host of the last attempt to connect that failed. */
  get failedHost(): string | undefined {
    return this.#failedHost;
  }

  /** Aborts when the loop is closed. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Begins to connect. May be called again. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    const { runtime, maxBackoffMs: maxMs } = this.#options;
    const options = { runtime, backoff: { ...backoff, maxMs }, signal: this.closing };
    void repeatedly(() => this.#runConnection(), options).catch(() => {});
  }

  /** Opens no more connections. The one that stands is for its owner to close. */
  close(reason: Error): void {
    this.#closing.abort(reason);
  }

  /** Opens a connection, and resolves when it has ended. Rejects if there was none, or only for a moment. */
  async #runConnection(): Promise<void> {
    const options = this.#options;
    const { clock, timers, random } = options.runtime;
    let security: Security;
    let connection: Connection;
    try {
      security = options.security();
      connection = await this.#openAny(security);
    } catch (error) {
      options.onFailed(error);
      throw error;
    }
    const openedAtMs = clock.monotonicMs();
    options.onOpened(connection, security);
    const error = await connection.ended;
    options.onEnded(connection, error);
    if (clock.monotonicMs() - openedAtMs < stableMs) throw error;
    await pause(timers, random.next() * backoff.initialMs, this.closing);
  }

  /** Tries the addresses, each once. Rejects with the failure of the last. */
  async #openAny(security: Security): Promise<Connection> {
    const { addresses } = this.#options;
    let failure: unknown = new Error('there is no address');
    for (const address of addresses.inOrder) {
      this.closing.throwIfAborted();
      try {
        const connection = await this.#open(address, security);
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

  #open(address: ServerAddress, security: Security): Promise<Connection> {
    const options = this.#options;
    return bounded((signal) => options.open(address, security, signal), {
      timers: options.runtime.timers,
      timeoutMs: options.connectTimeoutMs,
      signal: this.closing,
      keepAlive: false,
      onTimeout: (timeoutMs) => options.onTimeout(timeoutMs),
    });
  }
}
