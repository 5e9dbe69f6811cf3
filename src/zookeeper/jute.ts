/** The error for bytes of a peer that are not what the protocol says: its connection is of no further use. */
export class MalformedPacket extends Error {}

// Most packets are shorter.
const initialBytes = 128;
const lengthBytes = 4;
// The header of a reply.
const headBytes = 16;
// No server answers with more: a length above it is one of another protocol.
const mostBytes = 1 << 28;

/** Writes one packet in jute, ZooKeeper's encoding: integers big-endian; texts, bytes and lists after their length. */
export class JuteWriter {
  #bytes = Buffer.allocUnsafe(initialBytes);
  #end = lengthBytes;

  int(value: number): this {
    const at = this.#extend(4);
    this.#bytes.writeInt32BE(value, at);
    return this;
  }

  long(value: bigint): this {
    const at = this.#extend(8);
    this.#bytes.writeBigInt64BE(value, at);
    return this;
  }

  bool(value: boolean): this {
    const at = this.#extend(1);
    this.#bytes.writeUInt8(value ? 1 : 0, at);
    return this;
  }

  bytes(value: Uint8Array): this {
    this.int(value.length);
    const at = this.#extend(value.length);
    this.#bytes.set(value, at);
    return this;
  }

  text(value: string): this {
    return this.bytes(Buffer.from(value));
  }

  list<T>(values: readonly T[], write: (writer: this, value: T) => void): this {
    this.int(values.length);
    for (const value of values) write(this, value);
    return this;
  }

  /** The packet with its length in front. */
  packet(): Buffer {
    this.#bytes.writeInt32BE(this.#end - lengthBytes, 0);
    return this.#bytes.subarray(0, this.#end);
  }

  /** Makes room, in another buffer if need be, and gives the place of it. */
  #extend(count: number): number {
    const at = this.#end;
    this.#end += count;
    if (this.#end > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#end, 2 * this.#bytes.length));
      this.#bytes.copy(larger, 0, 0, at);
      this.#bytes = larger;
    }
    return at;
  }
}

/** Reads a packet, without its length. Throws {@link MalformedPacket} for a length that it does not have. */
export class JuteReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  int(): number {
    return this.#bytes.readInt32BE(this.#take(4));
  }

  long(): bigint {
    return this.#bytes.readBigInt64BE(this.#take(8));
  }

  bool(): boolean {
    return this.#bytes.readUInt8(this.#take(1)) !== 0;
  }

  /** A part of the packet, not a copy. Empty for null. */
  bytes(): Buffer {
    const count = this.#count();
    const at = this.#take(count);
    return this.#bytes.subarray(at, at + count);
  }

  text(): string {
    return this.bytes().toString();
  }

  /** Empty for null. */
  list<T>(read: (reader: this) => T): T[] {
    // Each takes a byte at least: one that claims more is not read, nor is there room made for it.
    const count = this.#count();
    const values: T[] = [];
    for (let index = 0; index < count; index += 1) values.push(read(this));
    return values;
  }

  /** A number of bytes or of values: -1 stands for null. */
  #count(): number {
    const count = this.int();
    if (count < -1 || count > this.left)
      throw new MalformedPacket(`it says a length of ${count}, with ${this.left} left`);
    return Math.max(0, count);
  }

  #take(count: number): number {
    const at = this.#at;
    if (count > this.left)
      throw new MalformedPacket(`it ends too early: ${count} bytes are expected, ${this.left} left`);
    this.#at = at + count;
    return at;
  }
}

/** One packet of a peer. */
export interface Packet {
  /** All of it; only its head if it is too large. */
  readonly bytes: Buffer;
  readonly length: number;
  readonly isTooLarge: boolean;
}

/**
 * Cuts what a socket receives into packets. A packet that is larger than `maxBytes` is not kept: only its first bytes
 * are given, and the rest is passed over.
 */
export class PacketSplitter {
  readonly #maxBytes: number;
  #chunks: Buffer[] = [];
  #size = 0;
  #passOver = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Gives the packets that are complete with `chunk`. Throws {@link MalformedPacket} for a length that cannot be. */
  *split(chunk: Buffer): IterableIterator<Packet> {
    const passed = Math.min(this.#passOver, chunk.length);
    this.#passOver -= passed;
    if (passed < chunk.length) this.#chunks.push(chunk.subarray(passed));
    this.#size += chunk.length - passed;
    while (this.#size >= lengthBytes) {
      const length = this.#peek(lengthBytes).readInt32BE(0);
      if (length < 0 || length > mostBytes) throw new MalformedPacket(`it says a length of ${length}`);
      const isTooLarge = length > this.#maxBytes;
      const kept = isTooLarge ? Math.min(headBytes, length) : length;
      if (this.#size < lengthBytes + kept) return;
      const bytes = this.#take(lengthBytes + kept).subarray(lengthBytes);
      if (isTooLarge) {
        const rest = length - kept;
        const here = Math.min(rest, this.#size);
        this.#take(here);
        this.#passOver = rest - here;
      }
      yield { bytes, length, isTooLarge };
    }
  }

  #peek(count: number): Buffer {
    const first = this.#chunks[0];
    if (first && first.length >= count) return first;
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [all];
    return all;
  }

  #take(count: number): Buffer {
    const all = this.#peek(count);
    if (count === all.length) this.#chunks.shift();
    else this.#chunks[0] = all.subarray(count);
    this.#size -= count;
    return all.subarray(0, count);
  }
}
