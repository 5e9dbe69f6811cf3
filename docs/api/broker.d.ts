// Written by `npm run api`; a test says when it is not current.

// tenon/broker

import type { ServiceIdentifier } from 'inversify';
import type { TenonError } from '../errors/errors.ts';
import type { ConnectionSecurityCapabilities, ConnectionSecurityOptions } from '../tls/connection.ts';
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
    readonly delayMs?: number | undefined;
    readonly ttlMs?: number | undefined;
    readonly orderKey?: string | undefined;
    readonly waitForReady?: boolean | undefined;
}
export interface SubscribeOptions {
    readonly queue?: string | undefined;
    readonly maxInFlight?: number | undefined;
    readonly maxWaiting?: number | undefined;
    readonly deadLetter?: string | false | undefined;
    readonly from?: 'start' | undefined;
    readonly signal?: AbortSignal | undefined;
}
export interface Subscriber {
    readonly topic: string;
    readonly options: SubscribeOptions;
    unsubscribe(signal?: AbortSignal): Promise<void>;
    readonly closed: Promise<TenonError | undefined>;
}
export interface BrokerOptions extends ConnectionSecurityOptions {
    readonly address?: string | undefined;
    readonly timeoutMs?: number | undefined;
}
export interface BrokerStatus {
    readonly state: 'connected' | 'away' | 'closed';
    readonly sinceMs: number;
    readonly lastError?: TenonError | undefined;
}
export interface BrokerCapabilities extends ConnectionSecurityCapabilities {
    readonly persistent: boolean;
    readonly ack: boolean;
    readonly nack: boolean;
    readonly delay: boolean;
    readonly groups: boolean;
    readonly durableOnMemberDeath?: boolean | undefined;
    readonly competing?: boolean | undefined;
    readonly attempts: boolean;
    readonly deadLetter: boolean;
    readonly deadLetterQueue?: string | undefined;
    readonly order: boolean;
    readonly replay: boolean;
    readonly wildcards?: boolean | undefined;
    readonly shared: boolean;
}
export interface Broker {
    readonly options: BrokerOptions;
    readonly address: string;
    readonly status: BrokerStatus;
    onStatus?(listener: () => void): () => void;
    readonly capabilities?: BrokerCapabilities | undefined;
    init(options: BrokerOptions): void;
    connect(options?: BrokerCallOptions): Promise<void>;
    settled?(): Promise<void>;
    disconnect(): Promise<void>;
    isControlHeader?(name: string): boolean;
    publish(topic: string, message: BrokerMessage, options?: PublishOptions): Promise<void>;
    subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber>;
    pull(topic: string, options?: SubscribeOptions): AsyncIterable<Event>;
    watch(topic: string, options?: Omit<SubscribeOptions, 'queue'>): AsyncIterable<Event>;
    unwrap(): unknown;
    toString(): string;
}
export declare const Broker: ServiceIdentifier<Broker>;

// tenon/broker/cloud-events

import type { BrokerMessage, EventHeaders } from './broker.ts';
export interface CloudEvent {
    readonly id: string;
    readonly source: string;
    readonly type: string;
    readonly subject?: string | undefined;
    readonly time?: string | undefined;
    readonly datacontenttype?: string | undefined;
    readonly dataschema?: string | undefined;
    readonly extensions?: Readonly<Record<string, string>> | undefined;
    readonly data: Uint8Array;
}
export type CloudEventMode = 'binary' | 'structured';
export declare function writeCloudEvent(event: CloudEvent, mode: CloudEventMode, headers?: EventHeaders): BrokerMessage;
export declare function readCloudEvent({ headers, body }: BrokerMessage): CloudEvent | undefined;
export declare function contentOf({ headers, body }: BrokerMessage): {
    readonly contentType: string | undefined;
    readonly body: Uint8Array;
};

// tenon/broker/delivery

