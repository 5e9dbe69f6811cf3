// Written by `npm run api`; a test says when it is not current.

// tenon/server

import type { ServiceIdentifier } from 'inversify';
import type { DeliveryOptions } from '../broker/delivery.ts';
import type { Context } from '../context/context.ts';
import type { Dialect } from '../go-micro/go-micro.ts';
import type { HandlerFunction, Interceptor, MethodDescriptor, Schema } from '../pipeline/pipeline.ts';
import type { CallInterceptor } from '../pipeline/enhancers.ts';
import type { NodeState, ServiceRecord } from '../registry/registry.ts';
export interface ServerMethod {
    readonly descriptor: MethodDescriptor;
    readonly invoke: HandlerFunction;
    readonly interceptors?: readonly Interceptor[] | undefined;
}
export interface ServerHandler {
    readonly name: string;
    readonly methods: readonly ServerMethod[];
    readonly metadata?: Readonly<Record<string, Readonly<Record<string, string>>>> | undefined;
    readonly internal?: boolean | undefined;
}
export interface NewHandlerOptions {
    readonly metadata?: ServerHandler['metadata'];
    readonly internal?: boolean | undefined;
}
export type EventHandlerOptions = DeliveryOptions;
export interface EventHandler {
    readonly topic: string;
    readonly descriptor: MethodDescriptor;
    readonly invoke: HandlerFunction;
    readonly options: EventHandlerOptions;
    readonly interceptors?: readonly Interceptor[] | undefined;
}
export interface ServerOptions {
    readonly name?: string | undefined;
    readonly version?: string | undefined;
    readonly id?: string | undefined;
    readonly address?: string | undefined;
    readonly advertise?: string | undefined;
    readonly metadata?: Readonly<Record<string, string>> | undefined;
    readonly interceptors?: readonly Interceptor[] | undefined;
    readonly register?: boolean | undefined;
    readonly registerTtlMs?: number | undefined;
    readonly maxReceiveBytes?: number | undefined;
    readonly maxSendBytes?: number | undefined;
    readonly compress?: boolean | undefined;
    readonly requireBackends?: boolean | undefined;
    readonly exposeErrors?: boolean | undefined;
    readonly dialect?: Dialect | undefined;
    readonly suggest?: boolean | undefined;
}
export declare const ServerOptions: ServiceIdentifier<ServerOptions>;
export declare const ServerInterceptors: ServiceIdentifier<Interceptor | CallInterceptor>;
export interface ServerStartOptions {
    readonly signal?: AbortSignal | undefined;
    readonly onSubscribed?: (() => void) | undefined;
    readonly onUnsubscribed?: (() => void) | undefined;
    readonly followsOutages?: boolean | undefined;
}
export interface Server {
    readonly options: ServerOptions;
    init(options: ServerOptions): void;
    handle(handler: ServerHandler): void;
    newHandler(name: string, methods: Readonly<Record<string, HandlerFunction>>, options?: NewHandlerOptions & {
        readonly descriptors?: readonly MethodDescriptor[];
    }): ServerHandler;
    newSubscriber(topic: string, handler: (event: unknown, ctx: Context) => unknown, options?: EventHandlerOptions & {
        readonly schema?: Schema;
    }): EventHandler;
    subscribe(handler: EventHandler): void;
    record(state?: NodeState): ServiceRecord;
    register(options?: {
        readonly state?: NodeState;
        readonly signal?: AbortSignal;
    }): Promise<void>;
    deregister(options?: {
        readonly signal?: AbortSignal;
    }): Promise<void>;
    start(options?: ServerStartOptions): Promise<void>;
    drain(signal?: AbortSignal): Promise<void>;
    stop(): Promise<void>;
    readonly address: string | undefined;
    readonly advertisedAddress: string | undefined;
    readonly nodeId: string;
    readonly isSubscribed: boolean;
    readonly inFlight: number;
    toString(): string;
}
export declare const Server: ServiceIdentifier<Server>;
