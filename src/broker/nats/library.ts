import { createRequire } from 'node:module';

import { packageMissing } from '../../errors/package-missing.ts';

/*
 * The parts of the client libraries of NATS that are used here. Their own types do not pass a strict compiler.
 */

/** A message that was received. */
export interface Msg {
  readonly subject: string;
  readonly reply?: string | undefined;
  readonly data: Uint8Array;
  readonly headers?: MsgHeaders | undefined;
  /** The frame that it was made of: `hdr` is the length of its headers, -1 if it has none. */
  readonly _msg: { readonly hdr: number };
  /** Headers and body as they came. */
  readonly _rdata: Uint8Array;
}

/** Headers of a message, or the status of a request. */
export interface MsgHeaders {
  readonly code: number;
  readonly description: string;
  get(name: string): string;
  keys(): string[];
}

/** Headers to send. */
export interface EncodedHeaders {
  encode(): Uint8Array;
}

/** Options of publishing a message. */
export interface MsgOptions {
  readonly reply?: string;
  readonly headers?: EncodedHeaders;
}

/** A subscription of a connection. */
export interface NatsSubscription {
  getSubject(): string;
  isClosed(): boolean;
  unsubscribe(): void;
  /** Ends it when the server has processed that: what it has sent before still comes. */
  drain(): Promise<void>;
}

/** The INFO of a server. */
export interface ServerInfo {
  readonly version: string;
  /** Largest message, in bytes. */
  readonly max_payload: number;
  readonly headers?: boolean | undefined;
}

/** A connection, as `unwrap` gives it. */
export interface NatsConnection {
  readonly info?: ServerInfo | undefined;
  readonly options: object;
  protocol: NatsProtocol;
  publish(subject: string, payload?: Uint8Array | string, options?: MsgOptions): void;
  request(subject: string, payload: Uint8Array | string, options: { readonly timeout: number }): Promise<Msg>;
  subscribe(
    subject: string,
    options: { readonly queue?: string; readonly callback: (error: Error | null, msg: Msg) => void },
  ): NatsSubscription;
  flush(): Promise<void>;
}

/** A change of a connection. */
export interface NatsStatus {
  readonly type: string;
  readonly error?: Error | undefined;
}

/** The inner side of a connection. */
export interface NatsProtocol {
  readonly transport: { readonly closeError?: Error | undefined; discard(): void } | undefined;
  readonly raceTimer?: { cancel(): void } | undefined;
  readonly lastError?: Error | undefined;
  readonly parser: { parse: (bytes: Uint8Array) => void };
  /** Each is told of changes, and stopped when the connection is closed. */
  readonly listeners: { push(status: NatsStatus): void; stop(): void; readonly iterClosed: unknown }[];
  dialLoop(): Promise<void>;
  close(error: unknown): Promise<void>;
}

/** The library of connections. One is made by its parts: only so can an attempt be ended at once. */
export interface NatsLibrary {
  connect(options: object): Promise<unknown>;
  readonly NatsConnectionImpl: new (options: object) => NatsConnection;
  readonly ProtocolHandler: new (options: object, publisher: NatsConnection) => NatsProtocol;
}

/** Loads a library. FAILED_PRECONDITION (`app.package_missing`) if it is not installed. */
export function loadLibrary<T>(broker: string, name: string): T {
  try {
    return createRequire(import.meta.url)(name) as T;
  } catch (error) {
    throw packageMissing(`the broker "${broker}"`, name, error);
  }
}
