// Grows by four when a place is taken, up to where most calls of a busy connection have one.
const initialSlots = 16;
const maxSlots = 1024;

/**
 * Finds the calls of a connection by their numbers. A `Map` that fills and empties with every turn makes new tables all
 * the time, and its old tables keep calls from the garbage collector. Numbers rise, so the lowest bits give most calls
 * a place of their own; a call that outlasts many others moves to a map.
 */
export class StreamTable<Stream extends { readonly id: number }> {
  size = 0;
  #slots: (Stream | undefined)[] = [];
  #lasting: Map<number, Stream> | undefined;

  get(id: number): Stream | undefined {
    const stream = this.#slots[id & (this.#slots.length - 1)];
    return stream?.id === id ? stream : this.#lasting?.get(id);
  }

  add(stream: Stream): void {
    this.size += 1;
    let slot = stream.id & (this.#slots.length - 1);
    let taken = this.#slots[slot];
    if ((taken && this.#slots.length < maxSlots) || this.#slots.length === 0) {
      this.#grow();
      slot = stream.id & (this.#slots.length - 1);
      taken = this.#slots[slot];
    }
    if (taken) (this.#lasting ??= new Map()).set(taken.id, taken);
    this.#slots[slot] = stream;
  }

  /** Removes a call, if it is there. */
  delete(stream: Stream): void {
    const slot = stream.id & (this.#slots.length - 1);
    if (this.#slots[slot] === stream) this.#slots[slot] = undefined;
    else if (!this.#lasting?.delete(stream.id)) return;
    this.size -= 1;
  }

  /** Returns all calls. */
  all(): Stream[] {
    const streams = this.#slots.filter((stream) => stream !== undefined);
    return this.#lasting ? [...this.#lasting.values(), ...streams] : streams;
  }

  #grow(): void {
    const old = this.#slots;
    const length = old.length === 0 ? initialSlots : old.length * 4;
    this.#slots = Array.from({ length }, () => undefined);
    for (const stream of old) if (stream) this.#slots[stream.id & (length - 1)] = stream;
  }
}
