import { Deadlines } from '../../runtime/deadlines.ts';
import type { Clock, Timers } from '../../runtime/runtime.ts';

/** A call whose deadline and context are watched if it lasts longer than a moment. */
export interface WatchableCall {
  // Links of the list that it is part of until it is over or watched.
  newer: WatchableCall | undefined;
  older: WatchableCall | undefined;
  /** Follows deadline and context from now on. */
  watch(): void;
}

// Most calls are over before that, and cost no timer and no listener.
const watchAfterMs = 4;

/** Defers the watching of the deadlines and contexts of calls by a moment: most calls are over by then. */
export class DeferredWatch {
  readonly deadlines: Deadlines;
  readonly #timers: Timers;
  // A list that calls leave when they are over: an array would keep what they hold for longer than the garbage
  // collector likes.
  #newest: WatchableCall | undefined;
  #isWaiting = false;

  constructor(clock: Clock, timers: Timers) {
    this.#timers = timers;
    this.deadlines = new Deadlines(clock, timers);
  }

  add(call: WatchableCall): void {
    const older = this.#newest;
    call.older = older;
    if (older) older.newer = call;
    this.#newest = call;
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    this.#timers.after(watchAfterMs, this.#look);
  }

  /** Removes a call, if it is there. */
  remove(call: WatchableCall): void {
    const { newer, older } = call;
    if (newer) newer.older = older;
    else if (this.#newest === call) this.#newest = older;
    if (older) older.newer = newer;
    call.newer = undefined;
    call.older = undefined;
  }

  readonly #look = (): void => {
    this.#isWaiting = false;
    for (let call = this.#newest; call; call = this.#newest) {
      this.remove(call);
      call.watch();
    }
  };
}
