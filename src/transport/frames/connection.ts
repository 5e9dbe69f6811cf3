import type { Duplex } from 'node:stream';

import { Metadata, type MetadataValue } from '../../context/metadata.ts';
import type { Status } from '../../context/status.ts';
import { codeFrom, textOf } from '../../errors/errors.ts';
import type { Timer, Timers } from '../../runtime/runtime.ts';
import { type Field, FieldReader } from './fields.ts';
import {
  Flag,
  FrameError,
  FrameType,
  headerBytes,
  Leave,
  maxFields,
  maxPayloadBytes,
  minWindowBytes,
  preamble,
  type Settings,
  settingsBytes,
} from './format.ts';
import { FrameCursor, type Sections } from './sections.ts';
import type { FrameStream } from './frame-stream.ts';
import { StreamTable } from './stream-table.ts';
import { FrameWriter } from './writer.ts';
import { ByteQueue } from '../call/byte-queue.ts';

/** Options of a connection, from its transport. */
export interface ConnectionOptions {
  readonly windowBytes: number;
  readonly maxCalls: number;
  /** Time of silence after which a connection is pinged, in milliseconds. */
  readonly keepaliveMs: number | undefined;
  /** True if connections without calls are pinged too. */
  readonly keepaliveWithoutCalls: boolean;
  readonly keepaliveTimeoutMs: number;
  /** Time for the peer to introduce itself, in milliseconds. */
  readonly handshakeMs: number;
  readonly timers: Timers;
  readonly sections: Sections;
}

// The number of unsent bytes at which calls are held back, and a server stops reading requests.
const mostUnsentBytes = 512 * 1024;
// Time that a peer has to read the last frames before the connection is destroyed.
const lingerMs = 1_000;

/** A connection, on either side: the preamble, frames in and out, one write per turn of the event loop, and its end. */
export abstract class FrameConnection {
  readonly streams = new StreamTable<FrameStream>();
  readonly writer: FrameWriter;
  readonly windowBytes: number;
  peerWindowBytes = 0;
  peerMaxCalls = 0;
  isBlocked = false;
  /** True if neither side makes new calls. */
  isLeaving = false;
  isClosed = false;
  /** Counts the packets that came: a call compares it with the count at its beginning. */
  activity = 0;
  /** Bytes that wait for credit, or for room. */
  protected waitingBytes = 0;
  /** The number of bytes that were handed to the socket so far. */
  protected handedBytes = 0;
  /** The highest number of a call so far. */
  protected lastId = 0;
  /** Calls up to this one may have been seen by the peer. */
  protected sentId = 0;
  protected readonly socket: Duplex;
  protected readonly options: ConnectionOptions;
  protected readonly cursor = new FrameCursor();
  protected readonly fields = new FieldReader(maxFields);
  readonly #senders = new Set<FrameStream>();
  #saidHello = false;
  #isReady = false;
  #isPaused = false;
  #isFinishing = false;
  #willFlush = false;
  readonly #rest = new ByteQueue();
  #neededBytes = preamble.length;
  #isPastPreamble = false;
  #error: string | undefined;
  #handshake: Timer | undefined;
  #keepalive: Timer | undefined;
  #pong: Timer | undefined;
  #isQuiet = true;

