// Written by `npm run api`; a test says when it is not current.

// tenon/broker

import type { ServiceIdentifier } from 'inversify';
import type { TenonError } from '../errors/errors.ts';
export type EventHeaders = Readonly<Record<string, string>>;
export interface BrokerMessage {
    readonly headers: EventHeaders;
    readonly body: Uint8Array;
}
export interface NackOptions {
    readonly delayMs?: number | undefined;
}
export interface Event {
    readonly id: string;
    readonly topic: string;
    readonly headers: EventHeaders;
    readonly body: Uint8Array;
    readonly attempt: number;
    ack(): Promise<void>;
    nack(options?: NackOptions): Promise<void>;
    reject(reason?: unknown): Promise<void>;
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
    readonly deadLetter?: string | false | undefined;
    readonly signal?: AbortSignal | undefined;
}
export interface Subscriber {
    readonly topic: string;
    readonly options: SubscribeOptions;
    unsubscribe(signal?: AbortSignal): Promise<void>;
    readonly closed: Promise<TenonError | undefined>;
}
export interface BrokerOptions {
    readonly address?: string | undefined;
    readonly timeoutMs?: number | undefined;
}
export interface BrokerStatus {
    readonly state: 'connected' | 'away' | 'closed';
    readonly sinceMs: number;
    readonly lastError?: TenonError | undefined;
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
    readonly status: BrokerStatus;
    readonly capabilities?: BrokerCapabilities | undefined;
    init(options: BrokerOptions): void;
    connect(options?: BrokerCallOptions): Promise<void>;
    disconnect(): Promise<void>;
    publish(topic: string, message: BrokerMessage, options?: PublishOptions): Promise<void>;
    subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber>;
    pull(topic: string, options?: SubscribeOptions): AsyncIterable<Event>;
    watch(topic: string, options?: Omit<SubscribeOptions, 'queue'>): AsyncIterable<Event>;
    unwrap(): unknown;
    toString(): string;
}
export declare const Broker: ServiceIdentifier<Broker>;

// tenon/broker/delivery

import type { Logger } from '../logger/logger.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Broker, Event, Subscriber } from './broker.ts';
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
export declare function deliver(broker: Broker, topic: string, options: DeliveryOptions, handler: DeliveryHandler, seams: DeliverySeams): Promise<Subscriber>;
export declare function assertDeliverable(broker: Broker, topic: string, options: DeliveryOptions): void;

// tenon/broker/memory

import { type ServiceIdentifier } from 'inversify';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, type Runtime, Timers } from '../runtime/runtime.ts';
import type { Broker, BrokerCapabilities } from './broker.ts';
import { PortableBroker } from './kit/portable-broker.ts';
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
export declare class MemoryBroker extends PortableBroker implements Broker {
    static readonly capabilities: BrokerCapabilities;
    constructor(options?: MemoryBrokerOptions, clock?: Clock, random?: Random, timers?: Timers, logger?: Logger);
}

// tenon/broker/redis-streams

import { type ServiceIdentifier } from 'inversify';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import type { Broker, BrokerCapabilities } from './broker.ts';
import { PortableBroker } from './kit/portable-broker.ts';
import { type RedisConnectionOptions } from './redis/link.ts';
import { type StreamEntry } from './redis-streams/entries.ts';
export interface RedisStreamsBrokerOptions extends RedisConnectionOptions {
    readonly keyPrefix?: string | undefined;
    readonly maxLength?: number | undefined;
    readonly claimIdleMs?: number | undefined;
    readonly from?: 'now' | 'start' | undefined;
}
export declare const RedisStreamsBrokerOptions: ServiceIdentifier<RedisStreamsBrokerOptions>;
export declare class RedisStreamsBroker extends PortableBroker<StreamEntry> implements Broker {
    static readonly capabilities: BrokerCapabilities;
    constructor(options?: RedisStreamsBrokerOptions, clock?: Clock, random?: Random, timers?: Timers, logger?: Logger);
}

