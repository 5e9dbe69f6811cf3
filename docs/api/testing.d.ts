// Written by `npm run api`; a test says when it is not current.

// tenon/testing

export { type Case, type TestApi } from './api.ts';
export { brokerCases, brokerConformance } from './broker.ts';
export { clientCases, clientConformance } from './client.ts';
export { codecCases, codecConformance, type CodecHarness, type CodecSample, framedCodecCases, framedCodecConformance, type FramedCodecHarness, } from './codec.ts';
export { failingCases, type FailingCasesOptions, failureOf, thrownBy, type UncaughtErrors, watchUncaught, } from './failures.ts';
export { collect, EventRecorder, type LogLine, publishText, RecordingLogger, textOf, WatchRecorder, } from './recorders.ts';
export type { BrokerHarness } from './internal/broker-fixture.ts';
export type { ClientHarness } from './internal/client-harness.ts';
export type { RegistryHarness } from './internal/registry-fixture.ts';
export type { Parts } from './internal/parts.ts';
export type { TransportHarness } from './internal/transport-fixture.ts';
export { registryCases, registryCasesFor, registryConformance } from './registry.ts';
export { selectorCases, selectorCasesFor, selectorConformance, type SelectorHarness } from './selector.ts';
export { serverCases, serverConformance, type ServerHarness } from './server.ts';
export { serviceCases, serviceConformance, type ServiceHarness } from './service.ts';
export { transportCases, transportCasesFor, transportConformance } from './transport.ts';
export { type HeldTimer, HeldTimers, type VirtualRuntime, virtualRuntime, VirtualTimers } from './virtual-time.ts';
export { eventually, type Gate, gate, settled, within, type WithinOptions } from './waiting.ts';

// testing/api.ts, by tenon/testing

export interface TestApi {
    describe(name: string, body: () => void): void;
    it(name: string, body: () => Promise<void> | void, timeoutMs?: number): void;
}
export interface Case<Harness> {
    readonly name: string;
    readonly requires?: string | undefined;
    run(harness: Harness): Promise<void> | void;
}

// testing/broker.ts, by tenon/testing

import type { BrokerCapabilities } from '../broker/broker.ts';
import type { Case, TestApi } from './api.ts';
import type { BrokerHarness } from './internal/broker-fixture.ts';
export declare const brokerCases: readonly Case<BrokerHarness>[];
export declare function brokerConformance(api: TestApi, name: string, harness: BrokerHarness): void;

// testing/client.ts, by tenon/testing

import type { Case, TestApi } from './api.ts';
import type { ClientHarness } from './internal/client-harness.ts';
export declare const clientCases: readonly Case<ClientHarness>[];
export declare function clientConformance(api: TestApi, name: string, harness: ClientHarness): void;

// testing/codec.ts, by tenon/testing

import type { Codec, Marshaler, MessageStream } from '../codec/codec.ts';
import type { Schema } from '../pipeline/pipeline.ts';
import type { Case, TestApi } from './api.ts';
export interface CodecSample {
    readonly name: string;
    readonly schema: Schema;
    readonly value: unknown;
    readonly decoded?: unknown;
}
export interface CodecHarness {
    readonly make: () => Marshaler;
    readonly samples: readonly CodecSample[];
    readonly unencodable: readonly {
        readonly schema: Schema;
        readonly value: unknown;
    }[];
    readonly garbage: readonly {
        readonly schema: Schema;
        readonly bytes: Uint8Array;
    }[];
    readonly large: (bytes: number) => {
        readonly schema: Schema;
        readonly value: unknown;
    };
    readonly empty: Schema;
    readonly supports?: {
        readonly copies?: boolean;
        readonly refusesBytes?: boolean;
    };
}
export declare const codecCases: readonly Case<CodecHarness>[];
export declare function codecConformance(api: TestApi, name: string, options: CodecHarness): void;
export interface FramedCodecHarness {
    readonly make: (stream: MessageStream) => Codec;
    readonly schema: Schema;
    readonly value: unknown;
    readonly unencodable: unknown;
}
export declare const framedCodecCases: readonly Case<FramedCodecHarness>[];
export declare function framedCodecConformance(api: TestApi, name: string, options: FramedCodecHarness): void;

// testing/failures.ts, by tenon/testing

import { TenonError } from '../errors/errors.ts';
import type { Case } from './api.ts';
export declare function failureOf(call: PromiseLike<unknown>): Promise<TenonError>;
export declare function thrownBy(work: () => unknown): TenonError;
export interface UncaughtErrors {
    readonly errors: readonly unknown[];
    stop(): void;
}
export declare function watchUncaught(): UncaughtErrors;
export interface FailingCasesOptions {
    readonly limitMs?: number | undefined;
    readonly atOnce?: number | undefined;
}
export declare function failingCases<Harness>(cases: readonly Case<Harness>[], harness: () => Harness | Promise<Harness>, options?: FailingCasesOptions): Promise<string[]>;