  /** @param speaksFirst false for a server, which sends nothing before it has read the preamble of the client */
  constructor(socket: Duplex, options: ConnectionOptions, speaksFirst: boolean) {
    this.socket = socket;
    this.options = options;
    this.windowBytes = options.windowBytes;
    this.writer = new FrameWriter(options.sections);
    if (speaksFirst) this.#hello();
    socket.on('data', (chunk: Buffer) => this.#data(chunk));
    socket.on('drain', () => {
      this.#drained();
      this.onUnsentChange();
    });
    socket.on('error', (error) => (this.#error ??= textOf(error)));
    // A peer that has ended its side expects no more frames.
    socket.on('end', () => {
      this.finish();
      this.#end();
    });
    socket.on('close', () => this.#closed());
    this.#handshake = options.timers.after(options.handshakeMs, () => {
      this.#error = `nothing that could be understood came within ${options.handshakeMs} ms`;
      socket.destroy();
    });
  }

  /** Called when the peer has introduced itself. */
  protected abstract onReady(): void;
  /** Handles a CALL frame. The cursor is at its path. */
  protected abstract onCall(id: number, flags: number): void;
  protected abstract onGoAway(lastId: number, isError: boolean, text: string): void;
  /**
   * Handles a peer that does not speak this protocol: `text` is its first bytes, or its other version. Returns the
   * answer, if any.
   */
  protected abstract onStranger(text: string, isOtherVersion: boolean): string;
  protected abstract onEnded(why: string): void;
  /** Called when a call is over. */
  protected abstract onRelease(): void;
  /** Called when bytes have come. */
  protected onData(): void {}
  /** Called when the number of unsent bytes has changed. */
  protected onUnsentChange(): void {}

  /** Schedules the sending of what was written: it leaves with everything else that is written in this turn. */
  wrote(): void {
    if (this.writer.bytes > mostUnsentBytes) this.#block();
    if (this.#willFlush) return;
    this.#willFlush = true;
    this.options.timers.soon(this.#flush);
  }

  /** Notes a call with a message that could not be sent at once. */
  waits(stream: FrameStream): void {
    this.#senders.add(stream);
    if (!this.isBlocked) this.#sendWaiting(stream);
  }

  /** Changes the number of bytes that wait to be sent. */
  waitsFor(bytes: number): void {
    this.waitingBytes += bytes;
    this.onUnsentChange();
  }

  /** Notes that a call that began at that count of `activity` ran out of time. */
  noteUnanswered(_activity: number): void {}

  release(stream: FrameStream): void {
    this.streams.delete(stream);
    this.#senders.delete(stream);
    this.onRelease();
    if (this.isLeaving && this.streams.size === 0) this.finish();
  }

  /** Sends what is left, then closes the connection. */
  finish(): void {
    if (this.isClosed || this.#isFinishing) return;
    this.#isFinishing = true;
    this.isLeaving = true;
    this.#flush();
    this.socket.end();
    this.options.timers.after(lingerMs, () => this.socket.destroy());
  }

  /** Tells the peer to make no more calls. Those that it has made go on. */
  leave(): void {
    if (this.isLeaving) return;
    this.isLeaving = true;
    if (!this.#saidHello) {
      this.socket.destroy();
      return;
    }
    this.writer.goAway(this.lastId, Leave.Draining, '');
    this.wrote();
    if (this.streams.size === 0) this.finish();
  }

  destroy(why?: string): void {
    this.#error ??= why;
    this.socket.destroy();
  }

  /** Ends the connection and its calls. */
  protected fatal(why: string): void {
    this.#error ??= why;
    this.socket.destroy();
    this.#end();
  }

  /** Ends the connection of a peer that violated the protocol: sends the error, and reads nothing more. */
  protected violation(error: FrameError): void {
    this.#error ??= error.message;
    this.isLeaving = true;
    this.socket.removeAllListeners('data');
    this.socket.resume();
    this.writer.goAway(this.lastId, Leave.ProtocolError, error.message);
    this.finish();
    this.#end();
  }

  /** Reads the sections of a MESSAGE, and passes them to its call. */
  protected message(stream: FrameStream | undefined, flags: number): void {
    const { cursor } = this;
    const headers = (flags & Flag.Headers) === 0 ? undefined : this.fields.readAll(cursor);
    const status = (flags & Flag.Status) === 0 ? undefined : this.#status(flags);
    const size = (flags & Flag.Size) === 0 ? undefined : cursor.uint32();
    const isBody = (flags & Flag.Body) !== 0;
    if (!isBody && cursor.left > 0) throw new FrameError(`${cursor.left} bytes too many in a frame`);
    if (!isBody && (flags & (Flag.More | Flag.Size)) !== 0) throw new FrameError('a part of a body without a body');
    this.fields.commit();
    stream?.onFrame(flags, headers && metadataOf(headers), status, size, isBody ? cursor.rest() : undefined);
  }

  #hello(): void {
    const { windowBytes, maxCalls } = this.options;
    this.#saidHello = true;
    this.writer.hello({ windowBytes, maxCalls, fields: maxFields });
    this.wrote();
  }

  readonly #flush = (): void => {
    this.#willFlush = false;
    if (this.isClosed || this.socket.destroyed) return;
    const { socket } = this;
    this.sentId = this.lastId;
    this.handedBytes += this.writer.bytes;
    const buffers = this.writer.take();
    if (buffers.length === 1) {
      socket.write(buffers[0]);
    } else if (buffers.length > 1) {
      socket.cork();
      for (const buffer of buffers) socket.write(buffer);
      socket.uncork();
    }
    if (socket.writableLength > mostUnsentBytes) this.#block();
    else if (this.isBlocked) this.#drained();
    this.onUnsentChange();
  };

  #block(): void {
    this.isBlocked = true;
  }

  #drained(): void {
    if (!this.isBlocked || this.socket.writableLength + this.writer.bytes > mostUnsentBytes) return;
    this.isBlocked = false;
    // Sends one part of each body in turn, so that no call waits for the whole body of another.
    let moved = true;
    while (moved && !this.isBlocked) {
      moved = false;
      for (const stream of this.#senders) {
        if (stream.sendPart()) moved = true;
        else if (!stream.room()) this.#senders.delete(stream);
        if (this.isBlocked) break;
      }
    }
    if (this.#isPaused && !this.isBlocked) {
      this.#isPaused = false;
      this.socket.resume();
    }
  }

  #sendWaiting(stream: FrameStream): void {
    while (!this.isBlocked && stream.sendPart());
    if (!stream.room()) this.#senders.delete(stream);
  }

