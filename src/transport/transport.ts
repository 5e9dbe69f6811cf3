import type { ServiceIdentifier } from 'inversify';

import type { Context } from '../context/context.ts';
import type { Metadata } from '../context/metadata.ts';
import type { PeerCertificate } from '../context/peer-certificate.ts';
import type { Status } from '../context/status.ts';
import type { Code, TenonError } from '../errors/errors.ts';
import { token } from '../internal/token.ts';
import type { MethodDescriptor } from '../pipeline/pipeline.ts';

/** The greatest message that is taken where nothing else was said: 4 MiB, gRPC's own default. */
export const defaultMaxMessageBytes = 4 * 1024 * 1024;

/**
 * One step of a call. A direction carries headers once and first, then any number of bodies, and the server
 * ends with the status. Steps may share a message (`{ headers, body, status }` is a whole unary reply); they count in
 * that order.
 */
export interface Message {
  readonly headers?: Metadata | undefined;
  /** One encoded message. The sender must not change it afterwards, the receiver owns it. */
  readonly body?: Uint8Array | undefined;
  /**
   * Received: whether the body came compressed, where the transport can tell. Sent: whether it shall be, where
   * transport and peer can; a server's first message says with either that later ones may be. The body itself is never
   * compressed here.
   */
  readonly compressed?: boolean | undefined;
  /** Only from the server, and nothing after it. */
  readonly status?: Status | undefined;
}

/**
 * One side of one call. At most one `recv` is outstanding at a time; `send` may run beside it.
 */
export interface Socket {
  /** Address of this end: `host:port` where the transport has one. */
  readonly local: string;
  /** Address of the other end. Empty on a client until it is known. */
  readonly remote: string;
  /**
   * Server side: what the caller's connection was opened with; read when asked for, as long as the connection is there.
   */
  readonly peerCertificate?: PeerCertificate | undefined;
  /** Server side: when the caller stops waiting, by the monotonic reading of the bound Clock. */
  readonly deadline: number | undefined;
  /**
   * Passes a message on. Returns nothing while there is room, and a promise that resolves when there is again: who
   * awaits it is held back by a slow reader. Messages arrive in the order they were sent. Sending on a call that is
   * over is not an error: the message is dropped, and `recv` and `onAbort` tell why.
   */
  send(message: Message): void | Promise<void>;
  /**
   * The next message, or `undefined` when the peer sends no more: on the server after the client's `end`, on the client
   * after the status. A status other than OK is a message like any other.
   *
   * Rejects with a {@link TenonError} when the call broke off: CANCELLED (aborted, or reset by the peer),
   * DEADLINE_EXCEEDED, UNAVAILABLE (`transport.unreachable`: nobody took the call; `transport.connection_lost`: it may
   * have been processed), RESOURCE_EXHAUSTED (`transport.message_too_large`). What arrived before is delivered first. A
   * peer's next message is only asked for when `recv` is called, give or take a bounded number: a slow reader holds the
   * writer.
   */
  recv(): Promise<Message | undefined>;
  /** Client: no more messages from this side. May be called again, and after the end. */
  end(): void;
  /**
   * Ends the call at once, both ways, with `code` for the peer. Outstanding and later `recv`s reject with it. Without
   * effect on a call that is over.
   */
  abort(code: Code, message?: string): void;
  /**
   * Lets go of the call: one that is not over is aborted with CANCELLED. May be called again. Who took a call on a
   * server closes it when nothing runs for it any more; until then one that broke off may count as one of the calls
   * that its connection carries.
   */
  close(): void | Promise<void>;
  /**
   * Server side: `listener` is called once if the call breaks off before its status was sent: cancelled, deadline
   * passed, connection lost. At once if it already has. One listener: the last one counts.
   */
  onAbort(listener: (error: TenonError) => void): void;
}

/** The calling side of a call, as `dial` gives it. */
export interface TransportClient extends Socket {}

/** Options of one call. */
export interface DialOptions {
  readonly route: MethodDescriptor;
  /**
   * Path on the wire.
   * @default the route's own
   */
  readonly path?: string | undefined;
  /**
   * The call: its `deadline` travels to the server and ends the call with DEADLINE_EXCEEDED when it passes; when it is
   * aborted, so is the socket, with the same error.
   */
  readonly ctx?: Context | undefined;
  /** @default 4 MiB */
  readonly maxReceiveBytes?: number | undefined;
  /** @default no limit */
  readonly maxSendBytes?: number | undefined;
  /**
   * Messages of this call may be compressed: each says by its `compressed` whether it is.
   * @default false
   */
  readonly compress?: boolean | undefined;
  /**
   * What the messages are, as HTTP has it: `application/grpc+json`. Transports that have no word for it leave it out.
   * @default application/grpc
   */
  readonly contentType?: string | undefined;
  /**
   * Wait for a connection until the deadline instead of failing when the address cannot be reached.
   * @default false
   */
  readonly waitForReady?: boolean | undefined;
}

