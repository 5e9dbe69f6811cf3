import type { Clock, Timer, Timers } from './runtime.ts';

/** Something that ends at a time. */
export interface Expiring {
  /** By the monotonic clock. */
  readonly deadline: number;
  expire(): void;
}

// An entry expires up to this much late, never early. Wide enough that a busy process keeps few slots.
const slotMs = 16;

/**
 * Deadlines of many calls over one timer: adding and removing are a look-up each, where a timer per call would be the
 * most expensive part of a call in memory.
 */
export class Deadlines {
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #slots = new Map<number, Set<Expiring>>();
  /** The last set that was left empty, for the next slot: where calls come one by one, none is made. */
  #spare: Set<Expiring> | undefined;
  #timer: Timer | undefined;
  #armedFor = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, timers: Timers) {
    this.#clock = clock;
    this.#timers = timers;
  }

  add(entry: Expiring): void {
    const slot = Math.ceil(entry.deadline / slotMs);
    const entries = this.#slots.get(slot);
    if (entries) entries.add(entry);
    else {
      const fresh = this.#spare ?? new Set();
      this.#spare = undefined;
      this.#slots.set(slot, fresh.add(entry));
    }
    if (slot < this.#armedFor) this.#arm(slot);
  }

  delete(entry: Expiring): void {
    const slot = Math.ceil(entry.deadline / slotMs);
    const entries = this.#slots.get(slot);
    if (!entries?.delete(entry) || entries.size > 0) return;
    this.#slots.delete(slot);
    this.#spare = entries;
  }

  /** How many times of expiry are kept: no more than there are entries. */
  get size(): number {
    return this.#slots.size;
  }

  /** Forgets everything; nothing expires any more. */
  clear(): void {
    this.#timer?.cancel();
    this.#slots.clear();
    this.#armedFor = Number.POSITIVE_INFINITY;
  }

  #arm(slot: number): void {
    this.#timer?.cancel();
    this.#armedFor = slot;
    this.#timer = this.#timers.after(Math.max(0, slot * slotMs - this.#clock.monotonicMs()), () => this.#sweep());
  }

  #sweep(): void {
    this.#armedFor = Number.POSITIVE_INFINITY;
    const now = this.#clock.monotonicMs();
    let next = Number.POSITIVE_INFINITY;
    const due: Expiring[] = [];
    for (const [slot, entries] of this.#slots) {
      if (slot * slotMs <= now) {
        this.#slots.delete(slot);
        due.push(...entries);
      } else next = Math.min(next, slot);
    }
    if (next !== Number.POSITIVE_INFINITY) this.#arm(next);
    for (const entry of due) entry.expire();
  }
}
