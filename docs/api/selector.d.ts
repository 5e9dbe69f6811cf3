// Written by `npm run api`; a test says when it is not current.

// tenon/selector

import type { ServiceIdentifier } from 'inversify';
import type { TenonError } from '../errors/errors.ts';
import type { NodeRecord, ServiceRecord } from '../registry/registry.ts';
export type NodeFilter = (services: readonly ServiceRecord[]) => readonly ServiceRecord[];
export declare function filterVersion(version: string): NodeFilter;
export declare function filterLabel(key: string, value: string): NodeFilter;
export declare function filterEndpoint(name: string): NodeFilter;
export interface SelectOptions {
    readonly filters?: readonly NodeFilter[] | undefined;
    readonly signal?: AbortSignal | undefined;
}
export type NextNode = () => NodeRecord;
export interface SelectorOptions {
    readonly ejectMs?: number | undefined;
    readonly ejectAfter?: number | undefined;
}
export interface SelectorCapabilities {
    readonly marks: boolean;
}
export interface Selector {
    readonly options: SelectorOptions;
    init(options: SelectorOptions): void;
    select(service: string, options?: SelectOptions): NextNode | Promise<NextNode>;
    mark(service: string, node: NodeRecord, error?: TenonError, latencyMs?: number): void;
    reset(service: string): void;
    close(): Promise<void>;
    toString(): string;
}
export declare const Selector: ServiceIdentifier<Selector>;

// tenon/selector/random

import { type ServiceIdentifier } from 'inversify';
import { Registry } from '../registry/registry.ts';
import { Clock, Random } from '../runtime/runtime.ts';
import { PooledSelector } from './internal/pooled-selector.ts';
import type { Selector, SelectorOptions } from './selector.ts';
export declare const RandomSelectorOptions: ServiceIdentifier<SelectorOptions>;
export declare class RandomSelector extends PooledSelector implements Selector {
    constructor(registry: Registry, options?: SelectorOptions, clock?: Clock, random?: Random);
    toString(): string;
}

// tenon/selector/round-robin

import { type ServiceIdentifier } from 'inversify';
import { Registry } from '../registry/registry.ts';
import { Clock, Random } from '../runtime/runtime.ts';
import { PooledSelector } from './internal/pooled-selector.ts';
import type { Selector, SelectorOptions } from './selector.ts';
export declare const RoundRobinSelectorOptions: ServiceIdentifier<SelectorOptions>;
export declare class RoundRobinSelector extends PooledSelector implements Selector {
    constructor(registry: Registry, options?: SelectorOptions, clock?: Clock, random?: Random);
    toString(): string;
}
