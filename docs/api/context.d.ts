// Written by `npm run api`; a test says when it is not current.

// tenon/context

import { TenonError } from '../errors/errors.ts';
import { type Logger } from '../logger/logger.ts';
import { Metadata } from './metadata.ts';
export interface ContextKey<T> {
    readonly symbol: symbol;
    readonly type?: T;
}
export declare function contextKey<T>(name: string): ContextKey<T>;
export interface ContextInit {
    readonly service: string;
    readonly endpoint: string;
    readonly peer?: string | undefined;
    readonly metadata?: Metadata | undefined;
    readonly deadline?: number | undefined;
    readonly logger?: Logger | undefined;
}
export declare class Context {
    #private;
    readonly service: string;
    readonly endpoint: string;
    peer: string;
    readonly metadata: Metadata;
    readonly deadline: number | undefined;
    constructor(init: ContextInit);
    get headers(): Metadata;
    set headers(value: Metadata);
    get hasHeaders(): boolean;
    get trailers(): Metadata;
    set trailers(value: Metadata);
    get hasTrailers(): boolean;
    get signal(): AbortSignal;
    get logger(): Logger;
    get aborted(): TenonError | undefined;
    get<T>(key: ContextKey<T>): T | undefined;
    set<T>(key: ContextKey<T>, value: T): this;
    throwIfAborted(): void;
    onAbort(listener: (reason: TenonError) => void): () => void;
    abort(reason?: TenonError): void;
}

// tenon/context/metadata

export type MetadataValue = string | Uint8Array;
export type MetadataInit = Readonly<Record<string, MetadataValue | readonly MetadataValue[] | undefined>>;
export interface LazyMetadata<T> {
    readonly raw: T;
    readonly read: (raw: T) => Iterable<readonly [key: string, value: MetadataValue]>;
    readonly find?: ((raw: T, key: string) => MetadataValue | undefined) | undefined;
}
export declare class Metadata implements Iterable<[string, MetadataValue]> {
    #private;
    constructor(init?: MetadataInit);
    static lazy<T>(source: LazyMetadata<T>): Metadata;
    get(key: string): MetadataValue | undefined;
    text(key: string): string | undefined;
    getAll(key: string): readonly MetadataValue[];
    has(key: string): boolean;
    set(key: string, value: MetadataValue): this;
    append(key: string, value: MetadataValue): this;
    delete(key: string): boolean;
    merge(other: Metadata | MetadataInit): this;
    get isEmpty(): boolean;
    [Symbol.iterator](): Iterator<[string, MetadataValue]>;
    toJSON(): Record<string, MetadataValue | MetadataValue[]>;
}

// tenon/context/status

import { Code, TenonError } from '../errors/errors.ts';
import { Metadata } from './metadata.ts';
export interface Status {
    readonly code: Code;
    readonly message: string;
    readonly metadata?: Metadata | undefined;
}
export declare const okStatus: Status;
export declare const reasonKey = "tenon-reason";
export declare const detailsKey = "grpc-status-details-bin";
export declare function statusOf(error: TenonError, trailers?: Metadata): Status;
export declare function errorOf(status: Status): TenonError;
