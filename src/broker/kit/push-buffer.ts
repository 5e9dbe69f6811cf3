/** Limits of a {@link PushBuffer}. */
export interface PushBufferOptions {
  readonly limit: number;
  /** The event that gives way at the limit. */
  readonly drops: 'oldest' | 'newest';
}

/** Events that have arrived and that nobody has in hand, in order. At its limit it drops, and counts. */
export class PushBuffer<E> {
  limit: number;
  readonly #dropsOldest: boolean;
  #events: E[] = [];
  #head = 0;
  /** The number that was dropped since it was asked last. */
  #dropped = 0;

  constructor({ limit, drops }: PushBufferOptions) {
    this.limit = limit;
    this.#dropsOldest = drops === 'oldest';
  }

  get size(): number {
    return this.#events.length - this.#head;
  }

  /** True if none had to give way. */
  push(event: E): boolean {
    const isFull = this.size >= this.limit;
    if (isFull) {
      this.#dropped += 1;
      if (!this.#dropsOldest) return false;
      this.shift();
    }
    this.#events.push(event);
    return !isFull;
  }

  shift(): E | undefined {
    if (this.size === 0) return undefined;
    const event = this.#events[this.#head] as E;
    this.#events[this.#head] = undefined as E;
    this.#head += 1;
    // Compacting only when half is spent keeps the cost per event constant.
    if (this.#head > 64 && this.#head * 2 > this.#events.length) {
      this.#events = this.#events.slice(this.#head);
      this.#head = 0;
    }
    return event;
  }

  /** The events in it, which stay. */
  get events(): E[] {
    return this.#events.slice(this.#head);
  }

  /** Takes everything out. */
  clear(): E[] {
    const events = this.events;
    this.#events = [];
    this.#head = 0;
    return events;
  }

  /** The number that was dropped since this was called last. */
  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }
}
