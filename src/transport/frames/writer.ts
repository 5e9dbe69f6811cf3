import type { Metadata } from '../../context/metadata.ts';
import type { Status } from '../../context/status.ts';
import { Code } from '../../errors/errors.ts';
import { FieldWriter, pathKey } from './fields.ts';
import { Flag, FrameType, headerBytes, preamble, refusedFlag, type Settings, settingsBytes } from './format.ts';
import type { Sections } from './sections.ts';

// The first buffer of a connection is small, since most of ten thousand connections say little; one that is used up is
// followed by a larger one.
const firstChunkBytes = 1024;
const largestChunkBytes = 64 * 1024;
// Longer bodies are passed to the socket without a copy.
const copiedBytes = 4 * 1024;
const shortBytes = 48;

/** The content of a CALL or a MESSAGE frame. */
export interface Frame {
  readonly headers?: Metadata | undefined;
  readonly status?: Status | undefined;
  /** The body or a part of it. */
  readonly body?: Uint8Array | undefined;
  /** Size of the whole body, sent with its first part if there are more. */
  readonly size?: number | undefined;
  /** `Flag.End`, `Flag.More`. */
  readonly flags: number;
}

/** Writes the frames of one connection into memory, one after the other, until the turn is over. */
export class FrameWriter {
  /** Bytes that wait to be sent. */
  bytes = 0;
  readonly #sections: Sections;
  #fields = new FieldWriter(0);
  #chunk: Buffer = Buffer.allocUnsafeSlow(firstChunkBytes);
  #start = 0;
  #end = 0;
  #full: Uint8Array[] = [];

  constructor(sections: Sections) {
    this.#sections = sections;
  }

  /** Takes the number of fields that the peer remembers. */
  useFields(count: number): void {
    this.#fields = new FieldWriter(count);
  }

  hello({ windowBytes, maxCalls, fields }: Settings): void {
    this.#room(preamble.length);
    for (const byte of preamble) this.#chunk[this.#end++] = byte;
    this.bytes += preamble.length;
    this.#begin(FrameType.Settings, 0, 0, settingsBytes, settingsBytes);
    this.#uint32(windowBytes);
    this.#uint32(maxCalls);
    this.#end = this.#chunk.writeUInt16BE(fields, this.#end);
  }

  /** Writes the first frame of a call. `timeoutMs` is its remaining time. */
  call(id: number, path: string, timeoutMs: number | undefined, frame: Frame): void {
    const sections = this.#sections;
    sections.length = 0;
    let { flags } = frame;
    try {
      if (timeoutMs !== undefined) {
        flags |= Flag.Timeout;
        sections.varint(timeoutMs);
      }
      this.#fields.write(sections, pathKey, path, true);
      this.#write(FrameType.Call, id, flags, frame);
    } catch (error) {
      this.#fields.forget();
      throw error;
    }
  }

  /** Writes a further frame of a call. */
  message(id: number, frame: Frame): void {
    this.#sections.length = 0;
    try {
      this.#write(FrameType.Message, id, frame.flags, frame);
    } catch (error) {
      this.#fields.forget();
      throw error;
    }
  }

  reset(id: number, code: Code, isRefused = false): void {
    this.#begin(FrameType.Reset, isRefused ? refusedFlag : 0, id, 1, 1);
    this.#chunk[this.#end++] = code;
  }

  credit(id: number, bytes: number): void {
    this.#begin(FrameType.Credit, 0, id, 4, 4);
    this.#uint32(bytes);
  }

  ping(): void {
    this.#begin(FrameType.Ping, 0, 0, 0, 0);
  }

  pong(): void {
    this.#begin(FrameType.Pong, 0, 0, 0, 0);
  }

  goAway(lastId: number, why: number, text: string): void {
    const bytes = Buffer.from(text);
    this.#begin(FrameType.GoAway, why, 0, 4 + bytes.length, 4 + bytes.length);
    this.#uint32(lastId);
    this.#chunk.set(bytes, this.#end);
    this.#end += bytes.length;
  }

  /** Returns what was written since the last time, in order. */
  take(): readonly Uint8Array[] {
    if (this.#end > this.#start) {
      this.#full.push(this.#chunk.subarray(this.#start, this.#end));
      this.#start = this.#end;
    }
    const taken = this.#full;
    this.#full = [];
    this.bytes = 0;
    return taken;
  }

  /** Writes the sections of `frame`, then the whole frame. */
  #write(type: number, id: number, given: number, { headers, status, body, size }: Frame): void {
    const sections = this.#sections;
    let flags = given;
    if (headers && !headers.isEmpty) {
      flags |= Flag.Headers;
      this.#fields.writeAll(sections, headers);
    }
    if (status) {
      flags |= Flag.Status;
      sections.varint(status.code);
      if (status.code !== Code.Ok) sections.utf8(status.message);
      if (status.metadata && !status.metadata.isEmpty) {
        flags |= Flag.Trailers;
        this.#fields.writeAll(sections, status.metadata);
      }
    }
    if (size !== undefined) {
      flags |= Flag.Size;
      sections.uint32(size);
    }
    const { length } = sections;
    if (!body) {
      this.#begin(type, flags, id, length, length);
      this.#copy(sections.buffer, length);
    } else if (body.length <= copiedBytes) {
      this.#begin(type, flags | Flag.Body, id, length + body.length, length + body.length);
      this.#copy(sections.buffer, length);
      this.#copy(body, body.length);
    } else {
      this.#begin(type, flags | Flag.Body, id, length + body.length, length);
      this.#copy(sections.buffer, length);
      this.#full.push(this.#chunk.subarray(this.#start, this.#end), body);
      this.#start = this.#end;
    }
    this.#fields.commit();
  }

  /** Writes the header of a frame, and makes room for `copied` bytes of its payload behind it. */
  #begin(type: number, flags: number, id: number, length: number, copied: number): void {
    this.#room(headerBytes + copied);
    this.bytes += headerBytes + length;
    const chunk = this.#chunk;
    const at = this.#end;
    chunk[at] = length >>> 16;
    chunk[at + 1] = length >>> 8;
    chunk[at + 2] = length;
    chunk[at + 3] = type;
    chunk[at + 4] = flags;
    chunk[at + 5] = id >>> 24;
    chunk[at + 6] = id >>> 16;
    chunk[at + 7] = id >>> 8;
    chunk[at + 8] = id;
    this.#end = at + headerBytes;
  }

  #room(bytes: number): void {
    if (this.#end + bytes <= this.#chunk.length) return;
    if (this.#end > this.#start) this.#full.push(this.#chunk.subarray(this.#start, this.#end));
    const size = Math.min(this.#chunk.length * 4, largestChunkBytes);
    this.#chunk = Buffer.allocUnsafeSlow(Math.max(size, bytes));
    this.#start = 0;
    this.#end = 0;
  }

  #uint32(value: number): void {
    this.#end = this.#chunk.writeUInt32BE(value, this.#end);
  }

  #copy(from: Uint8Array, length: number): void {
    const chunk = this.#chunk;
    const at = this.#end;
    if (length <= shortBytes) {
      for (let index = 0; index < length; index += 1) chunk[at + index] = from[index] as number;
    } else {
      chunk.set(length === from.length ? from : from.subarray(0, length), at);
    }
    this.#end = at + length;
  }
}
