// Written by `npm run api`; a test says when it is not current.

// tenon/broker

import type { ServiceIdentifier } from 'inversify';
export type EventHeaders = Readonly<Record<string, string>>;
export interface BrokerMessage {
    readonly headers: EventHeaders;
    readonly body: Uint8Array;
}
export interface NackOptions {
    readonly delayMs?: number | undefined;
}
export interface Event {
    readonly topic: string;
    readonly headers: EventHeaders;
    readonly body: Uint8Array;
    readonly attempt: number;
    ack(): Promise<void>;
    nack(options?: NackOptions): Promise<void>;
}
export type EventCallback = (event: Event) => void | Promise<void>;
export interface BrokerCallOptions {
    readonly signal?: AbortSignal | undefined;
    readonly timeoutMs?: number | undefined;
}
export interface PublishOptions extends BrokerCallOptions {
    readonly orderKey?: string | undefined;
}
export interface SubscribeOptions {
    readonly queue?: string | undefined;
    readonly maxInFlight?: number | undefined;
    readonly maxWaiting?: number | undefined;
    readonly signal?: AbortSignal | undefined;
}
export interface Subscriber {
    readonly topic: string;
    readonly options: SubscribeOptions;
    unsubscribe(signal?: AbortSignal): Promise<void>;
}
export interface BrokerOptions {
    readonly address?: string | undefined;
    readonly timeoutMs?: number | undefined;
}
export interface BrokerCapabilities {
    readonly persistent: boolean;
    readonly ack: boolean;
    readonly nack: boolean;
    readonly delay: boolean;
    readonly groups: boolean;
    readonly attempts: boolean;
    readonly deadLetter: boolean;
    readonly order: boolean;
    readonly replay: boolean;
    readonly shared: boolean;
}
export interface Broker {
    readonly options: BrokerOptions;
    readonly address: string;
    init(options: BrokerOptions): void;
    connect(options?: BrokerCallOptions): Promise<void>;
    disconnect(): Promise<void>;
    publish(topic: string, message: BrokerMessage, options?: PublishOptions): Promise<void>;
    subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber>;
    pull(topic: string, options?: SubscribeOptions): AsyncIterable<Event>;
    watch(topic: string, options?: Omit<SubscribeOptions, 'queue'>): AsyncIterable<Event>;
    toString(): string;
}
export declare const Broker: ServiceIdentifier<Broker>;
export { deliver, type DeliveryHandler, type DeliveryOptions, type DeliverySeams, missingCapabilities, } from './delivery.ts';

// tenon/broker/delivery

import type { Logger } from '../logger/logger.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Broker, BrokerCapabilities, Event, Subscriber } from './broker.ts';
export interface DeliveryOptions {
    readonly queue?: string | undefined;
    readonly retry?: number | undefined;
    readonly retryDelayMs?: number | undefined;
    readonly deadLetter?: boolean | string | undefined;
    readonly dedupe?: boolean | undefined;
    readonly maxInFlight?: number | undefined;
    readonly maxWaiting?: number | undefined;
}
export type DeliveryHandler = (event: Event, signal: AbortSignal) => Promise<void>;
export interface DeliverySeams {
    readonly runtime: Runtime;
    readonly logger: Logger;
}
export declare function missingCapabilities(capabilities: BrokerCapabilities, options: DeliveryOptions): string[];
export declare function deliver(broker: Broker, topic: string, options: DeliveryOptions, handler: DeliveryHandler, seams: DeliverySeams): Promise<Subscriber>;

// tenon/broker/memory

