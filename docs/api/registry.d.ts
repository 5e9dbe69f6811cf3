// Written by `npm run api`; a test says when it is not current.

// tenon/registry

import type { ServiceIdentifier } from 'inversify';
import { TenonError } from '../errors/errors.ts';
import type { ConnectionSecurityCapabilities, ConnectionSecurityOptions } from '../tls/connection.ts';
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
export declare const busyKey = "tenon-busy";
export declare function isBusy(node: NodeRecord): boolean;
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
export interface RegistryOptions extends ConnectionSecurityOptions {
    readonly address?: string | undefined;
    readonly timeoutMs?: number | undefined;
    readonly ttlMs?: number | undefined;
}
export interface RecordParts {
    readonly ids?: boolean | undefined;
    readonly metadata?: boolean | undefined;
    readonly serviceMetadata?: boolean | undefined;
    readonly endpoints?: boolean | undefined;
    readonly versions?: boolean | undefined;
}
export interface RegistryCapabilities extends ConnectionSecurityCapabilities {
    readonly registers?: boolean | undefined;
    readonly expires: boolean;
    readonly shared: boolean;
    readonly watches: boolean;
    readonly renewalRestores?: boolean | undefined;
    readonly transferable?: boolean | undefined;
    readonly module?: string | undefined;
    readonly listsAll?: boolean | undefined;
    readonly keeps?: RecordParts | undefined;
    readonly ttlGranularityMs?: number | undefined;
    readonly minTtlMs?: number | undefined;
}
export interface Registry {
    readonly options: RegistryOptions;
    readonly capabilities?: RegistryCapabilities | undefined;
    init(options: RegistryOptions): void;
    register(service: ServiceRecord, options?: RegisterOptions): Promise<void>;
    deregister(service: ServiceRecord, options?: RegistryCallOptions): Promise<void>;
    release?(service: ServiceRecord): Promise<void>;
    getService(name: string, options?: RegistryCallOptions): Promise<readonly ServiceRecord[]>;
    listServices(options?: RegistryCallOptions): Promise<readonly ServiceRecord[]>;
    watch(options?: WatchOptions): Promise<Watcher>;
    observe?(observer: RegistryObserver): void;
    close(): Promise<void>;
    toString(): string;
}
export declare const Registry: ServiceIdentifier<Registry>;
export interface ViewChange extends CachedServiceStatistics {
    readonly registry: string;
}
export interface LostWatch {
    readonly registry: string;
    readonly service: string;
    readonly error: TenonError;
}
export interface ResumedWatch {
    readonly registry: string;
    readonly service: string | undefined;
}
export interface RestoredNode {
    readonly registry: string;
    readonly service: string;
    readonly node: string;
}
export interface RegistryObserver {
    onViewChanged?(view: ViewChange): void;
    onWatchLost?(watch: LostWatch): void;
    onWatchResumed?(watch: ResumedWatch): void;
    onRestored?(node: RestoredNode): void;
}
export declare const RegistryObserver: ServiceIdentifier<RegistryObserver>;
export declare function serviceNotFound(registry: string, name: string): TenonError;
export interface CachedServiceStatistics {
    readonly service: string;
    readonly nodes: number;
    readonly ageMs: number;
    readonly isStale: boolean;
}
export interface RegistryCache extends Registry {
    readonly origin: Registry;
    readonly statistics: readonly CachedServiceStatistics[];
    peek(name: string): readonly ServiceRecord[] | undefined;
}
export declare function isRegistryCache(registry: Registry): registry is RegistryCache;
export declare function capabilitiesOfRegistry(registry: Registry): RegistryCapabilities | undefined;
export type Presence = 'present' | 'missing' | 'taken';
export declare function readBack(registry: Registry, service: ServiceRecord, options?: RegistryCallOptions): Promise<Presence>;

// tenon/registry/cache

import { type Logger } from '../logger/logger.ts';
import type { Clock, Random, Timers } from '../runtime/runtime.ts';
import { type CachedServiceStatistics, type RegisterOptions, type Registry, type RegistryCache, type RegistryCallOptions, type RegistryCapabilities, type RegistryObserver, type RegistryOptions, type ServiceRecord, type Watcher, type WatchOptions } from './registry.ts';
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
    get origin(): Registry;
    get statistics(): readonly CachedServiceStatistics[];
    get options(): RegistryOptions;
    get capabilities(): RegistryCapabilities | undefined;
    init(options: RegistryOptions): void;
    register(service: ServiceRecord, options?: RegisterOptions): Promise<void>;
    deregister(service: ServiceRecord, options?: RegistryCallOptions): Promise<void>;
    release(service: ServiceRecord): Promise<void>;
    peek(name: string): readonly ServiceRecord[] | undefined;
    getService(name: string, options?: RegistryCallOptions): Promise<readonly ServiceRecord[]>;
    listServices(options?: RegistryCallOptions): Promise<readonly ServiceRecord[]>;
    watch(options?: WatchOptions): Promise<Watcher>;
    observe(observer: RegistryObserver): void;
    close(): Promise<void>;
    toString(): string;
}

// tenon/registry/etcd

