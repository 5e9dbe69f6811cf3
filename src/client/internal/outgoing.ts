import { Context, type ContextInit, type ContextKey } from '../../context/context.ts';
import { isCarried, Metadata, type MetadataValue } from '../../context/metadata.ts';
import type { Attempts, RouteObserver, Outgoing } from '../../context/outgoing.ts';
import type { Status } from '../../context/status.ts';
import { checkNumber } from '../../errors/checked-options.ts';
import { unthrown } from '../../errors/unthrown.ts';
import { Code, nameOfError, TenonError, textOf } from '../../errors/errors.ts';
import { onAbort } from '../../internal/abort.ts';
import type { Linked, LinkedList } from '../../internal/linked-list.ts';
import { quietly } from '../../internal/quietly.ts';
import type { NodeRecord } from '../../registry/registry.ts';
import type { Clock } from '../../runtime/runtime.ts';
import type { EndedCall, SelectOptions } from '../../selector/selector.ts';
import type { CallOptions } from '../client.ts';

/** The key that counts earlier attempts of the call (gRFC A6), sent with every attempt but the first. */
const previousAttemptsKey = 'grpc-previous-rpc-attempts';

const noOptions: CallOptions = {};

/**
 * The context of an outgoing call: interceptors see it, and the end of the pipeline reads the call's options from it.
 */
export class OutgoingContext extends Context implements Outgoing, SelectOptions, EndedCall, Linked<OutgoingContext> {
  next: OutgoingContext | undefined;
  previous: OutgoingContext | undefined;
  readonly options: CallOptions;
  /** Name of the service in the registry. */
  registryName = '';
  /** The node that was chosen last; absent for a call to an address. */
  node: NodeRecord | undefined;
  /** The code of the status that the node sent; absent for a call that broke off. */
  answer: Code | undefined;
  /** The time at which it was sent to the node that was chosen last. */
  startMs: number | undefined;
  /** The number of times that the call was sent to a node that may have taken it. */
  sent = 0;
  /**
   * True if interceptors may make the call more than once: they decide when it is over, not the end of its first
   * attempt.
   */
  outlivesAttempts = false;
  waitForReady: boolean | undefined;
  /** True if it cannot go on to another node when the first does not take it. */
  isSentOnce = false;
  /** Addresses that are chosen only if there are no others. */
  avoided: ReadonlySet<string> | undefined;
  routeObservers: readonly RouteObserver[] | undefined;
  /** The list of the client's calls in progress, to which this one belongs. */
  readonly calls: LinkedList<OutgoingContext> | undefined;
  #release: (() => void)[] | undefined;
  #isFollowing = false;

  constructor(init: ContextInit, options: CallOptions = noOptions, calls?: LinkedList<OutgoingContext>) {
    super(init);
    this.options = options;
    this.calls = calls;
  }

  override get outgoing(): this {
    return this;
  }

  get target(): string {
    return this.options.address ?? this.registryName;
  }

  /** The filters of the nodes to choose from. */
  get filters(): CallOptions['filters'] {
    return this.options.filters;
  }

  /** The key by which a selector with affinity chooses. */
  get hashKey(): string | undefined {
    return this.options.hashKey;
  }

