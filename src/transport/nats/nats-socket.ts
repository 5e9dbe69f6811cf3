import { Duplex } from 'node:stream';

import { type Packet, PacketKind, packetHeadBytes, writePacket } from './packet.ts';

/** Sends the packets of a {@link NatsSocket}. */
export interface PacketSender {
  /** The largest payload that NATS takes, in bytes. */
  readonly maxPayload: number;
  /** Sends a packet. Without `reply` nobody says that nobody is there. Returns false if it could not be sent. */
  send(subject: string, reply: string | undefined, packet: Buffer): boolean;
  /** Called when the socket keeps the process alive, and when it does so no longer. */
  hold(isHeld: boolean): void;
  forget(socket: NatsSocket): void;
}

/** Options of a {@link NatsSocket}. */
export interface NatsSocketOptions {
  readonly sender: PacketSender;
  /** The subject of this end. */
  readonly own: string;
  /** The subject of the other end; for a client, that of the listener, until the other end has answered. */
  readonly peer: string;
  readonly isClient: boolean;
}

// Bytes that may be on their way to an end unread, each way.
const windowBytes = 1024 * 1024;
const none = Buffer.alloc(0);
const copiedBytes = 1_024;

/** One end of a connection over NATS: a stream of bytes between two subjects, each of which has one subscriber. */
export class NatsSocket extends Duplex {
  readonly own: string;
  readonly #sender: PacketSender;
  #peer: string;
  /**
   * False until the other end has named its subject. Until then a client sends one packet: others would be lost with
   * the subscription of the listener, who may leave its subject as soon as it has taken the connection.
   */
  #isAnswered: boolean;
  /** False until packets may be sent. */
  #isOpen: boolean;
  #isHeld = false;
  #sentPackets = 0;
  #receivedPackets = 0;
  /** Bytes that may still be sent. */
  #credit = windowBytes;
  /** Bytes that were received and not read. */
  #unread = 0;
  /** Bytes that were read, and that the other end has not been told of. */
  #readBytes = 0;
  readonly #received: Buffer[] = [];
  #wantsMore = false;
  /** True if the other side sends no more. */
  #hasEnded = false;
  /** True until the reader was told of it. */
  #isEndReceived = false;
  #isOver = false;
  #waiting: { readonly bytes: Buffer; readonly done: (error?: Error) => void } | undefined;
  /** Set while the end of what this side sends has to wait. */
  #waitingEnd: (() => void) | undefined;

  constructor({ sender, own, peer, isClient }: NatsSocketOptions) {
    super({ allowHalfOpen: true });
    this.own = own;
    this.#sender = sender;
    this.#peer = peer;
    this.#isAnswered = !isClient;
    this.#isOpen = !isClient;
    this.ref();
  }

  /** The subject of the other end. */
  get peer(): string {
    return this.#peer;
  }

  /** Keeps the process alive. */
  ref(): this {
    if (!this.#isHeld && !this.destroyed) {
      this.#isHeld = true;
      this.#sender.hold(true);
    }
    return this;
  }

  unref(): this {
    if (this.#isHeld) {
      this.#isHeld = false;
      this.#sender.hold(false);
    }
    return this;
  }

  /** Called when NATS is connected: what was written leaves. */
  open(): void {
    this.#isOpen = true;
    this.#sendWaiting();
  }

  /** Called when a listener has taken the connection: it answers at once. */
  accept(): void {
    if (!this.destroyed && this.#sentPackets === 0) this.#sendCredit();
  }

  /** Takes a packet of the other end, whose subject is `from` if it says it. */
  receive(packet: Packet, from: string | undefined): void {
    if (this.destroyed) return;
    // All others say from whom they are.
    if (from === undefined && packet.kind !== PacketKind.Close) return;
    if (!this.#isAnswered && from !== undefined) {
      this.#isAnswered = true;
      this.#peer = from;
      this.#take(packet);
      this.#sendWaiting();
    } else if (from !== undefined && from !== this.#peer) {
      // Another listener of the same subject, which answered later.
      this.#sender.send(from, undefined, writePacket(PacketKind.Close, 0, none));
    } else this.#take(packet);
  }

  #take(packet: Packet): void {
    if (packet.kind === PacketKind.Close) {
      this.#onGone(undefined);
      return;
    }
    if (packet.number !== this.#receivedPackets) {
      this.destroy(new Error('NATS lost a part of what the other side sent'));
      return;
    }
    this.#receivedPackets = (this.#receivedPackets + 1) >>> 0;
    if (packet.kind === PacketKind.Data) this.#onData(packet.data);
    else if (packet.kind === PacketKind.Credit) this.#onCredit(packet.data.readUInt32BE(0));
    else if (packet.kind === PacketKind.End) {
      this.#hasEnded = true;
      this.#isEndReceived = true;
      this.#give();
    }
  }

