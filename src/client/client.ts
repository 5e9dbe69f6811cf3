import type { ServiceIdentifier } from 'inversify';

import type { EventHeaders } from '../broker/broker.ts';
import type { Context } from '../context/context.ts';
import type { Metadata, MetadataInit } from '../context/metadata.ts';
import type { Dialect } from '../go-micro/go-micro.ts';
import type { ServiceConfig } from '../interceptors/interceptors.ts';
import { token } from '../internal/token.ts';
import type { Interceptor, MethodDescriptor, MethodKind, Schema } from '../pipeline/pipeline.ts';
import type { CallInterceptor } from '../pipeline/enhancers.ts';
import type { NodeFilter } from '../selector/selector.ts';
import type { CallCredentials } from './credentials.ts';

/** What one call may be told. */
export interface CallOptions {
  /**
   * The call being handled: its cancellation cancels this one, its deadline bounds it, its metadata travels on as far
   * as {@link ClientOptions.forward} allows.
   */
  readonly ctx?: Context | undefined;
  /**
   * DEADLINE_EXCEEDED after this many milliseconds; never later than the deadline of `ctx`. @default {@link
   * ClientOptions.timeoutMs}
   */
  readonly timeoutMs?: number | undefined;
  /** Cancels the call. The server sees it. */
  readonly signal?: AbortSignal | undefined;
  readonly metadata?: Metadata | MetadataInit | undefined;
  /** Goes to this address; neither registry nor selector are asked. */
  readonly address?: string | undefined;
  /** Name of the service in the registry. @default what the handler or its `.proto` says */
  readonly service?: string | undefined;
  /** Narrow the nodes to choose from. */
  readonly filters?: readonly NodeFilter[] | undefined;
  /** Codec of this call: `application/grpc+json`. @default the method's */
  readonly contentType?: string | undefined;
  /** Wait for a node and a connection until the deadline instead of failing at once. @default false */
  readonly waitForReady?: boolean | undefined;
  /**
   * Whether requests are compressed, by gzip, where the transport can. A server that does not understand it answers
   * UNIMPLEMENTED.
   * @default {@link ClientOptions.compress}
   */
  readonly compress?: boolean | undefined;
  /**
   * What proves who calls; `false` for nothing, where the client has some. @default {@link ClientOptions.credentials}
   */
  readonly credentials?: CallCredentials | false | undefined;
  /** Called with the server's headers before the first reply is handed out. */
  readonly onHeaders?: ((headers: Metadata) => void) | undefined;
  /** Called with the trailers before the call's promise settles or its iteration ends, whatever the status. */
  readonly onTrailers?: ((trailers: Metadata) => void) | undefined;
}

/** A call about which everything is said but how to send it: Go Micro's `Request`. */
export interface Request {
  /** Name in the registry. */
  readonly service: string;
  readonly method: MethodDescriptor;
  /** The message; where the client streams, an AsyncIterable of messages. */
  readonly body: unknown;
  readonly contentType: string;
}

/** What `newRequest` may be told about a method it has no descriptor of. */
export interface RequestOptions {
  /** @default 'application/grpc+json' */
  readonly contentType?: string | undefined;
  /** @default 'unary' */
  readonly kind?: Exclude<MethodKind, 'event'> | undefined;
  readonly input?: Schema | undefined;
  readonly output?: Schema | undefined;
}

/** An event to publish: Go Micro's client `Message`. */
export interface PublishMessage {
  readonly topic: string;
  readonly payload: unknown;
  readonly schema: Schema;
  readonly contentType: string;
  readonly headers: EventHeaders;
}

/** What an event may be told. */
export interface MessageOptions {
  /**
   * How the payload is encoded: `application/json`, `application/protobuf`. @default JSON, or protobuf with a schema
   * that has one
   */
  readonly contentType?: string | undefined;
  readonly schema?: Schema | undefined;
  readonly headers?: EventHeaders | undefined;
}

/** What publishing may be told. */
export interface ClientPublishOptions {
  readonly ctx?: Context | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
  /** Events of one key keep their order, where the broker keeps order. */
  readonly orderKey?: string | undefined;
  /** Subscribers with deduplication handle events of one key once. */
  readonly dedupeKey?: string | undefined;
}

/** The client's end of a call message by message: Go Micro's `Stream`. */
export interface ClientStream extends AsyncIterable<unknown> {
  readonly ctx: Context;
  readonly request: Request;
  /**
   * Resolves when there is room for more. Rejects with FAILED_PRECONDITION (`client.stream_ended`) after `closeSend`.
   */
  send(message: unknown): Promise<void>;
  /** The next reply; `undefined` after the last. Rejects with the call's error. */
  recv(): Promise<unknown>;
  /** No more messages from this side. */
  closeSend(): void;
  /** Cancels the call if it is not over. */
  close(): void;
}