  /**
   * Cancels this call with the call being handled and with the caller's signal, from the first time that this is called
   * until `release`.
   */
  follow(): this {
    if (this.#isFollowing) return this;
    this.#isFollowing = true;
    const { ctx, signal } = this.options;
    if (ctx) this.releaseWith(ctx.onAbort((reason) => this.abort(reason)));
    if (signal) this.releaseWith(onAbort(signal, () => this.abort(reasonOf(signal))));
    return this;
  }

  attempts(): Attempts {
    return new CallAttempts(this);
  }

  observeRoute(observer: RouteObserver): void {
    this.routeObservers = [...(this.routeObservers ?? []), observer];
  }

  /** Notes the status that the node sent, for the selector. */
  noteStatus(status: Status | undefined): void {
    this.answer = status?.code;
    if (status?.metadata) this.trailers = status.metadata;
  }

  /** Takes the headers that the server sent. */
  takeHeaders(headers: Metadata | undefined): void {
    if (headers) this.headers = headers;
    if (this.options.onHeaders) tell('onHeaders', this.options.onHeaders, this.headers);
  }

  /** Takes the trailers that the server sent. */
  takeTrailers(trailers: Metadata | undefined): void {
    if (trailers) this.trailers = trailers;
    if (this.options.onTrailers) tell('onTrailers', this.options.onTrailers, this.trailers);
  }

  /** Notes that the call is sent to a node. */
  onSend(): void {
    this.sent += 1;
  }

  /** Notes that the node certainly did not take the call. */
  onRefused(): void {
    this.sent -= 1;
  }

  /** Aborts the call, and stops following its signal and its context. */
  override abort(reason?: TenonError): void {
    super.abort(reason);
    this.release();
  }

  /** Stops following the signal and the context: the call is over. */
  release(): void {
    if (!this.#release) return;
    for (const release of this.#release) release();
    this.#release = undefined;
  }

  /** The logger from which the logger of an attempt is made. */
  get attemptLogger(): ContextInit['logger'] {
    return this.baseLogger;
  }

  protected releaseWith(release: () => void): void {
    (this.#release ??= []).push(release);
  }
}

/** The context of one attempt of a call. Its headers and trailers reach the call once it is chosen. */
class AttemptContext extends OutgoingContext {
  readonly #call: OutgoingContext;
  #isChosen = false;
  #hasHeaders = false;
  #hasTrailers = false;

  constructor(call: OutgoingContext, attemptsBefore: number, avoided: ReadonlySet<string> | undefined) {
    const metadata = new Metadata().merge(call.metadata);
    if (attemptsBefore > 0) metadata.set(previousAttemptsKey, String(attemptsBefore));
    const { service, endpoint, deadline } = call;
    super({ service, endpoint, metadata, deadline, logger: call.attemptLogger }, call.options, call.calls);
    this.#call = call;
    // The code that began the attempt ends it: interceptors inside may repeat the call.
    this.outlivesAttempts = true;
    this.registryName = call.registryName;
    this.compress = call.compress;
    this.waitForReady = call.waitForReady;
    this.avoided = avoided;
    this.routeObservers = call.routeObservers;
    this.releaseWith(call.onAbort((reason) => this.abort(reason)));
  }

  /** Does nothing: the call follows them, and an attempt ends with its call. */
  override follow(): this {
    return this;
  }

  override get<T>(key: ContextKey<T>): T | undefined {
    return super.get(key) ?? this.#call.get(key);
  }

  override takeHeaders(headers: Metadata | undefined): void {
    if (headers) this.headers = headers;
    this.#hasHeaders = true;
    if (this.#isChosen) this.#call.takeHeaders(headers);
  }

  override takeTrailers(trailers: Metadata | undefined): void {
    if (trailers) this.trailers = trailers;
    this.#hasTrailers = true;
    if (this.#isChosen) this.#call.takeTrailers(trailers);
  }

  override onSend(): void {
    super.onSend();
    this.#call.onSend();
  }

  override onRefused(): void {
    super.onRefused();
    this.#call.onRefused();
  }

  commit(): void {
    if (this.#isChosen) return;
    this.#isChosen = true;
    this.#call.peer = this.peer;
    this.#call.node = this.node;
    if (this.#hasHeaders) this.#call.takeHeaders(this.hasHeaders ? this.headers : undefined);
    if (this.#hasTrailers) this.#call.takeTrailers(this.hasTrailers ? this.trailers : undefined);
  }
}

class CallAttempts implements Attempts {
  readonly #call: OutgoingContext;
  readonly #peers = new Set<string>();
  #begun: AttemptContext[] = [];
  #count = 0;
  #chosen: AttemptContext | undefined;

  constructor(call: OutgoingContext) {
    this.#call = call;
    // Between two attempts nothing is under way, and a client that is closed must end the call all the same.
    call.calls?.add(call);
  }

  begin(): Context {
    for (const { peer } of this.#begun) if (peer !== '') this.#peers.add(peer);
    const attempt = new AttemptContext(this.#call, this.#count, this.#peers.size > 0 ? this.#peers : undefined);
    this.#count += 1;
    this.#begun.push(attempt);
    return attempt;
  }

  wasRefused(attempt: Context): boolean {
    return attempt instanceof AttemptContext && attempt.sent === 0;
  }

  commit(attempt: Context): void {
    if (!(attempt instanceof AttemptContext)) return;
    this.#chosen = attempt;
    this.#cancelOthers();
    attempt.commit();
  }

  settle(): void {
    this.#call.calls?.delete(this.#call);
    this.#cancelOthers();
    this.#chosen?.release();
  }

  #cancelOthers(): void {
    const begun = this.#begun;
    this.#begun = [];
    for (const attempt of begun) if (attempt !== this.#chosen) attempt.abort(superseded());
  }
}

/**
 * Calls a callback of the call's options. An error that it throws fails the call; a promise that rejects later does
 * not.
 */
function tell(name: string, callback: (metadata: Metadata) => unknown, metadata: Metadata): void {
  let failure: TenonError | undefined;
  let isOver = false;
  quietly(callback, metadata, (error) => {
    if (!isOver) failure = callbackFailed(name, error);
  });
  isOver = true;
  if (failure) throw failure;
}

function callbackFailed(name: string, error: unknown): TenonError {
  return new TenonError({
    code: Code.Internal,
    reason: 'client.callback_failed',
    message: `${name} of the call failed: ${textOf(error)}`,
    cause: error,
  });
}

function superseded(): TenonError {
  return unthrown({
    code: Code.Cancelled,
    reason: 'call.cancelled',
    message: 'the call was decided by another attempt',
  });
}

/** The keys of metadata that are passed on from the call being handled: a list, or a test. */
export type Forward = readonly string[] | ((key: string) => boolean);

/** Returns the metadata to send: that of the call's options, over what is passed on from the call being handled. */
export function outgoingMetadata(options: CallOptions, forward: Forward): Metadata | undefined {
  const { ctx, metadata } = options;
  if (!ctx && !metadata) return undefined;
  const result = new Metadata();
  if (ctx) {
    if (typeof forward === 'function') {
      for (const [key, value] of ctx.metadata) if (forward(key)) pass(result, key, value);
    } else {
      for (const key of forward) for (const value of ctx.metadata.getAll(key)) pass(result, key, value);
    }
  }
  if (metadata) {
    const given = metadata instanceof Metadata ? metadata : new Metadata(metadata);
    for (const [key] of given) result.delete(key);
    result.merge(given);
  }
  return result;
}

/** Passes a value on, unless it cannot be sent: a value from a caller must not fail calls of the handler. */
function pass(result: Metadata, key: string, value: MetadataValue): void {
  if (isCarried(key, value)) result.append(key, value);
}

/**
 * Returns the deadline of a call by the monotonic clock: the earliest of its own time-out, the limit of its method, and
 * the deadline of its parent.
 */
export function deadlineOf(
  options: CallOptions,
  defaultTimeoutMs: number | undefined,
  maxTimeoutMs: number | undefined,
  clock: Clock,
): number | undefined {
  let timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
  if (timeoutMs !== undefined && !(typeof timeoutMs === 'number' && timeoutMs >= 0))
    checkNumber('timeoutMs', timeoutMs);
  if (timeoutMs === 0 || timeoutMs === Number.POSITIVE_INFINITY) timeoutMs = undefined;
  if (maxTimeoutMs !== undefined && (timeoutMs === undefined || timeoutMs > maxTimeoutMs)) timeoutMs = maxTimeoutMs;
  const own = timeoutMs === undefined ? undefined : clock.monotonicMs() + timeoutMs;
  const parent = options.ctx?.deadline;
  if (own === undefined) return parent;
  return parent === undefined ? own : Math.min(own, parent);
}

function reasonOf(signal: AbortSignal): TenonError {
  const reason: unknown = signal.reason;
  if (TenonError.is(reason)) return reason;
  const isTimeout = nameOfError(reason) === 'TimeoutError';
  return isTimeout
    ? TenonError.from(reason)
    : unthrown({
        code: Code.Cancelled,
        reason: 'call.cancelled',
        message: 'the call was cancelled',
        cause: reason,
      });
}