  /** Called when NATS says that nobody listens to a packet of this end. */
  onNobodyThere(): void {
    this.#onGone(new Error(this.#isAnswered ? 'the other side is gone' : `nobody listens to ${this.#peer}`));
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    this.#waiting = { bytes: chunk, done };
    this.#sendWaiting();
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], done: (error?: Error) => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), '', done);
  }

  override _final(done: (error?: Error) => void): void {
    this.#waitingEnd = done;
    this.#sendWaiting();
  }

  override _read(): void {
    this.#wantsMore = true;
    this.#give();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (this.#isOpen && !this.#isOver) {
      this.#isOver = true;
      // A listener knows a connection by the subject of its client.
      const reply = this.#isAnswered ? undefined : this.own;
      this.#sender.send(this.#peer, reply, writePacket(PacketKind.Close, 0, none));
    }
    this.#sender.forget(this);
    this.unref();
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.done(error ?? new Error('the connection is closed'));
    done(error);
  }

  /** The other side is not there any more. What it sent before its end is read all the same. */
  #onGone(error: Error | undefined): void {
    this.#isOver = true;
    if (!this.#hasEnded) {
      this.destroy(error);
      return;
    }
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.done();
  }

  #onData(data: Buffer): void {
    if (data.length === 0) {
      // It takes none of the credit: there would be no end of them.
      this.destroy(new Error('the other side sent an empty packet'));
      return;
    }
    this.#unread += data.length;
    if (this.#unread > windowBytes) {
      this.destroy(new Error('the other side sent more than it may'));
      return;
    }
    // A small one would hold all that was read with it.
    this.#received.push(data.length < copiedBytes ? Buffer.from(data) : data);
    this.#give();
  }

  #onCredit(bytes: number): void {
    this.#credit = Math.min(this.#credit + bytes, windowBytes);
    this.#sendWaiting();
  }

  /** Gives what was received to the reader, as long as it takes more. */
  #give(): void {
    while (this.#wantsMore && this.#received.length > 0) {
      const data = this.#received.shift() as Buffer;
      this.#unread -= data.length;
      this.#readBytes += data.length;
      this.#wantsMore = this.push(data);
    }
    if (this.#isEndReceived && this.#received.length === 0) {
      this.#isEndReceived = false;
      this.push(null);
    }
    if (this.#readBytes >= windowBytes / 2 && !this.destroyed) this.#sendCredit();
  }

  #sendCredit(): void {
    const credit = Buffer.alloc(4);
    credit.writeUInt32BE(this.#readBytes);
    this.#readBytes = 0;
    this.#send(PacketKind.Credit, credit);
  }

  get #maySend(): boolean {
    return this.#isOpen && !this.destroyed && (this.#isAnswered || this.#sentPackets === 0);
  }

  #sendWaiting(): void {
    const end = this.#waitingEnd;
    if (end && this.#maySend) {
      this.#waitingEnd = undefined;
      this.#send(PacketKind.End, none);
      end();
    }
    const waiting = this.#waiting;
    if (!waiting || !this.#maySend) return;
    let { bytes } = waiting;
    while (bytes.length > 0 && this.#credit > 0 && this.#maySend) {
      const length = Math.min(bytes.length, this.#credit, this.#sender.maxPayload - packetHeadBytes);
      if (length <= 0 || !this.#send(PacketKind.Data, bytes.subarray(0, length))) return;
      this.#credit -= length;
      bytes = bytes.subarray(length);
    }
    this.#waiting = bytes.length === 0 ? undefined : { bytes, done: waiting.done };
    if (bytes.length === 0) waiting.done();
  }

  #send(kind: PacketKind, data: Buffer): boolean {
    // Nobody is there to take it.
    if (this.#isOver) return true;
    const isSent = this.#sender.send(this.#peer, this.own, writePacket(kind, this.#sentPackets, data));
    if (isSent) this.#sentPackets = (this.#sentPackets + 1) >>> 0;
    else this.destroy(new Error('NATS does not take what it is sent'));
    return isSent;
  }
}
