import type { Clock } from '../runtime/runtime.ts';
import type { ApiResponseHead } from './kubernetes.ts';

// Several API servers need not agree to the millisecond.
const toleranceMs = 2_500;
// An answer that takes longer shows no server that was there all the time.
const slowMs = 1_000;
const maxReturns = 16;
// Where this process may nothing, those with the same credentials cannot renew.
const refusals: ReadonlySet<number> = new Set([401, 403, 429]);

/**
 * The time of the API server, by the `Date` of its answers and the monotonic clock of this machine. Those who write a
 * lease and those who read it compare times of one clock, however theirs are set, and whenever they jump.
 *
 * It also knows when the server was away, for nobody could renew a lease then: a request failed, or was answered late,
 * and nothing had been heard of the server before for as long as the lease lasts.
 */
export class ServerClock {
  readonly #clock: Clock;
  /** Server time minus monotonic time. */
  #offsetMs: number | undefined;
  #heardAtMs = Number.NEGATIVE_INFINITY;
  #isAway = false;
  /** Times at which the server was heard again, each with the silence before it. Later ones are of shorter silences. */
  #returns: readonly { readonly atMs: number; readonly silentMs: number }[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Milliseconds since the epoch at the server; `undefined` before the first answer. It is late by a second at most, as
   * dates have no more, and by what the fastest answer took.
   */
  timeMs(): number | undefined {
    return this.#offsetMs === undefined ? undefined : this.#clock.monotonicMs() + this.#offsetMs;
  }

  /** The server's time at which it was back after a silence of at least `silentMs`; infinitely early without one. */
  restoredAtMs(silentMs: number): number {
    const last = this.#returns.findLast((one) => one.silentMs >= silentMs);
    return last === undefined ? Number.NEGATIVE_INFINITY : last.atMs + (this.#offsetMs ?? 0);
  }

  /** Notes that the server was heard: it is there now. */
  heard(): void {
    const atMs = this.#clock.monotonicMs();
    if (this.#isAway) this.#wasBack(atMs, atMs - this.#heardAtMs);
    this.#isAway = false;
    this.#heardAtMs = atMs;
  }

  /**
   * Sends a request, and notes whether it was answered, and the `Date` of the answer. One that `mayTakeLong`, such as a
   * whole list, is never late.
   */
  async timed<T extends ApiResponseHead>(
    send: () => Promise<T>,
    { signal, mayTakeLong }: { readonly signal: AbortSignal; readonly mayTakeLong: boolean },
  ): Promise<T> {
    const askedAtMs = this.#clock.monotonicMs();
    const isLate = (): boolean => !mayTakeLong && this.#clock.monotonicMs() - askedAtMs > slowMs;
    try {
      const answer = await send();
      const serves = answer.status < 500 && !refusals.has(answer.status);
      if (!serves || isLate()) this.#isAway = true;
      if (!serves) return answer;
      this.heard();
      this.#compare(Date.parse(String(answer.headers['date'])), askedAtMs);
      return answer;
    } catch (error) {
      if (!signal.aborted || isLate()) this.#isAway = true;
      throw error;
    }
  }

  #wasBack(atMs: number, silentMs: number): void {
    this.#returns = [...this.#returns.filter((one) => one.silentMs > silentMs), { atMs, silentMs }].slice(-maxReturns);
  }

  /** The date was written between the request and now, and its second had not ended then. */
  #compare(dateMs: number, askedAtMs: number): void {
    if (Number.isNaN(dateMs)) return;
    const now = this.#clock.monotonicMs();
    const [earliestMs, latestMs] = [dateMs - now, dateMs + 1_000 - askedAtMs];
    const knownMs = this.#offsetMs;
    if (knownMs !== undefined && knownMs >= earliestMs && knownMs <= latestMs + toleranceMs) return;
    this.#offsetMs = earliestMs;
    // A clock that was set ahead ends no lease: there is time to renew it by that clock.
    if (knownMs !== undefined && earliestMs - knownMs > toleranceMs) this.#wasBack(now, Number.POSITIVE_INFINITY);
  }
}
