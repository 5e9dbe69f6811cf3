import type { Clock, Timer, Timers } from './runtime.ts';

/** An entry that expires at a time. */
export interface Expiring {
  /** Time of expiry, by the monotonic clock. */
  readonly deadline: number;
  expire(): void;
}

// An entry expires up to this much late, never early. Wide enough that a busy process keeps few slots.
const slotMs = 16;

/**
 * Expires many entries by one timer. Adding and removing an entry is one look-up, whereas a timer per call would use
 * more memory than the rest of the call.
 */
export class Deadlines {
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #slots = new Map<number, Set<Expiring>>();
  /** The last set that became empty, reused for the next slot: calls that come one by one allocate none. */
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

  /** The number of slots in use, which is at most the number of entries. */
  get size(): number {
    return this.#slots.size;
  }

  /** Removes all entries; none of them expires. */
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
