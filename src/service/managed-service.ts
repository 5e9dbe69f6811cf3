import { inject, injectable, optional } from 'inversify';

import { Client } from '../client/client.ts';
import { checkedOptions } from '../errors/checked-options.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { isTransient } from '../errors/transient.ts';
import { counted } from '../internal/counted.ts';
import { type WithDefaults, withDefaults } from '../internal/defaults.ts';
import { quietly } from '../internal/quietly.ts';
import { serviceFields } from '../logger/internal/fields.ts';
import { Logger } from '../logger/logger.ts';
import type { NodeState } from '../registry/registry.ts';
import { endsWithin } from '../runtime/bounded.ts';
import { Clock, Random, type Timer, Timers } from '../runtime/runtime.ts';
import { systemClock, systemRandom } from '../runtime/system.ts';
import { Server } from '../server/server.ts';
import { RenewalSchedule } from './internal/renewal-schedule.ts';
import {
  type Hook,
  ServiceOptions,
  type ServiceRuntime,
  type ServiceState,
  type ServiceStatus,
  BackendSummary,
} from './service.ts';

const defaults = {
  registerTtlMs: 30_000,
  lameDuckMs: 1_000,
  drainTimeoutMs: 10_000,
  stopTimeoutMs: 5_000,
  drain: true,
  health: true,
  healthFollowsRegistry: true,
  healthFollowsBroker: true,
  requireBackends: false,
  reflection: false,
} as const satisfies ServiceOptions;

// Bounds what a stop asks of a registry that does not answer: without a deregistration the lease expires by itself.
const deregisterTimeoutMs = 2_000;
// Bounds a registration, so that a registry that does not answer delays neither the start nor the next renewal.
const registerTimeoutMs = 10_000;

/** The implementation of {@link ServiceRuntime}: it orders start and stop, and renews the lease in between. */
@injectable()
export class ManagedService implements ServiceRuntime {
  readonly #server: Server;
  readonly #client: Client;
  readonly #timers: Timers;
  readonly #baseLogger: Logger;
  readonly #backends: BackendSummary | undefined;
  /** A logger whose lines name the service, its node and version. It is made at the start, when these are known. */
  #logger: Logger;
  #options: WithDefaults<ServiceOptions, typeof defaults>;
  readonly #listeners = new Set<(status: ServiceStatus) => unknown>();
  #status: ServiceStatus = { state: 'stopped', isRegistered: false, isSubscribed: false, isAccepting: false };
  #leaseExpiry: Timer | undefined;
  #renewal: Timer | undefined;
  #registering: Promise<void> | undefined;
  /** True if the registry has the node, or may have it, so that a stop has to deregister it. */
  #mayBeRegistered = false;
  readonly #renewals: RenewalSchedule;
  /** Identifies the start under way. A stop clears it, and the start gives up when it notices. */
  #start: symbol | undefined;
  #opening: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  #force: AbortController | undefined;

  constructor(
    @inject(Server) server: Server,
    @inject(Client) client: Client,
    @inject(Timers) timers: Timers,
    @inject(Logger) logger: Logger,
    @inject(ServiceOptions) @optional() options: ServiceOptions = {},
    @inject(Random) @optional() random: Random = systemRandom,
    @inject(Clock) @optional() clock: Clock = systemClock,
    @inject(BackendSummary) @optional() backends?: BackendSummary,
  ) {
    this.#server = server;
    this.#client = client;
    this.#timers = timers;
    this.#baseLogger = logger;
    this.#logger = logger;
    this.#backends = backends;
    this.#renewals = new RenewalSchedule(random, clock);
    this.#options = withDefaults(defaults, checkedOptions('ServiceOptions', options));
    server.init(options);
  }

