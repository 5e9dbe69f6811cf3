import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';

import type { Clock, Timer, Timers } from '../runtime/runtime.ts';
import { JuteReader, MalformedPacket, type Packet, PacketSplitter } from './jute.ts';
import {
  type Grant,
  type Handshake,
  handshakePacket,
  pingPacket,
  readEvent,
  readGrant,
  readHeader,
  xidOffset,
  xids,
  type ZooKeeperRequest,
} from './requests.ts';
import { type WatchEvent, ZooKeeperError } from './zookeeper.ts';

/** A request under way, with what awaits its answer. */
export interface PendingRequest {
  readonly request: ZooKeeperRequest<unknown>;
  readonly packet: Buffer;
  /** The number of times that it was sent. */
  attempts: number;
  onReply(value: unknown): void;
  onError(error: unknown): void;
}

/** The parts of a {@link Connection}. */
export interface ConnectionInit {
  readonly address: { readonly host: string; readonly port: number };
  readonly handshake: Handshake;
  readonly tls: ConnectionOptions | undefined;
  readonly clock: Clock;
  readonly timers: Timers;
  /** A larger answer fails its request. */
  readonly maxReplyBytes: number;
  /** A server that is asked, and says nothing for so long, is given up. */
  readonly maxSilenceMs: number;
  /** A longer silence is told. */
  readonly maxGapMs: number;
  onEvent(event: WatchEvent): void;
  onSilence(silentMs: number): void;
}

// The longest time without a packet, by which a server that stood still is noticed soon.
const pingMs = 2_000;

// Numbers of requests, in the range of the protocol.
const lastXid = 2 ** 31 - 1;
/** Errors after which the server has no more use for the connection. */
const fatal = [-112, -115, -118, -124];

/**
 * One connection to one server, from its handshake on. Answers come in the order of the requests. It pings the server,
 * and ends when that is silent, or sends what the protocol does not allow.
 */
export class Connection {
  /** Resolves when it has ended, with the reason. */
  readonly ended: Promise<Error>;
  /** The last transaction that the server has told of. */
  lastZxid: bigint;
  /** When the server was last heard of. */
  heardAtMs = 0;
  readonly #init: ConnectionInit;
  readonly #socket: Socket;
  readonly #splitter: PacketSplitter;
  readonly #beatMs: number;
  #grant: Grant | undefined;
  #beat: Timer | undefined;
  #pending: PendingRequest[] = [];
  #xids: number[] = [];
  #xid = 0;
  #sentAtMs = 0;
  #beatAtMs = 0;
  /** When the server was last heard of, or this process stood still. */
  #gapFromMs = 0;
  #isCorked = false;
  #onGrant: ((grant: Grant) => void) | undefined;
  #onEnd: ((error: Error) => void) | undefined;

  /** Connects, and resolves when the server has answered the handshake. An abort of the signal ends the attempt. */
  static async open(init: ConnectionInit, signal: AbortSignal): Promise<Connection> {
    const connection = new Connection(init);
    const opened = new Promise<void>((resolve, reject) => {
      connection.#onGrant = () => resolve();
      void connection.ended.then(reject);
      signal.addEventListener('abort', () => connection.close(signal.reason as Error), { once: true });
    });
    await opened;
    return connection;
  }

