import { Code, type TenonError } from '../errors/errors.ts';
import { unthrown } from '../errors/unthrown.ts';
import { quietly } from '../internal/quietly.ts';
import { callFields } from '../logger/internal/fields.ts';
import { type Logger, silentLogger } from '../logger/logger.ts';
import { Metadata } from './metadata.ts';
import type { Outgoing } from './outgoing.ts';
import type { PeerCertificate } from './peer-certificate.ts';

/** A typed key of {@link Context.get}. */
export interface ContextKey<T> {
  readonly symbol: symbol;
  /** Only for the type checker. */
  readonly type?: T;
}

/** A key under which interceptors and handlers pass values along one call. */
export function contextKey<T>(name: string): ContextKey<T> {
  return { symbol: Symbol(name) };
}

/** The parts that a {@link Context} is made of. */
export interface ContextInit {
  readonly service: string;
  readonly endpoint: string;
  readonly peer?: string | undefined;
  readonly metadata?: Metadata | undefined;
  /** The deadline, by the monotonic reading of the bound Clock. */
  readonly deadline?: number | undefined;
  readonly logger?: Logger | undefined;
  /** The connection that the call came in by. Its certificate is read when the context is asked for it. */
  readonly connection?: { readonly peerCertificate?: PeerCertificate | undefined } | undefined;
}

/**
 * The state of one call or event, for its handler and interceptors. It is made per call and never shared; `headers`,
 * `trailers`, `signal` and `logger` are made when first asked for.
 *
 * Passing it on (`client.hello(request, { ctx })`) passes on the deadline and the cancellation.
 */
export class Context {
  /** The service called: `greeter.Greeter`; for an event, the name in the registry of the service that handles it. */
  readonly service: string;
  /** The method called: `Hello`; for an event, the method that handles it: `OrdersHandler.onOrder`. */
  readonly endpoint: string;
  /** The address of the other end: `host:port` where the transport has one. On the client, the node that was chosen. */
  peer: string;
  /**
   * True to compress messages from now on, where the transport can and the peer understands it. On the server it is for
   * replies, and has to be set before the first of them; on the client it is for requests, and an interceptor has to
   * set it before it calls `next`.
   * @default the server's `compress`; what the call's options or the client's say
   */
  compress: boolean | undefined;
  /**
   * True if the last message that was received came compressed; `undefined` where the transport cannot tell.
   */
  wasCompressed: boolean | undefined;
  /** The metadata of the request. Keys are lower case. */
  readonly metadata: Metadata;

  readonly #connection: ContextInit['connection'];
  #peerCertificate: PeerCertificate | undefined;
  #deadline: number | undefined;
  #headers: Metadata | undefined;
  #trailers: Metadata | undefined;
  #logger: Logger | undefined;
  readonly #baseLogger: Logger;
  #values: Map<symbol, unknown> | undefined;
  #controller: AbortController | undefined;
  #abortReason: TenonError | undefined;
  #abortListeners: Set<(reason: TenonError) => void> | undefined;

  constructor(init: ContextInit) {
    this.service = init.service;
    this.endpoint = init.endpoint;
    this.peer = init.peer ?? '';
    this.metadata = init.metadata ?? new Metadata();
    this.#deadline = init.deadline;
    this.#baseLogger = init.logger ?? silentLogger;
    this.#connection = init.connection;
  }

