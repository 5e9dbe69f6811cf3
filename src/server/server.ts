import type { ServiceIdentifier } from 'inversify';

import type { DeliveryOptions } from '../broker/delivery.ts';
import type { Context } from '../context/context.ts';
import type { Dialect } from '../go-micro/go-micro.ts';
import { token } from '../internal/token.ts';
import type { HandlerFunction, Interceptor, MethodDescriptor, Schema } from '../pipeline/pipeline.ts';
import type { CallInterceptor } from '../pipeline/enhancers.ts';
import type { NodeState } from '../registry/registry.ts';

/** A method and what answers it. */
export interface ServerMethod {
  readonly descriptor: MethodDescriptor;
  readonly invoke: HandlerFunction;
  /** Around this method only, inside the server's own. */
  readonly interceptors?: readonly Interceptor[] | undefined;
}

/** The methods of one service: Go Micro's `Handler`. */
export interface ServerHandler {
  /** Full service name: `greeter.Greeter`. */
  readonly name: string;
  readonly methods: readonly ServerMethod[];
  /** Said of the endpoints in the registry, by method. */
  readonly metadata?: Readonly<Record<string, Readonly<Record<string, string>>>> | undefined;
  /** Left out of the registry's record. @default false */
  readonly internal?: boolean | undefined;
}

/** What `newHandler` may be told. */
export interface NewHandlerOptions {
  readonly metadata?: ServerHandler['metadata'];
  readonly internal?: boolean | undefined;
}

/** How a subscription delivers: queue, retries, dead letters, dedupe, and how much at once. */
export type EventHandlerOptions = DeliveryOptions;

/** A subscription and what handles its events: Go Micro's server `Subscriber`. */
export interface EventHandler {
  readonly topic: string;
  /** Kind `event`; `input` is the event's schema. */
  readonly descriptor: MethodDescriptor;
  /** Resolves: acknowledged. Throws: redelivered, or dead-lettered, as the options say. */
  readonly invoke: HandlerFunction;
  readonly options: EventHandlerOptions;
  readonly interceptors?: readonly Interceptor[] | undefined;
}

/** What a server is told at once. */
export interface ServerOptions {
  /** Name in the registry. */
  readonly name?: string | undefined;
  /** @default 'latest' */
  readonly version?: string | undefined;
  /** Tail of the node id, `<name>-<id>`. @default a UUID */
  readonly id?: string | undefined;
  /** Where to listen. @default '127.0.0.1:0' */
  readonly address?: string | undefined;
  /**
   * Address that others are told to call. @default where it listens; for a wildcard, the first private address of this
   * machine
   */
  readonly advertise?: string | undefined;
  /** Goes with the node in the registry. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** Around every call and event, the first outermost. */
  readonly interceptors?: readonly Interceptor[] | undefined;
  /**
   * Announce the node in the registry. False where others do that, as who writes the file of a static registry.
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
   * Compress replies to callers that understand it, where the transport can; a handler says otherwise by
   * `ctx.compress`. @default false
   */
  readonly compress?: boolean | undefined;
  /**
   * A broker or a registry that is away fails the start. Without it only what waiting does not mend does, as a wrong
   * password: the rest is tried until it is there.
   * @default false
   */
  readonly requireBackends?: boolean | undefined;
  /** Send the text of unexpected exceptions to the caller. @default false: it may hold secrets */
  readonly exposeErrors?: boolean | undefined;
  /**
   * `go-micro`: answers Go Micro's clients as its own servers do, beside everybody else: on its paths, by its
   * `timeout`, with its errors. Others notice nothing of it.
   * @default 'grpc'
   */
  readonly dialect?: Dialect | undefined;
  /** Suggest near method names to callers of unknown ones, on transports that can. @default false */
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
  /** Gives up to listen. */
  readonly signal?: AbortSignal | undefined;
  /** Called when every subscription stands, if {@link Server.isSubscribed} was false when the start resolved. */
  readonly onSubscribed?: (() => void) | undefined;
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
  /** A handler made of functions by method name: JSON, unary unless `descriptors` say otherwise. */
  newHandler(
    name: string,
    methods: Readonly<Record<string, HandlerFunction>>,
    options?: NewHandlerOptions & { readonly descriptors?: readonly MethodDescriptor[] },
  ): ServerHandler;
  /** A subscription made of a function. */
  newSubscriber(
    topic: string,
    handler: (event: unknown, ctx: Context) => unknown,
    options?: EventHandlerOptions & { readonly schema?: Schema },
  ): EventHandler;
  /** Adds a subscription. FAILED_PRECONDITION (`server.started`) after `start`. */
  subscribe(handler: EventHandler): void;
  /** Announces the node, or renews its lease. Needs a started server. */
  register(options?: { readonly state?: NodeState; readonly signal?: AbortSignal }): Promise<void>;
  /** Takes the node out of the registry. */
  deregister(options?: { readonly signal?: AbortSignal }): Promise<void>;
  /**
   * Listens, then subscribes. If either fails, what was opened is closed again. A broker that is away (UNAVAILABLE,
   * DEADLINE_EXCEEDED) is no failure, unless `requireBackends` says so: it is tried with back-off, and the
   * subscriptions stand when it is back. ALREADY_EXISTS (`server.duplicate_method`) for two methods that are one in Go
   * Micro's dialect, where that is spoken.
   */
  start(options?: ServerStartOptions): Promise<void>;
  /**
   * Takes no new calls and no new events, and resolves when those in hand are done. If `signal` aborts first it rejects
   * with its reason and leaves them running until `stop`.
   */
  drain(signal?: AbortSignal): Promise<void>;
  /**
   * Ends at once: calls in flight are aborted with UNAVAILABLE, events in hand go back to the broker. May be called
   * again.
   */
  stop(): Promise<void>;
  /** Where it listens; `undefined` before `start`. */
  readonly address: string | undefined;
  /** Where others are told to call; `undefined` before `start`. */
  readonly advertisedAddress: string | undefined;
  /** The node's id in the registry: `<name>-<id>`. */
  readonly nodeId: string;
  /**
   * True from when every subscription stands, also where there is none, until the stop. False while the broker is away
   * that was away at the start.
   */
  readonly isSubscribed: boolean;
  /** Calls and events in hand. */
  readonly inFlight: number;
  /** The name it is bound by. */
  toString(): string;
}
/** Container key of the {@link Server}. Every service of a process gets one of its own. */
export const Server: ServiceIdentifier<Server> = token('server', 'Server');
