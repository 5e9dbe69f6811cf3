import type { ServiceIdentifier } from 'inversify';

import type { Context } from '../context/context.ts';
import type { Metadata } from '../context/metadata.ts';
import type { PeerCertificate } from '../context/peer-certificate.ts';
import type { Status } from '../context/status.ts';
import type { Code, TenonError } from '../errors/errors.ts';
import { token } from '../internal/token.ts';
import type { MethodDescriptor } from '../pipeline/pipeline.ts';
import type { ConnectionSecurityCapabilities } from '../tls/connection.ts';

/** The default limit of a received message: 4 MiB, as in gRPC. */
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
   * For a received message: true if the body came compressed, on transports that can tell. For a message to send: true
   * if the body is to be compressed, if transport and peer can; a server's first message decides with `true` or `false`
   * that later ones may be. The body itself is never compressed here.
   */
  readonly compressed?: boolean | undefined;
  /** The status of the call. Only the server sends it, and nothing after it. */
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
   * On a server: the certificate of the caller's connection. It is read when asked for, as long as the connection is
   * there.
   */
  readonly peerCertificate?: PeerCertificate | undefined;
  /** On a server: the time at which the caller stops waiting, by the monotonic reading of the bound Clock. */
  readonly deadline: number | undefined;
  /**
   * Sends a message. Returns nothing while there is room, and otherwise a promise that resolves when there is room
   * again; a sender that awaits it is held back by a slow reader. Messages arrive in the order they were sent. Sending
   * on a call that is over is not an error: the message is dropped, and `recv` and `onAbort` tell why.
   */
  send(message: Message): void | Promise<void>;
  /**
   * Returns the next message, or `undefined` when the peer sends no more: on the server after the client's `end`, on
   * the client after the status. A status other than OK is a message like any other.
   *
   * Rejects with a {@link TenonError} when the call broke off: CANCELLED (aborted, or reset by the peer),
   * DEADLINE_EXCEEDED, UNAVAILABLE (`transport.unreachable`: no server took the call; `transport.connection_lost`: it
   * may have been processed), RESOURCE_EXHAUSTED (`transport.message_too_large`). Messages that arrived before are
   * delivered first. Except for a bounded number, a message is only requested from the peer when `recv` is called: a
   * slow reader holds back the writer.
   */
  recv(): Promise<Message | undefined>;
  /** On a client: ends the sending side. May be called again, and after the end. */
  end(): void;
  /**
   * Ends the call at once, both ways, with `code` for the peer. Outstanding and later `recv`s reject with it. Without
   * effect on a call that is over.
   */
  abort(code: Code, message?: string): void;
  /**
   * Releases the call; one that is not over is aborted with CANCELLED. May be called again. A server closes each call
   * that it took when nothing runs for it any more. Until then a call that broke off may count as one of the calls of
   * its connection.
   */
  close(): void | Promise<void>;
  /**
   * On a server: calls `listener` once if the call breaks off before its status was sent: cancelled, deadline passed,
   * connection lost. If that has happened already, calls it at once. Only the last listener counts.
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
  /** Allows compressed messages in this call. Each message decides with its `compressed`. @default false */
  readonly compress?: boolean | undefined;
  /**
   * Content type of the messages, such as `application/grpc+json`. Transports that have none leave it out.
   * @default application/grpc
   */
  readonly contentType?: string | undefined;
  /**
   * Waits for a connection until the deadline, instead of failing when the address cannot be reached.
   * @default false
   */
  readonly waitForReady?: boolean | undefined;
}

/** Options of a {@link Listener}. */
export interface ListenOptions {
  /** The methods that the server answers, so that the transport can prepare. Others get UNIMPLEMENTED. */
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
   * Suggests methods with similar names in the answer to an unknown one, on transports that can.
   * @default false: a caller learns nothing of the methods
   */
  readonly suggest?: boolean | undefined;
  /** Aborting it gives up waiting for the address; nothing stays open. */
  readonly signal?: AbortSignal | undefined;
}

