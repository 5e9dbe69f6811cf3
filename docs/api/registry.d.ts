// Written by `npm run api`; a test says when it is not current.

// tenon/registry

import type { ServiceIdentifier } from 'inversify';
import { TenonError } from '../errors/errors.ts';
export interface ValueRecord {
    readonly name: string;
    readonly type: string;
    readonly values: readonly ValueRecord[];
}
export interface EndpointRecord {
    readonly name: string;
    readonly request?: ValueRecord | undefined;
    readonly response?: ValueRecord | undefined;
    readonly metadata: Readonly<Record<string, string>>;
}
export interface NodeRecord {
    readonly id: string;
    readonly address: string;
    readonly metadata: Readonly<Record<string, string>>;
}
export interface ServiceRecord {
    readonly name: string;
    readonly version: string;
    readonly metadata: Readonly<Record<string, string>>;
    readonly endpoints: readonly EndpointRecord[];
    readonly nodes: readonly NodeRecord[];
}
export declare const stateKey = "tenon-state";
export type NodeState = 'starting' | 'serving' | 'draining';
export declare function nodeState(node: NodeRecord): NodeState;
export interface RegistryCallOptions {
    readonly signal?: AbortSignal | undefined;
    readonly timeoutMs?: number | undefined;
}
export interface RegisterOptions extends RegistryCallOptions {
    readonly ttlMs?: number | undefined;
}
export type RegistryAction = 'create' | 'update' | 'delete';
export interface RegistryEvent {
    readonly action: RegistryAction;
    readonly service: ServiceRecord;
}
export interface WatchOptions {
    readonly service?: string | undefined;
    readonly signal?: AbortSignal | undefined;
}
export interface Watcher extends AsyncIterable<RegistryEvent> {
    stop(): void;
}
export interface RegistryOptions {
    readonly address?: string | undefined;
    readonly timeoutMs?: number | undefined;
    readonly ttlMs?: number | undefined;
}
export interface RegistryCapabilities {
    readonly expires: boolean;
    readonly shared: boolean;
    readonly watches: boolean;
}
export interface Registry {
    readonly options: RegistryOptions;
    init(options: RegistryOptions): void;
    register(service: ServiceRecord, options?: RegisterOptions): Promise<void>;
    deregister(service: ServiceRecord, options?: RegistryCallOptions): Promise<void>;
    getService(name: string, options?: RegistryCallOptions): Promise<readonly ServiceRecord[]>;
    listServices(options?: RegistryCallOptions): Promise<readonly ServiceRecord[]>;
    watch(options?: WatchOptions): Promise<Watcher>;
    close(): Promise<void>;
    toString(): string;
}
export declare const Registry: ServiceIdentifier<Registry>;
export declare function serviceNotFound(registry: string, name: string): TenonError;
export interface RegistryCache extends Registry {
    peek(name: string): readonly ServiceRecord[] | undefined;
}
export declare function isRegistryCache(registry: Registry): registry is RegistryCache;

// tenon/registry/cache

import { type Logger } from '../logger/logger.ts';
import type { Clock, Random, Timers } from '../runtime/runtime.ts';
import type { RegisterOptions, Registry, RegistryCache, RegistryCallOptions, RegistryOptions, ServiceRecord, Watcher, WatchOptions } from './registry.ts';
export interface CachedRegistryOptions {
    readonly ttlMs?: number | undefined;
    readonly graceMs?: number | undefined;
    readonly pollMs?: number | undefined;
    readonly idleMs?: number | undefined;
    readonly clock?: Clock | undefined;
    readonly timers?: Timers | undefined;
    readonly random?: Random | undefined;
    readonly logger?: Logger | undefined;
}
export declare class CachedRegistry implements RegistryCache {
    #private;
    constructor(inner: Registry, options?: CachedRegistryOptions);
    get options(): RegistryOptions;
    init(options: RegistryOptions): void;
    register(service: ServiceRecord, options?: RegisterOptions): Promise<void>;
    deregister(service: ServiceRecord, options?: RegistryCallOptions): Promise<void>;
    peek(name: string): readonly ServiceRecord[] | undefined;
    getService(name: string, options?: RegistryCallOptions): Promise<readonly ServiceRecord[]>;
    listServices(options?: RegistryCallOptions): Promise<readonly ServiceRecord[]>;
    watch(options?: WatchOptions): Promise<Watcher>;
    close(): Promise<void>;
    toString(): string;
}

// tenon/registry/mdns

