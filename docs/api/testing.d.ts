// Written by `npm run api`; a test says when it is not current.

// tenon/testing

export { type Case, type TestApi } from './api.ts';
export { brokerCases, brokerConformance, type BrokerHarness } from './broker.ts';
export { clientCases, clientConformance, type ClientHarness, type Parts } from './client.ts';
export { codecCases, codecConformance, type CodecOptions, type CodecSample, framedCodecCases, framedCodecConformance, type FramedCodecOptions, } from './codec.ts';
export { failingCases, type FailingCasesOptions, failureOf, thrownBy, type UncaughtErrors, watchUncaught, } from './failures.ts';
export { collect, EventRecorder, type LogLine, publishText, RecordingLogger, textOf, WatchRecorder, } from './recorders.ts';
export { registryCases, registryCasesFor, registryConformance, type RegistryHarness } from './registry.ts';
export { selectorCases, selectorCasesFor, selectorConformance, type SelectorHarness } from './selector.ts';
export { serverCases, serverConformance, type ServerHarness } from './server.ts';
export { serviceCases, serviceConformance, type ServiceHarness } from './service.ts';
export { transportCases, transportCasesFor, transportConformance, type TransportOptions } from './transport.ts';
export { type HeldTimer, HeldTimers, type VirtualRuntime, virtualRuntime, VirtualTimers } from './virtual-time.ts';
export { eventually, type Gate, gate, settled, within, type WithinOptions } from './waiting.ts';

// tenon/testing/api

export interface TestApi {
    describe(name: string, body: () => void): void;
    it(name: string, body: () => Promise<void> | void, timeoutMs?: number): void;
}
export interface Case<Harness> {
    readonly name: string;
    readonly requires?: string | undefined;
    run(harness: Harness): Promise<void> | void;
}

// tenon/testing/broker

import type { BrokerCapabilities } from '../broker/broker.ts';
import type { Case, TestApi } from './api.ts';
import type { BrokerHarness } from './internal/broker-scene.ts';
export type { BrokerHarness } from './internal/broker-scene.ts';
export declare const brokerCases: readonly Case<BrokerHarness>[];
export declare function concerns(requires: string | undefined, capabilities: BrokerCapabilities, harness?: Pick<BrokerHarness, 'maxBodyBytes'>): boolean;
export declare function brokerConformance(api: TestApi, name: string, harness: BrokerHarness): void;

// tenon/testing/client

import type { Case, TestApi } from './api.ts';
import type { ClientHarness } from './internal/client-harness.ts';
export type { ClientHarness } from './internal/client-harness.ts';
export type { Parts } from './internal/rig.ts';
export declare const clientCases: readonly Case<ClientHarness>[];
export declare function clientConformance(api: TestApi, name: string, harness: ClientHarness): void;

// tenon/testing/codec

import type { Codec, Marshaler, MessageStream } from '../codec/codec.ts';
import type { Schema } from '../pipeline/pipeline.ts';
import type { Case, TestApi } from './api.ts';
export interface CodecSample {
    readonly name: string;
    readonly schema: Schema;
    readonly value: unknown;
    readonly decoded?: unknown;
}
export interface CodecOptions {
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
export declare const codecCases: readonly Case<CodecOptions>[];
export declare function codecConformance(api: TestApi, name: string, options: CodecOptions): void;
export interface FramedCodecOptions {
    readonly make: (stream: MessageStream) => Codec;
    readonly schema: Schema;
    readonly value: unknown;
    readonly unencodable: unknown;
}
export declare const framedCodecCases: readonly Case<FramedCodecOptions>[];
export declare function framedCodecConformance(api: TestApi, name: string, options: FramedCodecOptions): void;

// tenon/testing/failures

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

// tenon/testing/recorders

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

// tenon/testing/registry

import type { Case, TestApi } from './api.ts';
import { type RegistryHarness } from './internal/registry-scene.ts';
export type { RegistryHarness } from './internal/registry-scene.ts';
export declare const registryCases: readonly Case<RegistryHarness>[];
export declare function registryCasesFor(harness: RegistryHarness): readonly Case<RegistryHarness>[];
export declare function registryConformance(api: TestApi, name: string, harness: RegistryHarness): void;

// tenon/testing/selector

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

// tenon/testing/server

import type { Server, ServerOptions } from '../server/server.ts';
import type { Case, TestApi } from './api.ts';
import { type Parts } from './internal/rig.ts';
export interface ServerHarness {
    make(parts: Parts, options?: ServerOptions): Server;
}
export declare const serverCases: readonly Case<ServerHarness>[];
export declare function serverConformance(api: TestApi, name: string, harness: ServerHarness): void;

// tenon/testing/service

import type { Client } from '../client/client.ts';
import type { Server } from '../server/server.ts';
import type { ServiceOptions, ServiceRuntime } from '../service/service.ts';
import type { Case, TestApi } from './api.ts';
export interface ServiceHarness {
    make(server: Server, client: Client, options?: ServiceOptions): ServiceRuntime;
}
export declare const serviceCases: readonly Case<ServiceHarness>[];
export declare function serviceConformance(api: TestApi, name: string, harness: ServiceHarness): void;

// tenon/testing/transport

import type { Case, TestApi } from './api.ts';
import type { TransportOptions } from './internal/transport-rig.ts';
export type { TransportOptions } from './internal/transport-rig.ts';
export declare const transportCases: readonly Case<TransportOptions>[];
export declare function transportCasesFor(options: TransportOptions, hasUnary: boolean): readonly Case<TransportOptions>[];
export declare function transportConformance(api: TestApi, name: string, options: TransportOptions & {
    readonly unary?: boolean;
}): void;

// tenon/testing/virtual-time

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

// tenon/testing/waiting

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