  get options(): ServiceOptions {
    return { ...this.#options, ...this.#server.options };
  }

  get state(): ServiceState {
    return this.#status.state;
  }

  get status(): ServiceStatus {
    return this.#status;
  }

  onChange(listener: (status: ServiceStatus) => void): () => void {
    // Wrapped, so that one function may listen twice.
    const own = (status: ServiceStatus): unknown => listener(status);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  init(options: ServiceOptions): void {
    this.#assertStopped('change its options');
    this.#options = withDefaults(this.#options, checkedOptions('ServiceOptions', options));
    this.#server.init(options);
  }

  client(): Client {
    return this.#client;
  }

  server(): Server {
    return this.#server;
  }

  async start(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    this.#assertStopped('start it again');
    this.#updateStatus({ state: 'starting' });
    this.#logger = this.#baseLogger.child(serviceFields(this.#server));
    const start = (this.#start = Symbol('start'));
    const onSubscribed = (): void => this.#updateStatus({ isSubscribed: true });
    try {
      await runHooks(this.#options.beforeStart);
      this.#assertNotStopped(start);
      this.#opening = this.#server.start({ ...options, onSubscribed });
      await this.#opening;
      this.#assertNotStopped(start);
      this.#updateStatus({ state: 'serving', isSubscribed: this.#server.isSubscribed, isAccepting: true });
      const registering = this.#register('serving');
      this.#registering = registering.then(() => {});
      const failure = await registering;
      this.#assertNotStopped(start);
      this.#registering = undefined;
      if (failure) this.#tolerateOutage(failure);
      this.#scheduleRenewal();
      await runHooks(this.#options.afterStart);
    } catch (error) {
      // A start that a stop interrupted leaves the cleaning up to that stop.
      if (this.#start === start) await this.stop({ signal: AbortSignal.abort(error) });
      throw error;
    }
    this.#logger.info(`${String(this)} serves`, {
      address: this.#server.advertisedAddress,
      node: this.#server.nodeId,
      ...this.#backends,
    });
  }

  stop(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    if (this.state === 'stopped') return Promise.resolve();
    this.#start = undefined;
    const force = (this.#force ??= new AbortController());
    const cut = (): void => force.abort(options.signal?.reason);
    if (options.signal?.aborted) cut();
    options.signal?.addEventListener('abort', cut, { once: true });
    return (this.#stopping ??= this.#stop(force.signal).finally(() => {
      this.#stopping = undefined;
      this.#force = undefined;
    }));
  }

  async run(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    await this.start(options);
    await new Promise<void>((resolve) => {
      if (options.signal?.aborted) resolve();
      options.signal?.addEventListener('abort', () => resolve(), { once: true });
    });
    await this.stop();
  }

  toString(): string {
    return this.#server.options.name ?? 'service';
  }

  async #stop(signal: AbortSignal): Promise<void> {
    await this.#step('the beforeStop hooks', () => runHooks(this.#options.beforeStop), signal);
    this.#updateStatus({ state: 'draining' });
    this.#renewal?.cancel();
    await this.#within(deregisterTimeoutMs, undefined, () => this.#registering ?? Promise.resolve());
    this.#registering = undefined;
    if (this.#options.drain && !signal.aborted) await this.#drain(signal);
    else await this.#deregister();
    this.#updateStatus({ isAccepting: false, isSubscribed: false });
    await this.#step('stopping the server', () => this.#server.stop());
    await this.#within(deregisterTimeoutMs, undefined, () => this.#opening?.catch(() => {}) ?? Promise.resolve());
    this.#opening = undefined;
    this.#updateStatus({ state: 'stopped' });
    await this.#step('the afterStop hooks', () => runHooks(this.#options.afterStop), signal);
    this.#logger.info(`${String(this)} stopped`);
  }

  async #drain(signal: AbortSignal): Promise<void> {
    if (this.#mayBeRegistered) {
      await this.#within(deregisterTimeoutMs, signal, (bound) =>
        this.#quietly('announcing the drain', this.#server.register({ state: 'draining', signal: bound })),
      );
      // Callers choose nodes from their caches: until these have seen the drain, calls still come and are served.
      await this.#timers.sleep(this.#options.lameDuckMs, signal).catch(() => {});
    }
    // A stop that was forced during the lame duck period still deregisters, as one that is forced from the start does.
    await this.#deregister(signal.aborted ? undefined : signal);
    this.#updateStatus({ isAccepting: false, isSubscribed: false });
    const drained = this.#within(this.#options.drainTimeoutMs, signal, (bound) => this.#server.drain(bound));
    if (await drained.catch(() => false)) return;
    this.#logger.warn(
      `${String(this)} aborts ${counted(this.#server.inFlight, 'call')} that did not end within drainTimeoutMs`,
    );
  }

