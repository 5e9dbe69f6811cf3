import { createServer, type Socket as NetSocket } from 'node:net';
import type { Duplex } from 'node:stream';

import { LinkedList } from '../../internal/linked-list.ts';
import type { Logger } from '../../logger/logger.ts';
import type { MethodDescriptor } from '../../pipeline/pipeline.ts';
import { bounded, endsWithin } from '../../runtime/bounded.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { ServerTlsOptions } from '../../tls/tls.ts';
import type { Accept, Listener, ListenOptions, Socket } from '../transport.ts';
import { listenerClosed } from '../call/failures.ts';
import type { ListenTarget, AddressScheme } from './address-scheme.ts';
import type { ConnectionServer } from './connection-server.ts';
import type { ServerCall, ServerSide } from '../call/server-call.ts';
import type { MakeServerEngine, ServerEngine } from './server-engine.ts';
import type { SocketServerLimits } from './socket-defaults.ts';
import type { TlsSeams } from '../../tls/material.ts';
import { TlsAcceptor } from './tls-acceptor.ts';

// Time in which a peer must read some of what was sent to it, before its connection is closed.
const flushMs = 1_000;

/** Options of a {@link SocketListener}. */
export interface SocketListenerOptions extends TlsSeams {
  readonly addresses: AddressScheme;
  readonly tls: ServerTlsOptions | undefined;
  /** The protocols offered in TLS (ALPN, RFC 7301). */
  readonly protocols: readonly string[];
  readonly limits: Pick<SocketServerLimits, 'maxConnections' | 'maxHandshakes' | 'backlog'>;
  /** Makes what takes the connections. @default a server of `node:net` */
  readonly makeServer?: ((onConnection: (socket: NetSocket) => void) => ConnectionServer) | undefined;
}

/** Listens at an address, and gives its connections to an engine, which knows nothing of ports. */
export class SocketListener implements Listener {
  readonly #addresses: AddressScheme;
  readonly #limits: SocketListenerOptions['limits'];
  readonly #logger: Logger;
  readonly #runtime: Pick<Runtime, 'clock' | 'timers'>;
  readonly #engine: ServerEngine;
  readonly #net: ConnectionServer;
  readonly #tls: TlsAcceptor | undefined;
  readonly #sockets = new Set<NetSocket>();
  readonly #calls = new LinkedList<ServerCall>();
  readonly #early: [Socket, MethodDescriptor][] = [];
  #accept: Accept | undefined;
  #target: ListenTarget | undefined;
  #address = '';
  /** Checks if a drain is complete. */
  #check: (() => void) | undefined;
  #flushed: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  /** Throws FAILED_PRECONDITION (`tls.invalid`) for TLS that cannot work. */
  constructor(
    options: ListenOptions,
    makeEngine: MakeServerEngine,
    { addresses, tls, protocols, limits, makeServer, ...seams }: SocketListenerOptions,
  ) {
    this.#addresses = addresses;
    this.#limits = limits;
    this.#logger = seams.logger;
    this.#runtime = seams.runtime;
    const { maxHandshakes } = limits;
    this.#tls =
      tls && new TlsAcceptor({ ...seams, tls, protocols, maxHandshakes, take: (connection) => this.#take(connection) });
    this.#engine = makeEngine(options, this.#side(options));
    const onConnection = (socket: NetSocket): void => this.#connected(socket);
    this.#net = makeServer?.(onConnection) ?? createServer({ noDelay: true }, onConnection);
  }

  /** Listens at an address. Rejects as `Transport.listen` does. */
  async open(address: string, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    const target = await this.#addresses.listening(address);
    this.#target = target;
    try {
      await new Promise<void>((resolve, reject) => {
        const onAbort = (): void => reject(signal?.reason);
        signal?.addEventListener('abort', onAbort, { once: true });
        const settle = (done: () => void): void => {
          signal?.removeEventListener('abort', onAbort);
          done();
        };
        this.#net.once('error', (error) => settle(() => reject(error)));
        this.#net.listen({ ...target.options, backlog: this.#limits.backlog }, () => settle(resolve));
      });
      signal?.throwIfAborted();
      this.#address = target.bound(this.#net);
      await target.publish?.();
      signal?.throwIfAborted();
    } catch (error) {
      await this.close();
      if (signal?.aborted) throw signal.reason;
      throw target.failure(error);
    }
    this.#net.on('error', () => {
      // The error of a connection that was lost while it was accepted: the next one may succeed.
    });
    this.#tls?.watch();
  }

  addr(): string {
    return this.#address;
  }

  accept(accept: Accept): void {
    this.#accept = accept;
    for (const [socket, route] of this.#early.splice(0)) accept(socket, route);
  }

  async drain(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await bounded(this.#goAway(), { timers: this.#runtime.timers, signal });
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  #connected(socket: NetSocket): void {
    if (this.#sockets.size >= this.#limits.maxConnections) {
      this.#logger.debug('a connection is refused: there are as many as maxConnections allows', {
        peer: this.#addresses.remoteOf(socket),
      });
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#check?.();
    });
    if (this.#tls) this.#tls.inject(socket);
    else this.#take(socket);
  }

  async #close(): Promise<void> {
    for (const call of this.#calls) call.refuse(listenerClosed(this.#address));
    await endsWithin(this.#goAway(), { timers: this.#runtime.timers, timeoutMs: flushMs });
    this.#engine.shutDown();
    this.#tls?.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  /**
   * Takes no more connections, and tells the peers of those there are to send no more calls (GOAWAY). Resolves when the
   * calls are over and what was sent has left, or would not leave in time.
   */
  #goAway(): Promise<void> {
    return (this.#flushed ??= new Promise((resolve) => {
      if (this.#net.listening) {
        this.#target?.release?.();
        this.#net.close();
      }
      let isGone = false;
      let isIdle = false;
      // The engine's report is not enough: from Node 24 on, grpc-js reports the end while calls are in progress.
      this.#check = () => {
        if (this.#calls.size > 0) return;
        if (isGone && this.#sockets.size === 0) resolve();
        else if (!isIdle) this.#runtime.timers.after(flushMs, resolve);
        isIdle = true;
      };
      void this.#engine.goAway().then(() => {
        isGone = true;
        this.#check?.();
      });
      this.#check();
    }));
  }

  /** Takes a connection that was accepted, after its handshake. An engine that drains takes no more connections. */
  #take(connection: Duplex): void {
    if (this.#flushed) connection.destroy();
    else this.#engine.inject(connection);
  }

  #side({ maxSendBytes }: ListenOptions): ServerSide {
    return {
      ...this.#runtime,
      maxSendBytes,
      calls: this.#calls,
      addr: () => this.#address,
      accept: (socket, route) => {
        if (this.#accept) this.#accept(socket, route);
        else this.#early.push([socket, route]);
      },
      release: (call) => {
        this.#calls.delete(call);
        this.#check?.();
      },
    };
  }
}
