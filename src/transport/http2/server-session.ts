import { constants, type ServerHttp2Session } from 'node:http2';
import type { Duplex } from 'node:stream';

import type { PeerCertificate } from '../../context/peer-certificate.ts';
import type { Clock, Random, Timer, Timers } from '../../runtime/runtime.ts';
import { formatPeer } from '../sockets/address.ts';
import { CallAdmission } from '../call/call-admission.ts';
import type { ConnectionInfo } from './server-stream.ts';
import { certificateBehind } from '../sockets/peer-certificate.ts';
import type { SendBudget } from '../call/send-budget.ts';

/** Limits on the age of connections to a server, and on the pings of their peers. */
export interface SessionRules {
  readonly maxConnectionIdleMs?: number | undefined;
  readonly maxConnectionAgeMs?: number | undefined;
  readonly maxConnectionAgeGraceMs?: number | undefined;
  readonly minPingIntervalMs: number;
}

/** Dependencies of a session, from its listener. */
export interface SessionSeams {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Pick<Random, 'next'>;
  /** The budget of all connections of the listener. */
  readonly budget: SendBudget;
}

// gRPC's A8: the number of early pings before the connection is closed, and the debug data of that GOAWAY.
const maxPingStrikes = 2;
const tooManyPings = Buffer.from('too_many_pings');
const highestStream = 2 ** 31 - 1;
// More bytes than the answer to a ping takes, even encrypted.
const answerBytes = 64;
// After so long, a peer has received the GOAWAY, and what it sent before has arrived.
const heardMs = 1_000;
/** Time that a peer has to close its end of a connection, in milliseconds. */
const lingerMs = 1_000;
// gRPC's A9: an age differs by a tenth from connection to connection, or all that were made at once would end at once.
const ageJitter = 0.1;

/** A connection of a client to this server, with the rules for its age, its pings and its unsent replies. */
export class ServerSession implements ConnectionInfo {
  abandoned = 0;
  readonly admission: CallAdmission;
  readonly local: string;
  readonly remote: string;
  hasSent = false;
  readonly #session: ServerHttp2Session;
  readonly #rules: SessionRules;
  readonly #seams: SessionSeams;
  #certificate: PeerCertificate | undefined;
  readonly #socket: Duplex;
  #calls = 0;
  #lastPingMs = Number.NEGATIVE_INFINITY;
  #lastPingBytes = 0;
  #strikes = 0;
  #idle: Timer | undefined;
  #age: Timer | undefined;
  #farewell: Timer | undefined;

  constructor(session: ServerHttp2Session, socket: Duplex, rules: SessionRules, seams: SessionSeams) {
    this.#session = session;
    this.#socket = socket;
    this.admission = new CallAdmission(seams.budget, seams.timers);
    this.#rules = rules;
    this.#seams = seams;
    const { localAddress, localPort, remoteAddress, remotePort } = session.socket;
    this.local = formatPeer(localAddress, localPort);
    this.remote = formatPeer(remoteAddress, remotePort);
    session.on('ping', () => this.#pinged());
    const { maxConnectionAgeMs } = rules;
    if (maxConnectionAgeMs !== undefined) {
      const ageMs = maxConnectionAgeMs * (1 + ageJitter * (2 * seams.random.next() - 1));
      this.#age = seams.timers.after(ageMs, () => this.leave());
    }
    this.#quiet();
  }

  /**
   * Returns the certificate of the peer. It is read once for all calls of the connection, when it is first asked for.
   */
  certificate(): PeerCertificate | undefined {
    return (this.#certificate ??= this.#session.destroyed ? undefined : certificateBehind(this.#session.socket));
  }

  /** The number of calls in progress, with those that broke off and whose handlers still run. */
  get calls(): number {
    return this.#calls + this.abandoned;
  }

  /** Counts a call that has come. */
  onCallStart(): void {
    this.#calls += 1;
    this.#idle?.cancel();
  }

  /** Counts a call that is over. */
  onCallEnd(): void {
    this.#calls -= 1;
    this.#quiet();
  }

  /** Closes the connection of a peer that has taken nothing in the last `looks` calls of this method. */
  look(looks: number): void {
    const written = this.#session.destroyed ? 0 : this.#session.socket.bytesWritten;
    if (this.admission.hasStalled(looks, written)) this.destroy();
  }

  /**
   * Destroys the connection. Node closes a socket only when everything written to it has left, which may never happen.
   */
  destroy(): void {
    this.#session.destroy();
    this.#seams.timers.after(lingerMs, () => this.#socket.destroy());
  }

  /** Cleans up after the connection is gone. */
  closed(): void {
    this.admission.close();
    this.#idle?.cancel();
    this.#age?.cancel();
    this.#farewell?.cancel();
  }

  /**
   * Tells the peer to go elsewhere: calls that it sends before it has heard of that are taken, and those under way go
   * on, for as long as the rules allow (RFC 9113, section 6.8).
   */
  leave(): void {
    const session = this.#session;
    if (session.destroyed || session.closed || this.#farewell) return;
    session.goaway(constants.NGHTTP2_NO_ERROR, highestStream);
    // A timer, and not the answer to a ping, tells that the GOAWAY has arrived: a client on Node 20 stalls if both come
    // in one packet.
    this.#farewell = this.#seams.timers.after(heardMs, () => session.close());
    const { maxConnectionAgeGraceMs } = this.#rules;
    if (maxConnectionAgeGraceMs === undefined) return;
    this.#age = this.#seams.timers.after(maxConnectionAgeGraceMs, () => session.destroy());
  }

  #quiet(): void {
    const { maxConnectionIdleMs } = this.#rules;
    if (maxConnectionIdleMs === undefined || this.#calls > 0 || this.#session.destroyed) return;
    this.#idle = this.#seams.timers.after(maxConnectionIdleMs, () => this.leave());
  }

  #pinged(): void {
    const now = this.#seams.clock.monotonicMs();
    const isEarly = now - this.#lastPingMs < this.#rules.minPingIntervalMs;
    this.#lastPingMs = now;
    // A long message leaves piece by piece, and grpc-go measures the bandwidth by a ping for each round of them.
    const bytes = this.#session.destroyed ? 0 : this.#session.socket.bytesWritten;
    const isSending = bytes - this.#lastPingBytes > answerBytes;
    this.#lastPingBytes = bytes;
    if (this.hasSent || isSending) {
      this.hasSent = false;
      this.#strikes = 0;
    } else if (isEarly) this.#strikes += 1;
    if (this.#strikes <= maxPingStrikes || this.#session.destroyed) return;
    this.#session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, 0, tooManyPings);
    // Destroys the session after the GOAWAY has left.
    this.#seams.timers.soon(() => this.#session.destroy());
  }
}