import { type ServiceIdentifier } from 'inversify';
import type { WithDefaults } from '../internal/defaults.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { DrivenRegistry } from './kit/driven-registry.ts';
import type { Registry, RegistryCapabilities, RegistryOptions } from './registry.ts';
export interface EtcdRegistryOptions extends RegistryOptions {
    readonly prefix?: string | undefined;
    readonly progressMs?: number | undefined;
    readonly minReadMs?: number | undefined;
    readonly maxReadMs?: number | undefined;
    readonly maxRecordBytes?: number | undefined;
}
export declare const EtcdRegistryOptions: ServiceIdentifier<EtcdRegistryOptions>;
declare const defaults: {
    readonly address: '127.0.0.1:2379';
    readonly timeoutMs: 5000;
    readonly ttlMs: 30000;
    readonly prefix: '/micro/registry/';
    readonly progressMs: 10000;
    readonly minReadMs: 100;
    readonly maxReadMs: 300000;
    readonly maxRecordBytes: 1048576;
};
type Settings = WithDefaults<EtcdRegistryOptions, typeof defaults>;
export declare class EtcdRegistry extends DrivenRegistry<Settings> implements Registry {
    static readonly capabilities: RegistryCapabilities;
    constructor(options?: EtcdRegistryOptions, clock?: Clock, random?: Random, timers?: Timers, logger?: Logger);
}
export {};

// tenon/registry/dns

import { type ServiceIdentifier } from 'inversify';
import type { WithDefaults } from '../internal/defaults.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { DrivenRegistry } from './kit/driven-registry.ts';
import type { Registry, RegistryCapabilities, RegistryOptions } from './registry.ts';
export interface DnsRegistryOptions extends RegistryOptions {
    readonly domain?: string | undefined;
    readonly pattern?: string | undefined;
    readonly port?: number | undefined;
    readonly accumulateMs?: number | undefined;
    readonly minReadMs?: number | undefined;
    readonly maxReadMs?: number | undefined;
    readonly maxNodes?: number | undefined;
    readonly resolvConf?: string | undefined;
}
export declare const DnsRegistryOptions: ServiceIdentifier<DnsRegistryOptions>;
declare const defaults: {
    readonly timeoutMs: 5000;
    readonly ttlMs: 30000;
    readonly accumulateMs: 0;
    readonly minReadMs: 1000;
    readonly maxReadMs: 30000;
    readonly maxNodes: 1000;
    readonly resolvConf: "/etc/resolv.conf";
};
type Settings = WithDefaults<DnsRegistryOptions, typeof defaults>;
export declare class DnsRegistry extends DrivenRegistry<Settings> implements Registry {
    static readonly capabilities: RegistryCapabilities;
    constructor(options?: DnsRegistryOptions, clock?: Clock, random?: Random, timers?: Timers, logger?: Logger);
}
export {};

// tenon/registry/consul

import { type ServiceIdentifier } from 'inversify';
import type { WithDefaults } from '../internal/defaults.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { DrivenRegistry } from './kit/driven-registry.ts';
import type { Registry, RegistryCapabilities, RegistryOptions } from './registry.ts';
export interface ConsulRegistryOptions extends RegistryOptions {
    readonly datacenter?: string | undefined;
    readonly namespace?: string | undefined;
    readonly partition?: string | undefined;
    readonly waitMs?: number | undefined;
    readonly minReadMs?: number | undefined;
    readonly maxReadMs?: number | undefined;
    readonly maxRecordBytes?: number | undefined;
}
export declare const ConsulRegistryOptions: ServiceIdentifier<ConsulRegistryOptions>;
declare const defaults: {
    readonly address: '127.0.0.1:8500';
    readonly timeoutMs: 5000;
    readonly ttlMs: 30000;
    readonly waitMs: 10000;
    readonly minReadMs: 250;
    readonly maxReadMs: 30000;
    readonly maxRecordBytes: 262144;
};
type Settings = WithDefaults<ConsulRegistryOptions, typeof defaults>;
export declare class ConsulRegistry extends DrivenRegistry<Settings> implements Registry {
    static readonly capabilities: RegistryCapabilities;
    constructor(options?: ConsulRegistryOptions, clock?: Clock, random?: Random, timers?: Timers, logger?: Logger);
}
export {};

// tenon/registry/file

import { type ServiceIdentifier } from 'inversify';
import type { WithDefaults } from '../internal/defaults.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Timers } from '../runtime/runtime.ts';
import { DrivenRegistry } from './kit/driven-registry.ts';
import type { Registry, RegistryCapabilities, RegistryOptions } from './registry.ts';
export interface FileRegistryOptions extends RegistryOptions {
    readonly maxReadMs?: number | undefined;
    readonly settleMs?: number | undefined;
    readonly absentMs?: number | undefined;
    readonly maxFileBytes?: number | undefined;
}
export declare const FileRegistryOptions: ServiceIdentifier<FileRegistryOptions>;
declare const defaults: {
    readonly timeoutMs: 5000;
    readonly ttlMs: 30000;
    readonly maxReadMs: 2000;
    readonly settleMs: 50;
    readonly absentMs: 5000;
    readonly maxFileBytes: 16777216;
};
type Settings = WithDefaults<FileRegistryOptions, typeof defaults>;
export declare class FileRegistry extends DrivenRegistry<Settings> implements Registry {
    static readonly capabilities: RegistryCapabilities;
    constructor(options?: FileRegistryOptions, clock?: Clock, timers?: Timers, logger?: Logger);
}
export {};

