import type { FrameStream } from './frame-stream.ts';

// Grows by four when a place is taken, up to where most calls of a busy connection have one.
const firstPlaces = 16;
const mostPlaces = 1024;

/**
 * The calls of a connection by their numbers. A `Map` that fills and empties with every turn makes new tables all the time, and those that it left keep calls
 * from the garbage collector. Numbers rise, so the lowest bits are a place of one's own for most; a call that outlasts so many others moves to a map.
 */
export class FrameStreams {
  size = 0;
  #places: (FrameStream | undefined)[] = [];
  #lasting: Map<number, FrameStream> | undefined;

  get(id: number): FrameStream | undefined {
    const stream = this.#places[id & (this.#places.length - 1)];
    return stream?.id === id ? stream : this.#lasting?.get(id);
  }

  add(stream: FrameStream): void {
    this.size += 1;
    let place = stream.id & (this.#places.length - 1);
    let taken = this.#places[place];
    if ((taken && this.#places.length < mostPlaces) || this.#places.length === 0) {
      this.#grow();
      place = stream.id & (this.#places.length - 1);
      taken = this.#places[place];
    }
    if (taken) (this.#lasting ??= new Map()).set(taken.id, taken);
    this.#places[place] = stream;
  }

  /** Without effect on one that is not there. */
  delete(stream: FrameStream): void {
    const place = stream.id & (this.#places.length - 1);
    if (this.#places[place] === stream) this.#places[place] = undefined;
    else if (!this.#lasting?.delete(stream.id)) return;
    this.size -= 1;
  }

  /** All there are now. */
  all(): FrameStream[] {
    const streams = this.#places.filter((stream) => stream !== undefined);
    return this.#lasting ? [...this.#lasting.values(), ...streams] : streams;
  }

  #grow(): void {
    const old = this.#places;
    const length = old.length === 0 ? firstPlaces : old.length * 4;
    this.#places = Array.from({ length }, () => undefined);
    for (const stream of old) if (stream) this.#places[stream.id & (length - 1)] = stream;
  }
}