import type { Logger } from '../logger/logger.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Store } from '../store/store.ts';
import type { Broker, Event, Subscriber } from './broker.ts';
import { type HandlerAttempt } from './delivery/running-attempts.ts';
export interface DeliveryOptions {
    readonly queue?: string | undefined;
    readonly retry?: number | undefined;
    readonly retryDelayMs?: number | undefined;
    readonly deadLetter?: boolean | string | undefined;
    readonly dedupe?: boolean | undefined;
    readonly dedupeKeepMs?: number | undefined;
    readonly handlerTimeoutMs?: number | undefined;
    readonly maxInFlight?: number | undefined;
    readonly maxWaiting?: number | undefined;
}
export type DeliveryHandler = (event: Event, signal: AbortSignal, attempt: HandlerAttempt) => Promise<void>;
export interface DeliverySeams {
    readonly runtime: Runtime;
    readonly logger: Logger;
    readonly store?: Store | undefined;
}
export declare function deliver(broker: Broker, topic: string, options: DeliveryOptions, handler: DeliveryHandler, seams: DeliverySeams): Promise<Subscriber>;
export declare function assertDeliverable(broker: Broker, topic: string, options: DeliveryOptions): void;

// tenon/broker/kafka

import { type ServiceIdentifier } from 'inversify';
import type { BackendNote } from '../internal/backend-note.ts';
import { type SaslMechanism } from '../kafka/kafka.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import type { Broker, BrokerCapabilities } from './broker.ts';
import { type KafkaEvent } from './kafka/partition-reader.ts';
import { PortableBroker, type PortableBrokerOptions } from './kit/portable-broker.ts';
export interface KafkaBrokerOptions extends PortableBrokerOptions {
    readonly address?: string | undefined;
    readonly partitions?: number | undefined;
    readonly createTopics?: boolean | undefined;
    readonly from?: 'start' | 'now' | undefined;
    readonly sessionTimeoutMs?: number | undefined;
    readonly revokeWaitMs?: number | undefined;
    readonly sasl?: SaslMechanism | undefined;
}
export declare const KafkaBrokerOptions: ServiceIdentifier<KafkaBrokerOptions>;
export declare class KafkaBroker extends PortableBroker<KafkaEvent> implements Broker {
    static capabilities({ partitions }?: KafkaBrokerOptions): BrokerCapabilities;
    static notes(): readonly BackendNote[];
    constructor(options?: KafkaBrokerOptions, clock?: Clock, random?: Random, timers?: Timers, logger?: Logger);
}

// tenon/broker/kit

export type { BrokerDriver, DriverHost, DriverSubscription, ErrorMeaning, EventSink, IncomingEvent, OutgoingEvent, PollRequest, ReceiveRequest, } from './driver.ts';
export { type BrokerSeams, type DriverSetup, PortableBroker, type PortableBrokerInit, type PortableBrokerOptions, } from './portable-broker.ts';
export { NameEncoding, type NameRule, type WireRules } from './name-encoding.ts';
export type { WildcardRules } from './wildcards.ts';
export { type Delayed, DelayedEvents } from './delayed-events.ts';
export { FailureLog } from './failure-log.ts';
export { HeaderReader, HeaderWriter, readPayload, writeFrame } from './frame.ts';
export { dedupeKeyHeader, orderKeyHeader } from './headers.ts';
export { invalidAddress } from './failures.ts';

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
    #private;
    static readonly capabilities: BrokerCapabilities;
    constructor(options?: MemoryBrokerOptions, clock?: Clock, random?: Random, timers?: Timers, logger?: Logger);
    settled(): Promise<void>;
}

// tenon/broker/mqtt

import { type ServiceIdentifier } from 'inversify';
import { Logger } from '../logger/logger.ts';
import type { MqttVersion } from '../mqtt/mqtt.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import type { Broker, BrokerCapabilities } from './broker.ts';
import { PortableBroker, type PortableBrokerOptions } from './kit/portable-broker.ts';
import { type MqttEvent } from './mqtt/subscription.ts';
export interface MqttBrokerOptions extends PortableBrokerOptions {
    readonly address?: string | undefined;
    readonly clientId?: string | undefined;
    readonly version?: MqttVersion | undefined;
    readonly sessionExpiryMs?: number | undefined;
    readonly keepaliveMs?: number | undefined;
}
export declare const MqttBrokerOptions: ServiceIdentifier<MqttBrokerOptions>;
export declare class MqttBroker extends PortableBroker<MqttEvent> implements Broker {
    static capabilities({ clientId }?: MqttBrokerOptions): BrokerCapabilities;
    constructor(options?: MqttBrokerOptions, clock?: Clock, random?: Random, timers?: Timers, logger?: Logger);
}

