import { type ClientHttp2Session, connect, constants } from 'node:http2';
import type { Socket as NetSocket } from 'node:net';

import { type TenonError, textOf } from '../../errors/errors.ts';
import { LinkedList } from '../../internal/linked-list.ts';
import type { Timers } from '../../runtime/runtime.ts';
import type { CallConnection, ClientCall } from '../call/client-call.ts';
import { unreachable } from '../call/failures.ts';
import { acceptedEncodings } from '../grpc/message-encoding.ts';
import { ClientStream } from './client-stream.ts';
import type { Keepalive } from './keepalive.ts';
import { errorName } from './error-names.ts';
import { addMetadata, timeoutText } from './metadata.ts';
import type { Subchannel } from '../call/subchannel.ts';
import type { AddressScheme } from '../sockets/address-scheme.ts';
import { maxUnansweredCalls } from '../call/unanswered-calls.ts';

/** Options of the connections of clients. */
export interface ClientSessionOptions {
  readonly timers: Timers;
  readonly addresses: AddressScheme;
  readonly isSecure: boolean;
  /** Limit of the metadata that is sent, in bytes. */
  readonly maxMetadataBytes: number;
  readonly keepalive: Keepalive;
  /** By address, the factor on `keepaliveMs`: it doubles when a server says that it is pinged too often. */
  readonly keepaliveFactor: Map<string, number>;
}

// gRPC's connection-backoff.md: MIN_CONNECT_TIMEOUT.
const connectMs = 20_000;
/** Time that a server has to close its end of a connection, in milliseconds. */
const lingerMs = 1_000;
// nghttp2 takes no field above 64 KiB, whatever the setting.
const maxHeaderListSize = 64 * 1024;
const lastStreamId = 2 ** 31 - 1;
/** The limit of calls of a server that has named none: it takes any number (RFC 9113, section 6.5.2). */
const anyNumber = 2 ** 32 - 1;

// PROTOCOL-HTTP2.md: User-Agent.
const userAgent = 'grpc-node-tenon';

const goesOn = { endStream: false } as const;

/** A connection of node:http2 to a server of gRPC. */
export class ClientSession implements CallConnection {
  /** True if the server does not know gzip, so that requests are no longer compressed. */
  isUnableToInflate = false;
  /** Counts what came from the server: a call compares it with the count at its beginning. */
  activity = 0;
  /** The last stream that the server processes, by its GOAWAY. */
  lastTaken = lastStreamId;
  readonly address: string;
  readonly #options: ClientSessionOptions;
  readonly #subchannel: Subchannel<CallConnection>;
  readonly #session: ClientHttp2Session;
  readonly #socket: NetSocket;
  readonly #streams = new LinkedList<ClientStream>();
  #maxCalls = anyNumber;
  #isConnected = false;
  #isRetired = false;
  #isWaitedFor = false;
  #pingedTooOften = false;
  #unanswered = 0;
  #why: string | undefined;