// tenon/registry/kit

export { AddressList, type AddressListOptions, assertUsername, type FailoverCall, formatAddress, parseAddresses, type ServerAddress, } from './address-list.ts';
export { type AgentBackend, agentLeases, type AgentLeasesOptions, type Holder, type Place } from './agent-leases.ts';
export { type AnnouncedAction, AnsweredNodes, type AnsweredNodesOptions, type Claim, type ClaimedNode, ClaimedNodes, } from './answered-nodes.ts';
export { BrokenRecords } from './broken-records.ts';
export type { Change, DriverCall, DriverTools, LeasedNode, Registration, RegistryDriver, Snapshot, WatchFeed, } from './driver.ts';
export { DrivenRegistry, type DriverSettings, type RegistrySpec } from './driven-registry.ts';
export { ChannelCallError, type DriverFailure, GrpcCallError, HttpCallError, invalidAddress, invalidService, } from './errors.ts';
export { LeaseManager, type LeaseManagerOptions, type LeaseBackend } from './lease-manager.ts';
export { LongPoll, type LongPollOptions, type PolledRead } from './long-poll.ts';
export { NodeLimit } from './node-limit.ts';
export { type KnownNode, NodeTable } from './node-table.ts';
export { PolledServices, type PolledServicesOptions } from './polled-services.ts';
export { BrokenRecord, checkedNode, decodeNode, eachNode, encodeNode, pathPart, serviceParts } from './records.ts';
export { WatchFeeds } from './watch-feeds.ts';

// tenon/registry/kit/grpc-channel

import { type MetadataInit } from '../../context/metadata.ts';
import { TenonError } from '../../errors/errors.ts';
import { type AddressList } from './address-list.ts';
import type { DriverTools } from './driver.ts';
export interface GrpcChannelOptions {
    readonly registry: string;
    readonly proto: string | URL | readonly (string | URL)[];
    readonly addresses: AddressList;
    readonly tools: DriverTools;
    readonly maxReceiveBytes?: number | undefined;
    readonly keepaliveMs?: number | undefined;
    isTransient?(error: TenonError): boolean;
}
export interface GrpcChannelCall {
    readonly signal: AbortSignal;
    readonly timeoutMs?: number | undefined;
    readonly metadata?: MetadataInit | (() => MetadataInit | Promise<MetadataInit>) | undefined;
    readonly isRepeatable?: boolean | undefined;
    readonly attemptMs?: number | undefined;
}
export interface GrpcStream extends AsyncIterableIterator<unknown, undefined> {
    send(request: unknown): void | Promise<void>;
    end(): void;
    giveUp(): void;
    return(): Promise<IteratorResult<unknown, undefined>>;
}
export declare class GrpcChannel {
    #private;
    constructor(options: GrpcChannelOptions);
    unary(name: string, request: unknown, call: GrpcChannelCall): Promise<unknown>;
    stream(name: string, request: unknown, call: GrpcChannelCall): Promise<GrpcStream>;
    close(): Promise<void>;
}

// tenon/registry/kit/http-channel

import { type IncomingHttpHeaders } from 'node:http';
import { type ConnectionOptions } from 'node:tls';
import { type AddressList, type ServerAddress } from './address-list.ts';
import type { DriverTools } from './driver.ts';
export interface HttpChannelOptions {
    readonly registry: string;
    readonly addresses: AddressList;
    readonly tools: DriverTools;
    readonly tls?: (() => ConnectionOptions | undefined) | undefined;
    readonly basePath?: string | undefined;
    readonly headers?: (() => HttpHeaders | Promise<HttpHeaders>) | undefined;
    readonly maxConnections?: number | undefined;
    readonly maxResponseBytes?: number | undefined;
}
export type HttpHeaders = Readonly<Record<string, string | undefined>>;
export interface HttpRequest {
    readonly method?: string | undefined;
    readonly path: string;
    readonly query?: Readonly<Record<string, string | number | boolean | undefined>> | undefined;
    readonly body?: string | undefined;
    readonly headers?: HttpHeaders | undefined;
    readonly isRepeatable?: boolean | undefined;
    readonly retriesAfter?: ((status: number) => boolean) | undefined;
}
export interface HttpCall {
    readonly signal: AbortSignal;
    readonly timeoutMs?: number | undefined;
    readonly at?: ServerAddress | undefined;
}
export interface HttpStreamCall extends HttpCall {
    readonly timeoutMs?: number | undefined;
    readonly idleMs: number;
}
export interface HttpResponseHead {
    readonly status: number;
    readonly headers: IncomingHttpHeaders;
    readonly address: ServerAddress;
}
export interface HttpResponse extends HttpResponseHead {
    readonly body: string;
}
export interface HttpStream extends HttpResponseHead, AsyncIterableIterator<string, undefined> {
    return(): Promise<IteratorResult<string, undefined>>;
}
export declare class HttpStatusError extends Error {
    readonly status: number;
    readonly said: string;
    constructor({ method, path }: HttpRequest, { status, address, body }: HttpResponse);
}
export declare class HttpChannel {
    #private;
    constructor(options: HttpChannelOptions);
    request(request: HttpRequest, call: HttpCall): Promise<HttpResponse>;
    stream(request: HttpRequest, call: HttpStreamCall): Promise<HttpStream>;
    close(): void;
}

