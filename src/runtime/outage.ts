import { backoffMs } from '../internal/backoff.ts';
import type { Runtime } from './runtime.ts';

// Full jitter, so that many processes do not return to one server at once, with a shortest wait.
const backoff = { initialMs: 1_000, maxMs: 30_000, jitter: 'full', minMs: 100 } as const;
// An outage that lasts is reported again after this time.
const reminderMs = 300_000;

/**
 * Tracks an outage of a server that is tried until it is back: the waits between attempts, and when to log it. Each
 * wait is drawn from a range that doubles (full jitter), so that many processes do not return to one server at once.
 */
export class Outage {
  readonly #runtime: Pick<Runtime, 'clock' | 'random'>;
  #failures = 0;
  #kind: string | undefined;
  #toldAtMs = 0;

  constructor(runtime: Pick<Runtime, 'clock' | 'random'>) {
    this.#runtime = runtime;
  }

  /** The number of failed attempts since the last success. */
  get failures(): number {
    return this.#failures;
  }

  /**
   * Counts a failed attempt. Returns `new` for the first failure of its kind and `lasting` at long intervals, when it
   * is to be logged, else `undefined`.
   */
  failed(kind = ''): 'new' | 'lasting' | undefined {
    const now = this.#runtime.clock.monotonicMs();
    const isNew = this.#failures === 0 || kind !== this.#kind;
    this.#failures += 1;
    this.#kind = kind;
    if (!isNew && now - this.#toldAtMs < reminderMs) return undefined;
    this.#toldAtMs = now;
    return isNew ? 'new' : 'lasting';
  }

  /** Ends the outage with a successful attempt. Returns the number of attempts that failed before it. */
  ended(): number {
    const failures = this.#failures;
    this.#failures = 0;
    return failures;
  }

  /** Gives the wait before the next attempt, at most `longestMs`. */
  retryMs(longestMs: number = backoff.maxMs): number {
    const maxMs = Math.min(longestMs, backoff.maxMs);
    return backoffMs(this.#failures, () => this.#runtime.random.next(), { ...backoff, maxMs });
  }
}
