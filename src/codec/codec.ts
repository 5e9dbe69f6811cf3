import type { ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';
import type { MessageLimits as Limits, Schema } from '../pipeline/pipeline.ts';

/**
 * Converts values to bytes and back: the format of messages.
 *
 * It is synchronous, stateless and shared: one instance serves every call of a process at once. Neither method keeps or
 * changes its arguments.
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

/** Bounds of what one message may cost: see `MessageLimits` of `tenon/pipeline`. */
export type MessageLimits = Limits;
/** Container key of the {@link MessageLimits} that the marshalers of this package keep. */
export const MessageLimits: ServiceIdentifier<MessageLimits> = token('codec', 'MessageLimits');

/** The kinds of framed messages, with Go Micro's numbers. */
export const MessageType = { Error: 0, Request: 1, Response: 2, Event: 3 } as const;
/** One of {@link MessageType}. */
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

/** The header of a framed message: Go Micro's `codec.Message`, filled in by `readHeader`. */
export interface MessageHeader {
  /** The sequence number or id of the request. */
  id: string;
  type: MessageType;
  /** The service that is called. */
  target: string;
  /** The full name of the method that is called. */
  method: string;
  /** The method as Go Micro names it: `Greeter.Hello`. */
  endpoint: string;
  /** The error text of a response; empty if there is none. */
  error: string;
  header: Record<string, string>;
}

/**
 * Reads and writes framed messages over one connection: Go Micro's codec. It holds the state of that connection: make
 * one per connection, and use it by one caller at a time. `close()` may be called more than once; afterwards every
 * other method rejects with FAILED_PRECONDITION (`codec.closed`).
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

/** The connection beneath a {@link Codec}: Go Micro's `io.ReadWriteCloser`, one message at a time. */
export interface MessageStream {
  read(): Promise<{ readonly header: MessageHeader; readonly body: Uint8Array } | undefined>;
  write(message: { readonly header: MessageHeader; readonly body: Uint8Array }): Promise<void>;
  close(): Promise<void>;
}