// tenon/broker/redis

import { type ServiceIdentifier } from 'inversify';
import type { BrokerDialect } from '../go-micro/go-micro.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import type { Broker, BrokerCapabilities } from './broker.ts';
import { PortableBroker } from './kit/portable-broker.ts';
import { type RedisConnectionOptions } from './redis/link.ts';
export interface RedisBrokerOptions extends RedisConnectionOptions {
    readonly dialect?: BrokerDialect | undefined;
    readonly maxBacklog?: number | undefined;
}
export declare const RedisBrokerOptions: ServiceIdentifier<RedisBrokerOptions>;
export declare class RedisBroker extends PortableBroker implements Broker {
    static readonly capabilities: BrokerCapabilities;
    constructor(options?: RedisBrokerOptions, clock?: Clock, random?: Random, timers?: Timers, logger?: Logger);
}

// tenon/broker/kit

export type { BrokerDriver, DriverHost, DriverSubscription, ErrorMeaning, EventSink, IncomingEvent, OutgoingEvent, PollRequest, ReceiveRequest, } from './driver.ts';
export { type BrokerSeams, type DriverSetup, PortableBroker, type PortableBrokerInit, type PortableBrokerOptions, } from './portable-broker.ts';
export { NameEncoding, type NameRule, type WireRules } from './name-encoding.ts';
export { type Delayed, DelayedEvents } from './delayed-events.ts';
export { FailureLog } from './failure-log.ts';
export { HeaderReader, HeaderWriter, readPayload, writeFrame } from './frame.ts';
export { dedupeKeyHeader, orderKeyHeader } from './headers.ts';
export { invalidAddress } from './failures.ts';

// tenon/broker/kit (delayed-events)

import type { Runtime } from '../../runtime/runtime.ts';
export interface Delayed {
    readonly atMs: number;
    readonly attempt: number;
}
export declare class DelayedEvents {
    #private;
    constructor(runtime: Pick<Runtime, 'clock' | 'timers'>, onDue: () => void);
    get size(): number;
    get nextAtMs(): number;
    add(id: string, attempt: number, delayMs: number): void;
    get(id: string): Delayed | undefined;
    has(id: string): boolean;
    delete(id: string): void;
    clear(): void;
    due(count: number): [string, Delayed][];
    [Symbol.iterator](): Iterator<[string, Delayed]>;
}

// tenon/broker/kit (driver)

