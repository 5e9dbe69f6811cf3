// Written by `npm run api`; a test says when it is not current.

// tenon/store

import type { ServiceIdentifier } from 'inversify';
export interface StoreCallOptions {
    readonly signal?: AbortSignal | undefined;
}
export interface StoreSwap {
    readonly isSet: boolean;
    readonly value: string | undefined;
}
export interface Store {
    compareAndSet(key: string, expected: string | undefined, value: string | undefined, ttlMs: number, options?: StoreCallOptions): Promise<StoreSwap>;
    increment(key: string, ttlMs: number, options?: StoreCallOptions): Promise<number>;
    delete(key: string, options?: StoreCallOptions): Promise<void>;
    close(): Promise<void>;
}
export declare const Store: ServiceIdentifier<Store>;

// tenon/store/memory

import { type ServiceIdentifier } from 'inversify';
import { Clock } from '../runtime/runtime.ts';
import type { Store, StoreSwap } from './store.ts';
export interface MemoryStoreOptions {
    readonly maxKeys?: number | undefined;
}
export declare const MemoryStoreOptions: ServiceIdentifier<MemoryStoreOptions>;
export declare class MemoryStore implements Store {
    #private;
    constructor(options?: MemoryStoreOptions, clock?: Clock);
    compareAndSet(key: string, expected: string | undefined, value: string | undefined, ttlMs: number): Promise<StoreSwap>;
    increment(key: string, ttlMs: number): Promise<number>;
    delete(key: string): Promise<void>;
    close(): Promise<void>;
}

// tenon/store/redis

import { type ServiceIdentifier } from 'inversify';
import { Redis } from 'ioredis';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { type ConnectionSecurityOptions } from '../tls/connection.ts';
import type { Store, StoreSwap } from './store.ts';
export interface RedisStoreOptions extends ConnectionSecurityOptions {
    readonly address?: string | undefined;
    readonly client?: Redis | undefined;
    readonly keyPrefix?: string | undefined;
    readonly timeoutMs?: number | undefined;
}
export declare const RedisStoreOptions: ServiceIdentifier<RedisStoreOptions>;
export declare class RedisStore implements Store {
    #private;
    constructor(options?: RedisStoreOptions, clock?: Clock, random?: Random, timers?: Timers, logger?: Logger);
    compareAndSet(key: string, expected: string | undefined, value: string | undefined, ttlMs: number): Promise<StoreSwap>;
    increment(key: string, ttlMs: number): Promise<number>;
    delete(key: string): Promise<void>;
    close(): Promise<void>;
}