// tenon/broker/nats

import { type ServiceIdentifier } from 'inversify';
import type { BrokerDialect } from '../go-micro/go-micro.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import type { Broker, BrokerCapabilities } from './broker.ts';
import { PortableBroker } from './kit/portable-broker.ts';
import { type NatsConnectionOptions } from './nats/link.ts';
export interface NatsBrokerOptions extends NatsConnectionOptions {
    readonly dialect?: BrokerDialect | undefined;
    readonly maxBacklog?: number | undefined;
}
export declare const NatsBrokerOptions: ServiceIdentifier<NatsBrokerOptions>;
export declare class NatsBroker extends PortableBroker implements Broker {
    static readonly capabilities: BrokerCapabilities;
    constructor(options?: NatsBrokerOptions, clock?: Clock, random?: Random, timers?: Timers, logger?: Logger);
}

// tenon/broker/nats-jetstream

import { type ServiceIdentifier } from 'inversify';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import type { Broker, BrokerCapabilities } from './broker.ts';
import { PortableBroker } from './kit/portable-broker.ts';
import { type NatsConnectionOptions } from './nats/link.ts';
import { type StoredEvent } from './nats-jetstream/reader.ts';
import { type StreamSettings } from './nats-jetstream/streams.ts';
export interface NatsJetStreamBrokerOptions extends NatsConnectionOptions, StreamSettings {
    readonly ackWaitMs?: number | undefined;
    readonly from?: 'now' | 'start' | undefined;
}
export declare const NatsJetStreamBrokerOptions: ServiceIdentifier<NatsJetStreamBrokerOptions>;
export declare class NatsJetStreamBroker extends PortableBroker<StoredEvent> implements Broker {
    static readonly capabilities: BrokerCapabilities;
    constructor(options?: NatsJetStreamBrokerOptions, clock?: Clock, random?: Random, timers?: Timers, logger?: Logger);
}

// tenon/broker/rabbitmq

import { type ServiceIdentifier } from 'inversify';
import type { BrokerDialect } from '../go-micro/go-micro.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import type { Broker, BrokerCapabilities } from './broker.ts';
import { PortableBroker, type PortableBrokerOptions } from './kit/portable-broker.ts';
import { type Delivery } from './rabbitmq/subscription.ts';
export interface RabbitMqBrokerOptions extends PortableBrokerOptions {
    readonly address?: string | undefined;
    readonly vhost?: string | undefined;
    readonly queueType?: 'quorum' | 'classic' | undefined;
    readonly unroutable?: 'accept' | 'refuse' | undefined;
    readonly heartbeatMs?: number | undefined;
    readonly dialect?: BrokerDialect | undefined;
}
export declare const RabbitMqBrokerOptions: ServiceIdentifier<RabbitMqBrokerOptions>;
export declare class RabbitMqBroker extends PortableBroker<Delivery> implements Broker {
    static readonly capabilities: BrokerCapabilities;
    constructor(options?: RabbitMqBrokerOptions, clock?: Clock, random?: Random, timers?: Timers, logger?: Logger);
}

// tenon/broker/redrive

import type { Random, Timers } from '../runtime/runtime.ts';
import type { Broker, Event } from './broker.ts';
export interface RedriveOptions {
    readonly to?: string | undefined;
    readonly queue?: string | undefined;
    readonly limit?: number | undefined;
    readonly filter?: ((event: Event) => boolean) | undefined;
    readonly idleMs?: number | undefined;
    readonly firstMs?: number | undefined;
    readonly signal?: AbortSignal | undefined;
    readonly random?: Random | undefined;
    readonly timers?: Timers | undefined;
}
export interface Redriven {
    readonly moved: number;
    readonly skipped: number;
}
export declare const redriveHeader = "tenon-redrive";
export declare function redrive(broker: Broker, topic: string, options?: RedriveOptions): Promise<Redriven>;

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

