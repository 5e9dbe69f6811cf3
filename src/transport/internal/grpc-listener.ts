import { createServer, type AddressInfo, type Server as NetServer, type Socket as NetSocket } from 'node:net';

import { Server, type ServerCredentials, type ServerInterceptor, type ServerOptions } from '@grpc/grpc-js';

import { textOf } from '../../errors/errors.ts';
import type { MethodDescriptor } from '../../pipeline/pipeline.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { type Accept, defaultMaxMessageBytes, type Listener, type ListenOptions, type Socket } from '../transport.ts';
import { formatAddress, parseAddress } from './address.ts';
import { addressInUse, cannotListen, listenerClosed } from './failures.ts';
import { type BaseCall, GrpcServerSocket, type ServerSide, TakenCall } from './grpc-server.ts';

/** How a {@link GrpcListener} serves. */
export interface GrpcListenerOptions {
  readonly credentials: ServerCredentials;
  readonly serverOptions: ServerOptions;
  readonly runtime: Pick<Runtime, 'clock' | 'timers'>;
}

// For a peer that does not read: what was sent to it is given up after this time.
const flushMs = 1_000;
const ignored = (): void => {};
const identity = (bytes: Buffer): Buffer => bytes;

/**
 * A gRPC server on a socket server of our own: it is asked for the error of a port in use, and to which sockets there are, which
 * grpc-js keeps to itself.
 */
export class GrpcListener implements Listener {
  readonly #runtime: Pick<Runtime, 'clock' | 'timers'>;
  readonly #server: Server;
  readonly #net: NetServer;
  readonly #sockets = new Set<NetSocket>();
  readonly #calls = new Set<GrpcServerSocket>();
  readonly #early: [Socket, MethodDescriptor][] = [];
  #accept: Accept | undefined;
  #address = '';
  #whenIdle: (() => void) | undefined;
  #flushed: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: ListenOptions, { credentials, serverOptions, runtime }: GrpcListenerOptions) {
    this.#runtime = runtime;
    this.#server = new Server({
      ...serverOptions,
      'grpc.max_receive_message_length': options.maxReceiveBytes ?? defaultMaxMessageBytes,
      interceptors: [this.#interceptor(options)],
    });
    for (const { path, aliases } of options.routes) {
      for (const name of [path, ...aliases]) this.#server.register(name, ignored, identity, identity, 'bidi');
    }
    const injector = this.#server.createConnectionInjector(credentials);
    this.#net = createServer({ noDelay: true }, (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      injector.injectConnection(socket);
    });
  }

  /** Resolves when it listens. Rejects as `Transport.listen` does. */
  async open(address: string, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    const { host, port } = parseAddress(address);
    try {
      await new Promise<void>((resolve, reject) => {
        const onAbort = (): void => reject(signal?.reason);
        signal?.addEventListener('abort', onAbort, { once: true });
        const settle = (done: () => void): void => {
          signal?.removeEventListener('abort', onAbort);
          done();
        };
        this.#net.once('error', (error) => settle(() => reject(error)));
        // Without a host Node listens on every address of both families.
        this.#net.listen({ port, host: host === '' ? undefined : host }, () => settle(resolve));
      });
      signal?.throwIfAborted();
    } catch (error) {
      await this.close();
      if (signal?.aborted) throw signal.reason;
      throw listenError(address, error);
    }
    this.#net.on('error', () => {
      // Of a connection that was lost while it was accepted: the next one may succeed.
    });
    const bound = this.#net.address() as AddressInfo;
    this.#address = formatAddress(host === '' ? bound.address : host, bound.port);
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
    const flushed = this.#goAway();
    if (!signal) return flushed;
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => reject(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      void flushed.then(() => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      });
    });
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    for (const call of this.#calls) call.refuse(listenerClosed(this.#address));
    await this.#orAfter(flushMs, this.#goAway());
    this.#server.forceShutdown();
    for (const socket of this.#sockets) socket.destroy();
  }

  /**
   * Takes no more connections, and tells the peers of those there are to send no more calls (GOAWAY). Resolves when the calls are over and
   * what was sent has left, or would not leave in time.
   */
  #goAway(): Promise<void> {
    return (this.#flushed ??= new Promise((resolve) => {
      if (this.#net.listening) this.#net.close();
      this.#server.tryShutdown(() => resolve());
      const idle = (): void => void this.#runtime.timers.after(flushMs, resolve);
      if (this.#calls.size === 0) idle();
      else this.#whenIdle = idle;
    }));
  }

  #orAfter(delayMs: number, promise: Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#runtime.timers.after(delayMs, resolve, { keepAlive: true });
      void promise.then(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  /** Takes each call over before grpc-js puts a stream on it. */
  #interceptor({ routes, maxSendBytes }: ListenOptions): ServerInterceptor {
    const byPath = new Map(
      routes.flatMap((route) => [route.path, ...route.aliases].map((path) => [path, route] as const)),
    );
    // One for all calls: nothing happens on it.
    const taken = new TakenCall(undefined as unknown as BaseCall);
    const side: ServerSide = {
      clock: this.#runtime.clock,
      timers: this.#runtime.timers,
      maxSendBytes,
      calls: this.#calls,
      accept: (socket, route) => {
        if (this.#accept) this.#accept(socket, route);
        else this.#early.push([socket, route]);
      },
      release: (socket) => {
        this.#calls.delete(socket);
        if (this.#calls.size === 0) this.#whenIdle?.();
      },
    };
    return ({ path }, call) => {
      new GrpcServerSocket(call, side, byPath.get(path) as MethodDescriptor);
      return taken;
    };
  }
}

function listenError(address: string, error: unknown): unknown {
  const { code } = error as { readonly code?: unknown };
  if (code === 'EADDRINUSE') return addressInUse(address, error);
  if (code === 'EADDRNOTAVAIL') return cannotListen(address, 'this machine does not have that address', error);
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return cannotListen(address, 'the name does not resolve', error);
  if (code === 'EACCES') return cannotListen(address, 'this process may not use that port', error);
  return cannotListen(address, textOf(error), error);
}