  constructor(socket: NetSocket, options: ClientSessionOptions, subchannel: Subchannel<CallConnection>) {
    this.address = subchannel.address;
    this.#socket = socket;
    this.#options = options;
    this.#subchannel = subchannel;
    const session = connect('http://localhost', {
      createConnection: () => socket,
      maxSessionMemory: Number.MAX_SAFE_INTEGER,
      maxSendHeaderBlockLength: Number.MAX_SAFE_INTEGER,
      // Bytes are what counts.
      maxHeaderListPairs: 4_096,
      peerMaxConcurrentStreams: anyNumber,
      settings: { enablePush: false, maxHeaderListSize },
    });
    this.#session = session;
    const handshake = options.timers.after(connectMs, () => {
      this.#why = `nothing that could be understood came within ${connectMs} ms`;
      this.#destroy();
    });
    session.on('remoteSettings', ({ maxConcurrentStreams = anyNumber }) => {
      this.#maxCalls = maxConcurrentStreams;
      if (this.#isConnected) subchannel.startWaiting();
      else {
        handshake.cancel();
        this.#connected();
      }
    });
    session.on('error', (error) => (this.#why ??= textOf(error)));
    // Node waits until its last frames have left, which never happens over TLS that failed.
    socket.once('error', (error) => {
      this.#why ??= textOf(error);
      options.timers.soon(() => socket.destroy());
    });
    session.on('goaway', (code, lastTaken, text) => this.#leave(code, lastTaken, text));
    session.once('close', () => {
      handshake.cancel();
      this.#closed();
    });
  }

  get hasRoom(): boolean {
    return !this.isLeaving && this.#streams.size < this.#maxCalls;
  }

  get isLeaving(): boolean {
    return this.#isRetired || this.#session.closed || this.#session.destroyed;
  }

  get size(): number {
    return this.#streams.size;
  }

  /** True if the connection is lost or closing, so that the ends of its streams have no meaning of their own. */
  get isGone(): boolean {
    return this.#session.destroyed || this.#socket.destroyed;
  }

  /** The reason why the connection ended. */
  get why(): string {
    return this.#why ?? 'the other side closed it';
  }

  open(call: ClientCall, timeoutMs: number | undefined): ClientStream {
    const { options } = call;
    const compresses = options.compress === true && !this.isUnableToInflate;
    const first = call.firstStep();
    const headers = addMetadata(
      {
        ':method': 'POST',
        ':scheme': this.#options.isSecure ? 'https' : 'http',
        ':authority': this.address,
        ':path': call.path,
        te: 'trailers',
        'content-type': options.contentType ?? 'application/grpc',
        'grpc-accept-encoding': acceptedEncodings,
      },
      first.headers,
      this.#options.maxMetadataBytes,
    );
    const agent = headers['user-agent'];
    headers['user-agent'] = agent === undefined ? userAgent : `${String(agent)} ${userAgent}`;
    if (timeoutMs !== undefined) headers['grpc-timeout'] = timeoutText(timeoutMs);
    if (compresses) headers['grpc-encoding'] = 'gzip';
    let stream: ClientStream;
    try {
      const made = this.#session.request(headers, goesOn);
      stream = new ClientStream(made, this, call, compresses);
    } catch (error) {
      throw unreachable(this.address, textOf(error));
    }
    // Only a connection with calls keeps the process alive.
    if (this.#streams.size === 0) this.#session.ref();
    this.#streams.add(stream);
    if ((stream.id ?? 0) >= lastStreamId - 2) this.#retire();
    stream.send(first);
    return stream;
  }

  soon(callback: () => void): void {
    this.#options.timers.soon(callback);
  }

  /** Removes a stream that is closed. */
  release(stream: ClientStream): void {
    const wasFull = this.#streams.size === this.#maxCalls;
    this.#streams.delete(stream);
    if (this.#streams.size === 0 && !this.#session.destroyed) {
      if (!this.#isWaitedFor) this.#session.unref();
      if (this.isLeaving) this.finish();
    }
    if (wasFull) this.#subchannel.startWaiting();
  }

  /** Notes that something has come from the server. */
  noteActivity(): void {
    this.activity += 1;
  }

  /** Notes that a call that began at that count of `activity` had no answer. */
  noteUnanswered(activity: number): void {
    this.#unanswered = activity === this.activity ? this.#unanswered + 1 : 0;
    if (this.#unanswered >= maxUnansweredCalls) this.#retire();
  }

  keepAlive(isWaitedFor: boolean): void {
    this.#isWaitedFor = isWaitedFor;
    if (this.#session.destroyed || this.#streams.size > 0) return;
    if (isWaitedFor) this.#session.ref();
    else this.#session.unref();
  }

  fail(error: TenonError): void {
    for (const stream of this.#streams) stream.call.fail(error);
  }

  finish(): void {
    this.#isRetired = true;
    const session = this.#session;
    if (!this.#isConnected) this.#destroy();
    if (session.destroyed) return;
    session.close();
    this.#options.timers.after(lingerMs, () => this.#destroy());
  }

  /**
   * Destroys the connection. Node closes a socket only when it is connected and everything written to it has left, and
   * neither may ever happen.
   */
  #destroy(): void {
    this.#retire();
    const wasConnecting = this.#session.connecting;
    this.#session.destroy();
    if (wasConnecting) this.#socket.destroy();
    else this.#options.timers.after(lingerMs, () => this.#socket.destroy());
  }

  #connected(): void {
    this.#isConnected = true;
    this.#session.unref();
    const { keepalive, keepaliveFactor } = this.#options;
    keepalive.add(this.#session, {
      size: () => this.#streams.size,
      keepaliveFactor: keepaliveFactor.get(this.address),
      giveUp: () => this.#destroy(),
    });
    this.#subchannel.onConnected(this, this.#options.addresses.localOf(this.#socket));
  }

  /** Takes no more calls. The calls in progress go on. */
  #retire(): void {
    if (this.#isRetired) return;
    this.#isRetired = true;
    this.#subchannel.retire(this);
    if (this.#streams.size === 0) this.finish();
  }

  #leave(code: number, lastTaken: number, text: Uint8Array | undefined): void {
    this.lastTaken = lastTaken;
    const said = text && text.length > 0 ? ` (${Buffer.from(text).toString('latin1')})` : '';
    const { keepaliveFactor } = this.#options;
    // gRPC's A8: twice as long from now on. Once for each connection: a server may say so any number of times.
    if (said.includes('too_many_pings') && !this.#pingedTooOften) {
      this.#pingedTooOften = true;
      keepaliveFactor.set(this.address, 2 * (keepaliveFactor.get(this.address) ?? 1));
    }
    if (code !== constants.NGHTTP2_NO_ERROR) this.#why ??= `the other side ended it with ${errorName(code)}${said}`;
    else this.#why ??= 'it is going away';
    this.#retire();
  }

  #closed(): void {
    this.#isRetired = true;
    this.#options.keepalive.delete(this.#session);
    if (this.#isConnected) this.#subchannel.onClosed(this);
    else this.#subchannel.onConnectFailed(this, this.why, undefined);
  }
}
