import { connect, type Socket } from 'node:net';

import { rawFrame as frame } from '../../support/raw-frame.ts';

export { frame };

/** Types of frames (RFC 9113, section 6). */
export const FrameType = {
  Data: 0,
  Headers: 1,
  Priority: 2,
  Reset: 3,
  Settings: 4,
  Push: 5,
  Ping: 6,
  GoAway: 7,
  WindowUpdate: 8,
  Continuation: 9,
} as const;

/** Flags of frames. */
export const Flag = { EndStream: 1, Ack: 1, EndHeaders: 4, Padded: 8, Priority: 32 } as const;

/** A frame as it came. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** What every client begins with. */
export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** A header field: names and values as text, or as the bytes they shall be. */
export type Field = readonly [name: string | Uint8Array, value: string | Uint8Array];

/** Fields as HPACK writes them in the plainest way: literals, never indexed (RFC 7541, section 6.2.2). */
export function hpack(fields: readonly Field[]): Buffer {
  return Buffer.concat(
    fields.flatMap(([name, value]) => [
      Buffer.of(0),
      ...[name, value].map((part) => {
        const bytes = typeof part === 'string' ? Buffer.from(part, 'latin1') : part;
        return Buffer.concat([hpackInteger(bytes.length), bytes]);
      }),
    ]),
  );
}

/** RFC 7541, section 5.1, with a prefix of seven bits. */
function hpackInteger(value: number): Buffer {
  if (value < 127) return Buffer.of(value);
  const bytes = [127];
  let rest = value - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.of(...bytes, rest);
}

/** A head of a request; `endStream` where no body follows. */
export function headers(stream: number, fields: readonly Field[], endStream = false): Buffer {
  return frame(FrameType.Headers, Flag.EndHeaders | (endStream ? Flag.EndStream : 0), stream, hpack(fields));
}

export function data(stream: number, payload: Uint8Array, endStream = false): Buffer {
  return frame(FrameType.Data, endStream ? Flag.EndStream : 0, stream, payload);
}

export function settings(...values: readonly (readonly [id: number, value: number])[]): Buffer {
  return frame(
    FrameType.Settings,
    0,
    0,
    Buffer.concat(
      values.map(([id, value]) => {
        const entry = Buffer.alloc(6);
        entry.writeUInt16BE(id, 0);
        entry.writeUInt32BE(value, 2);
        return entry;
      }),
    ),
  );
}

export function windowUpdate(stream: number, increment: number): Buffer {
  return frame(FrameType.WindowUpdate, 0, stream, uint32(increment));
}

export function reset(stream: number, code = 8): Buffer {
  return frame(FrameType.Reset, 0, stream, uint32(code));
}

export function goAway(last = 0, code = 0): Buffer {
  return frame(FrameType.GoAway, 0, 0, Buffer.concat([uint32(last), uint32(code)]));
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

/**
 * The head of a good call; what is given takes the place of a field of the same name, or is added; `undefined` leaves
 * it out.
 */
export function request(path: string, change: Readonly<Record<string, string | Uint8Array | undefined>> = {}): Field[] {
  const fields: Record<string, string | Uint8Array | undefined> = {
    ':method': 'POST',
    ':scheme': 'http',
    ':path': path,
    ':authority': 'localhost',
    'content-type': 'application/grpc+proto',
    te: 'trailers',
    ...change,
  };
  return Object.entries(fields).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));
}

/** A connection of which every byte is ours. It may acknowledge settings, and does nothing else by itself. */
export class Http2Peer {
  readonly frames: Frame[] = [];
  /** Resolves when the other side has closed, or the connection broke. */
  readonly closed: Promise<void>;
  isClosed = false;
  /** How long an outcome is waited for. */
  patienceMs = 3_000;
  readonly socket: Socket;
  #bytes = Buffer.alloc(0);
  #sent = 0;
  #waiting = new Set<() => void>();

