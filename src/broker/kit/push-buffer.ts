/** Limits of a {@link PushBuffer}. */
export interface PushBufferOptions {
  readonly limit: number;
  /** The event that is dropped at the limit. */
  readonly drops: 'oldest' | 'newest';
}

/** A queue of events that were received and not delivered. At its limit it drops events, and counts them. */
export class PushBuffer<E> {
  limit: number;
  readonly #dropsOldest: boolean;
  #events: E[] = [];
  #head = 0;
  /** The number of events dropped since `takeDropped` was called. */
  #dropped = 0;

  constructor({ limit, drops }: PushBufferOptions) {
    this.limit = limit;
    this.#dropsOldest = drops === 'oldest';
  }

  get size(): number {
    return this.#events.length - this.#head;
  }

  /** Adds an event. False if an event was dropped. */
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

  /** A copy of the events. */
  get events(): E[] {
    return this.#events.slice(this.#head);
  }

  /** Removes all events, and returns them. */
  clear(): E[] {
    const events = this.events;
    this.#events = [];
    this.#head = 0;
    return events;
  }

  /** Returns the number of events dropped since the last call. */
  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }
}
