// Written by `npm run api`; a test says when it is not current.

// tenon/client

import type { ServiceIdentifier } from 'inversify';
import type { EventHeaders } from '../broker/broker.ts';
import type { CloudEventMode } from '../broker/cloud-events.ts';
import type { Context } from '../context/context.ts';
import type { Metadata, MetadataInit } from '../context/metadata.ts';
import type { Dialect } from '../go-micro/go-micro.ts';
import type { ServiceConfig } from '../interceptors/interceptors.ts';
import type { Interceptor, MethodDescriptor, MethodKind, Schema } from '../pipeline/pipeline.ts';
import type { CallInterceptor } from '../pipeline/enhancers.ts';
import type { NodeFilter } from '../selector/selector.ts';
import type { CallCredentials } from './credentials.ts';
export interface CallOptions {
    readonly ctx?: Context | undefined;
    readonly timeoutMs?: number | undefined;
    readonly signal?: AbortSignal | undefined;
    readonly metadata?: Metadata | MetadataInit | undefined;
    readonly address?: string | undefined;
    readonly service?: string | undefined;
    readonly filters?: readonly NodeFilter[] | undefined;
    readonly hashKey?: string | undefined;
    readonly contentType?: string | undefined;
    readonly waitForReady?: boolean | undefined;
    readonly compress?: boolean | undefined;
    readonly credentials?: CallCredentials | false | undefined;
    readonly onHeaders?: ((headers: Metadata) => void) | undefined;
    readonly onTrailers?: ((trailers: Metadata) => void) | undefined;
}
export interface Request {
    readonly service: string;
    readonly method: MethodDescriptor;
    readonly body: unknown;
    readonly contentType: string;
}
export interface RequestOptions {
    readonly contentType?: string | undefined;
    readonly kind?: Exclude<MethodKind, 'event'> | undefined;
    readonly input?: Schema | undefined;
    readonly output?: Schema | undefined;
}
export interface PublishMessage {
    readonly topic: string;
    readonly payload: unknown;
    readonly schema: Schema;
    readonly contentType: string;
    readonly headers: EventHeaders;
}
export interface MessageOptions {
    readonly contentType?: string | undefined;
    readonly schema?: Schema | undefined;
    readonly headers?: EventHeaders | undefined;
}
export interface PublishedCloudEvent {
    readonly mode: CloudEventMode;
    readonly source: string;
    readonly type?: string | undefined;
    readonly id?: string | undefined;
    readonly subject?: string | undefined;
    readonly dataschema?: string | undefined;
    readonly extensions?: Readonly<Record<string, string>> | undefined;
}
export interface ClientPublishOptions {
    readonly ctx?: Context | undefined;
    readonly signal?: AbortSignal | undefined;
    readonly timeoutMs?: number | undefined;
    readonly cloudEvent?: PublishedCloudEvent | undefined;
    readonly delayMs?: number | undefined;
    readonly ttlMs?: number | undefined;
    readonly orderKey?: string | undefined;
    readonly dedupeKey?: string | undefined;
    readonly waitForReady?: boolean | undefined;
}
export interface ClientStream extends AsyncIterable<unknown> {
    readonly ctx: Context;
    readonly request: Request;
    send(message: unknown): Promise<void>;
    recv(): Promise<unknown>;
    closeSend(): void;
    close(): void;
}
export interface ClientOptions {
    readonly timeoutMs?: number | undefined;
    readonly forward?: readonly string[] | undefined;
    readonly credentials?: CallCredentials | undefined;
    readonly insecureCredentials?: boolean | undefined;
    readonly dialect?: Dialect | undefined;
    readonly interceptors?: readonly Interceptor[] | undefined;
    readonly maxReceiveBytes?: number | undefined;
    readonly maxSendBytes?: number | undefined;
    readonly compress?: boolean | undefined;
    readonly serviceConfig?: ServiceConfig | undefined;
    readonly maxAttempts?: number | undefined;
}
export declare const ClientOptions: ServiceIdentifier<ClientOptions>;
export declare const ClientInterceptors: ServiceIdentifier<Interceptor | CallInterceptor>;
export type MethodCaller = (input: unknown, options?: CallOptions) => unknown;
export interface Client {
    readonly options: ClientOptions;
    init(options: ClientOptions): void;
    newMessage(topic: string, payload: unknown, options?: MessageOptions): PublishMessage;
    newRequest(service: string, endpoint: string, body: unknown, options?: RequestOptions): Request;
    call(request: Request, options?: CallOptions): Promise<unknown>;
    stream(request: Request, options?: CallOptions): ClientStream;
    publish(message: PublishMessage, options?: ClientPublishOptions): Promise<void>;
    method(method: MethodDescriptor, service: string): MethodCaller;
    close(): Promise<void>;
    toString(): string;
}
export declare const Client: ServiceIdentifier<Client>;

