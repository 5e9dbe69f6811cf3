/**
 * Selects indexes in proportion to their weights, evenly interleaved, by earliest deadline first: each has the deadline
 * of its next turn, which moves on by 1 / weight. The first deadlines are random within that, so that callers that
 * start together do not select the same (gRFC A58).
 */
export class EdfScheduler {
  readonly #weights: readonly number[];
  readonly #deadlines: Float64Array;
  /** A heap of indexes, the one with the earliest deadline first. */
  readonly #heap: Int32Array;

  constructor(weights: readonly number[], random: () => number) {
    this.#weights = weights;
    this.#deadlines = Float64Array.from(weights, (weight) => random() / weight);
    this.#heap = Int32Array.from(weights, (_weight, index) => index);
    for (let at = (this.#heap.length >> 1) - 1; at >= 0; at -= 1) this.#sink(at);
  }

  next(): number {
    const index = this.#heap[0] as number;
    this.#deadlines[index] = (this.#deadlines[index] as number) + 1 / (this.#weights[index] as number);
    this.#sink(0);
    return index;
  }

  #sink(from: number): void {
    const heap = this.#heap;
    const deadlines = this.#deadlines;
    const { length } = heap;
    const moved = heap[from] as number;
    const deadline = deadlines[moved] as number;
    let at = from;
    for (let child = 2 * at + 1; child < length; child = 2 * at + 1) {
      const right = child + 1;
      if (right < length && (deadlines[heap[right] as number] as number) < (deadlines[heap[child] as number] as number))
        child = right;
      const index = heap[child] as number;
      if ((deadlines[index] as number) >= deadline) break;
      heap[at] = index;
      at = child;
    }
    heap[at] = moved;
  }
}