  async #deregister(signal?: AbortSignal): Promise<void> {
    if (!this.#mayBeRegistered) return;
    await this.#within(deregisterTimeoutMs, signal, (bound) =>
      this.#quietly('deregistering', this.#server.deregister({ signal: bound })),
    );
    this.#mayBeRegistered = false;
    this.#leaseExpiry?.cancel();
    this.#updateStatus({ isRegistered: false });
  }

  /**
   * Logs a warning if the registry is away, as a later renewal registers the node. Throws any other failure, and all of
   * them under `requireBackends`.
   */
  #tolerateOutage(failure: TenonError): void {
    if (this.#options.requireBackends || !isTransient(failure)) throw failure;
    this.#renewals.failed(String(this), failure, this.#logger);
  }

  /** Registers the node, or renews its lease. Resolves with the error if that failed. */
  async #register(state: NodeState): Promise<TenonError | undefined> {
    try {
      const isDone = await this.#within(registerTimeoutMs, undefined, (bound) =>
        this.#server.register({ state, signal: bound }),
      );
      if (!isDone) throw timeUp('the registry does not answer');
      this.#renewals.succeeded(String(this), this.#logger);
      if (!this.#mayBeRegistered) this.#logger.debug(`${String(this)} is registered`);
      this.#mayBeRegistered = true;
      this.#restartLeaseTimer();
      return undefined;
    } catch (error) {
      const failure = TenonError.from(error);
      // The registration may have taken effect although its answer did not come.
      if (failure.code === Code.DeadlineExceeded || failure.code === Code.Cancelled) this.#mayBeRegistered = true;
      return failure;
    }
  }

  /** Renews the lease. A failed renewal changes nothing yet: callers find the node until the lease expires. */
  #restartLeaseTimer(): void {
    this.#leaseExpiry?.cancel();
    if (this.state === 'stopped') return;
    this.#updateStatus({ isRegistered: true });
    const ttlMs = this.#server.options.registerTtlMs ?? defaults.registerTtlMs;
    this.#leaseExpiry = this.#timers.after(ttlMs, () => this.#updateStatus({ isRegistered: false }));
  }

  #updateStatus(change: Partial<ServiceStatus>): void {
    const before = this.#status;
    const status = { ...before, ...change };
    const isChange =
      status.state !== before.state ||
      status.isRegistered !== before.isRegistered ||
      status.isSubscribed !== before.isSubscribed ||
      status.isAccepting !== before.isAccepting;
    if (!isChange) return;
    this.#status = status;
    const failed = (error: unknown): void => this.#logger.warn(`${String(this)}: a listener failed`, { error });
    for (const listener of this.#listeners) quietly(listener, status, failed);
  }

  #scheduleRenewal(): void {
    const ttlMs = this.#server.options.registerTtlMs ?? defaults.registerTtlMs;
    const delayMs = this.#renewals.nextMs(this.#options.registerIntervalMs ?? ttlMs / 3);
    this.#renewal = this.#timers.after(delayMs, () => {
      if (this.state !== 'serving') return;
      this.#registering = this.#register('serving').then((failure) => {
        this.#registering = undefined;
        if (failure) this.#renewals.failed(String(this), failure, this.#logger);
        if (this.state === 'serving') this.#scheduleRenewal();
      });
    });
  }

  /**
   * Runs `work` with a signal that aborts after `timeoutMs`, or when `signal` does. Resolves to false, without waiting
   * for `work`, if it had not ended by then.
   */
  #within(
    timeoutMs: number,
    signal: AbortSignal | undefined,
    work: (bound: AbortSignal) => Promise<void>,
  ): Promise<boolean> {
    const onTimeout = (): TenonError => timeUp();
    return endsWithin(work, { timers: this.#timers, timeoutMs, signal, onTimeout, onAbort: onTimeout });
  }

  /** Runs one step of the stop. A step that fails or does not end in time is logged, and the stop continues. */
  async #step(what: string, work: () => Promise<void>, signal?: AbortSignal): Promise<void> {
    const { stopTimeoutMs } = this.#options;
    await this.#quietly(what, this.#withinLimit(what, stopTimeoutMs, work, signal));
  }

  async #withinLimit(what: string, ms: number, work: () => Promise<void>, signal?: AbortSignal): Promise<void> {
    const cut = signal?.aborted ? this.#abortedNextTurn(signal) : signal;
    if (await endsWithin(work(), { timers: this.#timers, timeoutMs: ms, signal: cut })) return;
    this.#logger.warn(`${String(this)}: ${what} did not end in time; the stop goes on without it`, {
      stopTimeoutMs: signal?.aborted ? undefined : ms,
    });
  }

  /**
   * A signal that aborts one turn of the event loop later, so that work which waits for nothing ends before it and is
   * not reported as cut off.
   */
  #abortedNextTurn({ reason }: AbortSignal): AbortSignal {
    const controller = new AbortController();
    this.#timers.soon(() => controller.abort(reason));
    return controller.signal;
  }

  async #quietly(what: string, work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#logger.warn(`${String(this)}: ${what} failed`, { error });
    }
  }

  #assertNotStopped(start: symbol): void {
    if (this.#start === start) return;
    throw new TenonError({
      code: Code.Unavailable,
      reason: 'server.stopped',
      message: `service "${String(this)}" was stopped before its start had finished`,
    });
  }

  #assertStopped(what: string): void {
    if (this.state === 'stopped') return;
    throw new TenonError({
      code: Code.FailedPrecondition,
      reason: 'service.started',
      message: `service "${String(this)}" is ${this.state}: ${what} once it has stopped`,
    });
  }
}

async function runHooks(hooks: readonly Hook[] = []): Promise<void> {
  for (const hook of hooks) await hook();
}

function timeUp(message = 'the time limit of this step of the stop has passed'): TenonError {
  return new TenonError({
    code: Code.DeadlineExceeded,
    reason: 'service.timeout',
    message,
  });
}