// testing/internal/broker-fixture.ts, by tenon/testing

import type { Broker, BrokerCapabilities, BrokerMessage, Event, PublishOptions, Subscriber, SubscribeOptions } from '../../broker/broker.ts';
import { type DeliveryHandler, type DeliveryOptions } from '../../broker/delivery.ts';
import type { Code } from '../../errors/errors.ts';
import type { Case } from '../api.ts';
export interface BrokerHarness {
    make(): Broker;
    readonly capabilities: BrokerCapabilities;
    readonly patienceMs?: number | undefined;
    readonly addsHeaders?: readonly string[] | undefined;
    takesTopic?(topic: string): boolean;
    takesHeader?(name: string, value: string): boolean;
    readonly maxBodyBytes?: number | undefined;
    readonly pollMs?: number | undefined;
}

// testing/internal/client-harness.ts, by tenon/testing

import type { Client, ClientOptions } from '../../client/client.ts';
import type { Parts } from './parts.ts';
export interface ClientHarness {
    make(parts: Parts, options?: ClientOptions): Client;
}

// testing/internal/parts.ts, by tenon/testing

import type { Broker } from '../../broker/broker.ts';
import type { Marshaler } from '../../codec/codec.ts';
import { type Logger } from '../../logger/logger.ts';
import { type MethodDescriptor, type MethodKind } from '../../pipeline/pipeline.ts';
import type { Registry } from '../../registry/registry.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { Selector } from '../../selector/selector.ts';
import type { Accept, Listener, Socket, Transport } from '../../transport/transport.ts';
export interface Parts {
    readonly transport: Transport;
    readonly registry: Registry;
    readonly selector: Selector;
    readonly broker: Broker;
    readonly marshaler: Marshaler;
    readonly marshalers: readonly Marshaler[];
    readonly runtime: Runtime;
    readonly logger: Logger;
}

// testing/internal/registry-fixture.ts, by tenon/testing

import type { NodeRecord, Registry, RegistryCapabilities, RegistryEvent, ServiceRecord, Watcher } from '../../registry/registry.ts';
import type { Case } from '../api.ts';
export interface RegistryHarness {
    make(): Registry | Promise<Registry>;
    readonly capabilities: RegistryCapabilities;
    readonly seesOthers?: boolean | undefined;
    seed?(service: ServiceRecord): Promise<void> | void;
    unseed?(service: ServiceRecord): Promise<void> | void;
    readonly shortTtlMs?: number | undefined;
    readonly settleMs?: number | undefined;
    readonly maxRecordBytes?: number | undefined;
    readonly guardsNodes?: boolean | undefined;
    isLegalName?(name: string): boolean;
    readonly suiteIdOf?: ((id: string) => string) | undefined;
}

// testing/internal/transport-fixture.ts, by tenon/testing

import { Context } from '../../context/context.ts';
import type { Metadata } from '../../context/metadata.ts';
import { type Status } from '../../context/status.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { type MethodDescriptor, type MethodKind } from '../../pipeline/pipeline.ts';
import type { DialOptions, Listener, ListenOptions, Message, Socket, Transport, TransportClient } from '../../transport/transport.ts';
export interface TransportHarness {
    make(): Transport | Promise<Transport>;
    readonly address?: string | undefined;
    readonly patienceMs?: number | undefined;
    readonly supports?: {
        readonly suggest?: boolean;
        readonly resets?: boolean;
    };
}

// testing/recorders.ts, by tenon/testing

import type { Broker, Event } from '../broker/broker.ts';
import type { LogFields, Logger } from '../logger/logger.ts';
import type { RegistryEvent, Watcher } from '../registry/registry.ts';
export interface LogLine {
    readonly level: 'debug' | 'info' | 'warn' | 'error';
    readonly message: string;
    readonly fields: LogFields;
}
export declare class RecordingLogger implements Logger {
    #private;
    readonly lines: LogLine[];
    get texts(): string[];
    debug: (message: string, fields?: LogFields) => void;
    info: (message: string, fields?: LogFields) => void;
    warn: (message: string, fields?: LogFields) => void;
    error: (message: string, fields?: LogFields) => void;
    child: () => Logger;
}
export declare function textOf(event: {
    readonly body: Uint8Array;
}): string;
export declare function publishText(broker: Broker, topic: string, text: string, headers?: Readonly<Record<string, string>>): Promise<void>;
export declare class EventRecorder {
    readonly events: Event[];
    readonly texts: string[];
    readonly receive: (event: Event) => Promise<void>;
}
export declare class WatchRecorder {
    readonly events: RegistryEvent[];
    readonly ended: Promise<unknown>;
    constructor(watcher: Watcher);
    get texts(): string[];
}
export declare function collect<T>(values: AsyncIterable<T>): Promise<T[]>;

