// A piece costs more than a hundred bytes beside its own, and keeps the packet that it came in: smaller ones are copied
// together.
const pieceBytes = 4 * 1024;
const minBlockBytes = 64;
const maxBlockBytes = 64 * 1024;

/** Joins bytes that come in pieces. The memory that it takes is at most twice what has come. */
export class ByteQueue {
  size = 0;
  #pieces: Buffer[] = [];
  /** A copy of the last small ones, that more can be written to. */
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

  /** All of them, behind `first`. None are left. */
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

  /** No more is written to the block. */
  #seal(): void {
    if (!this.#block) return;
    const written = this.#block.subarray(0, this.#blockEnd);
    // One that is mostly empty is not kept for the rest.
    this.#pieces.push(2 * this.#blockEnd < this.#block.length ? Buffer.from(written) : written);
    this.#block = undefined;
    this.#blockEnd = 0;
  }
}
