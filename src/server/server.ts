import type { ServiceIdentifier } from 'inversify';

import type { DeliveryOptions } from '../broker/delivery.ts';
import type { Context } from '../context/context.ts';
import type { Dialect } from '../go-micro/go-micro.ts';
import { token } from '../internal/token.ts';
import type { HandlerFunction, Interceptor, MethodDescriptor, Schema } from '../pipeline/pipeline.ts';
import type { CallInterceptor } from '../pipeline/enhancers.ts';
import type { NodeState, ServiceRecord } from '../registry/registry.ts';

/** One method with the function that answers it. */
export interface ServerMethod {
  readonly descriptor: MethodDescriptor;
  readonly invoke: HandlerFunction;
  /** Run around this method only, inside the server's own interceptors. */
  readonly interceptors?: readonly Interceptor[] | undefined;
}

/** The methods of one service: Go Micro's `Handler`. */
export interface ServerHandler {
  /** Full service name: `greeter.Greeter`. */
  readonly name: string;
  readonly methods: readonly ServerMethod[];
  /** Metadata of the endpoints in the registry, by the name of the method. */
  readonly metadata?: Readonly<Record<string, Readonly<Record<string, string>>>> | undefined;
  /** True leaves the methods out of the registry's record. @default false */
  readonly internal?: boolean | undefined;
}

/** Options of {@link Server.newHandler}. */
export interface NewHandlerOptions {
  readonly metadata?: ServerHandler['metadata'];
  readonly internal?: boolean | undefined;
}

/** Options of a subscription's delivery: queue, retries, dead letters, deduplication, and how many events at once. */
export type EventHandlerOptions = DeliveryOptions;

/** A subscription with the function that handles its events: Go Micro's server `Subscriber`. */
export interface EventHandler {
  readonly topic: string;
  /** The description of the handler: its kind is `event`, its `input` the schema of the event. */
  readonly descriptor: MethodDescriptor;
  /**
   * Handles one event. If it resolves, the event is acknowledged; if it throws, the event is delivered again or
   * dead-lettered, as the options say.
   */
  readonly invoke: HandlerFunction;
  readonly options: EventHandlerOptions;
  readonly interceptors?: readonly Interceptor[] | undefined;
}

/** Options of a server. */
export interface ServerOptions {
  /** Name in the registry. */
  readonly name?: string | undefined;
  /** @default 'latest' */
  readonly version?: string | undefined;
  /** Tail of the node id, `<name>-<id>`. @default a UUID */
  readonly id?: string | undefined;
  /** The address to listen at. @default '127.0.0.1:0' */
  readonly address?: string | undefined;
  /**
   * The address in the registry, which callers use: `host:port`, a host or a `:port` alone, which the address that is
   * listened at completes, or a network of which this machine has an address: `10.1.0.0/16`. INVALID_ARGUMENT
   * (`server.invalid_advertise`) at the start for what callers could not use.
   * @default the address that the server listens at; for a wildcard host the first private address of this machine,
   * else its first public one, else loopback
   */
  readonly advertise?: string | undefined;
  /** Metadata of the node in the registry. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** Interceptors of every call and event, the first outermost. */
  readonly interceptors?: readonly Interceptor[] | undefined;
  /**
   * Announces the node in the registry. Set it to false where something else does, such as the file of a static
   * registry.
   * @default true
   */
  readonly register?: boolean | undefined;
  /** Lease of the registration in milliseconds. @default 30_000 */
  readonly registerTtlMs?: number | undefined;
  /** Largest request accepted, in bytes. @default 4 MiB */
  readonly maxReceiveBytes?: number | undefined;
  /** Largest reply sent, in bytes. @default no limit */
  readonly maxSendBytes?: number | undefined;
  /**
   * Compresses replies to callers that understand it, on transports that can. A handler decides otherwise with
   * `ctx.compress`.
   * @default false
   */
  readonly compress?: boolean | undefined;
  /**
   * True fails the start while a broker or a registry cannot be reached. Otherwise the server starts and keeps trying;
   * only errors that waiting does not mend, such as a wrong password, fail the start.
   * @default false
   */
  readonly requireBackends?: boolean | undefined;
  /** Sends the text of unexpected exceptions to the caller. @default false: the text may hold secrets */
  readonly exposeErrors?: boolean | undefined;
  /**
   * The dialect of the calls. `go-micro` also answers Go Micro's clients the way its own servers do: on its paths,
   * within its `timeout`, with its errors. Other clients notice nothing of it.
   * @default 'grpc'
   */
  readonly dialect?: Dialect | undefined;
  /** Suggests similar method names to callers of unknown methods, on transports that can. @default false */
  readonly suggest?: boolean | undefined;
}
/** Container key of the {@link ServerOptions}. */
export const ServerOptions: ServiceIdentifier<ServerOptions> = token('server', 'ServerOptions');