  /** True if requests are left unread while replies pile up. A client reads on, or both would wait for ever. */
  protected get pausesReading(): boolean {
    return false;
  }

  #data(chunk: Buffer): void {
    this.#isQuiet = false;
    this.activity += 1;
    this.onData();
    if (this.#pong) {
      this.#pong.cancel();
      this.#pong = undefined;
    }
    let data = chunk;
    if (this.#rest.size > 0) {
      this.#rest.add(chunk);
      // Joined once when a frame is whole, however small the pieces are that it comes in.
      if (this.#rest.size < this.#neededBytes) return;
      data = this.#rest.join();
    }
    try {
      const at = this.#frames(data, this.#isPastPreamble ? 0 : this.#begin(data));
      if (at < data.length && !this.isClosed) {
        this.#rest.add(data.subarray(at));
      }
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.violation(error);
    }
    if (this.isBlocked && this.pausesReading && !this.#isPaused) {
      this.#isPaused = true;
      this.socket.pause();
    }
  }

  /** Reads the preamble, and returns where it ends. */
  #begin(data: Buffer): number {
    const length = Math.min(data.length, preamble.length);
    for (let index = 0; index < length; index += 1) {
      if (data[index] === preamble[index]) continue;
      this.#refuse(data, index);
      return data.length;
    }
    if (data.length < preamble.length) return 0;
    this.#isPastPreamble = true;
    if (!this.#saidHello) this.#hello();
    return preamble.length;
  }

  #refuse(data: Buffer, index: number): void {
    const isOtherVersion = index === preamble.length - 1;
    this.socket.removeAllListeners('data');
    this.socket.resume();
    // Drops the preamble of this side: a peer that does not speak the protocol could not read it.
    this.writer.take();
    if (isOtherVersion) {
      this.#error = `it speaks version ${data[index]} of the protocol, and this side version ${preamble[index]}`;
      this.writer.goAway(0, Leave.ProtocolError, `this side speaks version ${preamble[index]} of the protocol`);
    } else {
      this.#error = 'it does not speak this protocol';
    }
    const answer = this.onStranger(isOtherVersion ? this.#error : textIn(data), isOtherVersion);
    if (answer !== '') this.socket.write(answer);
    this.finish();
    this.#end();
  }