import type { Code } from '../../errors/errors.ts';
import type { EventHeaders } from '../broker.ts';
import type { WireRules } from './name-encoding.ts';
export interface BrokerDriver<E extends IncomingEvent = IncomingEvent> {
    readonly address: string;
    readonly wire?: WireRules | undefined;
    readonly endsCalls?: boolean | undefined;
    readonly maxBatch?: number | undefined;
    open(host: DriverHost): Promise<void>;
    close(): Promise<void> | void;
    publish(events: readonly OutgoingEvent[]): Promise<unknown> | readonly (Promise<unknown> | undefined)[] | undefined;
    receive(request: ReceiveRequest, sink: EventSink<E>): Promise<DriverSubscription<E>>;
    translate(error: unknown): ErrorMeaning;
    unwrap(): unknown;
}
export interface DriverHost {
    away(error: unknown): void;
    back(): void;
    lost(error: unknown): void;
}
export interface OutgoingEvent {
    readonly topic: string;
    readonly headers: EventHeaders;
    readonly body: Uint8Array;
    readonly orderKey: string | undefined;
    withdraw?: (() => boolean) | undefined;
}
export interface IncomingEvent {
    readonly id?: string | undefined;
    readonly headers: EventHeaders;
    readonly body: Uint8Array;
    readonly attempt: number;
}
export interface ReceiveRequest {
    readonly topic: string;
    readonly queue: string | undefined;
    readonly mode: 'consume' | 'watch';
    readonly maxInFlight: number;
    readonly maxWaiting: number;
    readonly doing: string;
}
export interface EventSink<E extends IncomingEvent = IncomingEvent> {
    readonly demand: number;
    readonly isStopped: boolean;
    deliver(event: E): void;
    wake(): void;
    unsettled(): readonly E[];
    settling(): readonly E[];
    resetSession(): void;
    fail(error: unknown): void;
}
export interface PollRequest {
    readonly count: number;
    readonly fresh: number;
    readonly mayLag: boolean;
}
export interface DriverSubscription<E extends IncomingEvent = IncomingEvent> {
    poll?(request: PollRequest): Promise<readonly E[]>;
    readonly pollIdleMs?: number | undefined;
    interrupt?(tried: number): void;
    recover?(error: unknown): Promise<void>;
    resume?(): void;
    readonly maxBacklog?: number | undefined;
    readonly waiting?: number | undefined;
    ack?(events: readonly E[]): Promise<unknown> | void;
    readonly batchesAcks?: boolean | undefined;
    nack?(event: E, delayMs: number): Promise<void> | void;
    reject?(event: E, reason: unknown): Promise<void>;
    release?(events: readonly E[]): Promise<void> | void;
    keepAlive?(events: readonly E[]): Promise<void>;
    readonly keepAliveMs?: number | undefined;
    stop(): Promise<void> | void;
    close(): Promise<void> | void;
}
export interface ErrorMeaning {
    readonly kind: 'unreachable' | 'timeout' | 'refused';
    readonly code?: Code | undefined;
    readonly said?: string | undefined;
    readonly cause?: unknown;
    readonly isFinal?: boolean | undefined;
}

// tenon/broker/kit (failure-log)

import type { LogFields, Logger } from '../../logger/logger.ts';
export declare class FailureLog {
    #private;
    constructor(logger: Logger, fields: LogFields);
    failed(message: string, error: unknown): void;
    succeeded(): void;
}

// tenon/broker/kit (failures)

import { Code, TenonError } from '../../errors/errors.ts';
import type { BrokerCallOptions } from '../broker.ts';
export declare function notConnected(broker: string, doing: string): TenonError;
export declare function alreadyStarted(broker: string): TenonError;
export declare function unreachable(broker: string, address: string, doing: string, cause?: unknown): TenonError;
export declare function timedOut(broker: string, address: string, doing: string, timeoutMs: number): TenonError;
export declare function cancelled(broker: string, doing: string, reason: unknown): TenonError;
export declare function unsupported(broker: string, topic: string, missing: readonly string[]): TenonError;
export declare function refused(broker: string, address: string, doing: string, code: Code, said: string, cause: unknown): TenonError;
export declare function unusableTopic(broker: string, topic: string): TenonError;
export declare function unusableHeader(broker: string, topic: string, name: string): TenonError;
export declare function tooLarge(broker: string, topic: string, part: string, bytes: number, limit: number): TenonError;
export declare function rejected(broker: string, topic: string): TenonError;
export declare function sessionOver(broker: string, topic: string): TenonError;
export declare function invalidAddress(broker: string, address: string, remedy: string): TenonError;
export declare function assertTopic(broker: string, topic: string): void;
export declare function assertCount(broker: string, topic: string, option: string, value: number, least: number): void;
export declare function assertDeadLetter(broker: string, topic: string, deadLetter: string): void;
export declare function subscriptionEnded(broker: string, topic: string): TenonError;
export declare function assertNotAborted(broker: string, doing: string, options: BrokerCallOptions | undefined): void;
export declare function withdrawn(broker: string, doing: string, timeoutMs: number): TenonError;

// tenon/broker/kit (frame)

import { type EventContent } from '../../go-micro/event-envelope.ts';
import type { EventHeaders } from '../broker.ts';
export declare class HeaderWriter {
    #private;
    write(headers: EventHeaders): Buffer;
}
export declare class HeaderReader {
    #private;
    read(bytes: Buffer, start: number, end: number): EventHeaders | undefined;
    frame(payload: Buffer): EventContent | undefined;
}
export declare function writeFrame(table: Buffer, body: Uint8Array): Buffer;
export declare function readPayload(payload: Buffer, reader: HeaderReader): EventContent;