// tenon/registry/kubernetes

import { type ServiceIdentifier } from 'inversify';
import type { RegistryDialect } from '../go-micro/go-micro.ts';
import type { WithDefaults } from '../internal/defaults.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { DrivenRegistry } from './kit/driven-registry.ts';
import { type Registry, type RegistryCapabilities, type RegistryOptions } from './registry.ts';
export interface KubernetesRegistryOptions extends RegistryOptions {
    readonly kubeconfig?: string | undefined;
    readonly context?: string | undefined;
    readonly serviceHost?: string | undefined;
    readonly servicePort?: number | undefined;
    readonly serviceAccountFolder?: string | undefined;
    readonly namespace?: string | undefined;
    readonly labelSelector?: string | undefined;
    readonly dialect?: RegistryDialect | undefined;
    readonly podName?: string | undefined;
    readonly portName?: string | undefined;
    readonly watchMs?: number | undefined;
    readonly sweepMs?: number | undefined;
    readonly maxRecordBytes?: number | undefined;
}
export declare const KubernetesRegistryOptions: ServiceIdentifier<KubernetesRegistryOptions>;
declare const defaults: {
    readonly timeoutMs: 5000;
    readonly ttlMs: 30000;
    readonly serviceAccountFolder: '/var/run/secrets/kubernetes.io/serviceaccount';
    readonly watchMs: 240000;
    readonly sweepMs: 60000;
    readonly maxRecordBytes: 204800;
};
type Settings = WithDefaults<KubernetesRegistryOptions, typeof defaults>;
export declare class KubernetesRegistry extends DrivenRegistry<Settings> implements Registry {
    static readonly capabilities: RegistryCapabilities;
    constructor(options?: KubernetesRegistryOptions, clock?: Clock, random?: Random, timers?: Timers, logger?: Logger);
}
export {};

// tenon/registry/mdns

import { type ServiceIdentifier } from 'inversify';
import type { WithDefaults } from '../internal/defaults.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Timers } from '../runtime/runtime.ts';
import { DrivenRegistry } from './kit/driven-registry.ts';
import type { Registry, RegistryCapabilities, RegistryOptions } from './registry.ts';
export interface MdnsRegistryOptions extends RegistryOptions {
    readonly interface?: string | undefined;
    readonly port?: number | undefined;
    readonly domain?: string | undefined;
    readonly queryMs?: number | undefined;
    readonly probeMs?: number | undefined;
    readonly maxQueryMs?: number | undefined;
    readonly maxPacketBytes?: number | undefined;
    readonly maxAnswerBytesPerSecond?: number | undefined;
    readonly maxNodes?: number | undefined;
    readonly minReadMs?: number | undefined;
}
export declare const MdnsRegistryOptions: ServiceIdentifier<MdnsRegistryOptions>;
declare const defaults: {
    readonly port: 5353;
    readonly domain: "micro";
    readonly queryMs: 100;
    readonly probeMs: 250;
    readonly maxQueryMs: 500;
    readonly maxPacketBytes: 1400;
    readonly maxAnswerBytesPerSecond: 262144;
    readonly maxNodes: 10000;
    readonly minReadMs: 100;
    readonly timeoutMs: 5000;
    readonly ttlMs: 30000;
};
type Settings = WithDefaults<MdnsRegistryOptions, typeof defaults>;
export declare class MdnsRegistry extends DrivenRegistry<Settings> implements Registry {
    static readonly capabilities: RegistryCapabilities;
    constructor(options?: MdnsRegistryOptions, clock?: Clock, timers?: Timers, logger?: Logger);
}
export {};

// tenon/registry/memory

import { type ServiceIdentifier } from 'inversify';
import type { Runtime } from '../runtime/runtime.ts';
import { DrivenRegistry, type DriverSettings } from './kit/driven-registry.ts';
import type { Registry, RegistryCapabilities, RegistryOptions } from './registry.ts';
export declare class MemoryRegistryStore {
    constructor(runtime?: Pick<Runtime, 'clock' | 'timers'>);
}
export interface MemoryRegistryOptions extends RegistryOptions {
    readonly store?: MemoryRegistryStore | undefined;
    readonly runtime?: Pick<Runtime, 'clock' | 'timers'> | undefined;
}
export declare const MemoryRegistryOptions: ServiceIdentifier<MemoryRegistryOptions>;
export declare class MemoryRegistry extends DrivenRegistry<DriverSettings> implements Registry {
    static readonly capabilities: RegistryCapabilities;
    constructor(options?: MemoryRegistryOptions);
}

// tenon/registry/nats