  constructor(socket: Socket, acknowledges: boolean) {
    this.socket = socket;
    socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      const end = (): void => {
        this.isClosed = true;
        resolve();
        this.#wake();
      };
      socket.once('close', end);
      socket.once('end', end);
    });
    socket.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      for (let next = this.#take(); next; next = this.#take()) {
        this.frames.push(next);
        if (acknowledges && next.type === FrameType.Settings && !(next.flags & Flag.Ack))
          this.write(frame(FrameType.Settings, Flag.Ack, 0));
      }
      this.#wake();
    });
  }

  write(...parts: readonly Uint8Array[]): boolean {
    return !this.isClosed && this.socket.writable ? this.socket.write(Buffer.concat(parts)) : true;
  }

  /** Waits until the connection and stream 1 have room for so many bytes, which are taken; not for ever. */
  async room(bytes: number): Promise<void> {
    this.#sent += bytes;
    await this.until(() => (this.isClosed || this.#window() >= this.#sent ? true : undefined), 2_000);
  }

  /** Waits until `find` finds something; `undefined` after `timeoutMs`. */
  async until<T>(find: () => T | undefined, timeoutMs: number): Promise<T | undefined> {
    const end = performance.now() + timeoutMs;
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      const left = end - performance.now();
      if (left <= 0) return undefined;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#waiting.add(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  /** How the stream ended: `status 12`, `http 415`, `reset 8`, `goaway 1`, `closed`, or `nothing` so far. */
  async outcome(stream = 1, timeoutMs = this.patienceMs): Promise<string> {
    return (await this.until(() => this.#outcome(stream), timeoutMs)) ?? 'nothing';
  }

  destroy(): void {
    this.socket.destroy();
  }

  #outcome(stream: number): string | undefined {
    for (const { type, flags, stream: id, payload } of this.frames) {
      if (id === stream && type === FrameType.Headers && flags & Flag.EndStream) return statusIn(payload);
      if (id === stream && type === FrameType.Reset) return `reset ${payload.readUInt32BE(0)}`;
      if (type === FrameType.GoAway && payload.readUInt32BE(4) !== 0) return `goaway ${payload.readUInt32BE(4)}`;
    }
    return this.isClosed ? 'closed' : undefined;
  }

  /** Bytes that may have been sent in all. */
  #window(): number {
    let [connection, stream] = [65_535, 65_535];
    for (const { type, flags, stream: id, payload } of this.frames) {
      if (type === FrameType.WindowUpdate && id === 0) connection += payload.readUInt32BE(0);
      if (type === FrameType.WindowUpdate && id === 1) stream += payload.readUInt32BE(0);
      if (type !== FrameType.Settings || flags & Flag.Ack) continue;
      for (let at = 0; at < payload.length; at += 6)
        if (payload.readUInt16BE(at) === 4) stream += payload.readUInt32BE(at + 2) - 65_535;
    }
    return Math.min(connection, stream);
  }

  #take(): Frame | undefined {
    if (this.#bytes.length < 9) return undefined;
    const end = 9 + this.#bytes.readUIntBE(0, 3);
    if (this.#bytes.length < end) return undefined;
    const head = this.#bytes;
    this.#bytes = head.subarray(end);
    return {
      type: head.readUInt8(3),
      flags: head.readUInt8(4),
      stream: head.readUInt32BE(5) & 0x7f_ff_ff_ff,
      payload: head.subarray(9, end),
    };
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }
}

// How "grpc-status" looks in Huffman's code (RFC 7541, appendix B). Numbers of so few digits are never coded: it would
// not make them shorter.
const statusName = Buffer.from('9acac8b21234da8f', 'hex');

function statusIn(block: Buffer): string {
  const at = block.indexOf(statusName);
  if (at >= 0) {
    const value = at + statusName.length;
    return `status ${block.toString('latin1', value + 1, value + 1 + block.readUInt8(value))}`;
  }
  return `http ${/[45]\d\d/.exec(block.toString('latin1'))?.[0] ?? '?'}`;
}

/**
 * Opens a connection, without a word said; one that `acknowledges` settings does so by itself, and has to say its
 * preface first.
 */
export function connectTo(address: string, acknowledges = false): Promise<Http2Peer> {
  const [host = '', port = ''] = address.split(':');
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), noDelay: true });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(new Http2Peer(socket, acknowledges));
    });
  });
}