// tenon/broker/request

import type { Random, Timers } from '../runtime/runtime.ts';
import type { Broker, BrokerCallOptions, BrokerMessage, Event } from './broker.ts';
export interface RequesterOptions {
    readonly timeoutMs?: number | undefined;
    readonly random?: Random | undefined;
    readonly timers?: Timers | undefined;
}
export interface RequestEventOptions extends BrokerCallOptions {
    readonly orderKey?: string | undefined;
}
export declare class Requester {
    #private;
    constructor(broker: Broker, options?: RequesterOptions);
    request(topic: string, message: BrokerMessage, options?: RequestEventOptions): Promise<Event>;
    close(): Promise<void>;
}
export declare function reply(broker: Broker, event: Event, message: BrokerMessage): Promise<boolean>;
export declare function replyError(broker: Broker, event: Event, error: unknown): Promise<boolean>;

// broker/delivery/running-attempts.ts, by tenon/broker/delivery

import type { TenonError } from '../../errors/errors.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { Event, EventHeaders, NackOptions } from '../broker.ts';
export interface HandlerAttempt {
    readonly deadline: number;
    readonly signal: AbortSignal;
    onAbort: ((reason: TenonError) => void) | undefined;
}

// broker/kit/delayed-events.ts, by tenon/broker/kit

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

// broker/kit/driver.ts, by tenon/broker/kit

import type { Code } from '../../errors/errors.ts';
import type { EventHeaders } from '../broker.ts';
import type { WireRules } from './name-encoding.ts';
import type { WildcardRules } from './wildcards.ts';
export interface BrokerDriver<E extends IncomingEvent = IncomingEvent> {
    readonly address: string;
    readonly wire?: WireRules | undefined;
    readonly wildcards?: WildcardRules | undefined;
    readonly endsCalls?: boolean | undefined;
    readonly maxBatch?: number | undefined;
    open(host: DriverHost): Promise<void>;
    close(): Promise<void> | void;
    publish(events: readonly OutgoingEvent[]): Promise<unknown> | readonly (Promise<unknown> | undefined)[] | undefined;
    receive(request: ReceiveRequest, sink: EventSink<E>): Promise<DriverSubscription<E>>;
    forget?(request: ReceiveRequest): void;
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
    readonly topic?: string | undefined;
    readonly id?: string | undefined;
    readonly headers: EventHeaders;
    readonly body: Uint8Array;
    readonly attempt: number;
}
export interface ReceiveRequest {
    readonly topic: string;
    readonly isPattern?: boolean | undefined;
    readonly queue: string | undefined;
    readonly from?: 'start' | undefined;
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

// broker/kit/failure-log.ts, by tenon/broker/kit

import type { LogFields, Logger } from '../../logger/logger.ts';
export declare class FailureLog {
    #private;
    constructor(logger: Logger, fields: LogFields);
    failed(message: string, error: unknown): void;
    succeeded(): void;
}

// broker/kit/failures.ts, by tenon/broker/kit

import { Code, TenonError } from '../../errors/errors.ts';
import type { BrokerCallOptions } from '../broker.ts';
export declare function invalidAddress(broker: string, address: string, remedy: string): TenonError;

// broker/kit/frame.ts, by tenon/broker/kit

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

// broker/kit/headers.ts, by tenon/broker/kit

import type { Clock } from '../../runtime/runtime.ts';
import type { Event, EventHeaders } from '../broker.ts';
export declare const orderKeyHeader = "tenon-order-key";
export declare const dedupeKeyHeader = "tenon-dedupe-key";

// broker/kit/name-encoding.ts, by tenon/broker/kit

import type { EventHeaders } from '../broker.ts';
import type { TopicPattern, WildcardRules } from './wildcards.ts';
export interface NameRule {
    readonly allowed: RegExp;
    readonly escape?: string | undefined;
    readonly forbids?: ((text: string) => boolean) | undefined;
    readonly maxBytes?: number | undefined;
    readonly separator?: string | undefined;
}
export interface WireRules {
    readonly topic?: NameRule | undefined;
    readonly headerName?: NameRule | undefined;
    readonly headerValue?: NameRule | undefined;
    readonly controlHeaders?: RegExp | undefined;
    readonly maxHeaderBytes?: number | undefined;
    readonly maxBodyBytes?: number | undefined;
}
export declare class NameEncoding {
    #private;
    constructor(rule: NameRule);
    encode(text: string): string;
    encodeWord(text: string): string;
    decode(text: string): string;
    fits(encoded: string): boolean;
}

// broker/kit/portable-broker.ts, by tenon/broker/kafka, tenon/broker/kit, tenon/broker/mqtt, tenon/broker/nats, tenon/broker/nats-jetstream, tenon/broker/rabbitmq, tenon/broker/redis, tenon/broker/redis-streams

import type { Logger } from '../../logger/logger.ts';
import type { Clock, Random, Runtime, Timers } from '../../runtime/runtime.ts';
import { ConnectionSecurity } from '../../tls/connection.ts';
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
    readonly security: ConnectionSecurity;
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
    onStatus(listener: () => void): () => void;
    get capabilities(): BrokerCapabilities;
    init(options: BrokerOptions): void;
    connect(options?: BrokerCallOptions): Promise<void>;
    disconnect(): Promise<void>;
    publish(topic: string, message: BrokerMessage, options?: PublishOptions): Promise<void>;
    subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber>;
    pull(topic: string, options?: SubscribeOptions): AsyncIterable<Event>;
    watch(topic: string, options?: Omit<SubscribeOptions, 'queue'>): AsyncIterable<Event>;
    isControlHeader(name: string): boolean;
    unwrap(): unknown;
    toString(): string;
}

