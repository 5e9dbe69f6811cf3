import type { ServiceIdentifier } from 'inversify';

import type { EventHeaders } from '../broker/broker.ts';
import type { CloudEventMode } from '../broker/cloud-events.ts';
import type { Context } from '../context/context.ts';
import type { Metadata, MetadataInit } from '../context/metadata.ts';
import type { Dialect } from '../go-micro/go-micro.ts';
import type { ServiceConfig } from '../interceptors/interceptors.ts';
import { token } from '../internal/token.ts';
import type { Interceptor, MethodDescriptor, MethodKind, Schema } from '../pipeline/pipeline.ts';
import type { CallInterceptor } from '../pipeline/enhancers.ts';
import type { NodeFilter } from '../selector/selector.ts';
import type { CallCredentials } from './credentials.ts';

/** Options of one call. */
export interface CallOptions {
  /**
   * The context of the call being handled. Its cancellation cancels this call, its deadline bounds it, and its metadata
   * is passed on as far as {@link ClientOptions.forward} allows.
   */
  readonly ctx?: Context | undefined;
  /**
   * Time-out of the call in milliseconds, after which it fails with DEADLINE_EXCEEDED. The deadline of `ctx` counts
   * too.
   * @default {@link ClientOptions.timeoutMs}
   */
  readonly timeoutMs?: number | undefined;
  /** Aborting it cancels the call, on the server too. */
  readonly signal?: AbortSignal | undefined;
  readonly metadata?: Metadata | MetadataInit | undefined;
  /** The address to call, without asking registry and selector. */
  readonly address?: string | undefined;
  /** Name of the service in the registry. @default what the handler or its `.proto` says */
  readonly service?: string | undefined;
  /** Filters of the nodes to choose from. */
  readonly filters?: readonly NodeFilter[] | undefined;
  /**
   * The key by which a selector with affinity chooses the node: calls with the same key go to the same node.
   * @default what the selector finds in the metadata, if it is told of a key there
   */
  readonly hashKey?: string | undefined;
  /** Codec of this call: `application/grpc+json`. @default the method's */
  readonly contentType?: string | undefined;
  /** Waits for a node and a connection until the deadline, instead of failing at once. @default false */
  readonly waitForReady?: boolean | undefined;
  /**
   * Compresses requests with gzip, on transports that can. A server that does not understand it answers UNIMPLEMENTED.
   * @default {@link ClientOptions.compress}
   */
  readonly compress?: boolean | undefined;
  /** The credentials that prove who calls; `false` sends none. @default {@link ClientOptions.credentials} */
  readonly credentials?: CallCredentials | false | undefined;
  /** Called with the server's headers before the first reply is handed out. */
  readonly onHeaders?: ((headers: Metadata) => void) | undefined;
  /** Called with the trailers before the call's promise settles or its iteration ends, whatever the status. */
  readonly onTrailers?: ((trailers: Metadata) => void) | undefined;
}

/** A call that is ready to be sent: its service, method and message. Go Micro's `Request`. */
export interface Request {
  /** Name in the registry. */
  readonly service: string;
  readonly method: MethodDescriptor;
  /** The message; where the client streams, an AsyncIterable of messages. */
  readonly body: unknown;
  readonly contentType: string;
}

/** Options of {@link Client.newRequest}, for a method without a descriptor. */
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

/** Options of {@link Client.newMessage}. */
export interface MessageOptions {
  /**
   * The content type that names the codec of the payload: `application/json`, `application/protobuf`.
   * @default JSON, or protobuf with a schema that has one
   */
  readonly contentType?: string | undefined;
  readonly schema?: Schema | undefined;
  readonly headers?: EventHeaders | undefined;
}

/** Attributes of an event that is published as a CloudEvent. */
export interface PublishedCloudEvent {
  /** Attributes in headers, or all in the body, as JSON. */
  readonly mode: CloudEventMode;
  /** Where the event happened, as a URI reference: `/shop/checkout`. */
  readonly source: string;
  /** @default the topic */
  readonly type?: string | undefined;
  /** @default a UUID */
  readonly id?: string | undefined;
  readonly subject?: string | undefined;
  readonly dataschema?: string | undefined;
  readonly extensions?: Readonly<Record<string, string>> | undefined;
}

/** Options of {@link Client.publish}. */
export interface ClientPublishOptions {
  readonly ctx?: Context | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
  /** Publishes the event as a CloudEvent 1.0. @default it is none */
  readonly cloudEvent?: PublishedCloudEvent | undefined;
  /** Delivers the event after this time in milliseconds, on brokers that can. @default 0 */
  readonly delayMs?: number | undefined;
  /** Drops the event if it was not delivered within this time in milliseconds. @default without end */
  readonly ttlMs?: number | undefined;
  /** Key of the order: events of one key keep their order, on brokers that can. */
  readonly orderKey?: string | undefined;
  /** Key of the event for subscribers with deduplication, which handle events of one key once. */
  readonly dedupeKey?: string | undefined;
  /**
   * Waits for the broker, until the time-out, instead of failing at once while it is away. Give a `dedupeKey`: an event
   * whose connection was lost is sent again.
   * @default false
   */
  readonly waitForReady?: boolean | undefined;
}

