import type { Runtime, Timer, TimerOptions, Timers } from '../runtime/runtime.ts';
import { systemTimers } from '../runtime/system.ts';

interface Pending {
  readonly atMs: number;
  readonly run: () => void;
}

/** Timers whose time stands still until a test advances it. */
export class VirtualTimers implements Timers {
  /** Milliseconds since the start. A test that sets it lets time pass without running callbacks. */
  nowMs: number;
  #pending: Pending[] = [];

  constructor(startMs = 0) {
    this.nowMs = startMs;
  }

  /** The number of callbacks that wait for their time. */
  get pending(): number {
    return this.#pending.length;
  }

  after(delayMs: number, callback: () => void): Timer {
    const entry = { atMs: this.nowMs + Math.max(0, delayMs), run: callback };
    this.#pending.push(entry);
    return { cancel: () => void (this.#pending = this.#pending.filter((one) => one !== entry)) };
  }

  every(periodMs: number, callback: () => void): Timer {
    let timer: Timer = { cancel: () => {} };
    const arm = (): void => {
      timer = this.after(periodMs, () => {
        arm();
        callback();
      });
    };
    arm();
    return { cancel: () => timer.cancel() };
  }

  /** Runs `callback` soon in real time: it needs no time to pass. */
  soon(callback: () => void): void {
    systemTimers.soon(callback);
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const onAbort = (): void => {
        timer.cancel();
        reject(signal?.reason);
      };
      const timer = this.after(delayMs, () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      });
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Runs all work that needs no time to pass. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 10; turn += 1) await new Promise<void>((resolve) => systemTimers.soon(resolve));
  }

  /**
   * Advances the time by `byMs`: runs the callbacks that are due, in order, each with the work that follows from it.
   */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.nowMs + byMs;
    await this.settle();
    for (let next = this.#dueBefore(untilMs); next; next = this.#dueBefore(untilMs)) {
      this.nowMs = Math.max(this.nowMs, next.atMs);
      this.#pending.splice(this.#pending.indexOf(next), 1);
      next.run();
      await this.settle();
    }
    this.nowMs = untilMs;
  }

  #dueBefore(untilMs: number): Pending | undefined {
    return this.#pending.filter(({ atMs }) => atMs <= untilMs).toSorted((a, b) => a.atMs - b.atMs)[0];
  }
}

/** A runtime whose time stands still until it is advanced. */
export interface VirtualRuntime extends Runtime {
  readonly timers: VirtualTimers;
}

/**
 * A runtime whose time stands still until `timers.advance()`, and which leaves nothing to chance: random numbers are
 * 0.5 and UUIDs are all the same.
 *
 * @example
 * ```ts
 * const runtime = virtualRuntime();
 * const registry = new MemoryRegistry({ runtime });
 * await runtime.timers.advance(30_000);
 * await registry.close();
 * ```
 */
export function virtualRuntime(startMs = 0): VirtualRuntime {
  const timers = new VirtualTimers(startMs);
  return {
    timers,
    clock: { now: () => timers.nowMs, monotonicMs: () => timers.nowMs },
    random: { next: () => 0.5, uuid: () => '00000000-0000-4000-8000-000000000000' },
  };
}

/** A timer that {@link HeldTimers} holds. */
export interface HeldTimer {
  /** The delay of the timer, or its period. */
  readonly delayMs: number;
  readonly callback: () => void;
  readonly isPeriodic: boolean;
}

/**
 * The system's timers, except those that a test holds and fires itself. For tests over real sockets and servers, where
 * time cannot stand still.
 */
export class HeldTimers implements Timers {
  /** The held timers, in the order in which they were set. */
  readonly held: HeldTimer[] = [];
  readonly #holds: (delayMs: number, isPeriodic: boolean) => boolean;

  /** @param holds whether a timer is held; every other one runs in real time */
  constructor(holds: (delayMs: number, isPeriodic: boolean) => boolean) {
    this.#holds = holds;
  }

  after(delayMs: number, callback: () => void, options?: TimerOptions): Timer {
    if (!this.#holds(delayMs, false)) return systemTimers.after(delayMs, callback, options);
    return this.#hold({ delayMs, callback, isPeriodic: false });
  }

  every(periodMs: number, callback: () => void, options?: TimerOptions): Timer {
    if (!this.#holds(periodMs, true)) return systemTimers.every(periodMs, callback, options);
    return this.#hold({ delayMs: periodMs, callback, isPeriodic: true });
  }

  soon(callback: () => void): void {
    systemTimers.soon(callback);
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return systemTimers.sleep(delayMs, signal);
  }

  /** Fires all held timers. Periodic ones stay held. */
  fire(): void {
    const due = this.held.splice(0);
    this.held.push(...due.filter(({ isPeriodic }) => isPeriodic));
    for (const { callback } of due) callback();
  }

  #hold(timer: HeldTimer): Timer {
    this.held.push(timer);
    return {
      cancel: () => {
        const index = this.held.indexOf(timer);
        if (index >= 0) this.held.splice(index, 1);
      },
    };
  }
}