/** Options of a {@link Listener}. */
export interface ListenOptions {
  /** Every method that will be served, so that the transport may prepare. Others are answered with UNIMPLEMENTED. */
  readonly routes: readonly MethodDescriptor[];
  /**
   * Finds the method of a path that no route has, on transports that see such paths (grpc-js's server does not).
   * @default none
   */
  readonly resolve?: ((path: string) => MethodDescriptor | undefined) | undefined;
  /** @default 4 MiB */
  readonly maxReceiveBytes?: number | undefined;
  /** @default no limit */
  readonly maxSendBytes?: number | undefined;
  /**
   * Name methods of similar names in the answer to an unknown one, on transports that let us.
   * @default false: a stranger learns nothing
   */
  readonly suggest?: boolean | undefined;
  /** Gives up waiting for the address; nothing stays open. */
  readonly signal?: AbortSignal | undefined;
}

/** Limits of servers over sockets. Each listener counts for itself. */
export interface SocketServerOptions {
  /**
   * How many connections a listener has at a time. Further ones are closed as soon as they are made.
   * @default 50,000
   */
  readonly maxConnections?: number | undefined;
  /**
   * How many connections may be shaking hands at a time: over TLS, and on `tcp` and `unix` until the peer has
   * introduced itself. Further ones are closed as soon as they are made.
   * @default 4,096
   */
  readonly maxHandshakes?: number | undefined;
  /**
   * How many connections wait in the system until they are accepted. The system may have a lower limit of its own
   * (`net.core.somaxconn` on Linux).
   * @default 4,096
   */
  readonly backlog?: number | undefined;
  /**
   * With so much of its replies unsent, a connection begins no new calls: those that come wait until its peer has read
   * some.
   * @default 16 MiB
   */
  readonly maxUnsentBytesPerConnection?: number | undefined;
  /**
   * With so much unsent on all connections of a listener together, none of them begins new calls.
   * @default 256 MiB
   */
  readonly maxUnsentBytes?: number | undefined;
  /**
   * A connection whose peer takes nothing for so long of what it is sent is closed. `Infinity` for never.
   * @default 1 minute
   */
  readonly sendTimeoutMs?: number | undefined;
}

/** Takes a call, and closes it when it is done with it. Must not throw; what it returns is not looked at. */
export type Accept = (socket: Socket, route: MethodDescriptor) => void;

/** An address that takes calls. */
export interface Listener {
  /** Where it really listens: the port that was chosen for port 0. */
  addr(): string;
  /** Hands each call to `accept` from now on. Called once; calls that came earlier wait for it. */
  accept(accept: Accept): void;
  /**
   * Takes no new calls, tells clients to go elsewhere, and resolves when those in flight are over. If `signal` aborts
   * first, it rejects with its reason, and the calls go on until `close`.
   */
  drain(signal?: AbortSignal): Promise<void>;
  /** Stops at once: calls in flight are aborted with UNAVAILABLE. May be called again. */
  close(): Promise<void>;
}

/** The capabilities of a transport; a static of its class. */
export interface TransportCapabilities {
  /** Other processes can reach it. */
  readonly network: boolean;
  /** Strangers that speak gRPC can. */
  readonly grpc: boolean;
  /**
   * How calls are kept from others on the way: `tls` takes `TransportTlsOptions`, `local` never leaves the machine.
   * @default they are not: an application that was told of TLS does not start on it
   */
  readonly security?: 'tls' | 'local' | undefined;
}

/** Tells which sides of a transport speak TLS. */
export interface TransportEncryption {
  readonly client: boolean;
  readonly server: boolean;
}

/**
 * Carries calls between processes. One instance serves a whole process: it keeps connections per address and shares
 * them between calls. It does not retry.
 */
export interface Transport {
  /**
   * Opens a call. Does no I/O and never throws for what the network does: `recv` reports it. Throws INVALID_ARGUMENT
   * (`transport.invalid_address`) for an address that is none, and FAILED_PRECONDITION after `close`
   * (`transport.closed`) and, where it does so early, for certificates that cannot be used (`tls.invalid`).
   */
  dial(address: string, options: DialOptions): TransportClient;
  /**
   * A whole unary call: `message` carries headers and body. Resolves to one message with headers, body (if the status
   * is OK) and status; rejects as `recv` does. Transports that gain nothing from it leave it out; it is chosen once,
   * when a client is made.
   */
  unary?(address: string, message: Message, options: DialOptions): Promise<Message>;
  /**
   * Takes calls at `address` (`host:port`; port 0 for any free one). Rejects with ALREADY_EXISTS
   * (`transport.address_in_use`), INVALID_ARGUMENT (`transport.invalid_address`), UNAVAILABLE
   * (`transport.cannot_listen`), naming the address, or FAILED_PRECONDITION (`tls.invalid`), naming the file; nothing
   * stays open then.
   */
  listen(address: string, options: ListenOptions): Promise<Listener>;
  /**
   * True if the connection to an address is encrypted, or does not leave the machine. Left out: it is neither.
   */
  isSecure?(address: string): boolean;
  /**
   * Tells which of its sides speak TLS; compared at the start with what the application was told. Left out: as its
   * capabilities say.
   */
  readonly encryption?: TransportEncryption | undefined;
  /**
   * Closes the connections that `dial` opened; calls on them end with UNAVAILABLE, and no more are made. Listeners are
   * closed by who opened them.
   */
  close(): Promise<void>;
  /** The protocol, as nodes name it in their metadata: `grpc`. */
  toString(): string;
}
/** Container key of the {@link Transport}. */
export const Transport: ServiceIdentifier<Transport> = token('transport', 'Transport');
