import type { Clock } from '../../runtime/runtime.ts';

/** The rules by which a circuit opens and closes: see `CircuitBreakerOptions`. */
export interface CircuitRules {
  readonly failureRatio: number;
  readonly minimumCalls: number;
  readonly windowMs: number;
  readonly openMs: number;
  readonly halfOpenCalls: number;
}

// The window is divided into this many slots, and moves by one of them.
const slots = 10;

interface Slot {
  /** Number of the slot since the clock's start. */
  index: number;
  calls: number;
  failures: number;
}

/** The end of one call as the circuit counts it: a success, a failure, or neither. */
export type CircuitSample = 'success' | 'failure' | 'ignored';

/** A call that the circuit let through, and that has to be settled once. */
export interface Admission {
  settle(sample: CircuitSample): void;
}

/**
 * A circuit: closed while calls succeed, open and refusing calls after too many failed, then half open for a few calls
 * that try.
 */
export class Circuit {
  readonly #rules: CircuitRules;
  readonly #clock: Clock;
  #slots: Slot[] = [];
  /** End of the open state, by the monotonic clock; absent while the circuit is closed. */
  #openUntilMs: number | undefined;
  /** Calls under way that try a half-open circuit. */
  #trials = 0;
  #trialSuccesses = 0;
  /** Number of changes of state: calls that began before the last one do not count. */
  #era = 0;

  constructor(rules: CircuitRules, clock: Clock) {
    this.#rules = rules;
    this.#clock = clock;
  }

  /** True if the circuit is closed and has counted no calls: it may be dropped. */
  get isIdle(): boolean {
    return this.#openUntilMs === undefined && this.#counted().calls === 0;
  }

  /**
   * Milliseconds until the next call may try; `undefined` if one may now. While other calls try, the end is not known,
   * and it is the whole `openMs`.
   */
  get refusesForMs(): number | undefined {
    if (this.#openUntilMs === undefined) return undefined;
    const leftMs = this.#openUntilMs - this.#clock.monotonicMs();
    if (leftMs > 0) return leftMs;
    return this.#trials < this.#rules.halfOpenCalls ? undefined : this.#rules.openMs;
  }

  /** Lets a call through. Call it only while {@link refusesForMs} is `undefined`. */
  admit(): Admission {
    const era = this.#era;
    const isTrial = this.#openUntilMs !== undefined;
    if (isTrial) this.#trials += 1;
    let isSettled = false;
    return {
      settle: (sample) => {
        if (isSettled) return;
        isSettled = true;
        if (era !== this.#era) return;
        if (isTrial) this.#tried(sample);
        else if (sample !== 'ignored') this.#count(sample);
      },
    };
  }

  #tried(sample: CircuitSample): void {
    this.#trials -= 1;
    if (sample === 'failure') this.#open();
    if (sample !== 'success') return;
    this.#trialSuccesses += 1;
    if (this.#trialSuccesses >= this.#rules.halfOpenCalls) this.#change(undefined);
  }

  #count(sample: 'success' | 'failure'): void {
    const index = Math.floor((this.#clock.monotonicMs() * slots) / this.#rules.windowMs);
    let slot = this.#slots.at(-1);
    if (slot?.index !== index) {
      slot = { index, calls: 0, failures: 0 };
      this.#slots.push(slot);
      if (this.#slots.length > slots) this.#slots.shift();
    }
    slot.calls += 1;
    if (sample === 'success') return;
    slot.failures += 1;
    const { calls, failures } = this.#counted();
    if (calls >= this.#rules.minimumCalls && failures >= calls * this.#rules.failureRatio) this.#open();
  }

  #counted(): { readonly calls: number; readonly failures: number } {
    const oldest = Math.floor((this.#clock.monotonicMs() * slots) / this.#rules.windowMs) - slots;
    let calls = 0;
    let failures = 0;
    for (const slot of this.#slots) {
      if (slot.index <= oldest) continue;
      calls += slot.calls;
      failures += slot.failures;
    }
    return { calls, failures };
  }

  #open(): void {
    this.#change(this.#clock.monotonicMs() + this.#rules.openMs);
  }

  #change(openUntilMs: number | undefined): void {
    this.#era += 1;
    this.#openUntilMs = openUntilMs;
    this.#slots = [];
    this.#trials = 0;
    this.#trialSuccesses = 0;
  }
}