import { type ServiceIdentifier } from 'inversify';
import type { WithDefaults } from '../internal/defaults.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { DrivenRegistry } from './kit/driven-registry.ts';
import type { Registry, RegistryCapabilities, RegistryOptions } from './registry.ts';
export interface NatsRegistryOptions extends RegistryOptions {
    readonly prefixes?: string | undefined;
    readonly queryMs?: number | undefined;
    readonly maxQueryMs?: number | undefined;
    readonly goMicroTtlMs?: number | undefined;
    readonly maxNodes?: number | undefined;
    readonly minReadMs?: number | undefined;
    readonly maxReadMs?: number | undefined;
    readonly maxRecordBytes?: number | undefined;
}
export declare const NatsRegistryOptions: ServiceIdentifier<NatsRegistryOptions>;
declare const defaults: {
    readonly address: '127.0.0.1:4222';
    readonly timeoutMs: 5000;
    readonly ttlMs: 30000;
    readonly prefixes: string;
    readonly queryMs: 100;
    readonly maxQueryMs: 500;
    readonly goMicroTtlMs: 90000;
    readonly maxNodes: 10000;
    readonly minReadMs: 100;
    readonly maxReadMs: 30000;
    readonly maxRecordBytes: 262144;
};
type Settings = WithDefaults<NatsRegistryOptions, typeof defaults>;
export declare class NatsRegistry extends DrivenRegistry<Settings> implements Registry {
    static readonly capabilities: RegistryCapabilities;
    constructor(options?: NatsRegistryOptions, clock?: Clock, random?: Random, timers?: Timers, logger?: Logger);
}
export {};

// tenon/registry/redis

import { type ServiceIdentifier } from 'inversify';
import { Redis } from 'ioredis';
import type { WithDefaults } from '../internal/defaults.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { DrivenRegistry } from './kit/driven-registry.ts';
import type { Registry, RegistryCapabilities, RegistryOptions } from './registry.ts';
export interface RedisRegistryOptions extends RegistryOptions {
    readonly client?: Redis | undefined;
    readonly prefix?: string | undefined;
    readonly minReadMs?: number | undefined;
    readonly maxReadMs?: number | undefined;
    readonly maxRecordBytes?: number | undefined;
}
export declare const RedisRegistryOptions: ServiceIdentifier<RedisRegistryOptions>;
declare const defaults: {
    readonly address: '127.0.0.1:6379';
    readonly timeoutMs: 5000;
    readonly ttlMs: 30000;
    readonly prefix: 'tenon:registry:';
    readonly minReadMs: 100;
    readonly maxReadMs: 30000;
    readonly maxRecordBytes: 1048576;
};
type Settings = WithDefaults<RedisRegistryOptions, typeof defaults>;
export declare class RedisRegistry extends DrivenRegistry<Settings> implements Registry {
    static readonly capabilities: RegistryCapabilities;
    constructor(options?: RedisRegistryOptions, clock?: Clock, random?: Random, timers?: Timers, logger?: Logger);
}
export {};

// tenon/registry/zookeeper

import { type ServiceIdentifier } from 'inversify';
import type { WithDefaults } from '../internal/defaults.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { DrivenRegistry } from './kit/driven-registry.ts';
import type { Registry, RegistryCapabilities, RegistryOptions } from './registry.ts';
export interface ZooKeeperRegistryOptions extends RegistryOptions {
    readonly prefix?: string | undefined;
    readonly acl?: 'world' | 'creator' | undefined;
    readonly ephemeralOnly?: boolean | undefined;
    readonly minReadMs?: number | undefined;
    readonly maxReadMs?: number | undefined;
    readonly maxRecordBytes?: number | undefined;
}
export declare const ZooKeeperRegistryOptions: ServiceIdentifier<ZooKeeperRegistryOptions>;
declare const defaults: {
    readonly address: '127.0.0.1:2181';
    readonly timeoutMs: 5000;
    readonly ttlMs: 30000;
    readonly prefix: "/micro-registry";
    readonly acl: 'world';
    readonly ephemeralOnly: false;
    readonly minReadMs: 100;
    readonly maxReadMs: 300000;
    readonly maxRecordBytes: 1000000;
};
type Settings = WithDefaults<ZooKeeperRegistryOptions, typeof defaults>;
export declare class ZooKeeperRegistry extends DrivenRegistry<Settings> implements Registry {
    static readonly capabilities: RegistryCapabilities;
    constructor(options?: ZooKeeperRegistryOptions, clock?: Clock, random?: Random, timers?: Timers, logger?: Logger);
}
export {};

// registry/kit/address-list.ts, by tenon/registry/kit, tenon/registry/kit/grpc-channel, tenon/registry/kit/http-channel

