// Written by `npm run api`; a test says when it is not current.

// tenon/runtime

import type { ServiceIdentifier } from 'inversify';
export interface Clock {
    now(): number;
    monotonicMs(): number;
}
export declare const Clock: ServiceIdentifier<Clock>;
export interface Random {
    next(): number;
    uuid(): string;
}
export declare const Random: ServiceIdentifier<Random>;
export interface Timer {
    cancel(): void;
}
export interface TimerOptions {
    readonly keepAlive?: boolean;
}
export interface Timers {
    after(delayMs: number, callback: () => void, options?: TimerOptions): Timer;
    every(periodMs: number, callback: () => void, options?: TimerOptions): Timer;
    soon(callback: () => void): void;
    sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}
export declare const Timers: ServiceIdentifier<Timers>;
export interface Runtime {
    readonly clock: Clock;
    readonly random: Random;
    readonly timers: Timers;
}

// tenon/runtime/bounded

import { type Abortable } from '../internal/abort.ts';
import type { Timers } from './runtime.ts';
export interface Bounds {
    readonly timers: Pick<Timers, 'after'>;
    readonly timeoutMs?: number | undefined;
    readonly signal?: AbortSignal | Abortable | undefined;
    readonly keepAlive?: boolean | undefined;
    readonly onTimeout?: ((timeoutMs: number) => unknown) | undefined;
    readonly onAbort?: ((reason: unknown) => unknown) | undefined;
}
export type BoundedWork<T> = PromiseLike<T> | ((signal: AbortSignal) => PromiseLike<T>);
export declare function bounded<T>(work: BoundedWork<T>, bounds: Bounds): Promise<T>;
export declare function endsWithin(work: BoundedWork<unknown>, bounds: Bounds): Promise<boolean>;
export declare function pause(timers: Pick<Timers, 'after'>, delayMs: number, signal?: AbortSignal | Abortable, { keepAlive }?: {
    readonly keepAlive?: boolean | undefined;
}): Promise<void>;

// tenon/runtime/deadlines

import type { Clock, Timers } from './runtime.ts';
export interface Expiring {
    readonly deadline: number;
    expire(): void;
}
export declare class Deadlines {
    #private;
    constructor(clock: Clock, timers: Timers);
    add(entry: Expiring): void;
    delete(entry: Expiring): void;
    get size(): number;
    clear(): void;
}

// tenon/runtime/outage

import type { Runtime } from './runtime.ts';
export declare class Outage {
    #private;
    constructor(runtime: Pick<Runtime, 'clock' | 'random'>);
    get failures(): number;
    failed(kind?: string): 'new' | 'lasting' | undefined;
    ended(): number;
    retryMs(longestMs?: number): number;
}

// tenon/runtime/retrying

import { Backoff, type BackoffSchedule } from '../internal/backoff.ts';
import type { Runtime } from './runtime.ts';
export interface RetryingOptions {
    readonly runtime: Pick<Runtime, 'random' | 'timers'>;
    readonly backoff: BackoffSchedule;
    readonly signal?: AbortSignal | undefined;
    readonly keepAlive?: boolean | undefined;
    onFailure?(error: unknown, delayMs: number, backoff: Backoff): number | void;
    pause?(delayMs: number): Promise<void>;
}
export declare function retrying<T>(work: () => PromiseLike<T>, options: RetryingOptions): Promise<T>;
export interface RepeatedlyOptions extends RetryingOptions {
    readonly signal: AbortSignal;
}
export declare function repeatedly(work: () => PromiseLike<number | void>, options: RepeatedlyOptions): Promise<void>;

// tenon/runtime/system

import type { Clock, Random, Runtime, Timers } from './runtime.ts';
export declare const systemClock: Clock;
export declare const systemRandom: Random;
export declare const systemTimers: Timers;
export declare const systemRuntime: Runtime;