// tenon/broker/kit (headers)

import type { Event, EventHeaders } from '../broker.ts';
export declare const orderKeyHeader = "tenon-order-key";
export declare const dedupeKeyHeader = "tenon-dedupe-key";
export declare function withOrderKey(headers: EventHeaders, orderKey: string | undefined): EventHeaders;
export declare function deadLetterHeaders(event: Event, attempts: number, failure: unknown): EventHeaders;

// tenon/broker/kit (name-encoding)

import type { EventHeaders } from '../broker.ts';
export interface NameRule {
    readonly allowed: RegExp;
    readonly escape?: string | undefined;
    readonly forbids?: ((text: string) => boolean) | undefined;
    readonly maxBytes?: number | undefined;
}
export interface WireRules {
    readonly topic?: NameRule | undefined;
    readonly headerName?: NameRule | undefined;
    readonly headerValue?: NameRule | undefined;
    readonly maxHeaderBytes?: number | undefined;
    readonly maxBodyBytes?: number | undefined;
}
export declare class NameEncoding {
    #private;
    constructor(rule: NameRule);
    encode(text: string): string;
    decode(text: string): string;
    fits(encoded: string): boolean;
}
export declare class WireEncoding {
    #private;
    readonly rules: WireRules;
    constructor(rules: WireRules);
    topic(topic: string): string | undefined;
    headers(headers: EventHeaders): EventHeaders | string;
    readHeaders(headers: EventHeaders): EventHeaders;
}
export declare function headerBytes(headers: EventHeaders): number;

// tenon/broker/kit (portable-broker)

import type { Logger } from '../../logger/logger.ts';
import type { Clock, Random, Runtime, Timers } from '../../runtime/runtime.ts';
import type { Broker, BrokerCallOptions, BrokerCapabilities, BrokerMessage, BrokerOptions, BrokerStatus, Event, EventCallback, PublishOptions, Subscriber, SubscribeOptions } from '../broker.ts';
import type { BrokerDriver, IncomingEvent } from './driver.ts';
export interface PortableBrokerOptions extends BrokerOptions {
    readonly watchLag?: number | undefined;
    readonly runtime?: Partial<Runtime> | undefined;
    readonly logger?: Logger | undefined;
}
export interface BrokerSeams {
    readonly clock?: Clock | undefined;
    readonly random?: Random | undefined;
    readonly timers?: Timers | undefined;
    readonly logger?: Logger | undefined;
}
export interface DriverSetup {
    readonly address: string | undefined;
    readonly timeoutMs: number;
    readonly runtime: Runtime;
    readonly logger: Logger;
}
export interface PortableBrokerInit<E extends IncomingEvent> {
    readonly name: string;
    readonly options: PortableBrokerOptions;
    readonly seams?: BrokerSeams | undefined;
    readonly makeDriver: (setup: DriverSetup) => BrokerDriver<E>;
}
export declare class PortableBroker<E extends IncomingEvent = IncomingEvent> implements Broker {
    #private;
    constructor({ name, options, seams, makeDriver }: PortableBrokerInit<E>);
    get options(): BrokerOptions;
    get address(): string;
    get status(): BrokerStatus;
    get capabilities(): BrokerCapabilities;
    init(options: BrokerOptions): void;
    connect(options?: BrokerCallOptions): Promise<void>;
    disconnect(): Promise<void>;
    publish(topic: string, message: BrokerMessage, options?: PublishOptions): Promise<void>;
    subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber>;
    pull(topic: string, options?: SubscribeOptions): AsyncIterable<Event>;
    watch(topic: string, options?: Omit<SubscribeOptions, 'queue'>): AsyncIterable<Event>;
    unwrap(): unknown;
    toString(): string;
}
