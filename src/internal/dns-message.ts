/** The header of a message (RFC 1035 section 4.1.1). */
export interface MessageHeader {
  readonly id: number;
  readonly isReply: boolean;
  readonly isAuthoritative: boolean;
  readonly isTruncated: boolean;
  /** True if the server looks names up for others. */
  readonly isRecursive: boolean;
  readonly rcode: number;
  /** Numbers of records, by section. */
  readonly questions: number;
  readonly answers: number;
  readonly authorities: number;
  readonly additionals: number;
}

/** A question, or the begin of a record. */
export interface MessageEntry {
  readonly name: string;
  readonly type: number;
  readonly class: number;
}

/** A record, with the place of its data. */
export interface MessageRecord extends MessageEntry {
  readonly ttl: number;
  readonly start: number;
  readonly end: number;
}

/** Length of a header in bytes. */
export const headerLength = 12;

// RFC 1035 section 3.1, and the most labels that such a name can have. A name does not need more pointers than that: a
// chain of pointers for each record of a message would keep the process busy for seconds.
const maxNameLength = 255;
const maxPointers = 127;

/** Reads the header. The message has to be at least {@link headerLength} long. */
export function readHeader(bytes: Buffer): MessageHeader {
  const flags = bytes.readUInt16BE(2);
  return {
    id: bytes.readUInt16BE(0),
    isReply: (flags & 0x8000) !== 0,
    isAuthoritative: (flags & 0x0400) !== 0,
    isTruncated: (flags & 0x0200) !== 0,
    isRecursive: (flags & 0x0080) !== 0,
    rcode: flags & 0x000f,
    questions: bytes.readUInt16BE(4),
    answers: bytes.readUInt16BE(6),
    authorities: bytes.readUInt16BE(8),
    additionals: bytes.readUInt16BE(10),
  };
}

/**
 * Reads a message from its header on, in a time that its length bounds. Throws an error for what is malformed or cut
 * off. `textOf` makes the text of a label.
 */
export class MessageReader {
  readonly #bytes: Buffer;
  readonly #textOf: (label: Buffer) => string;
  /** Names by the place that a pointer led to, as many records share them. */
  readonly #names = new Map<number, { readonly labels: readonly string[]; readonly length: number }>();
  #at = headerLength;

  constructor(bytes: Buffer, textOf: (label: Buffer) => string = hostLabel) {
    this.#bytes = bytes;
    this.#textOf = textOf;
  }

  question(): MessageEntry {
    const { name, next } = this.nameAt(this.#at);
    this.#at = next + 4;
    return { name, type: this.#bytes.readUInt16BE(next), class: this.#bytes.readUInt16BE(next + 2) };
  }

  record(): MessageRecord {
    const { name, type, class: of } = this.question();
    const start = this.#at + 6;
    const end = start + this.#bytes.readUInt16BE(this.#at + 4);
    if (end > this.#bytes.length) throw new Error('a record is cut off');
    const ttl = this.#bytes.readUInt32BE(this.#at);
    this.#at = end;
    return { name, type, class: of, ttl, start, end };
  }

  /** Reads a name without the final dot, and the place behind it; `.` is the root. */
  nameAt(offset: number): { readonly name: string; readonly next: number } {
    const labels: string[] = [];
    let at = offset;
    let next: number | undefined;
    let length = 1;
    let pointed: { readonly at: number; readonly labels: number; readonly length: number } | undefined;
    for (let pointers = 0; ;) {
      const size = this.#bytes.readUInt8(at);
      if (size === 0) break;
      if (size >= 0xc0) {
        const target = this.#bytes.readUInt16BE(at) & 0x3fff;
        next ??= at + 2;
        // A pointer leads to a name before it, so that there are no circles.
        if (target >= at || (pointers += 1) > maxPointers) throw new Error('a name has a wrong pointer');
        const known = this.#names.get(target);
        if (known) {
          labels.push(...known.labels);
          length += known.length;
          if (length > maxNameLength) throw new Error('a name is too long');
          break;
        }
        pointed ??= { at: target, labels: labels.length, length };
        at = target;
        continue;
      }
      length += size + 1;
      const end = at + 1 + size;
      if (size > 63 || length > maxNameLength || end > this.#bytes.length) throw new Error('a name is too long');
      labels.push(this.#textOf(this.#bytes.subarray(at + 1, end)));
      at = end;
    }
    if (pointed) {
      this.#names.set(pointed.at, { labels: labels.slice(pointed.labels), length: length - pointed.length });
    }
    return { name: labels.join('.') || '.', next: next ?? at + 1 };
  }
}

/** Lower case. Characters that no host name has are left as they are, with a backslash before a dot. */
function hostLabel(label: Buffer): string {
  return label.toString('latin1').toLowerCase().replaceAll('.', '\\.');
}