import { type ServiceIdentifier } from 'inversify';
import { Logger } from '../logger/logger.ts';
import { Clock, Timers } from '../runtime/runtime.ts';
import { type RegisterOptions, type Registry, type RegistryCallOptions, type RegistryCapabilities, type RegistryOptions, type ServiceRecord, type Watcher, type WatchOptions } from './registry.ts';
export interface MdnsRegistryOptions extends RegistryOptions {
    readonly interface?: string | undefined;
    readonly port?: number | undefined;
    readonly domain?: string | undefined;
    readonly queryMs?: number | undefined;
    readonly patienceMs?: number | undefined;
    readonly maxPacketBytes?: number | undefined;
    readonly maxAnswerBytesPerSecond?: number | undefined;
    readonly maxNodes?: number | undefined;
    readonly minReadMs?: number | undefined;
}
export declare const MdnsRegistryOptions: ServiceIdentifier<MdnsRegistryOptions>;
export declare class MdnsRegistry implements Registry {
    #private;
    static readonly capabilities: RegistryCapabilities;
    constructor(options?: MdnsRegistryOptions, clock?: Clock, timers?: Timers, logger?: Logger);
    get options(): RegistryOptions;
    init(options: RegistryOptions): void;
    register(service: ServiceRecord, options?: RegisterOptions): Promise<void>;
    deregister(service: ServiceRecord, options?: RegistryCallOptions): Promise<void>;
    getService(name: string, options?: RegistryCallOptions): Promise<readonly ServiceRecord[]>;
    listServices(options?: RegistryCallOptions): Promise<readonly ServiceRecord[]>;
    watch(options?: WatchOptions): Promise<Watcher>;
    close(): Promise<void>;
    toString(): string;
}

// tenon/registry/memory

import { type ServiceIdentifier } from 'inversify';
import type { Runtime } from '../runtime/runtime.ts';
import { type RegisterOptions, type Registry, type RegistryCallOptions, type RegistryCapabilities, type RegistryOptions, type ServiceRecord, type Watcher, type WatchOptions } from './registry.ts';
export declare class MemoryRegistryStore {
    constructor(runtime?: Pick<Runtime, 'clock' | 'timers'>);
}
export interface MemoryRegistryOptions extends RegistryOptions {
    readonly store?: MemoryRegistryStore | undefined;
    readonly runtime?: Pick<Runtime, 'clock' | 'timers'> | undefined;
}
export declare const MemoryRegistryOptions: ServiceIdentifier<MemoryRegistryOptions>;
export declare class MemoryRegistry implements Registry {
    #private;
    static readonly capabilities: RegistryCapabilities;
    constructor(options?: MemoryRegistryOptions);
    get options(): RegistryOptions;
    init(options: RegistryOptions): void;
    register(service: ServiceRecord, options?: RegisterOptions): Promise<void>;
    deregister(service: ServiceRecord, options?: RegistryCallOptions): Promise<void>;
    getService(name: string, options?: RegistryCallOptions): Promise<readonly ServiceRecord[]>;
    listServices(options?: RegistryCallOptions): Promise<readonly ServiceRecord[]>;
    watch(options?: WatchOptions): Promise<Watcher>;
    close(): Promise<void>;
    toString(): string;
}

// tenon/registry/redis

import { type ServiceIdentifier } from 'inversify';
import type { Redis } from 'ioredis';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { type RegisterOptions, type Registry, type RegistryCallOptions, type RegistryCapabilities, type RegistryOptions, type ServiceRecord, type Watcher, type WatchOptions } from './registry.ts';
export interface RedisRegistryOptions extends RegistryOptions {
    readonly client?: Redis | undefined;
    readonly prefix?: string | undefined;
    readonly minReadMs?: number | undefined;
    readonly maxReadMs?: number | undefined;
    readonly maxRecordBytes?: number | undefined;
}
export declare const RedisRegistryOptions: ServiceIdentifier<RedisRegistryOptions>;
export declare class RedisRegistry implements Registry {
    #private;
    static readonly capabilities: RegistryCapabilities;
    constructor(options?: RedisRegistryOptions, clock?: Clock, random?: Random, timers?: Timers, logger?: Logger);
    get options(): RegistryOptions;
    init(options: RegistryOptions): void;
    register(service: ServiceRecord, options?: RegisterOptions): Promise<void>;
    deregister(service: ServiceRecord, options?: RegistryCallOptions): Promise<void>;
    getService(name: string, options?: RegistryCallOptions): Promise<readonly ServiceRecord[]>;
    listServices(options?: RegistryCallOptions): Promise<readonly ServiceRecord[]>;
    watch(options?: WatchOptions): Promise<Watcher>;
    close(): Promise<void>;
    toString(): string;
}