// testing/registry.ts, by tenon/testing

import type { Case, TestApi } from './api.ts';
import { type RegistryHarness } from './internal/registry-fixture.ts';
export declare const registryCases: readonly Case<RegistryHarness>[];
export declare function registryCasesFor(harness: RegistryHarness): readonly Case<RegistryHarness>[];
export declare function registryConformance(api: TestApi, name: string, harness: RegistryHarness): void;

// testing/selector.ts, by tenon/testing

import { type Registry } from '../registry/registry.ts';
import type { Clock } from '../runtime/runtime.ts';
import { type Selector, type SelectorCapabilities, type SelectorOptions } from '../selector/selector.ts';
import type { Case, TestApi } from './api.ts';
export interface SelectorHarness {
    make(registry: Registry, options: SelectorOptions, clock: Clock): Selector;
    readonly capabilities: SelectorCapabilities;
}
export declare const selectorCases: readonly Case<SelectorHarness>[];
export declare function selectorCasesFor({ capabilities }: SelectorHarness): readonly Case<SelectorHarness>[];
export declare function selectorConformance(api: TestApi, name: string, harness: SelectorHarness): void;

// testing/server.ts, by tenon/testing

import type { Server, ServerOptions } from '../server/server.ts';
import type { Case, TestApi } from './api.ts';
import { type Parts } from './internal/parts.ts';
export interface ServerHarness {
    make(parts: Parts, options?: ServerOptions): Server;
}
export declare const serverCases: readonly Case<ServerHarness>[];
export declare function serverConformance(api: TestApi, name: string, harness: ServerHarness): void;

// testing/service.ts, by tenon/testing

import type { Client } from '../client/client.ts';
import type { Server } from '../server/server.ts';
import type { ServiceOptions, ServiceRuntime } from '../service/service.ts';
import type { Case, TestApi } from './api.ts';
export interface ServiceHarness {
    make(server: Server, client: Client, options?: ServiceOptions): ServiceRuntime;
}
export declare const serviceCases: readonly Case<ServiceHarness>[];
export declare function serviceConformance(api: TestApi, name: string, harness: ServiceHarness): void;

// testing/transport.ts, by tenon/testing

import type { Case, TestApi } from './api.ts';
import type { TransportHarness } from './internal/transport-fixture.ts';
export declare const transportCases: readonly Case<TransportHarness>[];
export declare function transportCasesFor(options: TransportHarness, hasUnary: boolean): readonly Case<TransportHarness>[];
export declare function transportConformance(api: TestApi, name: string, options: TransportHarness & {
    readonly unary?: boolean;
}): void;

// testing/virtual-time.ts, by tenon/testing

import type { Runtime, Timer, TimerOptions, Timers } from '../runtime/runtime.ts';
export declare class VirtualTimers implements Timers {
    #private;
    nowMs: number;
    constructor(startMs?: number);
    get pending(): number;
    after(delayMs: number, callback: () => void): Timer;
    every(periodMs: number, callback: () => void): Timer;
    soon(callback: () => void): void;
    sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
    settle(): Promise<void>;
    advance(byMs: number): Promise<void>;
}
export interface VirtualRuntime extends Runtime {
    readonly timers: VirtualTimers;
}
export declare function virtualRuntime(startMs?: number): VirtualRuntime;
export interface HeldTimer {
    readonly delayMs: number;
    readonly callback: () => void;
    readonly isPeriodic: boolean;
}
export declare class HeldTimers implements Timers {
    #private;
    readonly held: HeldTimer[];
    constructor(holds: (delayMs: number, isPeriodic: boolean) => boolean);
    after(delayMs: number, callback: () => void, options?: TimerOptions): Timer;
    every(periodMs: number, callback: () => void, options?: TimerOptions): Timer;
    soon(callback: () => void): void;
    sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
    fire(): void;
}

// testing/waiting.ts, by tenon/testing

export declare function eventually(what: string, condition: () => boolean | Promise<boolean>, limitMs?: number): Promise<void>;
export interface WithinOptions {
    readonly limitMs?: number | undefined;
    readonly keepAlive?: boolean | undefined;
}
export declare function within<T>(what: string, work: PromiseLike<T>, options?: WithinOptions): Promise<T>;
export declare function settled(count: () => number, quietMs?: number): Promise<number>;
export interface Gate<T = void> {
    readonly opened: Promise<T>;
    open(value: T): void;
}
export declare function gate<T = void>(): Gate<T>;