  private constructor(init: ConnectionInit) {
    this.#init = init;
    this.lastZxid = init.handshake.lastZxid;
    this.#splitter = new PacketSplitter(init.maxReplyBytes);
    this.#beatMs = init.maxSilenceMs / 4;
    this.ended = new Promise((resolve) => (this.#onEnd = resolve));
    const socket = connect(init);
    this.#socket = socket;
    socket.on('error', (error) => this.close(error));
    socket.on('close', () => this.close(closedByServer(this.#grant === undefined)));
    socket.on('data', (chunk) => this.#onData(chunk));
    socket.once(init.tls ? 'secureConnect' : 'connect', () => socket.write(handshakePacket(init.handshake)));
  }

  /** The session that the server granted. */
  get grant(): Grant {
    if (!this.#grant) throw new Error('the connection is not open');
    return this.#grant;
  }

  /** The number of requests without an answer. */
  get inFlight(): number {
    return this.#pending.length;
  }

  send(pending: PendingRequest): void {
    pending.attempts += 1;
    this.#xid = this.#xid === lastXid ? 1 : this.#xid + 1;
    this.#pending.push(pending);
    this.#xids.push(this.#xid);
    pending.packet.writeInt32BE(this.#xid, xidOffset);
    this.write(pending.packet);
  }

  /** Sends a packet that is no request. */
  write(packet: Buffer): void {
    this.#sentAtMs = this.#init.clock.monotonicMs();
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#socket.cork();
      // What one turn asks for is sent in one piece.
      process.nextTick(() => {
        this.#isCorked = false;
        this.#socket.uncork();
      });
    }
    this.#socket.write(packet);
  }

  /** Ends it at once. `takeUnanswered` has what it leaves. */
  close(error: Error): void {
    this.#beat?.cancel();
    this.#socket.destroy();
    this.#onEnd?.(error);
    this.#onEnd = undefined;
  }

  /** The requests without an answer, in their order. They are no longer its own. */
  takeUnanswered(): PendingRequest[] {
    return this.#pending.splice(0);
  }

  #onData(chunk: Buffer): void {
    try {
      for (const packet of this.#splitter.split(chunk)) {
        if (!this.#onEnd) return;
        // Whole packets count: one that never ends is no sign of life.
        this.heardAtMs = this.#init.clock.monotonicMs();
        if (this.#grant) this.#onPacket(packet);
        else this.#begin(readGrant(packet.bytes));
      }
    } catch (error) {
      const why = error instanceof MalformedPacket ? `the server broke the protocol: ${error.message}` : String(error);
      this.close(new Error(why, { cause: error }));
    }
  }

  #begin(grant: Grant): void {
    this.#grant = grant;
    this.#sentAtMs = this.#beatAtMs = this.#gapFromMs = this.heardAtMs;
    // A ping after a third of the session at the latest leaves time for another server.
    const beatMs = Math.min(this.#beatMs, grant.timeoutMs / 6, pingMs / 2);
    if (beatMs > 0) this.#beat = this.#init.timers.every(beatMs, () => this.#onBeat(beatMs));
    this.#onGrant?.(grant);
  }

  #onPacket({ bytes, length, isTooLarge }: Packet): void {
    const silentMs = this.heardAtMs - this.#gapFromMs;
    this.#gapFromMs = this.heardAtMs;
    if (silentMs > this.#init.maxGapMs) this.#init.onSilence(silentMs);
    const reader = new JuteReader(bytes);
    const { xid, zxid, error } = readHeader(reader);
    if (zxid > this.lastZxid) this.lastZxid = zxid;
    if (xid === xids.event) {
      const event = isTooLarge ? undefined : readEvent(reader);
      if (event) this.#init.onEvent(event);
    } else if (xid === xids.ping || xid === xids.setWatches || xid === xids.auth) {
      if (error !== 0) this.close(ZooKeeperError.ofNumber(error, xid === xids.auth ? 'authentication' : 'setWatches'));
    } else {
      this.#onReply(xid, error, isTooLarge ? length : undefined, reader);
    }
  }

  #onReply(xid: number, error: number, tooLong: number | undefined, reader: JuteReader): void {
    if (xid !== this.#xids[0])
      throw new MalformedPacket(`it answers request ${xid}, and ${this.#xids[0] ?? 'nothing'} was asked`);
    const pending = this.#pending[0] as PendingRequest;
    const { name } = pending.request;
    // The request counts as unanswered.
    if (fatal.includes(error)) return this.close(ZooKeeperError.ofNumber(error, name));
    this.#pending.shift();
    this.#xids.shift();
    if (tooLong !== undefined) {
      const { maxReplyBytes } = this.#init;
      const why = `the answer to ${name} takes ${tooLong} bytes, and more than ${maxReplyBytes} are not read`;
      return pending.onError(new ZooKeeperError('PacketTooLarge', why));
    }
    if (error !== 0) return pending.onError(ZooKeeperError.ofNumber(error, name));
    let value: unknown;
    try {
      value = pending.request.read(reader);
    } catch (failure) {
      pending.onError(failure);
      if (failure instanceof MalformedPacket) throw failure;
      return;
    }
    pending.onReply(value);
  }

  #onBeat(beatMs: number): void {
    const { timeoutMs } = this.grant;
    const now = this.#init.clock.monotonicMs();
    // This process itself stood still: what the server sent meanwhile has not been read yet.
    const wasLate = now - this.#beatAtMs > 2 * beatMs;
    this.#beatAtMs = now;
    if (wasLate) this.#gapFromMs = now;
    const silentMs = now - this.heardAtMs;
    const mostMs = this.#pending.length > 0 ? this.#init.maxSilenceMs : Number.POSITIVE_INFINITY;
    if (!wasLate && silentMs > Math.min(mostMs, (2 * timeoutMs) / 3)) {
      this.close(new Error(`the server said nothing for ${Math.round(silentMs)} ms`));
    } else if (wasLate || now - this.#sentAtMs >= Math.min(timeoutMs / 4, pingMs - beatMs / 2)) this.write(pingPacket);
  }
}

function closedByServer(isHandshake: boolean): ZooKeeperError {
  return new ZooKeeperError(
    'ConnectionLoss',
    `the server closed the connection${isHandshake ? ' in the handshake' : ''}`,
  );
}

function connect({ address, tls }: ConnectionInit): Socket {
  const { host, port } = address;
  // RFC 6066, section 3: literal addresses are no names.
  const named = isIP(host) === 0 && { servername: host };
  const socket = tls ? connectTls({ ...named, ...tls, host, port }) : connectTcp({ host, port });
  return socket.setNoDelay().unref();
}
