// A Buffer costs more than a hundred bytes, and keeps its whole packet in memory: smaller ones are copied together.
const pieceBytes = 4 * 1024;
const minBlockBytes = 64;
const maxBlockBytes = 64 * 1024;

/** Joins received bytes. It uses at most twice the memory of what was received. */
export class ByteQueue {
  size = 0;
  #pieces: Buffer[] = [];
  /** A block with copies of the last small pieces, and room for more. */
  #block: Buffer | undefined;
  #blockEnd = 0;

  add(piece: Buffer): void {
    const block = this.#block;
    if (!block || block.length - this.#blockEnd < piece.length) {
      this.#seal();
      if (piece.length >= pieceBytes) {
        this.#pieces.push(piece);
        this.size += piece.length;
        return;
      }
      const bytes = Math.max(piece.length, minBlockBytes, Math.min(this.size, maxBlockBytes));
      this.#block = Buffer.allocUnsafe(bytes);
    }
    this.#blockEnd += piece.copy(this.#block as Buffer, this.#blockEnd);
    this.size += piece.length;
  }

  /** Returns all bytes, after `first`, and empties the queue. */
  join(first?: Buffer): Buffer {
    this.#seal();
    const pieces = this.#pieces;
    this.clear();
    if (first) pieces.unshift(first);
    return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
  }

  clear(): void {
    this.size = 0;
    this.#pieces = [];
    this.#block = undefined;
    this.#blockEnd = 0;
  }

  /** Closes the block for further writes. */
  #seal(): void {
    if (!this.#block) return;
    const written = this.#block.subarray(0, this.#blockEnd);
    // A block that is mostly empty is copied, to free the rest.
    this.#pieces.push(2 * this.#blockEnd < this.#block.length ? Buffer.from(written) : written);
    this.#block = undefined;
    this.#blockEnd = 0;
  }
}
