import type { Clock, Timer, Timers } from '../../runtime/runtime.ts';

/** Counts the turns of an event loop in shared memory, so that another thread sees whether it goes on. */
export class Heartbeat {
  /** The shared counter. */
  readonly beats: Int32Array<SharedArrayBuffer>;
  readonly #timer: Timer;

  /** @param timers those of the event loop that is watched; they do not keep the process alive */
  constructor(timers: Timers, periodMs: number) {
    this.beats = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
    this.#timer = timers.every(periodMs, () => Atomics.add(this.beats, 0, 1));
  }

  stop(): void {
    this.#timer.cancel();
  }
}

/**
 * Measures for how long a {@link Heartbeat} of another thread has been silent. It is asked once per period. A longer
 * time between two questions counts as two periods: then this thread did not run either, as in a process that was
 * stopped, on a laptop that slept, or with a clock that jumped.
 */
export class HeartbeatMonitor {
  readonly #beats: Int32Array;
  readonly #clock: Clock;
  readonly #periodMs: number;
  #seen: number;
  #askedAtMs: number;
  #silentMs = 0;

  constructor(beats: Int32Array, clock: Clock, periodMs: number) {
    this.#beats = beats;
    this.#clock = clock;
    this.#periodMs = periodMs;
    this.#seen = Atomics.load(beats, 0);
    this.#askedAtMs = clock.monotonicMs();
  }

  /** Returns the silence in milliseconds: 0 if the heart has beaten since the last question. */
  silentMs(): number {
    const [now, beats] = [this.#clock.monotonicMs(), Atomics.load(this.#beats, 0)];
    const elapsedMs = Math.min(Math.max(0, now - this.#askedAtMs), 2 * this.#periodMs);
    this.#silentMs = beats === this.#seen ? this.#silentMs + elapsedMs : 0;
    this.#seen = beats;
    this.#askedAtMs = now;
    return this.#silentMs;
  }
}
