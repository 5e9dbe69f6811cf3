import type { ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';

/**
 * The time. Everything in tenon that needs it takes it from here, so that a test can hold it still.
 */
export interface Clock {
  /** Milliseconds since the Unix epoch. Jumps when the machine's clock is set: for dates alone. */
  now(): number;
  /** Milliseconds from an arbitrary start, with fractions. Never goes back: for durations and deadlines. */
  monotonicMs(): number;
}
/** Container key of the {@link Clock}. */
export const Clock: ServiceIdentifier<Clock> = token('runtime', 'Clock');

/** Where chance comes from: node choice, jitter, ids. */
export interface Random {
  /** A number in [0, 1), uniformly distributed. Not for secrets. */
  next(): number;
  /** A version 4 UUID (RFC 9562), lower case. */
  uuid(): string;
}
/** Container key of the {@link Random}. */
export const Random: ServiceIdentifier<Random> = token('runtime', 'Random');

/** A scheduled callback. */
export interface Timer {
  /** Takes the callback back. Without effect once it has run; may be called again. */
  cancel(): void;
}

/** What a timer may be told. */
export interface TimerOptions {
  /**
   * Whether the pending timer keeps the process alive.
   * @default false
   */
  readonly keepAlive?: boolean;
}

/**
 * Waiting. Callbacks run in order of their due time, never before it, and never inside the call that
 * scheduled them. A callback that throws is an uncaught exception: timers do not catch.
 */
export interface Timers {
  /** Runs `callback` once, `delayMs` from now. Delays above 2^31-1 ms are waited for in full. */
  after(delayMs: number, callback: () => void, options?: TimerOptions): Timer;
  /** Runs `callback` every `periodMs`, first after one period, until cancelled. */
  every(periodMs: number, callback: () => void, options?: TimerOptions): Timer;
  /** Runs `callback` after the current turn of the event loop has handled its I/O. */
  soon(callback: () => void): void;
  /**
   * Resolves after `delayMs`. If `signal` aborts it rejects with the signal's reason, and nothing is left
   * behind. Keeps the process alive while it waits.
   */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}
/** Container key of the {@link Timers}. */
export const Timers: ServiceIdentifier<Timers> = token('runtime', 'Timers');

/** The three seams together, for constructors that need more than one of them. */
export interface Runtime {
  readonly clock: Clock;
  readonly random: Random;
  readonly timers: Timers;
}