/** What a client is told at once. */
export interface ClientOptions {
  /** Bound of unary calls that name none, in milliseconds; 0 for none. @default 30_000, Go Micro's RequestTimeout */
  readonly timeoutMs?: number | undefined;
  /**
   * Metadata keys of the call being handled that travel on with its `ctx`.
   * @default none but the trace's: `traceparent`, `tracestate`, `baggage`; in Go Micro's dialect all, also those by
   *   which a caller proves who it is
   */
  readonly forward?: readonly string[] | undefined;
  /** What proves with every call who calls. @default nothing */
  readonly credentials?: CallCredentials | undefined;
  /**
   * Whether credentials that leave it open are sent also where others on the way can read them. @default false: only
   * over TLS and on this machine
   */
  readonly insecureCredentials?: boolean | undefined;
  /**
   * `go-micro`: calls as Go Micro's clients do, so that its servers answer: on its paths, with its `timeout` and
   * `x-content-type`, and understands its errors. Servers of tenon that it calls need the dialect as well.
   * @default 'grpc'
   */
  readonly dialect?: Dialect | undefined;
  /** Around every call, the first outermost. */
  readonly interceptors?: readonly Interceptor[] | undefined;
  /** Largest reply accepted, in bytes. @default 4 MiB */
  readonly maxReceiveBytes?: number | undefined;
  /** Largest request sent, in bytes. @default no limit */
  readonly maxSendBytes?: number | undefined;
  /**
   * Compress requests, by gzip, where the transport can; a call says otherwise by its own `compress`. @default false
   */
  readonly compress?: boolean | undefined;
  /**
   * Policies per method as data, in gRPC's own format: time-outs, limits, retries, hedges. Its retries and hedges are
   * the innermost interceptors. INVALID_ARGUMENT (`interceptors.invalid_service_config`) for one that is wrong.
   */
  readonly serviceConfig?: ServiceConfig | undefined;
  /**
   * Nodes tried for one call when a node cannot be reached: only where it is certain that nothing was processed.
   * @default 3
   */
  readonly maxAttempts?: number | undefined;
}
/** Container key of the {@link ClientOptions}. */
export const ClientOptions: ServiceIdentifier<ClientOptions> = token('client', 'ClientOptions');

/**
 * Container key of interceptors around every call of the client, inside those of {@link ClientOptions}. Bindings add
 * up, in their order.
 */
export const ClientInterceptors: ServiceIdentifier<Interceptor | CallInterceptor> = token(
  'client',
  'ClientInterceptors',
);

/**
 * A method made ready to be called: where the client streams it takes an AsyncIterable, where the server streams it
 * gives one.
 */
export type MethodCaller = (input: unknown, options?: CallOptions) => unknown;

/**
 * Calls services by name. Nodes come from the selector, bytes from the codec, the rest from the transport.
 *
 * A call fails with the status that the server sent, or with one of: UNAVAILABLE (`client.no_node`,
 * `transport.unreachable`, …; the message names the service), DEADLINE_EXCEEDED (`call.deadline_exceeded`), CANCELLED
 * (`call.cancelled`), INVALID_ARGUMENT (`codec.encode`, before anything is sent), INTERNAL (`client.bad_reply`: the
 * reply did not decode). May be used concurrently. After `close()` calls fail with FAILED_PRECONDITION
 * (`client.closed`).
 */
export interface Client {
  /** The options in force. */
  readonly options: ClientOptions;
  /** Changes options. FAILED_PRECONDITION (`client.started`) once a method was prepared or called. */
  init(options: ClientOptions): void;
  newMessage(topic: string, payload: unknown, options?: MessageOptions): PublishMessage;
  /** A request to `endpoint`, which is `package.Service/Method` or Go Micro's `Service.Method`. */
  newRequest(service: string, endpoint: string, body: unknown, options?: RequestOptions): Request;
  /** A call with one reply. */
  call(request: Request, options?: CallOptions): Promise<unknown>;
  /**
   * A call of any shape, message by message. For a unary or server-stream method the request's body is sent and the
   * sending side closed.
   */
  stream(request: Request, options?: CallOptions): ClientStream;
  /** Encodes and publishes. Resolves when the broker has it. */
  publish(message: PublishMessage, options?: ClientPublishOptions): Promise<void>;
  /** Prepares a method: interceptors are composed here, once. `service` is its name in the registry. */
  method(method: MethodDescriptor, service: string): MethodCaller;
  /** Cancels what is under way. The transport and the broker are closed by who made them. */
  close(): Promise<void>;
  /** The name it is bound by. */
  toString(): string;
}
/** Container key of the {@link Client}. */
export const Client: ServiceIdentifier<Client> = token('client', 'Client');
