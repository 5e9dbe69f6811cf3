import type { ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';

/** Tells the time. Everything in tenon reads the time from a Clock, so that a test can control it. */
export interface Clock {
  /** Gives milliseconds since the Unix epoch. They jump when the machine's clock is set: use them for dates alone. */
  now(): number;
  /** Gives milliseconds from an arbitrary start, with fractions. They never go back: for durations and deadlines. */
  monotonicMs(): number;
}
/** Container key of the {@link Clock}. */
export const Clock: ServiceIdentifier<Clock> = token('runtime', 'Clock');

/** Source of randomness, for the choice of nodes, jitter and ids. */
export interface Random {
  /** Gives a number in [0, 1), uniformly distributed. Not for secrets. */
  next(): number;
  /** Gives a version 4 UUID (RFC 9562) in lower case. */
  uuid(): string;
}
/** Container key of the {@link Random}. */
export const Random: ServiceIdentifier<Random> = token('runtime', 'Random');

/** A scheduled callback. */
export interface Timer {
  /** Cancels the callback. It has no effect once the callback has run, and may be called again. */
  cancel(): void;
}

/** Options of a timer. */
export interface TimerOptions {
  /**
   * True if the pending timer keeps the process alive.
   * @default false
   */
  readonly keepAlive?: boolean;
}

/**
 * Schedules callbacks. They run in the order of their due times, never early, and never inside the call that scheduled
 * them. A callback that throws is an uncaught exception.
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

/** Clock, randomness and timers together, for constructors that need more than one of them. */
export interface Runtime {
  readonly clock: Clock;
  readonly random: Random;
  readonly timers: Timers;
}