import { type ServiceIdentifier } from 'inversify';
import { Logger } from '../logger/logger.ts';
import { Random, type Runtime, Timers } from '../runtime/runtime.ts';
import type { Broker, BrokerCallOptions, BrokerCapabilities, BrokerMessage, BrokerOptions, Event, EventCallback, PublishOptions, Subscriber, SubscribeOptions } from './broker.ts';
export interface MemoryHubOptions {
    readonly runtime?: Partial<Runtime> | undefined;
    readonly logger?: Logger | undefined;
    readonly maxQueued?: number | undefined;
}
export declare class MemoryHub {
    constructor(options?: MemoryHubOptions);
}
export interface MemoryBrokerOptions {
    readonly hub?: MemoryHub | undefined;
    readonly timeoutMs?: number | undefined;
    readonly watchLag?: number | undefined;
    readonly runtime?: Partial<Runtime> | undefined;
    readonly logger?: Logger | undefined;
}
export declare const MemoryBrokerOptions: ServiceIdentifier<MemoryBrokerOptions>;
export declare class MemoryBroker implements Broker {
    #private;
    static readonly capabilities: BrokerCapabilities;
    constructor(options?: MemoryBrokerOptions, random?: Random, timers?: Timers, logger?: Logger);
    get options(): BrokerOptions;
    get address(): string;
    init(options: BrokerOptions): void;
    connect(options?: BrokerCallOptions): Promise<void>;
    disconnect(): Promise<void>;
    publish(topic: string, message: BrokerMessage, options?: PublishOptions): Promise<void>;
    subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber>;
    pull(topic: string, options?: SubscribeOptions): AsyncIterable<Event>;
    watch(topic: string, options?: Omit<SubscribeOptions, 'queue'>): AsyncIterable<Event>;
    toString(): string;
}

// tenon/broker/redis-streams

import { type ServiceIdentifier } from 'inversify';
import type { Redis } from 'ioredis';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, type Runtime, Timers } from '../runtime/runtime.ts';
import type { Broker, BrokerCallOptions, BrokerCapabilities, BrokerMessage, BrokerOptions, Event, EventCallback, PublishOptions, Subscriber, SubscribeOptions } from './broker.ts';
export interface RedisStreamsBrokerOptions {
    readonly address?: string | undefined;
    readonly client?: Redis | undefined;
    readonly timeoutMs?: number | undefined;
    readonly keyPrefix?: string | undefined;
    readonly maxLength?: number | undefined;
    readonly claimIdleMs?: number | undefined;
    readonly from?: 'now' | 'start' | undefined;
    readonly runtime?: Partial<Runtime> | undefined;
    readonly logger?: Logger | undefined;
}
export declare const RedisStreamsBrokerOptions: ServiceIdentifier<RedisStreamsBrokerOptions>;
export declare class RedisStreamsBroker implements Broker {
    #private;
    static readonly capabilities: BrokerCapabilities;
    constructor(options?: RedisStreamsBrokerOptions, clock?: Clock, random?: Random, timers?: Timers, logger?: Logger);
    get options(): BrokerOptions;
    get address(): string;
    init(options: BrokerOptions): void;
    connect(options?: BrokerCallOptions): Promise<void>;
    disconnect(): Promise<void>;
    publish(topic: string, message: BrokerMessage, options?: PublishOptions): Promise<void>;
    subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber>;
    pull(topic: string, options?: SubscribeOptions): AsyncIterable<Event>;
    watch(topic: string, options?: Omit<SubscribeOptions, 'queue'>): AsyncIterable<Event>;
    toString(): string;
}

// tenon/broker/redis

import { type ServiceIdentifier } from 'inversify';
import type { Redis } from 'ioredis';
import { Logger } from '../logger/logger.ts';
import { Random, type Runtime, Timers } from '../runtime/runtime.ts';
import type { Broker, BrokerCallOptions, BrokerCapabilities, BrokerMessage, BrokerOptions, Event, EventCallback, PublishOptions, Subscriber, SubscribeOptions } from './broker.ts';
export interface RedisBrokerOptions {
    readonly address?: string | undefined;
    readonly client?: Redis | undefined;
    readonly timeoutMs?: number | undefined;
    readonly dialect?: 'native' | 'go-micro' | undefined;
    readonly maxBacklog?: number | undefined;
    readonly watchLag?: number | undefined;
    readonly runtime?: Partial<Runtime> | undefined;
    readonly logger?: Logger | undefined;
}
export declare const RedisBrokerOptions: ServiceIdentifier<RedisBrokerOptions>;
export declare class RedisBroker implements Broker {
    #private;
    static readonly capabilities: BrokerCapabilities;
    constructor(options?: RedisBrokerOptions, random?: Random, timers?: Timers, logger?: Logger);
    get options(): BrokerOptions;
    get address(): string;
    init(options: BrokerOptions): void;
    connect(options?: BrokerCallOptions): Promise<void>;
    disconnect(): Promise<void>;
    publish(topic: string, message: BrokerMessage, options?: PublishOptions): Promise<void>;
    subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber>;
    pull(topic: string, options?: SubscribeOptions): AsyncIterable<Event>;
    watch(topic: string, options?: Omit<SubscribeOptions, 'queue'>): AsyncIterable<Event>;
    toString(): string;
}