import type { Clock, Random, Timers } from '../../runtime/runtime.ts';
import type { RegistryOptions } from '../registry.ts';
export interface ServerAddress {
    readonly host: string;
    readonly port: number;
}
export interface AddressListOptions {
    readonly clock: Clock;
    readonly random: Random;
    readonly timers: Timers;
    readonly registry: string;
    readonly serverName: string;
    readonly minBackoffMs?: number | undefined;
    readonly maxBackoffMs?: number | undefined;
    readonly beginsAnywhere?: boolean | undefined;
}
export interface FailoverCall {
    readonly method: string;
    readonly signal: AbortSignal;
    readonly timeoutMs: number;
    isFaultOfAddress(error: unknown): boolean;
}
export declare class AddressList {
    #private;
    constructor(addresses: readonly ServerAddress[], options: AddressListOptions);
    get current(): ServerAddress;
    get inOrder(): readonly ServerAddress[];
    succeeded(address: ServerAddress): void;
    failed(address: ServerAddress): void;
    run<T>(call: FailoverCall, work: (address: ServerAddress, signal: AbortSignal) => Promise<T>): Promise<T>;
    inTurn<T>(attempt: (address: ServerAddress, left: number) => Promise<T>, goesOn: (error: unknown) => boolean): Promise<T>;
}
export declare function parseAddresses(text: string, defaultPort: number): readonly ServerAddress[];
export declare function assertUsername({ credentials }: RegistryOptions, optionsName: string, remedy: string): void;
export declare function formatAddress({ host, port }: ServerAddress): string;

// registry/kit/agent-leases.ts, by tenon/registry/kit

import { type AddressList, type ServerAddress } from './address-list.ts';
import type { DriverTools, Registration } from './driver.ts';
import { LeaseManager } from './lease-manager.ts';
export type Holder = 'own' | 'other' | 'nobody';
export interface AgentBackend {
    register(registration: Registration, at: ServerAddress, signal: AbortSignal, timeoutMs: number): Promise<void>;
    renew(registration: Registration, at: ServerAddress, signal: AbortSignal): Promise<boolean>;
    holder?(registration: Registration, at: ServerAddress, signal: AbortSignal): Promise<Holder>;
    remove(registration: Registration, at: ServerAddress, signal: AbortSignal): Promise<void>;
    clear?(registration: Registration, signal: AbortSignal): Promise<void>;
    isFaultOfAgent?(error: unknown): boolean;
}
export interface AgentLeasesOptions extends Omit<DriverTools, 'security'> {
    readonly registry: string;
    readonly addresses: AddressList;
    readonly timeoutMs: number;
    readonly signal: AbortSignal;
}
export interface Place {
    readonly at: ServerAddress;
    answeredMs: number;
    isTaken: boolean;
}
export declare function agentLeases(backend: AgentBackend, options: AgentLeasesOptions): LeaseManager<Place>;

// registry/kit/answered-nodes.ts, by tenon/registry/kit

import type { DriverTools, LeasedNode, Registration } from './driver.ts';
export interface Claim {
    readonly owner: string;
    readonly sinceMs: number;
}
export interface ClaimedNode extends LeasedNode {
    readonly leaseMs: number;
    readonly claim: Claim;
}
export declare class ClaimedNodes {
    #private;
    constructor(hasRoom: (count: number) => boolean);
    get all(): readonly ClaimedNode[];
    add(node: ClaimedNode): void;
}
export interface AnsweredNodesOptions extends Omit<DriverTools, 'security'> {
    readonly registry: string;
    hear(signal: AbortSignal): Promise<void>;
    deliver(action: AnnouncedAction, node: ClaimedNode, signal: AbortSignal): Promise<void>;
    tell(node: ClaimedNode): void;
}
export type AnnouncedAction = 'create' | 'delete';
export declare class AnsweredNodes {
    #private;
    constructor(options: AnsweredNodesOptions);
    announce(registration: Registration, signal: AbortSignal): Promise<void>;
    withdraw(service: string, id: string, signal: AbortSignal): Promise<void>;
    release(service: string, id: string): Promise<void>;
    announceAll(): void;
    answers(): readonly ClaimedNode[];
    compare(action: AnnouncedAction, told: ClaimedNode): void;
    close(): void;
}

// registry/kit/broken-records.ts, by tenon/registry/kit

import type { Logger } from '../../logger/logger.ts';
export declare class BrokenRecords {
    #private;
    constructor(logger: Logger);
    read<T>(place: string, read: () => T): T | undefined;
}

// registry/kit/driven-registry.ts, by tenon/registry/kit

import { type NumberRule } from '../../errors/checked-options.ts';
import { type RegisterOptions, type Registry, type RegistryCallOptions, type RegistryCapabilities, type RegistryObserver, type RegistryOptions, type ServiceRecord, type Watcher, type WatchOptions } from '../registry.ts';
import type { DriverTools, RegistryDriver } from './driver.ts';
export interface DriverSettings extends RegistryOptions {
    readonly timeoutMs: number;
    readonly ttlMs: number;
}
export interface RegistrySpec<Settings extends DriverSettings> {
    readonly name: string;
    readonly capabilities: RegistryCapabilities;
    readonly optionsName: string;
    readonly defaults?: object | undefined;
    readonly rules?: {
        readonly [K in keyof Settings]?: NumberRule;
    } | undefined;
    check?(settings: Settings): void;
    open(settings: Settings, tools: DriverTools): RegistryDriver;
}
export declare abstract class DrivenRegistry<Settings extends DriverSettings> implements Registry {
    #private;
    readonly capabilities: RegistryCapabilities;
    private readonly name;
    private readonly observers;
    protected constructor(spec: RegistrySpec<Settings>, options: RegistryOptions, { clock, random, timers, logger }?: {
        readonly [K in keyof DriverTools]?: DriverTools[K] | undefined;
    });
    get options(): RegistryOptions;
    init(options: RegistryOptions): void;
    register(service: ServiceRecord, options?: RegisterOptions): Promise<void>;
    deregister(service: ServiceRecord, options?: RegistryCallOptions): Promise<void>;
    release({ name, nodes }: ServiceRecord): Promise<void>;
    getService(name: string, options?: RegistryCallOptions): Promise<readonly ServiceRecord[]>;
    listServices(options?: RegistryCallOptions): Promise<readonly ServiceRecord[]>;
    watch(options?: WatchOptions): Promise<Watcher>;
    observe(observer: RegistryObserver): void;
    close(): Promise<void>;
    toString(): string;
}

