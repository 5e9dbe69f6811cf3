import type { ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';
import type { MessageLimits as Limits, Schema } from '../pipeline/pipeline.ts';

/**
 * Values to bytes and back: all that the call path asks of a format.
 *
 * Synchronous, stateless and shared: one instance serves every call of a process at once. Neither method keeps or
 * changes what it was given.
 */
export interface Marshaler {
  /** gRPC's content type with its sub-type: `application/grpc+proto`. */
  readonly contentType: string;
  /**
   * Throws INVALID_ARGUMENT (`codec.encode`) naming schema and field when `value` does not fit; nothing is
   * written then.
   */
  marshal(schema: Schema, value: unknown): Uint8Array;
  /**
   * Throws INVALID_ARGUMENT (`codec.decode`) naming the schema when `bytes` are not such a message, RESOURCE_EXHAUSTED
   * (`codec.too_many_elements`) when they hold more than the codec's limits allow.
   */
  unmarshal(schema: Schema, bytes: Uint8Array): unknown;
}
/** Container key of every {@link Marshaler} that clients and servers understand: bound once for each format. */
export const Marshaler: ServiceIdentifier<Marshaler> = token('codec', 'Marshaler');
/** Container key of the {@link Marshaler} of calls to methods that name no content type. */
export const DefaultMarshaler: ServiceIdentifier<Marshaler> = token('codec', 'DefaultMarshaler');

/** What one message may cost; see `pipeline`. */
export type MessageLimits = Limits;
/** Container key of the {@link MessageLimits} that the marshalers of this package keep. */
export const MessageLimits: ServiceIdentifier<MessageLimits> = token('codec', 'MessageLimits');

/** What a framed message is. The numbers are Go Micro's. */
export const MessageType = { Error: 0, Request: 1, Response: 2, Event: 3 } as const;
/** One of {@link MessageType}. */
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

/** What a framed dialect says about a body besides the body: Go Micro's `codec.Message`, filled in by `readHeader`. */
export interface MessageHeader {
  /** Sequence number or id of the request. */
  id: string;
  type: MessageType;
  /** Service called. */
  target: string;
  /** Method called, in full. */
  method: string;
  /** `Greeter.Hello` */
  endpoint: string;
  /** Text of the error of a response, empty if none. */
  error: string;
  header: Record<string, string>;
}

/**
 * Go Micro's codec: header and body of a framed message, over one connection's bytes. Holds the state
 * of that connection, so one is made per connection, and used by one caller at a time. `close()` may be called more
 * than once; afterwards every other method rejects with FAILED_PRECONDITION (`codec.closed`).
 */
export interface Codec {
  /**
   * Reads the next message's header into `message`. Resolves to false when the peer sends no more.
   * A body that was not read is skipped.
   */
  readHeader(message: MessageHeader, type: MessageType): Promise<boolean>;
  /** Reads the body that belongs to the header read last. Without a schema it is skipped: `undefined`. */
  readBody(schema?: Schema): Promise<unknown>;
  /** Writes header and body as one message. A body that does not fit rejects, and nothing is written. */
  write(message: MessageHeader, body: unknown, schema?: Schema): Promise<void>;
  close(): Promise<void>;
  /** The format's name: `proto`. */
  toString(): string;
}
/** Container key of the {@link Codec}. */
export const Codec: ServiceIdentifier<Codec> = token('codec', 'Codec');

/** The bytes under a {@link Codec}: Go Micro's `io.ReadWriteCloser`, a message at a time. */
export interface MessageStream {
  read(): Promise<{ readonly header: MessageHeader; readonly body: Uint8Array } | undefined>;
  write(message: { readonly header: MessageHeader; readonly body: Uint8Array }): Promise<void>;
  close(): Promise<void>;
}
