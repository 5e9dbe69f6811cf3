/**
 * The latency of a node as Finagle's peak EWMA has it: an average that is weighted by time, that a higher value
 * replaces at once, and that goes down while nothing is observed.
 */
export class PeakEwma {
  /** The average, in milliseconds. */
  costMs = 0;
  #atMs: number;
  #hasHistory = false;
  readonly #decayMs: number;

  constructor(nowMs: number, decayMs: number) {
    this.#atMs = nowMs;
    this.#decayMs = decayMs;
  }

  /** Takes a latency. */
  observe(nowMs: number, latencyMs: number): void {
    const { costMs } = this;
    if (latencyMs > costMs) {
      this.costMs = latencyMs;
    } else {
      const kept = Math.exp(-Math.max(0, nowMs - this.#atMs) / this.#decayMs);
      this.costMs = costMs * kept + latencyMs * (1 - kept);
    }
    this.#atMs = nowMs;
    this.#hasHistory = true;
  }

  /**
   * Takes a failure as a call that took `latencyMs`. It counts in the average, and does not replace it: one failure
   * among many answers would keep calls away for minutes.
   */
  observeFailure(nowMs: number, latencyMs: number): void {
    const kept = Math.exp(-Math.max(0, nowMs - this.#atMs) / this.#decayMs);
    this.costMs = this.costMs * kept + Math.max(latencyMs, this.costMs) * (1 - kept);
    this.#atMs = nowMs;
    this.#hasHistory = true;
  }

  /** True if a latency or a failure is remembered. */
  get hasHistory(): boolean {
    return this.#hasHistory;
  }

  /** Takes the beginning of a call of a node of which nothing is known: the time until the next is counted from it. */
  begin(nowMs: number): void {
    this.#atMs = nowMs;
  }

  /** Returns the load of a node with so many calls in flight. */
  load(nowMs: number, inFlight: number): number {
    if (this.#hasHistory) {
      this.costMs *= Math.exp(-Math.max(0, nowMs - this.#atMs) / this.#decayMs);
      this.#atMs = nowMs;
      if (this.costMs >= leastMs) return this.costMs * (inFlight + 1);
      this.#hasHistory = false;
    }
    if (inFlight === 0) {
      this.#atMs = nowMs;
      return 0;
    }
    // A node of which nothing is known gets one call, and no more until that is answered. A call that is not answered
    // for long, such as a stream that waits for an event, says nothing: one more may follow it.
    return nowMs - this.#atMs < this.#decayMs ? penalty + inFlight : 0;
  }

  /** Forgets all that was observed. */
  forget(nowMs: number): void {
    this.costMs = 0;
    this.#atMs = nowMs;
    this.#hasHistory = false;
  }
}

// Finagle's: above any latency.
const penalty = 2 ** 47;

// What has faded below this is forgotten: beside nodes that report no latencies, it would keep calls away for ever.
const leastMs = 0.01;
