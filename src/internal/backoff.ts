/** Growth of the waits between attempts. All times in milliseconds. */
export interface BackoffSchedule {
  /** Wait after the first failure. @default 100 */
  readonly initialMs?: number | undefined;
  /** No wait is longer. @default 10_000 */
  readonly maxMs?: number | undefined;
  /** Each wait is the one before times this. @default 2 */
  readonly factor?: number | undefined;
  /**
   * The part of a wait that is chance: peers that failed together do not return together. A number takes or adds so
   * much of the wait, 0 to 1; `full` draws the wait from all between nothing and its bound.
   * @default 0.2
   */
  readonly jitter?: number | 'full' | undefined;
  /** No wait is shorter, unless the schedule itself is: full jitter may draw almost nothing. @default 0 */
  readonly minMs?: number | undefined;
}

/**
 * The wait in milliseconds after so many failures in a row, from 1. `random` gives numbers in [0, 1). Without options
 * the shape is that of gRPC's connection back-off.
 */
export function backoffMs(failures: number, random: () => number, schedule: BackoffSchedule = {}): number {
  const { initialMs = 100, maxMs = 10_000, factor = 2, jitter = 0.2, minMs = 0 } = schedule;
  const mostMs = Math.min(maxMs, initialMs * factor ** Math.max(0, failures - 1));
  const waitMs = jitter === 'full' ? mostMs * random() : mostMs * (1 - jitter) + mostMs * jitter * 2 * random();
  return Math.max(waitMs, Math.min(minMs, mostMs));
}

/** The waits of one thing that fails now and then: each failure in a row waits longer, a success begins anew. */
export class Backoff {
  readonly #random: { next(): number };
  readonly #schedule: BackoffSchedule;
  #failures = 0;

  constructor(random: { next(): number }, schedule: BackoffSchedule = {}) {
    this.#random = random;
    this.#schedule = schedule;
  }

  /** Failures in a row. */
  get failures(): number {
    return this.#failures;
  }

  /**
   * Counts one more failure, and gives the wait after it; `schedule` in place of its own, for one whose bounds change.
   */
  failed(schedule: BackoffSchedule = this.#schedule): number {
    this.#failures += 1;
    return backoffMs(this.#failures, () => this.#random.next(), schedule);
  }

  /** The next failure is the first again. */
  succeeded(): void {
    this.#failures = 0;
  }
}
