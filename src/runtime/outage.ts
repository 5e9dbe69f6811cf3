import { backoffMs } from '../internal/backoff.ts';
import type { Runtime } from './runtime.ts';

// Full jitter: many processes do not come back to one server all at once. Nobody is asked faster than the least of it.
const backoff = { initialMs: 1_000, maxMs: 30_000, jitter: 'full', minMs: 100 } as const;
// What stays away is told of again after this time.
const reminderMs = 300_000;

/**
 * An outage of something that is tried until it is back: when to try again, and when to tell of it. Waits are drawn
 * anew each time from a range that doubles (full jitter), so that many processes do not come back to one server all at
 * once.
 */
export class Outage {
  readonly #runtime: Pick<Runtime, 'clock' | 'random'>;
  #failures = 0;
  #kind: string | undefined;
  #toldAtMs = 0;

  constructor(runtime: Pick<Runtime, 'clock' | 'random'>) {
    this.#runtime = runtime;
  }

  /** The attempts that failed since the last one that did not. */
  get failures(): number {
    return this.#failures;
  }

  /**
   * Notes a failed attempt. Gives what is to be told: `new` for the first of its kind, `lasting` at long intervals,
   * else nothing.
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

  /** Notes an attempt that succeeded. Gives how many had failed before it. */
  ended(): number {
    const failures = this.#failures;
    this.#failures = 0;
    return failures;
  }

  /** The wait before the next attempt, at most `longestMs`. */
  retryMs(longestMs: number = backoff.maxMs): number {
    const maxMs = Math.min(longestMs, backoff.maxMs);
    return backoffMs(this.#failures, () => this.#runtime.random.next(), { ...backoff, maxMs });
  }
}