// registry/kit/driver.ts, by tenon/registry/kit, tenon/registry/kit/grpc-channel, tenon/registry/kit/http-channel

import type { Logger } from '../../logger/logger.ts';
import type { Clock, Random, Timers } from '../../runtime/runtime.ts';
import type { ConnectionSecurity } from '../../tls/connection.ts';
import type { NodeRecord, RegistryAction, ServiceRecord } from '../registry.ts';
import type { DriverFailure } from './errors.ts';
import type { RegistryObservers } from './observers.ts';
export interface DriverTools {
    readonly clock: Clock;
    readonly random: Random;
    readonly timers: Timers;
    readonly logger: Logger;
    readonly security: ConnectionSecurity;
    readonly observers?: RegistryObservers | undefined;
}
export interface DriverCall {
    readonly method: string;
    readonly signal: AbortSignal;
    readonly timeoutMs: number;
    readonly isInitialRead: boolean;
}
export interface Registration {
    readonly service: ServiceRecord;
    readonly node: NodeRecord;
    readonly ttlMs: number;
}
export interface LeasedNode {
    readonly service: ServiceRecord;
    readonly leaseMs?: number | undefined;
    readonly hasLapsed?: boolean | undefined;
}
export interface Snapshot {
    readonly nodes: readonly LeasedNode[];
    readonly revision?: number | undefined;
    readonly isComplete?: boolean | undefined;
    readonly readAgainMs?: number | undefined;
}
export interface Change extends LeasedNode {
    readonly action: RegistryAction;
    readonly revision?: number | undefined;
}
export interface WatchFeed {
    readonly service: string | undefined;
    change(change: Change): void;
    refresh(service?: string): void;
    resumed(): void;
    fail(why: string, cause?: unknown): void;
}
export interface DriverBounds {
    readonly maxRecordBytes?: number | undefined;
    readonly minReadMs?: number | undefined;
    readonly maxReadMs?: number | undefined;
}
export interface RegistryDriver {
    readonly server: string;
    readonly bounds?: DriverBounds | undefined;
    readonly listsNames?: boolean | undefined;
    announce?(registration: Registration, call: DriverCall): Promise<'created' | void> | 'created' | void;
    withdraw?(service: string, id: string, call: DriverCall): Promise<void> | void;
    release?(service: string, id: string): Promise<void> | void;
    read(service: string | undefined, call: DriverCall): Promise<Snapshot> | Snapshot;
    names?(call: DriverCall): Promise<readonly string[]>;
    hasRoom?(count: number): boolean;
    watch?(feed: WatchFeed, signal: AbortSignal, call: DriverCall): Promise<void> | void;
    failure(error: unknown): DriverFailure;
    close?(): Promise<void> | void;
}

// registry/kit/errors.ts, by tenon/registry/kit

import { TenonError } from '../../errors/errors.ts';
export declare class ChannelCallError extends TenonError {
    constructor(call: string, error: TenonError);
}
export declare class GrpcCallError extends ChannelCallError {
}
export declare class HttpCallError extends ChannelCallError {
}
export interface DriverFailure {
    readonly kind: 'unreachable' | 'refused' | 'denied';
    readonly why?: string | undefined;
    readonly remedy?: string | undefined;
    readonly cause?: unknown;
}
export declare function invalidService(name: string, why: string): TenonError;
export declare function invalidAddress(message: string): TenonError;

// registry/kit/lease-manager.ts, by tenon/registry/kit

import type { DriverTools, Registration } from './driver.ts';
export interface LeaseBackend<Grant> {
    grant(registration: Registration, signal: AbortSignal): Promise<Grant>;
    renew(grant: Grant, registration: Registration, signal: AbortSignal): Promise<Renewed<Grant>>;
    replace?(grant: Grant, registration: Registration, signal: AbortSignal): Promise<Renewed<Grant>>;
    release?(grant: Grant, registration: Registration): void;
    lapse?(grant: Grant, registration: Registration): void;
    revoke(grant: Grant, registration: Registration, signal: AbortSignal): Promise<void>;
}
export type Renewed<Grant> = Grant | typeof takenElsewhere | undefined;
export interface LeaseManagerOptions extends Omit<DriverTools, 'security'> {
    readonly registry: string;
    readonly restoreSpreadMs?: number | undefined;
    readonly maxBackoffMs?: number | undefined;
    readonly lapses?: boolean | undefined;
}
export declare class LeaseManager<Grant> {
    #private;
    constructor(backend: LeaseBackend<Grant>, options: LeaseManagerOptions);
    get restored(): number;
    entries(): IterableIterator<{
        readonly registration: Registration;
        readonly grant: Grant | undefined;
    }>;
    announce(registration: Registration, signal: AbortSignal): Promise<void>;
    withdraw(service: string, id: string, signal: AbortSignal, otherwise?: (before: Registration | undefined) => Promise<void>): Promise<void>;
    release(service: string, id: string): Promise<void>;
    markLost(isLost?: (grant: Grant) => boolean): void;
    close(): void;
}

