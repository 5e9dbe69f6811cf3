// Written by `npm run api`; a test says when it is not current.

// tenon/selector

import type { ServiceIdentifier } from 'inversify';
import type { Metadata } from '../context/metadata.ts';
import type { Code, TenonError } from '../errors/errors.ts';
import type { NodeRecord, ServiceRecord } from '../registry/registry.ts';
export type NodeFilter = (services: readonly ServiceRecord[]) => readonly ServiceRecord[];
export declare function filterVersion(version: string): NodeFilter;
export declare function filterLabel(key: string, value: string): NodeFilter;
export declare function filterEndpoint(name: string): NodeFilter;
export interface SelectOptions {
    readonly filters?: readonly NodeFilter[] | undefined;
    readonly signal?: AbortSignal | undefined;
    readonly metadata?: Metadata | undefined;
    readonly hashKey?: string | undefined;
    readonly isSentOnce?: boolean | undefined;
}
export interface EndedCall {
    readonly answer?: Code | undefined;
    readonly startMs?: number | undefined;
    readonly deadline?: number | undefined;
    readonly trailers?: Metadata | undefined;
    readonly hasTrailers?: boolean | undefined;
}
export type NextNode = () => NodeRecord;
export interface SelectorOptions {
    readonly ejectMs?: number | undefined;
    readonly maxEjectMs?: number | undefined;
    readonly ejectGrowth?: 'double' | 'linear' | undefined;
    readonly ejectAfter?: number | undefined;
    readonly maxEjectedPercent?: number | undefined;
    readonly panicPercent?: number | undefined;
    readonly sweepMs?: number | undefined;
    readonly failurePercent?: number | undefined;
    readonly failureVolume?: number | undefined;
    readonly successRateStdev?: number | undefined;
    readonly successRateNodes?: number | undefined;
    readonly successRateVolume?: number | undefined;
    readonly latencyFactor?: number | undefined;
    readonly slowStartMs?: number | undefined;
    readonly slowStartAggression?: number | undefined;
    readonly zone?: string | undefined;
    readonly zoneMinNodes?: number | undefined;
    readonly zoneCallers?: string | undefined;
    readonly subsetSize?: number | undefined;
    readonly subsetIndex?: number | undefined;
    readonly canaryPercent?: number | undefined;
    readonly routeKey?: string | undefined;
}
export interface SelectorCapabilities {
    readonly marks: boolean;
    readonly counts?: boolean | undefined;
}
export interface Selector {
    readonly options: SelectorOptions;
    init(options: SelectorOptions): void;
    select(service: string, options?: SelectOptions): NextNode | Promise<NextNode>;
    begin?(service: string, node: NodeRecord): void;
    firstReply?(service: string, node: NodeRecord, latencyMs?: number, startMs?: number): void;
    mark(service: string, node: NodeRecord, error?: TenonError, latencyMs?: number, call?: EndedCall): void;
    reset(service: string): void;
    close(): Promise<void>;
    toString(): string;
}
export type EjectionReason = 'failures' | 'failure-share' | 'success-rate' | 'latency' | 'unreachable' | 'draining';
export interface ObservedNode {
    readonly service: string;
    readonly node: string;
    readonly address: string;
}
export interface SelectorObserver {
    onEjected?(event: ObservedNode & {
        readonly reason: EjectionReason;
        readonly durationMs: number | undefined;
    }): void;
    onReadmitted?(event: ObservedNode): void;
    onPanic?(event: {
        readonly service: string;
        readonly usable: number;
        readonly nodes: number;
    }): void;
    onPanicOver?(event: {
        readonly service: string;
    }): void;
    onSlowStart?(event: ObservedNode & {
        readonly durationMs: number;
    }): void;
    onNoneAvailable?(event: {
        readonly service: string;
        readonly nodes: number;
    }): void;
}
export declare const SelectorObserver: ServiceIdentifier<SelectorObserver>;
export declare const Selector: ServiceIdentifier<Selector>;

// tenon/selector/consistent-hash

import { type ServiceIdentifier } from 'inversify';
import { Registry } from '../registry/registry.ts';
import { Clock, Random } from '../runtime/runtime.ts';
import { CountingSelector } from './internal/pooled-selector.ts';
import { type Selector, type SelectorCapabilities, SelectorObserver, type SelectorOptions } from './selector.ts';
export interface ConsistentHashSelectorOptions extends SelectorOptions {
    readonly hashHeader?: string | undefined;
    readonly balanceFactor?: number | undefined;
}
export declare const ConsistentHashSelectorOptions: ServiceIdentifier<ConsistentHashSelectorOptions>;
export declare const hashKeyKey = "hash-key";
export declare class ConsistentHashSelector extends CountingSelector implements Selector {
    #private;
    static readonly capabilities: SelectorCapabilities;
    constructor(registry: Registry, options?: ConsistentHashSelectorOptions, clock?: Clock, random?: Random, observer?: SelectorObserver);
    get options(): ConsistentHashSelectorOptions;
    init(options: ConsistentHashSelectorOptions): void;
    toString(): string;
}