/**
 * Container key of interceptors around every call and event of each server, inside those of {@link ServerOptions}.
 * Bindings add up, in their order.
 */
export const ServerInterceptors: ServiceIdentifier<Interceptor | CallInterceptor> = token(
  'server',
  'ServerInterceptors',
);

/** Options of a start. */
export interface ServerStartOptions {
  /** Aborting it gives up the attempt to listen. */
  readonly signal?: AbortSignal | undefined;
  /** Called when every subscription is active, if {@link Server.isSubscribed} was false when the start resolved. */
  readonly onSubscribed?: (() => void) | undefined;
  /**
   * Called when the broker has ended a subscription, as its queue was deleted. It is made again, with growing pauses,
   * and `onSubscribed` is called when all are active.
   */
  readonly onUnsubscribed?: (() => void) | undefined;
  /**
   * True if subscriptions do not count as active while the connection to the broker is lost, where the broker can tell:
   * {@link Server.isSubscribed} is false, and `onUnsubscribed` and `onSubscribed` are called. @default false
   */
  readonly followsOutages?: boolean | undefined;
}

/**
 * Answers calls and handles events.
 *
 * Handlers and subscriptions are given before `start`. A handler that throws answers its own call and nothing else; the
 * process lives on. A thrown {@link TenonError} is the status; anything else is INTERNAL (`server.handler_failed`)
 * without its text.
 */
export interface Server {
  /** The options in force. */
  readonly options: ServerOptions;
  /** Changes options. FAILED_PRECONDITION (`server.started`) after `start`. */
  init(options: ServerOptions): void;
  /**
   * Adds a handler. ALREADY_EXISTS (`server.duplicate_method`) if one of its methods is taken; FAILED_PRECONDITION
   * after `start`.
   */
  handle(handler: ServerHandler): void;
  /**
   * Makes a handler from functions by method name. The methods are unary and speak JSON, unless `descriptors` say
   * otherwise.
   */
  newHandler(
    name: string,
    methods: Readonly<Record<string, HandlerFunction>>,
    options?: NewHandlerOptions & { readonly descriptors?: readonly MethodDescriptor[] },
  ): ServerHandler;
  /** Makes a subscription from a function. */
  newSubscriber(
    topic: string,
    handler: (event: unknown, ctx: Context) => unknown,
    options?: EventHandlerOptions & { readonly schema?: Schema },
  ): EventHandler;
  /** Adds a subscription. FAILED_PRECONDITION (`server.started`) after `start`. */
  subscribe(handler: EventHandler): void;
  /**
   * The record of the node, as {@link register} announces it. FAILED_PRECONDITION (`server.not_started`) before the
   * start.
   */
  record(state?: NodeState): ServiceRecord;
  /** Announces the node in the registry, or renews its lease. The server must have started. */
  register(options?: { readonly state?: NodeState; readonly signal?: AbortSignal }): Promise<void>;
  /** Takes the node out of the registry. */
  deregister(options?: { readonly signal?: AbortSignal }): Promise<void>;
  /**
   * Listens, then subscribes. If either fails, everything that was opened is closed again. A broker that cannot be
   * reached (UNAVAILABLE, DEADLINE_EXCEEDED) fails the start only with `requireBackends`; otherwise the server keeps
   * trying with back-off and subscribes when the broker is back. Rejects with ALREADY_EXISTS
   * (`server.duplicate_method`) in Go Micro's dialect, for two methods that have one path there.
   */
  start(options?: ServerStartOptions): Promise<void>;
  /**
   * Takes no new calls and no new events, and resolves when those in progress are done. If `signal` aborts first, it
   * rejects with the reason of the signal, and they go on until `stop`.
   */
  drain(signal?: AbortSignal): Promise<void>;
  /**
   * Ends at once: calls in progress are aborted with UNAVAILABLE, and events in progress go back to the broker. May be
   * called again.
   */
  stop(): Promise<void>;
  /** The address that the server listens at; `undefined` before `start`. */
  readonly address: string | undefined;
  /** The address that the registry gives to callers; `undefined` before `start`. */
  readonly advertisedAddress: string | undefined;
  /** The node's id in the registry: `<name>-<id>`. */
  readonly nodeId: string;
  /**
   * True once every subscription is active, or if there is none, until the stop. False while a broker that could not be
   * reached at the start is still away, and while one that the broker has ended is made again.
   */
  readonly isSubscribed: boolean;
  /** The number of calls and events in progress. */
  readonly inFlight: number;
  /** The name of the implementation. */
  toString(): string;
}
/** Container key of the {@link Server}. Every service of a process gets one of its own. */
export const Server: ServiceIdentifier<Server> = token('server', 'Server');