// broker/kit/wildcards.ts, by tenon/broker/kit

export interface WildcardRules {
    readonly one: string;
    readonly rest: string;
    readonly escapes?: RegExp | undefined;
}

// broker/nats-jetstream/streams.ts, by tenon/broker/nats-jetstream

import type { ConsumerConfig, ConsumerInfo, JetStreamManager } from './library.ts';
export interface StreamSettings {
    readonly streamPrefix?: string | undefined;
    readonly storage?: 'file' | 'memory' | undefined;
    readonly replicas?: number | undefined;
    readonly maxLength?: number | undefined;
    readonly maxStreamBytes?: number | undefined;
    readonly maxAgeMs?: number | undefined;
    readonly duplicateWindowMs?: number | undefined;
}

// broker/nats/link.ts, by tenon/broker/nats, tenon/broker/nats-jetstream

import type { DriverHost, ErrorMeaning } from '../kit/driver.ts';
import type { WireRules } from '../kit/name-encoding.ts';
import type { DriverSetup, PortableBrokerOptions } from '../kit/portable-broker.ts';
import { type NatsConnection } from './library.ts';
export interface NatsConnectionOptions extends PortableBrokerOptions {
    readonly address?: string | undefined;
    readonly timeoutMs?: number | undefined;
}

// broker/redis/link.ts, by tenon/broker/redis, tenon/broker/redis-streams

import { Redis, type RedisOptions as AnyRedisOptions } from 'ioredis';
import type { BrokerDriver, DriverHost, DriverSubscription, ErrorMeaning, EventSink, IncomingEvent, OutgoingEvent, ReceiveRequest } from '../kit/driver.ts';
import type { DriverSetup, PortableBrokerOptions } from '../kit/portable-broker.ts';
type RedisOptions = Omit<AnyRedisOptions, 'replyMapping'>;
export interface RedisConnectionOptions extends PortableBrokerOptions {
    readonly address?: string | undefined;
    readonly client?: Redis | undefined;
    readonly timeoutMs?: number | undefined;
}
