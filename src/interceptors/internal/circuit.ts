import type { Clock } from '../../runtime/runtime.ts';

/** When a circuit opens, and for how long. */
export interface CircuitRules {
  readonly failureRatio: number;
  readonly minimumCalls: number;
  readonly windowMs: number;
  readonly openMs: number;
  readonly halfOpenCalls: number;
}

// The window moves by this part of itself.
const slots = 10;

interface Slot {
  /** Which stretch of time it counts. */
  stretch: number;
  calls: number;
  failures: number;
}

/** What the end of a call says of who was called. */
export type Verdict = 'well' | 'failed' | 'nothing';

/** A call that the circuit let through: how it ended is told once. */
export interface Admission {
  settle(verdict: Verdict): void;
}

/**
 * Closed while calls go well; open, and letting none through, after too many failed; then half open for a few that try.
 */
export class Circuit {
  readonly #rules: CircuitRules;
  readonly #clock: Clock;
  #slots: Slot[] = [];
  /** By the monotonic clock; absent while it is closed. */
  #openUntilMs: number | undefined;
  /** Calls under way that try a circuit which was open. */
  #trials = 0;
  #trialsWell = 0;
  /** Grows with every change of state: calls that began before it say nothing any more. */
  #era = 0;

  constructor(rules: CircuitRules, clock: Clock) {
    this.#rules = rules;
    this.#clock = clock;
  }

  /** Whether nothing speaks for keeping it. */
  get isIdle(): boolean {
    return this.#openUntilMs === undefined && this.#counted().calls === 0;
  }

  /**
   * Milliseconds until the next call may try; `undefined` if one may now. While others try it is the whole time: nobody
   * knows.
   */
  get closedForMs(): number | undefined {
    if (this.#openUntilMs === undefined) return undefined;
    const leftMs = this.#openUntilMs - this.#clock.monotonicMs();
    if (leftMs > 0) return leftMs;
    return this.#trials < this.#rules.halfOpenCalls ? undefined : this.#rules.openMs;
  }

  /** Lets a call through; to be called only where {@link closedForMs} says that one may. */
  admit(): Admission {
    const era = this.#era;
    const isTrial = this.#openUntilMs !== undefined;
    if (isTrial) this.#trials += 1;
    let isSettled = false;
    return {
      settle: (verdict) => {
        if (isSettled) return;
        isSettled = true;
        if (era !== this.#era) return;
        if (isTrial) this.#tried(verdict);
        else if (verdict !== 'nothing') this.#count(verdict);
      },
    };
  }

  #tried(verdict: Verdict): void {
    this.#trials -= 1;
    if (verdict === 'failed') this.#open();
    if (verdict !== 'well') return;
    this.#trialsWell += 1;
    if (this.#trialsWell >= this.#rules.halfOpenCalls) this.#change(undefined);
  }

  #count(verdict: 'well' | 'failed'): void {
    const stretch = Math.floor((this.#clock.monotonicMs() * slots) / this.#rules.windowMs);
    let slot = this.#slots.at(-1);
    if (slot?.stretch !== stretch) {
      slot = { stretch, calls: 0, failures: 0 };
      this.#slots.push(slot);
      if (this.#slots.length > slots) this.#slots.shift();
    }
    slot.calls += 1;
    if (verdict === 'well') return;
    slot.failures += 1;
    const { calls, failures } = this.#counted();
    if (calls >= this.#rules.minimumCalls && failures >= calls * this.#rules.failureRatio) this.#open();
  }

  #counted(): { readonly calls: number; readonly failures: number } {
    const oldest = Math.floor((this.#clock.monotonicMs() * slots) / this.#rules.windowMs) - slots;
    let calls = 0;
    let failures = 0;
    for (const slot of this.#slots) {
      if (slot.stretch <= oldest) continue;
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
    this.#trialsWell = 0;
  }
}