// client/client-of.ts, by tenon

import type { ServiceIdentifier } from 'inversify';
import type { CallOptions } from './client.ts';
type Message<T> = T extends AsyncIterable<infer M> ? AsyncIterable<M> | Iterable<M> : T;
type Caller<F> = F extends (...args: infer A) => infer R ? (...args: A extends [] ? [input?: Record<string, never>, options?: CallOptions] : [input: Message<A[0]>, options?: CallOptions]) => [R] extends [AsyncIterable<infer M>] ? AsyncIterable<M> : Promise<Awaited<R>> : never;
export type ClientOf<T> = {
    readonly [K in keyof T as T[K] extends (...args: never[]) => unknown ? K : never]: Caller<T[K]>;
};
export interface ContractMethod {
    readonly stream?: 'server' | 'client' | 'bidi' | undefined;
    readonly name?: string | undefined;
    readonly idempotent?: boolean | undefined;
}
export interface Contract<T> {
    readonly name: string;
    readonly service?: string | undefined;
    readonly methods: Readonly<Record<string, ContractMethod>>;
    readonly type?: T;
}
export interface ProtoContract {
    readonly proto: string | URL;
    readonly name: string;
    readonly service?: string | undefined;
}
export type ClientSource = (abstract new (...args: never[]) => unknown) | Contract<unknown> | ProtoContract;
export type ClientToken<T> = ServiceIdentifier<ClientOf<T>>;
type KindOf<F> = F extends (...args: infer A) => infer R ? A[0] extends AsyncIterable<unknown> ? R extends AsyncIterable<unknown> ? {
    readonly stream: 'bidi';
} : {
    readonly stream: 'client';
} : R extends AsyncIterable<unknown> ? {
    readonly stream: 'server';
} : {
    readonly stream?: undefined;
} : never;
export declare function contract<T>(name: string, methods: {
    readonly [K in keyof T & string]: Omit<ContractMethod, 'stream'> & KindOf<T[K]>;
}, options?: {
    readonly service?: string;
}): Contract<T>;
export declare function clientOf<T>(source: abstract new (...args: never[]) => T): ClientToken<T>;
export declare function clientOf<T>(source: Contract<T>): ClientToken<T>;
export declare function clientOf<T>(source: ProtoContract): ClientToken<T>;

// client/credentials.ts, by tenon, tenon/client

import type { Metadata, MetadataInit } from '../context/metadata.ts';
import type { Clock } from '../runtime/runtime.ts';
export interface CredentialsCall {
    readonly service: string;
    readonly method: string;
    readonly address: string;
    readonly signal: AbortSignal;
}
export interface CallCredentials {
    metadata(call: CredentialsCall): Metadata | MetadataInit | Promise<Metadata | MetadataInit>;
    readonly allowInsecure?: boolean | undefined;
}
export interface Token {
    readonly value: string;
    readonly expiresAt?: number | undefined;
}
export interface BearerTokenOptions {
    readonly earlyMs?: number | undefined;
    readonly maxAgeMs?: number | undefined;
    readonly allowInsecure?: boolean | undefined;
    readonly clock?: Clock | undefined;
}
export declare function bearerToken(source: string | (() => string | Token | Promise<string | Token>), options?: BearerTokenOptions): CallCredentials;

// client/publisher-of.ts, by tenon

import type { ServiceIdentifier } from 'inversify';
import type { Schema } from '../pipeline/pipeline.ts';
import type { Client, ClientPublishOptions } from './client.ts';
export interface EventContract<E> {
    readonly topic?: string | undefined;
    readonly orderKey?: ((event: E) => string) | undefined;
    readonly dedupeKey?: ((event: E) => string) | undefined;
    readonly schema?: Schema | undefined;
    readonly contentType?: string | undefined;
}
export interface EventsContract<T> {
    readonly name: string;
    readonly topics: {
        readonly [K in keyof T & string]: string;
    };
    readonly events: {
        readonly [K in keyof T & string]: EventContract<T[K]>;
    };
}
export type PublisherOf<T> = {
    readonly [K in keyof T & string]: (event: T[K], options?: ClientPublishOptions) => Promise<void>;
};
export type PublisherToken<T> = ServiceIdentifier<PublisherOf<T>>;
export declare function eventsOf<T>(name: string, events: {
    readonly [K in keyof T & string]: EventContract<T[K]>;
}): EventsContract<T>;
export declare function publisherOver<T>(client: Client, { topics, events }: EventsContract<T>): PublisherOf<T>;
export declare function publisherOf<T>(contract: EventsContract<T>): PublisherToken<T>;
