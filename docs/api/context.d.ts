// Written by `npm run api`; a test says when it is not current.

// tenon/context

import { type TenonError } from '../errors/errors.ts';
import { type Logger } from '../logger/logger.ts';
import { Metadata } from './metadata.ts';
import type { Outgoing } from './outgoing.ts';
import type { PeerCertificate } from './peer-certificate.ts';
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
    readonly connection?: {
        readonly peerCertificate?: PeerCertificate | undefined;
    } | undefined;
}
export declare class Context {
    #private;
    readonly service: string;
    readonly endpoint: string;
    peer: string;
    compress: boolean | undefined;
    wasCompressed: boolean | undefined;
    readonly metadata: Metadata;
    constructor(init: ContextInit);
    get peerCertificate(): PeerCertificate | undefined;
    get deadline(): number | undefined;
    shorten(deadline: number): void;
    get topic(): string | undefined;
    get outgoing(): Outgoing | undefined;
    get headers(): Metadata;
    set headers(value: Metadata);
    get hasHeaders(): boolean;
    sendHeaders(): void;
    get trailers(): Metadata;
    set trailers(value: Metadata);
    get hasTrailers(): boolean;
    get signal(): AbortSignal;
    protected get baseLogger(): Logger;
    get logger(): Logger;
    get aborted(): TenonError | undefined;
    get<T>(key: ContextKey<T>): T | undefined;
    set<T>(key: ContextKey<T>, value: T): this;
    throwIfAborted(): void;
    onAbort(listener: (reason: TenonError) => void): () => void;
    abort(reason?: TenonError): void;
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
export type SentError = Pick<TenonError, 'code' | 'message' | 'reason' | 'details' | 'metadata'>;
export declare function statusOf(error: SentError, trailers?: Metadata): Status;
export declare function errorOf(status: Status): TenonError;

// context/metadata.ts, by tenon, tenon/client, tenon/context, tenon/context/status, tenon/selector, tenon/transport, tenon/registry/kit/grpc-channel

export type MetadataValue = string | Uint8Array;
export type MetadataInit = Readonly<Record<string, MetadataValue | readonly MetadataValue[] | undefined>>;
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

// context/outgoing.ts, by tenon

import type { TenonError } from '../errors/errors.ts';
import type { Context } from './context.ts';
export interface Outgoing {
    readonly target: string;
    attempts(): Attempts;
    observeRoute(observer: RouteObserver): void;
}
export interface RouteObserver {
    reject(address: string): TenonError | undefined;
    onSend(address: string): void;
    onRefused(address: string): void;
}
export interface Attempts {
    begin(): Context;
    wasRefused(attempt: Context): boolean;
    commit(attempt: Context): void;
    settle(): void;
}

// context/peer-certificate.ts, by tenon, tenon/context, tenon/interceptors, tenon/transport

export interface PeerCertificate {
    readonly commonName: string | undefined;
    readonly dnsNames: readonly string[];
    readonly uris: readonly string[];
    readonly emails: readonly string[];
    readonly ipAddresses: readonly string[];
    readonly subject: string;
    readonly issuer: string;
    readonly serialNumber: string;
    readonly fingerprint256: string;
    readonly validFrom: number;
    readonly validTo: number;
    readonly raw: Uint8Array;
}
