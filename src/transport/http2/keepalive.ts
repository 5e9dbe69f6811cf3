import type { Http2Session } from 'node:http2';

import type { Timer, Timers } from '../../runtime/runtime.ts';

/** Options of a {@link Keepalive}. */
export interface KeepaliveOptions {
  /** Time of silence after which a connection is pinged, in milliseconds. */
  readonly keepaliveMs: number;
  /** Time to answer a ping, in milliseconds, before the connection is closed. */
  readonly keepaliveTimeoutMs: number;
  /** True if connections without calls are pinged too. */
  readonly withoutCalls: boolean;
}

/** A connection that a {@link Keepalive} watches. */
export interface KeepaliveTarget {
  /** Returns the number of calls that it carries. Left out: it is pinged without calls too. */
  readonly size?: (() => number) | undefined;
  /**
   * A factor on `keepaliveMs`, which grows when a server asks this client to ping less often.
   * @default 1
   */
  readonly keepaliveFactor?: number | undefined;
  /** Ends a connection that does not answer. If it is left out, the connection is destroyed. */
  readonly giveUp?: (() => void) | undefined;
}

interface KeepaliveEntry {
  readonly size: (() => number) | undefined;
  readonly keepaliveMs: number;
  readonly giveUp: () => void;
  bytes: number;
  quietMs: number;
  isAsked: boolean;
}

/**
 * Pings quiet connections, and ends those that do not answer: their peers are gone without a word, or node:http2 has
 * forgotten them. After some errors of the protocol Node 20 sends GOAWAY and neither reads on nor closes.
 *
 * One timer for all of them: a connection that is in use costs nothing.
 */
export class Keepalive {
  readonly #timers: Timers;
  readonly #options: KeepaliveOptions;
  readonly #stepMs: number;
  readonly #watched = new Map<Http2Session, KeepaliveEntry>();
  #timer: Timer | undefined;

  constructor(timers: Timers, options: KeepaliveOptions) {
    this.#timers = timers;
    this.#options = options;
    this.#stepMs = Math.min(options.keepaliveMs, options.keepaliveTimeoutMs);
  }

  add(
    session: Http2Session,
    { size, keepaliveFactor = 1, giveUp = () => session.destroy() }: KeepaliveTarget = {},
  ): void {
    const { keepaliveMs, withoutCalls } = this.#options;
    if (keepaliveMs === Number.POSITIVE_INFINITY) return;
    const watched = { keepaliveMs: keepaliveMs * keepaliveFactor, giveUp, bytes: 0, quietMs: 0, isAsked: false };
    this.#watched.set(session, { size: withoutCalls ? undefined : size, ...watched });
    this.#timer ??= this.#timers.every(this.#stepMs, () => this.#look());
  }

  delete(session: Http2Session): void {
    this.#watched.delete(session);
    if (this.#watched.size > 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #look(): void {
    const { keepaliveTimeoutMs } = this.#options;
    for (const [session, watched] of this.#watched) {
      if (watched.size?.() === 0) watched.quietMs = 0;
      // Node sends no pings on a session that closes once its calls end, and reports pings as failed.
      if (session.closed) {
        watched.isAsked = false;
        continue;
      }
      if (hasSpoken(session, watched) || (watched.size?.() === 0 && !watched.isAsked)) continue;
      watched.quietMs += this.#stepMs;
      if (!watched.isAsked && watched.quietMs >= watched.keepaliveMs) ask(session, watched);
      else if (watched.isAsked && watched.quietMs >= keepaliveTimeoutMs) {
        // In a process that was busy for long, the answer may lie in the socket.
        this.#timers.soon(() => {
          if (watched.isAsked && !hasSpoken(session, watched)) watched.giveUp();
        });
      }
    }
  }
}

function hasSpoken(session: Http2Session, watched: KeepaliveEntry): boolean {
  const bytes = session.destroyed ? watched.bytes : session.socket.bytesRead;
  if (bytes === watched.bytes) return false;
  watched.bytes = bytes;
  watched.quietMs = 0;
  watched.isAsked = false;
  return true;
}

function ask(session: Http2Session, watched: KeepaliveEntry): void {
  watched.isAsked = true;
  watched.quietMs = 0;
  if (session.destroyed) return;
  session.ping((error) => {
    if (!error) watched.isAsked = false;
  });
}
