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

// tenon/runtime/system

import type { Clock, Random, Runtime, Timers } from './runtime.ts';
export declare const systemClock: Clock;
export declare const systemRandom: Random;
export declare const systemTimers: Timers;
export declare const systemRuntime: Runtime;