// tenon/selector/least-request

import { type ServiceIdentifier } from 'inversify';
import { Registry } from '../registry/registry.ts';
import { Clock, Random } from '../runtime/runtime.ts';
import { CountingSelector } from './internal/pooled-selector.ts';
import { type Selector, SelectorObserver, type SelectorOptions } from './selector.ts';
export interface LeastRequestSelectorOptions extends SelectorOptions {
    readonly choiceCount?: number | undefined;
}
export declare const LeastRequestSelectorOptions: ServiceIdentifier<LeastRequestSelectorOptions>;
export declare class LeastRequestSelector extends CountingSelector implements Selector {
    #private;
    constructor(registry: Registry, options?: LeastRequestSelectorOptions, clock?: Clock, random?: Random, observer?: SelectorObserver);
    get options(): LeastRequestSelectorOptions;
    init(options: LeastRequestSelectorOptions): void;
    toString(): string;
}

// tenon/selector/peak-ewma

import { type ServiceIdentifier } from 'inversify';
import { Registry } from '../registry/registry.ts';
import { Clock, Random } from '../runtime/runtime.ts';
import { CountingSelector } from './internal/pooled-selector.ts';
import { type Selector, SelectorObserver, type SelectorOptions } from './selector.ts';
export interface PeakEwmaSelectorOptions extends SelectorOptions {
    readonly decayMs?: number | undefined;
}
export declare const PeakEwmaSelectorOptions: ServiceIdentifier<PeakEwmaSelectorOptions>;
export declare class PeakEwmaSelector extends CountingSelector implements Selector {
    #private;
    constructor(registry: Registry, options?: PeakEwmaSelectorOptions, clock?: Clock, random?: Random, observer?: SelectorObserver);
    get options(): PeakEwmaSelectorOptions;
    init(options: PeakEwmaSelectorOptions): void;
    toString(): string;
}

// tenon/selector/random

import { type ServiceIdentifier } from 'inversify';
import { Registry } from '../registry/registry.ts';
import { Clock, Random } from '../runtime/runtime.ts';
import { PooledSelector } from './internal/pooled-selector.ts';
import { type Selector, SelectorObserver, type SelectorOptions } from './selector.ts';
export declare const RandomSelectorOptions: ServiceIdentifier<SelectorOptions>;
export declare class RandomSelector extends PooledSelector implements Selector {
    constructor(registry: Registry, options?: SelectorOptions, clock?: Clock, random?: Random, observer?: SelectorObserver);
    toString(): string;
}

// tenon/selector/round-robin

import { type ServiceIdentifier } from 'inversify';
import { Registry } from '../registry/registry.ts';
import { Clock, Random } from '../runtime/runtime.ts';
import { PooledSelector } from './internal/pooled-selector.ts';
import { type Selector, SelectorObserver, type SelectorOptions } from './selector.ts';
export declare const RoundRobinSelectorOptions: ServiceIdentifier<SelectorOptions>;
export declare class RoundRobinSelector extends PooledSelector implements Selector {
    constructor(registry: Registry, options?: SelectorOptions, clock?: Clock, random?: Random, observer?: SelectorObserver);
    toString(): string;
}

// tenon/selector/weighted

import { type ServiceIdentifier } from 'inversify';
import { Registry } from '../registry/registry.ts';
import { Clock, Random } from '../runtime/runtime.ts';
import { PooledSelector } from './internal/pooled-selector.ts';
import { type Selector, SelectorObserver, type SelectorOptions } from './selector.ts';
export interface WeightedSelectorOptions extends SelectorOptions {
    readonly blackoutMs?: number | undefined;
    readonly weightExpirationMs?: number | undefined;
    readonly weightUpdateMs?: number | undefined;
    readonly errorUtilizationPenalty?: number | undefined;
}
export declare const WeightedSelectorOptions: ServiceIdentifier<WeightedSelectorOptions>;
export declare class WeightedSelector extends PooledSelector implements Selector {
    #private;
    constructor(registry: Registry, options?: WeightedSelectorOptions, clock?: Clock, random?: Random, observer?: SelectorObserver);
    get options(): WeightedSelectorOptions;
    init(options: WeightedSelectorOptions): void;
    toString(): string;
}
