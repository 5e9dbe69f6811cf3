import type { Clock } from '../runtime/runtime.ts';
import type { ApiResponseHead } from './kubernetes.ts';

// The header has whole seconds, and several API servers need not agree to the millisecond.
const toleranceMs = 2_500;
// A server that takes longer for an answer may not have taken the renewals of others either.
const slowMs = 1_000;

/**
 * The time of the API server, by the `Date` of its answers and the monotonic clock of this machine. Those who write a
 * lease and those who read it compare times of one clock, however theirs are set, and whenever they jump.
 */
export class ServerClock {
  readonly #clock: Clock;
  /** Server time minus monotonic time. */
  #offsetMs: number | undefined;
  #isAway = false;
  #restoredAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Milliseconds since the epoch at the server; `undefined` before the first answer. */
  timeMs(): number | undefined {
    return this.#offsetMs === undefined ? undefined : this.#clock.monotonicMs() + this.#offsetMs;
  }

  /** The server's time at which it answered again after it had been away: nobody could renew a lease before. */
  get restoredAtMs(): number {
    return this.#restoredAtMs + (this.#offsetMs ?? 0);
  }

  /** True from a failed request until an answer. */
  get isAway(): boolean {
    return this.#isAway;
  }

  /** Sends a request, and notes whether it was answered, how soon, and the `Date` of the answer. */
  async timed<T extends ApiResponseHead>(send: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const askedAtMs = this.#clock.monotonicMs();
    try {
      const answer = await send();
      if (answer.status >= 500 || this.#clock.monotonicMs() - askedAtMs > slowMs) this.#isAway = true;
      if (answer.status < 500) this.#answered(answer.headers['date']);
      return answer;
    } catch (error) {
      if (!signal.aborted || this.#clock.monotonicMs() - askedAtMs > slowMs) this.#isAway = true;
      throw error;
    }
  }

  #answered(date: string | string[] | undefined): void {
    const now = this.#clock.monotonicMs();
    if (this.#isAway) this.#restoredAtMs = now;
    this.#isAway = false;
    const offsetMs = Date.parse(String(date)) - now;
    if (Number.isNaN(offsetMs)) return;
    // Seconds are cut off, and the answer took a while: the latest of several readings is the best.
    const isJump = this.#offsetMs === undefined || Math.abs(offsetMs - this.#offsetMs) > toleranceMs;
    if (isJump || offsetMs > (this.#offsetMs ?? 0)) this.#offsetMs = offsetMs;
  }
}
