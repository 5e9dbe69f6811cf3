import { Deadlines } from '../../runtime/deadlines.ts';
import type { Clock, Timers } from '../../runtime/runtime.ts';

/** A call that may last. */
export interface LateCall {
  readonly isOver: boolean;
  /** It has lasted: from now on it looks after its deadline and its context. */
  watch(): void;
}

// Most calls are over before, and are spared what it costs to watch one.
const lateMs = 4;

/** The calls of a transport that are still under way after a moment, and their deadlines. */
export class LateCalls {
  readonly deadlines: Deadlines;
  readonly #timers: Timers;
  #fresh: LateCall[] = [];

  constructor(clock: Clock, timers: Timers) {
    this.#timers = timers;
    this.deadlines = new Deadlines(clock, timers);
  }

  add(call: LateCall): void {
    this.#fresh.push(call);
    if (this.#fresh.length === 1) this.#timers.after(lateMs, this.#look);
  }

  readonly #look = (): void => {
    const fresh = this.#fresh;
    this.#fresh = [];
    for (const call of fresh) if (!call.isOver) call.watch();
  };
}