/** The client's end of a call that is made message by message: Go Micro's `Stream`. */
export interface ClientStream extends AsyncIterable<unknown> {
  readonly ctx: Context;
  readonly request: Request;
  /**
   * Sends a request, and resolves when there is room for more. Rejects with FAILED_PRECONDITION (`client.stream_ended`)
   * after `closeSend`.
   */
  send(message: unknown): Promise<void>;
  /** Returns the next reply, or `undefined` after the last one. Rejects with the call's error. */
  recv(): Promise<unknown>;
  /** Ends the sending side: no more requests follow. */
  closeSend(): void;
  /** Cancels the call if it is not over. */
  close(): void;
}

/** Options of a client. */
export interface ClientOptions {
  /**
   * Time-out of unary calls that have none of their own, in milliseconds; 0 for no time-out. @default 30_000, Go
   * Micro's RequestTimeout
   */
  readonly timeoutMs?: number | undefined;
  /**
   * Keys of the metadata that a call passes on from the call being handled (`ctx`).
   * @default none but the trace's: `traceparent`, `tracestate`, `baggage`; in Go Micro's dialect all, also those by
   * which a caller proves who it is
   */
  readonly forward?: readonly string[] | undefined;
  /** The credentials that prove with every call who calls. @default none */
  readonly credentials?: CallCredentials | undefined;
  /**
   * Sends credentials over connections that are not encrypted too, unless the credentials decide it themselves.
   * @default false: only over TLS and on this machine
   */
  readonly insecureCredentials?: boolean | undefined;
  /**
   * The dialect of the calls. `go-micro` calls the way Go Micro's clients do, so that its servers answer: on its paths,
   * with its `timeout` and `x-content-type`, and it understands their errors. Servers of tenon that this client calls
   * need the dialect as well.
   * @default 'grpc'
   */
  readonly dialect?: Dialect | undefined;
  /** Interceptors of every call, the first outermost. */
  readonly interceptors?: readonly Interceptor[] | undefined;
  /** Largest reply accepted, in bytes. @default 4 MiB */
  readonly maxReceiveBytes?: number | undefined;
  /** Largest request sent, in bytes. @default no limit */
  readonly maxSendBytes?: number | undefined;
  /**
   * Compresses requests with gzip, on transports that can. A call decides otherwise with its own `compress`. @default
   * false
   */
  readonly compress?: boolean | undefined;
  /**
   * Policies of methods as data, in gRPC's service config format: time-outs, limits, retries, hedges. Its retries and
   * hedges are the innermost interceptors. An invalid one throws INVALID_ARGUMENT
   * (`interceptors.invalid_service_config`).
   */
  readonly serviceConfig?: ServiceConfig | undefined;
  /**
   * The number of nodes that one call is tried on, at most. The next node is tried only if the last one certainly did
   * not process the call.
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
 * Calls one prepared method. A client stream takes an AsyncIterable of requests, and a server stream returns one of
 * replies.
 */
export type MethodCaller = (input: unknown, options?: CallOptions) => unknown;

/**
 * Calls services by name: the selector chooses the node, the codec encodes the messages, the transport carries the
 * call.
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
  /** Makes a request to `endpoint`: `package.Service/Method`, or Go Micro's `Service.Method`. */
  newRequest(service: string, endpoint: string, body: unknown, options?: RequestOptions): Request;
  /** Makes a call that has one reply, and returns the reply. */
  call(request: Request, options?: CallOptions): Promise<unknown>;
  /**
   * Opens a call of any kind, message by message. For a unary or server-stream method it sends the body of the request
   * and closes the sending side.
   */
  stream(request: Request, options?: CallOptions): ClientStream;
  /** Encodes an event and publishes it. Resolves when the broker has it. */
  publish(message: PublishMessage, options?: ClientPublishOptions): Promise<void>;
  /**
   * Prepares a method to be called: its interceptors are composed here, once. `service` is the name in the registry.
   */
  method(method: MethodDescriptor, service: string): MethodCaller;
  /** Cancels the calls in progress. Transport and broker stay open for their owner to close. */
  close(): Promise<void>;
  /** The name of the implementation. */
  toString(): string;
}
/** Container key of the {@link Client}. */
export const Client: ServiceIdentifier<Client> = token('client', 'Client');