/** Limits of servers over sockets. Each listener counts for itself. */
export interface SocketServerOptions {
  /** The most connections of a listener at a time. Further ones are closed as soon as they are made. @default 50,000 */
  readonly maxConnections?: number | undefined;
  /**
   * The most handshakes in progress at a time: of TLS, and on `tcp` and `unix` until the peer has introduced itself.
   * Further connections are closed as soon as they are made.
   * @default 4,096
   */
  readonly maxHandshakes?: number | undefined;
  /**
   * The most connections that wait in the system until they are accepted. The system may have a lower limit of its own
   * (`net.core.somaxconn` on Linux).
   * @default 4,096
   */
  readonly backlog?: number | undefined;
  /**
   * Limit of a connection's unsent replies in bytes. Above it the connection begins no new calls: they wait until its
   * peer has read some.
   * @default 16 MiB
   */
  readonly maxUnsentBytesPerConnection?: number | undefined;
  /**
   * Limit of the unsent replies of all connections of a listener together, in bytes. Above it no connection begins new
   * calls.
   * @default 256 MiB
   */
  readonly maxUnsentBytes?: number | undefined;
  /**
   * Time after which the connection of a peer that takes nothing of what it is sent is closed, in milliseconds.
   * `Infinity` for never.
   * @default 1 minute
   */
  readonly sendTimeoutMs?: number | undefined;
}

/** Answers a call, and closes it when it is done. Must not throw; what it returns is ignored. */
export type Accept = (socket: Socket, route: MethodDescriptor) => void;

/** An address that takes calls. */
export interface Listener {
  /** Returns the address at which it really listens: for port 0, with the port that was chosen. */
  addr(): string;
  /** Notes the address by which callers find it, for a transport to which that makes a difference. @default nothing */
  advertise?(address: string): void;
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

/**
 * The capabilities of a transport, a static property of its class. `tls` and `credentials` are those of the connection
 * to a server that calls travel through.
 */
export interface TransportCapabilities extends ConnectionSecurityCapabilities {
  /** True if other processes can reach it. */
  readonly network: boolean;
  /** True if any client of gRPC can reach it. */
  readonly grpc: boolean;
  /**
   * The protection of calls on their way: `tls` takes `TransportTlsOptions`, `local` never leaves the machine.
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
   * Opens a call. Does no I/O and never throws for failures of the network, which `recv` reports. Throws
   * INVALID_ARGUMENT (`transport.invalid_address`) for an invalid address, FAILED_PRECONDITION after `close`
   * (`transport.closed`) and, on some transports, for certificates that cannot be used (`tls.invalid`).
   */
  dial(address: string, options: DialOptions): TransportClient;
  /**
   * Makes a whole unary call: `message` carries headers and body. Resolves to one message with headers, body (if the
   * status is OK) and status; rejects as `recv` does. Transports that gain nothing from it leave it out; clients choose
   * once, when they are made.
   */
  unary?(address: string, message: Message, options: DialOptions): Promise<Message>;
  /**
   * Listens at `address` (`host:port`; port 0 for any free one). Rejects with ALREADY_EXISTS
   * (`transport.address_in_use`), INVALID_ARGUMENT (`transport.invalid_address`) or UNAVAILABLE
   * (`transport.cannot_listen`), naming the address, or FAILED_PRECONDITION (`tls.invalid`), naming the file. Nothing
   * stays open then.
   */
  listen(address: string, options: ListenOptions): Promise<Listener>;
  /**
   * Returns true if the connection to an address is encrypted, or does not leave the machine. A transport without it is
   * neither.
   */
  isSecure?(address: string): boolean;
  /**
   * Tells which of its sides speak TLS. The start of an application compares it with the TLS that was asked for. If it
   * is left out, the capabilities decide.
   */
  readonly encryption?: TransportEncryption | undefined;
  /**
   * Closes the connections that `dial` opened; calls on them end with UNAVAILABLE, and no more are made. The
   * owners of listeners close them.
   */
  close(): Promise<void>;
  /** The protocol, as nodes name it in their metadata: `grpc`. */
  toString(): string;
}
/** A transport that leaves calls to another. */
export interface WrappedTransport extends Transport {
  /** The transport behind it. */
  readonly origin: Transport;
}
/** Container key of the {@link Transport}. */
export const Transport: ServiceIdentifier<Transport> = token('transport', 'Transport');
