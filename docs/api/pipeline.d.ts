// Written by `npm run api`; a test says when it is not current.

// tenon/pipeline

import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Context } from '../context/context.ts';
export type MethodKind = 'unary' | 'server' | 'client' | 'bidi' | 'event';
export interface ProtoType<T = unknown> {
    readonly name: string;
    encode(value: T): Uint8Array;
    decode(bytes: Uint8Array): T;
    toJson(value: T): unknown;
    fromJson(json: unknown): T;
    readonly fields: readonly ProtoField[];
}
export interface ProtoField {
    readonly name: string;
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
export interface MethodDescriptor {
    readonly service: string;
    readonly method: string;
    readonly path: string;
    readonly aliases: readonly string[];
    readonly kind: MethodKind;
    readonly input: Schema;
    readonly output: Schema;
    readonly idempotent: boolean;
    readonly defaultContentType: string;
}
export type Invoke = (input: unknown, ctx: Context) => unknown;
export type Interceptor = (next: Invoke, method: MethodDescriptor) => Invoke;
export declare function compose(interceptors: readonly Interceptor[], method: MethodDescriptor, invoke: Invoke): Invoke;
export declare function clientStreams(kind: MethodKind): boolean;
export declare function serverStreams(kind: MethodKind): boolean;
