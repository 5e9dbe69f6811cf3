/** Growth of the waits between attempts. All times in milliseconds. */
export interface BackoffSchedule {
  /** Wait after the first failure. @default 100 */
  readonly initialMs?: number | undefined;
  /** No wait is longer. @default 10_000 */
  readonly maxMs?: number | undefined;
  /** The factor by which each wait is longer than the one before. @default 2 */
  readonly factor?: number | undefined;
  /**
   * The random part of a wait, so that peers that failed together do not return together. A number from 0 to 1 is the
   * share of the wait that is added or taken off; `full` draws the wait between 0 and its bound.
   * @default 0.2
   */
  readonly jitter?: number | 'full' | undefined;
  /** No wait is shorter, unless the schedule itself is: full jitter may draw almost nothing. @default 0 */
  readonly minMs?: number | undefined;
}

/**
 * Gives the wait in milliseconds after a number of failures in a row, from 1. `random` gives numbers in [0, 1). Without
 * options the waits grow as in gRPC's connection back-off.
 */
export function backoffMs(failures: number, random: () => number, schedule: BackoffSchedule = {}): number {
  const { initialMs = 100, maxMs = 10_000, factor = 2, jitter = 0.2, minMs = 0 } = schedule;
  const mostMs = Math.min(maxMs, initialMs * factor ** Math.max(0, failures - 1));
  const waitMs = jitter === 'full' ? mostMs * random() : mostMs * (1 - jitter) + mostMs * jitter * 2 * random();
  return Math.max(waitMs, Math.min(minMs, mostMs));
}

/** Gives waits that grow with each failure in a row; a success resets them. */
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
   * Counts a failure, and gives the wait after it. `schedule` replaces its own, for bounds that change.
   */
  failed(schedule: BackoffSchedule = this.#schedule): number {
    this.#failures += 1;
    return backoffMs(this.#failures, () => this.#random.next(), schedule);
  }

  /** Resets the waits: the next failure is the first again. */
  succeeded(): void {
    this.#failures = 0;
  }
}
