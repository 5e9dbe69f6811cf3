// Written by `npm run api`; a test says when it is not current.

// decorators/handler.ts, by tenon

import type { Interceptor } from '../pipeline/pipeline.ts';
import { type AnyClass, type ProtoSource } from './metadata.ts';
export interface HandlerDecoratorOptions {
    readonly proto?: ProtoSource | undefined;
    readonly service?: string | undefined;
    readonly internal?: boolean | undefined;
    readonly unimplemented?: readonly string[] | undefined;
    readonly interceptors?: readonly Interceptor[] | undefined;
}
export declare function Handler(name: string, options?: HandlerDecoratorOptions): (target: AnyClass) => void;
export declare function Handler(options?: HandlerDecoratorOptions): (target: AnyClass) => void;

// decorators/metadata.ts, by tenon, tenon/app

import 'reflect-metadata';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { ServiceIdentifier } from 'inversify';
import type { Interceptor, MethodKind } from '../pipeline/pipeline.ts';
import type { CallInterceptor, ErrorClass, ErrorFilter, Guard, Pipe } from '../pipeline/enhancers.ts';
import type { EventHandlerOptions, ServerOptions } from '../server/server.ts';
export type AnyClass = abstract new (...args: never[]) => object;
export type Class<T = object> = new (...args: never[]) => T;
export type MessageSchema = StandardSchemaV1 | Class<object>;
export type ProtoSource = string | URL;
export interface BuiltinServiceOptions {
    readonly health?: boolean | undefined;
    readonly reflection?: boolean | undefined;
}

// decorators/rpc.ts, by tenon

import type { Interceptor } from '../pipeline/pipeline.ts';
import { type MessageSchema } from './metadata.ts';
export interface RpcDecoratorOptions {
    readonly name?: string | undefined;
    readonly idempotent?: boolean | undefined;
    readonly input?: MessageSchema | undefined;
    readonly output?: MessageSchema | undefined;
    readonly interceptors?: readonly Interceptor[] | undefined;
}
export type StreamKind = 'server' | 'client' | 'bidi';
type AnyMethod = (...args: any[]) => any;
type IsAny<T> = 0 extends 1 & T ? true : false;
type Streams<T> = IsAny<T> extends true ? unknown : T extends AsyncIterable<unknown> ? true : false;
type KindFlags = {
    server: {
        input: false;
        output: true;
    };
    client: {
        input: true;
        output: false;
    };
    bidi: {
        input: true;
        output: true;
    };
};
type Fits<Flag, Expected> = unknown extends Flag ? true : Flag extends Expected ? true : false;
type Agrees<F extends AnyMethod, K extends StreamKind> = Fits<Streams<Parameters<F>[0]>, KindFlags[K]['input']> extends true ? Fits<Streams<ReturnType<F>>, KindFlags[K]['output']> extends true ? unknown : {
    returnsAnotherKindOfStream: never;
} : {
    takesAnotherKindOfStream: never;
};
export type RpcDecorator = <F extends AnyMethod>(target: object, property: string, descriptor: TypedPropertyDescriptor<F>) => void;
export type StreamDecorator<K extends StreamKind> = <F extends AnyMethod>(target: object, property: string, descriptor: TypedPropertyDescriptor<F> & Agrees<F, K>) => void;
export declare function Rpc(options?: RpcDecoratorOptions & {
    readonly stream?: undefined;
}): RpcDecorator;
export declare function Rpc<K extends StreamKind>(options: RpcDecoratorOptions & {
    readonly stream: K;
}): StreamDecorator<K>;

// decorators/service.ts, by tenon

import type { ServerOptions } from '../server/server.ts';
import { type AnyClass, type Class, type BuiltinServiceOptions } from './metadata.ts';
export interface ServiceDecoratorOptions extends BuiltinServiceOptions, Pick<ServerOptions, 'address' | 'metadata' | 'dialect' | 'interceptors' | 'maxReceiveBytes' | 'maxSendBytes'> {
    readonly name: string;
    readonly version?: string | undefined;
    readonly handlers: readonly Class[];
}
export declare function Service(options: ServiceDecoratorOptions): (target: AnyClass) => void;

// decorators/subscribe.ts, by tenon

import type { Context } from '../context/context.ts';
import type { Interceptor } from '../pipeline/pipeline.ts';
import type { EventHandlerOptions } from '../server/server.ts';
import { type MessageSchema } from './metadata.ts';
export interface SubscribeDecoratorOptions extends EventHandlerOptions {
    readonly message?: string | undefined;
    readonly schema?: MessageSchema | undefined;
    readonly interceptors?: readonly Interceptor[] | undefined;
}
type AnyEvent = any;
export type SubscribeDecorator = <F extends (event: AnyEvent, ctx: Context) => Promise<void> | void>(target: object, property: string, descriptor: TypedPropertyDescriptor<F>) => void;
export declare function Subscribe(topic: string, options?: SubscribeDecoratorOptions): SubscribeDecorator;

// decorators/use.ts, by tenon

import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { ServiceIdentifier } from 'inversify';
import type { Interceptor } from '../pipeline/pipeline.ts';
import type { CallInterceptor, ErrorClass, ErrorFilter, Guard, Pipe } from '../pipeline/enhancers.ts';
import { type Class } from './metadata.ts';
export type UseDecorator = (target: object, property?: string | symbol, descriptor?: PropertyDescriptor) => void;
export declare function UseGuard(...guards: readonly (ServiceIdentifier<Guard> | Guard)[]): UseDecorator;
export declare function UseInterceptor(...interceptors: readonly (ServiceIdentifier<CallInterceptor> | CallInterceptor | Interceptor)[]): UseDecorator;
export declare function UsePipe(...pipes: readonly (ServiceIdentifier<Pipe> | Pipe | StandardSchemaV1)[]): UseDecorator;
export declare function UseErrorFilter(...filters: readonly Class<ErrorFilter>[]): UseDecorator;
export declare function CatchError(type?: ErrorClass | {
    readonly error?: ErrorClass;
}): (target: Class<ErrorFilter>) => void;
