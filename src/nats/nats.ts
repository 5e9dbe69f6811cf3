/** The kind of a {@link NatsError}. */
export type NatsErrorKind =
  /** The server cannot be reached, the connection to it ended, or what answers is no NATS. */
  | 'unreachable'
  /** The server does not know the credentials, or they have no right to a subject. */
  | 'denied'
  /** The payload of a message is larger than the server takes. It was not sent. */
  | 'tooLarge'
  /** The server refuses what was sent. */
  | 'refused';

/** An error of a server, or of the connection to it. */
export class NatsError extends Error {
  readonly kind: NatsErrorKind;
  /** The subject to which the credentials have no right. */
  readonly subject: string | undefined;

  constructor(kind: NatsErrorKind, message: string, { subject, cause }: NatsErrorInit = {}) {
    super(message, { cause });
    this.kind = kind;
    this.subject = subject;
  }
}

/** More about a {@link NatsError}. */
export interface NatsErrorInit {
  readonly subject?: string | undefined;
  readonly cause?: unknown;
}

/** A message that was received. */
export interface NatsMessage {
  readonly subject: string;
  /** The subject for an answer. */
  readonly reply: string | undefined;
  /** Undefined for a message that is larger than those that are read. */
  readonly payload: Buffer | undefined;
  /** True for what a server says in place of an answer: nobody listens to the subject of a message with a reply. */
  readonly isNobodyThere?: boolean | undefined;
}

/** A message to publish. */
export interface NatsPublication {
  readonly subject: string;
  /** The subject for an answer. */
  readonly reply?: string | undefined;
  readonly payload: string | Uint8Array;
}

/** A subscription. It is made again with each connection, until it is ended. */
export interface NatsSubscription {
  /** Ends it. Messages that are on their way are dropped. May be called again. */
  unsubscribe(): void;
}

/** Hears of a client. */
export interface NatsListener {
  /** A connection stands, with all subscriptions. `isFirst` is false if there was one before. */
  onConnected?(isFirst: boolean): void;
  /** The connection ended: messages are lost until there is another one. */
  onLost?(error: Error): void;
  /** The server refuses a message or a subscription, and keeps the connection. Calls that wait for it fail as well. */
  onRefused?(error: NatsError): void;
}

/**
 * A client of NATS: of its subjects alone, without headers of its own and without JetStream. It connects at the first
 * call, and again after a loss, at the next address where there is one. Messages that are published while there is no
 * connection are lost, as are those that others publish.
 */
export interface Nats {
  /** True while messages can be published. */
  readonly isConnected: boolean;
  /** True if there was a connection once. */
  readonly wasConnected: boolean;
  /** The host of the last attempt to connect that failed. */
  readonly failedHost: string | undefined;
  /** The largest payload that the server takes, in bytes; 0 while there is no connection. */
  readonly maxPayload: number;
  /**
   * Publishes messages, and resolves when the server has them. Without messages, it resolves when the server has
   * processed what was sent before, subscriptions among it. While there is no connection it waits for the attempt that
   * is under way or comes next, and fails with it. Rejects with a {@link NatsError}, the error of the connection, or
   * the reason of the signal.
   *
   * `subjects` are those whose refusal is an error of this call, besides those of the messages.
   */
  deliver(messages: readonly NatsPublication[], signal: AbortSignal, subjects?: readonly string[]): Promise<void>;
  /** Publishes a message without waiting. Returns false if it was not sent: there is no connection, or no room. */
  publish(message: NatsPublication): boolean;
  /** Delivers the messages of a subject, while there are connections. */
  subscribe(subject: string, onMessage: (message: NatsMessage) => void): NatsSubscription;
  /** Closes the connection. Calls under way and later ones are rejected. */
  close(): void;
}

/** True for a subject without wildcards that NATS takes: tokens with dots between them. */
export function isValidSubject(subject: string): boolean {
  // oxlint-disable-next-line no-control-regex
  return /^[^\s.*>\u0000-\u001f]+(?:\.[^\s.*>\u0000-\u001f]+)*$/.test(subject);
}