  /**
   * Server: the client certificate of the caller's connection; `undefined` if the caller sent none, or was not asked. A
   * certificate that is not trusted is never here.
   */
  get peerCertificate(): PeerCertificate | undefined {
    return (this.#peerCertificate ??= this.#connection?.peerCertificate);
  }

  /**
   * The time at which the call has to be over, by the bound Clock's `monotonicMs()`, which no change of the machine's
   * time moves: with the system's clock, `deadline - performance.now()` milliseconds are left.
   */
  get deadline(): number | undefined {
    return this.#deadline;
  }

  /**
   * Brings the deadline forward; a later one changes nothing. Calls made with this context keep to it, and so does the
   * call itself on the client, if it was not sent yet. On the server a deadline that is set here does not abort the
   * context: its setter has to abort it.
   */
  shorten(deadline: number): void {
    if (this.#deadline === undefined || deadline < this.#deadline) this.#deadline = deadline;
  }

  /** The topic of an event; `undefined` for calls. */
  get topic(): string | undefined {
    return undefined;
  }

  /** Client: the controls of the outgoing call; `undefined` on the server, and for events. */
  get outgoing(): Outgoing | undefined {
    return undefined;
  }

  /** The headers of the reply: the server sends them before the first reply, the client has them once they came. */
  get headers(): Metadata {
    return (this.#headers ??= new Metadata());
  }

  /** Replaces the received headers, on the client. */
  set headers(value: Metadata) {
    this.#headers = value;
  }

  /** True if {@link headers} were asked for: otherwise there are none to send. */
  get hasHeaders(): boolean {
    return this.#headers !== undefined;
  }

  /**
   * Server: sends {@link headers} now, and not with the first reply, for a caller that waits for them while the handler
   * works. Headers added afterwards are not sent. It has no effect a second time, after the first reply, and where no
   * call is served.
   */
  sendHeaders(): void {}

  /** The trailers of the reply: the server sends them with the status, the client has them once the status came. */
  get trailers(): Metadata {
    return (this.#trailers ??= new Metadata());
  }

  /** Replaces the received trailers, on the client. */
  set trailers(value: Metadata) {
    this.#trailers = value;
  }

  /** True if {@link trailers} were asked for: otherwise there are none to send. */
  get hasTrailers(): boolean {
    return this.#trailers !== undefined;
  }

  /**
   * Aborts when the caller cancels, the deadline passes or the connection is lost. Its reason is a {@link TenonError}.
   */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#abortReason) this.#controller.abort(this.#abortReason);
    }
    return this.#controller.signal;
  }

  /** The logger that {@link logger} is made of. */
  protected get baseLogger(): Logger {
    return this.#baseLogger;
  }

  /** A logger that names the call or event in all it writes, and its trace where a `traceparent` came with it. */
  get logger(): Logger {
    return (this.#logger ??= this.#baseLogger.child(
      callFields({
        service: this.service,
        endpoint: this.endpoint,
        peer: this.peer,
        topic: this.topic,
        traceparent: this.metadata.text('traceparent'),
      }),
    ));
  }

  /** The reason of the abort, if the call was aborted. */
  get aborted(): TenonError | undefined {
    return this.#abortReason;
  }

  get<T>(key: ContextKey<T>): T | undefined {
    return this.#values?.get(key.symbol) as T | undefined;
  }

  set<T>(key: ContextKey<T>, value: T): this {
    (this.#values ??= new Map()).set(key.symbol, value);
    return this;
  }

  /** Throws the abort's reason if the call was aborted: for long computations between awaits. */
  throwIfAborted(): void {
    if (this.#abortReason) throw this.#abortReason;
  }

  /**
   * Calls `listener` once when the call is aborted, at once if it already is. Returns the function that removes the
   * listener. An error of the listener is logged. Cheaper than {@link signal}, which makes an `AbortController`.
   */
  onAbort(listener: (reason: TenonError) => void): () => void {
    if (this.#abortReason) {
      quietly(listener, this.#abortReason, this.#listenerFailed);
      return noop;
    }
    const listeners = (this.#abortListeners ??= new Set());
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  /** Aborts the call. Only the first reason counts. */
  abort(reason: TenonError = cancelled()): void {
    if (this.#abortReason) return;
    this.#abortReason = reason;
    const listeners = this.#abortListeners;
    this.#abortListeners = undefined;
    this.#controller?.abort(reason);
    if (listeners) for (const listener of listeners) quietly(listener, reason, this.#listenerFailed);
  }

  get #listenerFailed(): (error: unknown) => void {
    return (error) => this.#baseLogger.error('an onAbort listener of a call failed', { error });
  }
}

function noop(): void {}

function cancelled(): TenonError {
  return unthrown({ code: Code.Cancelled, reason: 'call.cancelled', message: 'the call was cancelled' });
}
