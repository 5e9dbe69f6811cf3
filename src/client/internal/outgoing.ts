import { Context, type ContextInit, type ContextKey } from '../../context/context.ts';
import { isCarried, Metadata, type MetadataValue } from '../../context/metadata.ts';
import type { Attempts, RouteObserver, Outgoing } from '../../context/outgoing.ts';
import { checkNumber } from '../../errors/checked-options.ts';
import { unthrown } from '../../errors/unthrown.ts';
import { Code, TenonError, textOf } from '../../errors/errors.ts';
import { onAbort } from '../../internal/abort.ts';
import type { Linked, LinkedList } from '../../internal/linked-list.ts';
import { quietly } from '../../internal/quietly.ts';
import type { NodeRecord } from '../../registry/registry.ts';
import type { Clock } from '../../runtime/runtime.ts';
import type { CallOptions } from '../client.ts';

/** gRPC's A6: how often the call was made before, sent with every attempt but the first. */
const previousAttemptsKey = 'grpc-previous-rpc-attempts';

const noOptions: CallOptions = {};

/** The context of an outgoing call: what interceptors see, and the call's options for the end of the pipeline. */
export class OutgoingContext extends Context implements Outgoing, Linked<OutgoingContext> {
  next: OutgoingContext | undefined;
  previous: OutgoingContext | undefined;
  readonly options: CallOptions;
  /** Name of the service in the registry. */
  registryName = '';
  /** The node that was chosen last; absent where the call goes to an address. */
  node: NodeRecord | undefined;
  /** Whether the selector has been told how it went with {@link node}. */
  isMarked = true;
  /** How often the call was sent to somebody who may have taken it. */
  sent = 0;
  /**
   * Set where interceptors may make the call more than once: then it is over when they say so, not with its first
   * attempt.
   */
  outlivesAttempts = false;
  waitForReady: boolean | undefined;
  /** Addresses that are left for others while there are any. */
  avoided: ReadonlySet<string> | undefined;
  routeObservers: readonly RouteObserver[] | undefined;
  /** The calls under way of the client that this is one of. */
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

  /**
   * Ends with the call being handled and with the caller's signal, from the first time that this is called until it is
   * released.
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

  /** What the server sent first. */
  takeHeaders(headers: Metadata | undefined): void {
    if (headers) this.headers = headers;
    if (this.options.onHeaders) tell('onHeaders', this.options.onHeaders, this.headers);
  }

  /** What the server sent last. */
  takeTrailers(trailers: Metadata | undefined): void {
    if (trailers) this.trailers = trailers;
    if (this.options.onTrailers) tell('onTrailers', this.options.onTrailers, this.trailers);
  }

  /** The call is sent to somebody. */
  onSend(): void {
    this.sent += 1;
  }

  /** Who it was sent to certainly did not take it. */
  onRefused(): void {
    this.sent -= 1;
  }

  /** Aborted, it has nothing to follow any more. */
  override abort(reason?: TenonError): void {
    super.abort(reason);
    this.release();
  }

  /** The call is over: lets go of the signal and the context it followed. */
  release(): void {
    if (!this.#release) return;
    for (const release of this.#release) release();
    this.#release = undefined;
  }

  /** For who begins an attempt: the logger that its own is made of. */
  get attemptLogger(): ContextInit['logger'] {
    return this.baseLogger;
  }

  protected releaseWith(release: () => void): void {
    (this.#release ??= []).push(release);
  }
}

/** One attempt of a call: what it hears reaches the call when it is chosen. */
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
    // Whoever began it says when it is over: interceptors within may make it more than once.
    this.outlivesAttempts = true;
    this.registryName = call.registryName;
    this.compress = call.compress;
    this.waitForReady = call.waitForReady;
    this.avoided = avoided;
    this.routeObservers = call.routeObservers;
    this.releaseWith(call.onAbort((reason) => this.abort(reason)));
  }

  /** It ends with the call, which follows them. */
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

  choose(): void {
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

  choose(attempt: Context): void {
    if (!(attempt instanceof AttemptContext)) return;
    this.#chosen = attempt;
    this.#cancelOthers();
    attempt.choose();
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

/** What a callback throws is the call's failure; what its promise rejects with comes too late for that. */
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

/** What travels on from the call being handled: these keys, or those that pass. */
export type Forward = readonly string[] | ((key: string) => boolean);

/** The metadata that goes out: what the call's options say, over what travels on from the call being handled. */
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

/** What a stranger sent need not be what can be sent: such values stay here, and fail no call. */
function pass(result: Metadata, key: string, value: MetadataValue): void {
  if (isCarried(key, value)) result.append(key, value);
}

/**
 * By the monotonic clock, the nearest of the call's own time-out, the bound of all calls of its method, and its
 * parent's deadline.
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
  const isTimeout = reason instanceof Error && reason.name === 'TimeoutError';
  return isTimeout
    ? TenonError.from(reason)
    : unthrown({
        code: Code.Cancelled,
        reason: 'call.cancelled',
        message: 'the call was cancelled',
        cause: reason,
      });
}