// registry/kit/long-poll.ts, by tenon/registry/kit

import type { Clock, Timers } from '../../runtime/runtime.ts';
export interface PolledRead {
    readonly index: number;
    readonly content: ReadonlyMap<string, string>;
}
export interface LongPollOptions {
    readonly clock: Clock;
    readonly timers: Timers;
    readonly minReadMs: number;
    readonly unheldReadMs?: number | undefined;
    readonly maxFailures: number;
    read(index: number, signal: AbortSignal): Promise<PolledRead>;
    onChange(keys: readonly string[]): void;
    onResumed?(): void;
    onLost(error: unknown): void;
}
export declare class LongPoll {
    #private;
    constructor(options: LongPollOptions);
    get keys(): readonly string[];
    start(): Promise<void>;
    stop(): void;
}

// registry/kit/node-limit.ts, by tenon/registry/kit

import type { Logger } from '../../logger/logger.ts';
export declare class NodeLimit {
    #private;
    constructor(mostNodes: number, announced: string, logger: Logger);
    hasRoom(count: number): boolean;
}

// registry/kit/node-table.ts, by tenon/registry/kit

import type { RegistryEvent, ServiceRecord } from '../registry.ts';
export interface KnownNode {
    readonly service: ServiceRecord;
    readonly text: string;
    readonly shared: SharedParts;
    expiresAtMs: number;
}
interface SharedParts {
    readonly text: string;
    readonly service: ServiceRecord;
}
export declare class NodeTable {
    #private;
    get size(): number;
    nodes(service?: string): IterableIterator<KnownNode>;
    get(service: ServiceRecord): KnownNode | undefined;
    put(service: ServiceRecord, expiresAtMs?: number): RegistryEvent | undefined;
    remove(service: string, id: string): RegistryEvent | undefined;
    replaceWith(other: NodeTable): RegistryEvent[];
}

// registry/kit/observers.ts, by tenon/registry/kit, tenon/registry/kit/grpc-channel, tenon/registry/kit/http-channel

import { type EventOf } from '../../internal/observers.ts';
import type { Logger } from '../../logger/logger.ts';
import type { RegistryObserver } from '../registry.ts';
export declare class RegistryObservers {
    #private;
    constructor(logger: Logger);
    get isEmpty(): boolean;
    add(observer: RegistryObserver): void;
    tell<M extends keyof RegistryObserver>(method: M, event: EventOf<RegistryObserver, M>): void;
}

// registry/kit/polled-services.ts, by tenon/registry/kit

import type { Clock, Timers } from '../../runtime/runtime.ts';
import type { WatchFeed } from './driver.ts';
import { type PolledRead } from './long-poll.ts';
export interface PolledServicesOptions {
    readonly clock: Clock;
    readonly timers: Timers;
    readonly server: string;
    readonly minReadMs: number;
    readonly maxFailures: number;
    readonly maxPolls: number;
    read(service: string | undefined, index: number, signal: AbortSignal): Promise<PolledRead>;
}
export declare class PolledServices {
    #private;
    constructor(options: PolledServicesOptions);
    get size(): number;
    follow(feed: WatchFeed, signal: AbortSignal): Promise<void>;
    close(): void;
}

// registry/kit/records.ts, by tenon/registry/kit

import type { NodeRecord, RegistryCapabilities, ServiceRecord } from '../registry.ts';
export declare function encodeNode(service: ServiceRecord, node: NodeRecord): string;
export declare function pathPart(name: string): string;
export declare class BrokenRecord extends Error {
}
export declare function decodeNode(text: string, maxBytes: number): ServiceRecord;
export declare function eachNode(fields: Readonly<Record<string, unknown>>, maxRecordBytes: number): readonly ServiceRecord[];
export declare function serviceParts(name: unknown, fields: Readonly<Record<string, unknown>>): Omit<ServiceRecord, 'nodes'>;
export declare function checkedNode(id: unknown, address: unknown, metadata: unknown): NodeRecord;

// registry/kit/watch-feeds.ts, by tenon/registry/kit

import type { Change, WatchFeed } from './driver.ts';
export declare class WatchFeeds implements Iterable<WatchFeed> {
    #private;
    get size(): number;
    [Symbol.iterator](): Iterator<WatchFeed>;
    has(service: string | undefined): boolean;
    join(feed: WatchFeed, signal: AbortSignal, onLast?: () => void): void;
    change(change: Change, who: 'service' | 'every'): void;
    resumed(): void;
    fail(why: string): void;
}
