// Written by `npm run api`; a test says when it is not current.

// tenon/pipeline

import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Context } from '../context/context.ts';
export type MethodKind = 'unary' | 'server' | 'client' | 'bidi' | 'event';
export declare function clientStreams(kind: MethodKind): boolean;
export declare function serverStreams(kind: MethodKind): boolean;
export interface MessageLimits {
    readonly maxElements?: number | undefined;
    readonly maxDepth?: number | undefined;
}
export interface ProtoType<T = unknown> {
    readonly name: string;
    encode(value: T, limits?: MessageLimits): Uint8Array;
    decode(bytes: Uint8Array, limits?: MessageLimits): T;
    toJson(value: T, limits?: MessageLimits, form?: JsonForm): unknown;
    fromJson(json: unknown, limits?: MessageLimits, form?: JsonForm): T;
    readonly fields: readonly ProtoField[];
    readonly fileDescriptors?: readonly Uint8Array[] | undefined;
}
export type JsonForm = 'text' | 'binary';
export interface ProtoField {
    readonly name: string;
    readonly original: string;
    readonly type: string;
    readonly repeated: boolean;
    readonly map: boolean;
    readonly message: ProtoType | undefined;
}
export interface Schema<T = unknown> {
    readonly name: string;
    readonly validate?: StandardSchemaV1<unknown, T>['~standard']['validate'] | undefined;
    readonly proto?: ProtoType<T> | undefined;
}
export declare const anySchema: Schema;
export declare function lazySchema(name: string, findType: (name: string) => ProtoType | undefined): Schema;
export interface MethodDescriptor {
    readonly service: string;
    readonly method: string;
    readonly path: string;
    readonly topic?: string | undefined;
    readonly aliases: readonly string[];
    readonly kind: MethodKind;
    readonly input: Schema;
    readonly output: Schema;
    readonly idempotent: boolean;
    readonly defaultContentType: string;
}
export type CallResult = Promise<unknown> | AsyncIterable<unknown>;
export type CallHandler = (input: unknown, ctx: Context) => CallResult;
export type HandlerFunction = (input: unknown, ctx: Context) => unknown;
export type Interceptor = (next: CallHandler, method: MethodDescriptor) => CallHandler;

// pipeline/enhancer-interceptors.ts, by tenon/interceptors

import type { Interceptor } from './pipeline.ts';
import type { CallInterceptor, FilterRule, Guard, Pipe, PipeMetadata } from './enhancers.ts';
export declare function guardInterceptor(guard: Guard): Interceptor;
export declare function pipeInterceptor(pipe: Pipe, metadata: PipeMetadata): Interceptor;
export declare function interceptorOf(interceptor: CallInterceptor): Interceptor;
export declare function errorFilterInterceptor(rules: readonly FilterRule[]): Interceptor;

// pipeline/enhancers.ts, by tenon, tenon/interceptors, tenon/client, tenon/server

import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Context } from '../context/context.ts';
import type { MethodDescriptor } from './pipeline.ts';
export interface Guard {
    activate(ctx: Context, input: unknown, method: MethodDescriptor): boolean | Promise<boolean>;
}
export interface CallInterceptor {
    intercept(request: Context, response: Context, next: () => Promise<ReplyTransforms>): Promise<void>;
}
export interface ReplyTransforms {
    push: (transform: (value: unknown) => unknown) => void;
}
export interface Pipe<Input = unknown, Output = unknown> {
    execute(input: Input, metadata: PipeMetadata): Output | Promise<Output>;
}
export interface PipeMetadata {
    readonly targetClass: NewableFunction;
    readonly methodName: string | symbol;
    readonly parameterIndex: number;
}
export interface ErrorFilter<Failure = unknown> {
    catch(error: Failure, request: Context, response: Context): unknown;
}
export type ErrorClass = abstract new (...args: never[]) => Error;
export interface FilterRule {
    readonly filter: ErrorFilter;
    readonly catches: readonly (ErrorClass | undefined)[];
}

// pipeline/hooks.ts, by tenon

import type { Context } from '../context/context.ts';
import type { Interceptor, MethodDescriptor } from './pipeline.ts';
export type CallOutcome = {
    readonly outcome: 'ok';
} | {
    readonly outcome: 'failed';
    readonly error: unknown;
} | {
    readonly outcome: 'cancelled';
};
export interface CallHooks {
    readonly onFirst?: (() => void) | undefined;
    readonly onEnd?: ((ending: CallOutcome) => void) | undefined;
}
export type BeforeCall = (ctx: Context, method: MethodDescriptor) => CallHooks | void | Promise<CallHooks | void>;
export declare function withHooks(before: BeforeCall): Interceptor;