  #frames(data: Buffer, start: number): number {
    let at = start;
    const end = data.length;
    while (end - at >= headerBytes && !this.isClosed) {
      const length = ((data[at] as number) << 16) | ((data[at + 1] as number) << 8) | (data[at + 2] as number);
      const type = data[at + 3] as number;
      if (length > maxPayloadBytes) throw new FrameError(`a frame of ${length} bytes; ${maxPayloadBytes} are allowed`);
      if (type > FrameType.GoAway) throw new FrameError(`there is no frame of type ${type}`);
      const next = at + headerBytes + length;
      if (next > end) {
        this.#neededBytes = headerBytes + length;
        return at;
      }
      this.cursor.over(data, at + headerBytes, next);
      this.#frame(type, data[at + 4] as number, data.readUInt32BE(at + 5));
      at = next;
    }
    this.#neededBytes = headerBytes;
    return at;
  }

  #frame(type: number, flags: number, id: number): void {
    const { cursor } = this;
    if (!this.#isReady) {
      if (type !== FrameType.Settings && type !== FrameType.GoAway) throw new FrameError('a frame before the settings');
    }
    switch (type) {
      case FrameType.Call:
        this.onCall(id, flags);
        break;
      case FrameType.Message:
        this.message(this.#known(id), flags);
        break;
      case FrameType.Reset:
        this.#known(id)?.owner.onReset(flags !== 0, codeFrom(cursor.byte()));
        break;
      case FrameType.Credit:
        this.#credit(id, cursor.uint32());
        break;
      case FrameType.Ping:
        // Pongs to a peer that reads nothing would pile up in memory.
        if (this.isBlocked) break;
        this.writer.pong();
        this.wrote();
        break;
      case FrameType.Pong:
        break;
      case FrameType.GoAway:
        this.onGoAway(cursor.uint32(), flags !== Leave.Draining, cursor.utf8(Math.min(cursor.left, 1_000)));
        break;
      default:
        this.#settings(this.#settingsOf());
    }
  }

  #known(id: number): FrameStream | undefined {
    // Frames of a call that is over may still arrive.
    if (id === 0 || id > this.lastId) throw new FrameError(`there has been no call ${id}`);
    return this.streams.get(id);
  }

  #credit(id: number, bytes: number): void {
    const stream = this.#known(id);
    if (!stream) return;
    stream.credited(bytes);
    if (this.#senders.has(stream) && !this.isBlocked) this.#sendWaiting(stream);
  }

  #settingsOf(): Settings {
    const { cursor } = this;
    if (this.#isReady) throw new FrameError('settings a second time');
    if (cursor.left < settingsBytes) throw new FrameError('settings that are cut off');
    return { windowBytes: cursor.uint32(), maxCalls: cursor.uint32(), fields: cursor.uint16() };
  }

  #settings({ windowBytes, maxCalls, fields }: Settings): void {
    if (windowBytes < minWindowBytes || windowBytes > 2 ** 31) throw new FrameError(`a window of ${windowBytes} bytes`);
    this.#isReady = true;
    this.#handshake?.cancel();
    this.peerWindowBytes = windowBytes;
    this.peerMaxCalls = maxCalls;
    this.writer.useFields(Math.min(fields, maxFields));
    this.#startPinging();
    this.onReady();
  }

  #startPinging(): void {
    const { keepaliveMs, keepaliveWithoutCalls, keepaliveTimeoutMs, timers } = this.options;
    if (keepaliveMs === undefined || keepaliveMs === Number.POSITIVE_INFINITY) return;
    this.#keepalive = timers.every(keepaliveMs, () => {
      const wasQuiet = this.#isQuiet;
      this.#isQuiet = true;
      // While nothing is read, no pong can arrive.
      if (!wasQuiet || this.#pong || this.#isPaused) return;
      if (!keepaliveWithoutCalls && this.streams.size === 0) return;
      this.writer.ping();
      this.wrote();
      this.#pong = timers.after(keepaliveTimeoutMs, () => {
        // In a process that was busy for long, the pong may be unread in the socket.
        timers.soon(() => this.#unanswered());
      });
    });
  }

  #unanswered(): void {
    if (!this.#pong || this.isClosed) return;
    this.#pong = undefined;
    if (this.#isPaused) return;
    this.#error ??= `a ping was not answered within ${this.options.keepaliveTimeoutMs} ms`;
    this.socket.destroy();
  }

  #status(flags: number): Status {
    const { cursor } = this;
    const code = codeFrom(cursor.varint());
    const message = code === 0 ? '' : cursor.utf8(cursor.varint());
    if ((flags & Flag.Trailers) === 0) return { code, message };
    return { code, message, metadata: metadataOf(this.fields.readAll(cursor)) };
  }

  #closed(): void {
    this.#handshake?.cancel();
    this.#keepalive?.cancel();
    this.#pong?.cancel();
    this.#end();
  }

  #end(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.isLeaving = true;
    this.#rest.clear();
    this.onEnded(this.#error ?? 'the other side closed it');
  }
}

const viewed = {
  read: (fields: readonly Field[]): Iterable<Field> => fields,
  find: (fields: readonly Field[], key: string): MetadataValue | undefined => {
    for (const [name, value] of fields) if (name === key) return value;
    return undefined;
  },
};

/** Returns fields as metadata, which is read only when it is looked into. */
function metadataOf(fields: readonly Field[]): Metadata {
  return Metadata.lazy({ raw: fields, read: viewed.read, find: viewed.find });
}

function textIn(data: Buffer): string {
  return data.toString('latin1', 0, 24).replace(/[^\x20-\x7e]+/g, '.');
}
