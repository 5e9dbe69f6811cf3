import type { Runtime } from '../../runtime/runtime.ts';

/** The time and the attempt of an event that is to be redelivered. */
export interface Delayed {
  /** The time of redelivery, by the monotonic clock. */
  readonly atMs: number;
  /** The number of attempts so far. */
  readonly attempt: number;
}

/** Keeps the ids of events that are to be redelivered after a delay, for servers without delays. */
export class DelayedEvents {
  readonly #runtime: Pick<Runtime, 'clock' | 'timers'>;
  readonly #onDue: () => void;
  readonly #events = new Map<string, Delayed>();

  /** @param onDue called when an event is due */
  constructor(runtime: Pick<Runtime, 'clock' | 'timers'>, onDue: () => void) {
    this.#runtime = runtime;
    this.#onDue = onDue;
  }

  get size(): number {
    return this.#events.size;
  }

  /** The earliest time of redelivery, by the monotonic clock. */
  get nextAtMs(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { atMs } of this.#events.values()) next = Math.min(next, atMs);
    return next;
  }

  add(id: string, attempt: number, delayMs: number): void {
    this.#events.set(id, { atMs: this.#runtime.clock.monotonicMs() + delayMs, attempt });
    this.#runtime.timers.after(delayMs, this.#onDue);
  }

  get(id: string): Delayed | undefined {
    return this.#events.get(id);
  }

  has(id: string): boolean {
    return this.#events.has(id);
  }

  delete(id: string): void {
    this.#events.delete(id);
  }

  clear(): void {
    this.#events.clear();
  }

  /** Returns up to `count` events that are due. They stay until they are deleted. */
  due(count: number): [string, Delayed][] {
    const now = this.#runtime.clock.monotonicMs();
    const due: [string, Delayed][] = [];
    for (const entry of this.#events) {
      if (due.length >= count) break;
      if (entry[1].atMs <= now) due.push(entry);
    }
    return due;
  }

  [Symbol.iterator](): Iterator<[string, Delayed]> {
    return this.#events[Symbol.iterator]();
  }
}
