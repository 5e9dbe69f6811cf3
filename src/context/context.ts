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

/** What a {@link Context} is made of. */
export interface ContextInit {
  readonly service: string;
  readonly endpoint: string;
  readonly peer?: string | undefined;
  readonly metadata?: Metadata | undefined;
  /** By the monotonic reading of the bound Clock. */
  readonly deadline?: number | undefined;
  readonly logger?: Logger | undefined;
  /** What the call came in by. It is asked when the context is. */
  readonly connection?: { readonly peerCertificate?: PeerCertificate | undefined } | undefined;
}

/**
 * One call or event, as its handler and the interceptors around it see it. Made per call and never
 * shared; `headers`, `trailers`, `signal` and `logger` are made when first asked for.
 *
 * Passing it on (`client.hello(request, { ctx })`) passes on the deadline and the cancellation.
 */
export class Context {
  /** The service called: `greeter.Greeter`; for an event, the service that handles it, by its name in the registry. */
  readonly service: string;
  /** The method called: `Hello`; for an event, the method that handles it: `OrdersHandler.onOrder`. */
  readonly endpoint: string;
  /** Who is at the other end: `host:port` where the transport has one. On the client, the node that was chosen. */
  peer: string;
  /**
   * Server: whether replies are compressed from now on, where the transport can and the caller understands it. Set
   * before the first reply if any is to be. Client: the same of requests; one that is set here by an interceptor has to
   * be before the call is begun.
   * @default the server's `compress`; what the call's options or the client's say
   */
  compress: boolean | undefined;
  /**
   * Whether the request that was taken last, on the client the reply, came compressed; `undefined` where the transport
   * cannot tell.
   */
  wasCompressed: boolean | undefined;
  /** What the caller sent along. Keys are lower case. */
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
   * Server: who calls, by the certificate that the caller's connection was opened with. `undefined` where the caller
   * showed none, or was not asked; one that is not trusted is never here. Read when asked for.
   */
  get peerCertificate(): PeerCertificate | undefined {
    return (this.#peerCertificate ??= this.#connection?.peerCertificate);
  }

  /**
   * When the call has to be over, by the bound Clock's `monotonicMs()`, which no change of the machine's time moves:
   * with the system's clock, `deadline - performance.now()` milliseconds are left.
   */
  get deadline(): number | undefined {
    return this.#deadline;
  }

  /**
   * Brings the deadline forward; a later one changes nothing. Calls that are made with this context keep to it, and so
   * does the call itself on the client, if it was not sent yet. On the server it is for who brings it forward to abort
   * when it passes.
   */
  shorten(deadline: number): void {
    if (this.#deadline === undefined || deadline < this.#deadline) this.#deadline = deadline;
  }

  /** The topic of an event; `undefined` for calls. */
  get topic(): string | undefined {
    return undefined;
  }

  /** Client: what can be done with the call; `undefined` on the server, and for events. */
  get outgoing(): Outgoing | undefined {
    return undefined;
  }

  /** Server: sent before the first reply. Client: what the server sent; empty until then. */
  get headers(): Metadata {
    return (this.#headers ??= new Metadata());
  }

  /** Client side: replaces the received headers. */
  set headers(value: Metadata) {
    this.#headers = value;
  }

  /** Whether anyone asked for {@link headers}: if not, there are none to send. */
  get hasHeaders(): boolean {
    return this.#headers !== undefined;
  }

  /**
   * Server: sends {@link headers} now instead of with the first reply, for a caller that waits for them while the
   * handler is at work. What is put into them afterwards is not sent. Without effect a second time, after the first
   * reply, and where no call is served.
   */
  sendHeaders(): void {}

  /** Server: sent with the status. Client: what came with it; empty until then. */
  get trailers(): Metadata {
    return (this.#trailers ??= new Metadata());
  }

  /** Client side: replaces the received trailers. */
  set trailers(value: Metadata) {
    this.#trailers = value;
  }

  /** Whether anyone asked for {@link trailers}: if not, there are none to send. */
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

  /** Why the call was aborted, if it was. */
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
   * Calls `listener` once when the call is aborted, at once if it already is; returns what takes it back. What it
   * throws is logged. Cheaper than {@link signal}, which must make an `AbortController`.
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

  /** Ends the call from outside its handler; for those who run calls. Only the first reason counts. */
  abort(reason: TenonError = cancelled()): void {
    if (this.#abortReason) return;
    this.#abortReason = reason;
    const listeners = this.#abortListeners;
    this.#abortListeners = undefined;
    this.#controller?.abort(reason);
    if (listeners) for (const listener of listeners) quietly(listener, reason, this.#listenerFailed);
  }

  get #listenerFailed(): (error: unknown) => void {
    return (error) => this.#baseLogger.error('a listener to the end of a call failed', { error });
  }
}

function noop(): void {}

function cancelled(): TenonError {
  return unthrown({ code: Code.Cancelled, reason: 'call.cancelled', message: 'the call was cancelled' });
}
