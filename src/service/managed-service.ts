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
import { RegistrationPace } from './internal/registration-pace.ts';
import {
  type Hook,
  ServiceOptions,
  type ServiceRuntime,
  type ServiceState,
  type ServiceStatus,
  Wiring,
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

// A registry that does not answer must not hold up a stop for longer than its lease is worth.
const farewellMs = 2_000;
// Nor may it hold up a start, or the renewals after the one that it does not answer.
const announceMs = 10_000;

/** The {@link ServiceRuntime}: the order of start and stop, and the lease in between. */
@injectable()
export class ManagedService implements ServiceRuntime {
  readonly #server: Server;
  readonly #client: Client;
  readonly #timers: Timers;
  readonly #baseLogger: Logger;
  readonly #wiring: Wiring | undefined;
  /** Names the service, as it was when it started. */
  #logger: Logger;
  #options: WithDefaults<ServiceOptions, typeof defaults>;
  readonly #listeners = new Set<(status: ServiceStatus) => unknown>();
  #status: ServiceStatus = { state: 'stopped', isRegistered: false, isSubscribed: false, isAccepting: false };
  #lapse: Timer | undefined;
  #renewal: Timer | undefined;
  #registering: Promise<void> | undefined;
  /** The registry knows the node, or may know it: then it is told when the node leaves. */
  #isAnnounced = false;
  readonly #pace: RegistrationPace;
  /** The start under way; a stop takes its place from it. */
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
    @inject(Wiring) @optional() wiring?: Wiring,
  ) {
    this.#server = server;
    this.#client = client;
    this.#timers = timers;
    this.#baseLogger = logger;
    this.#logger = logger;
    this.#wiring = wiring;
    this.#pace = new RegistrationPace(random, clock);
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
    this.#assertStopped('give its options');
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
    this.#become({ state: 'starting' });
    this.#logger = this.#baseLogger.child(serviceFields(this.#server));
    const start = (this.#start = Symbol('start'));
    const onSubscribed = (): void => this.#become({ isSubscribed: true });
    try {
      await runHooks(this.#options.beforeStart);
      this.#assertGoesOn(start);
      this.#opening = this.#server.start({ ...options, onSubscribed });
      await this.#opening;
      this.#assertGoesOn(start);
      this.#become({ state: 'serving', isSubscribed: this.#server.isSubscribed, isAccepting: true });
      const announcing = this.#announce('serving');
      this.#registering = announcing.then(() => {});
      const failure = await announcing;
      this.#assertGoesOn(start);
      this.#registering = undefined;
      if (failure) this.#outlive(failure);
      this.#keepLease();
      await runHooks(this.#options.afterStart);
    } catch (error) {
      // One that was stopped meanwhile ends as its stop says.
      if (this.#start === start) await this.stop({ signal: AbortSignal.abort(error) });
      throw error;
    }
    this.#logger.info(`${String(this)} serves`, {
      address: this.#server.advertisedAddress,
      node: this.#server.nodeId,
      ...this.#wiring,
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
    this.#become({ state: 'draining' });
    this.#renewal?.cancel();
    await this.#within(farewellMs, undefined, () => this.#registering ?? Promise.resolve());
    this.#registering = undefined;
    if (this.#options.drain && !signal.aborted) await this.#drain(signal);
    else await this.#sayFarewell();
    this.#become({ isAccepting: false, isSubscribed: false });
    await this.#step('stopping the server', () => this.#server.stop());
    await this.#within(farewellMs, undefined, () => this.#opening?.catch(() => {}) ?? Promise.resolve());
    this.#opening = undefined;
    this.#become({ state: 'stopped' });
    await this.#step('the afterStop hooks', () => runHooks(this.#options.afterStop), signal);
    this.#logger.info(`${String(this)} stopped`);
  }

  async #drain(signal: AbortSignal): Promise<void> {
    if (this.#isAnnounced) {
      await this.#within(farewellMs, signal, (bound) =>
        this.#quietly('announcing the drain', this.#server.register({ state: 'draining', signal: bound })),
      );
      // Callers choose by what their caches know; until those have seen the drain, calls still come and are still
      // served.
      await this.#timers.sleep(this.#options.lameDuckMs, signal).catch(() => {});
    }
    // Told to make haste meanwhile, it still leaves the registry, as when it is told so at first.
    await this.#sayFarewell(signal.aborted ? undefined : signal);
    this.#become({ isAccepting: false, isSubscribed: false });
    const drained = this.#within(this.#options.drainTimeoutMs, signal, (bound) => this.#server.drain(bound));
    if (await drained.catch(() => false)) return;
    this.#logger.warn(
      `${String(this)} aborts ${counted(this.#server.inFlight, 'call')} that did not end within the drain time-out`,
    );
  }

  async #sayFarewell(signal?: AbortSignal): Promise<void> {
    if (!this.#isAnnounced) return;
    await this.#within(farewellMs, signal, (bound) =>
      this.#quietly('deregistering', this.#server.deregister({ signal: bound })),
    );
    this.#isAnnounced = false;
    this.#lapse?.cancel();
    this.#become({ isRegistered: false });
  }

  /**
   * A registry that is away costs a warning: the renewal announces the node when it is back. Throws what waiting does
   * not mend.
   */
  #outlive(failure: TenonError): void {
    if (this.#options.requireBackends || !isTransient(failure)) throw failure;
    this.#pace.failed(String(this), failure, this.#logger);
  }

  /** Resolves with what the registry had against it, if anything. */
  async #announce(state: NodeState): Promise<TenonError | undefined> {
    try {
      const isDone = await this.#within(announceMs, undefined, (bound) =>
        this.#server.register({ state, signal: bound }),
      );
      if (!isDone) throw timeUp('the registry does not answer');
      this.#pace.succeeded(String(this), this.#logger);
      if (!this.#isAnnounced) this.#logger.debug(`${String(this)} is announced`);
      this.#isAnnounced = true;
      this.#holdLease();
      return undefined;
    } catch (error) {
      const failure = TenonError.from(error);
      // Nobody knows whether it took effect.
      if (failure.code === Code.DeadlineExceeded || failure.code === Code.Cancelled) this.#isAnnounced = true;
      return failure;
    }
  }

  /** One renewal that fails costs nothing: the node can be found until the lease ends. */
  #holdLease(): void {
    this.#lapse?.cancel();
    if (this.state === 'stopped') return;
    this.#become({ isRegistered: true });
    const ttlMs = this.#server.options.registerTtlMs ?? defaults.registerTtlMs;
    this.#lapse = this.#timers.after(ttlMs, () => this.#become({ isRegistered: false }));
  }

  #become(change: Partial<ServiceStatus>): void {
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

  #keepLease(): void {
    const ttlMs = this.#server.options.registerTtlMs ?? defaults.registerTtlMs;
    const delayMs = this.#pace.nextMs(this.#options.registerIntervalMs ?? ttlMs / 3);
    this.#renewal = this.#timers.after(delayMs, () => {
      if (this.state !== 'serving') return;
      this.#registering = this.#announce('serving').then((failure) => {
        this.#registering = undefined;
        if (failure) this.#pace.failed(String(this), failure, this.#logger);
        if (this.state === 'serving') this.#keepLease();
      });
    });
  }

  /**
   * Runs `work` with a signal that aborts after so long, or with `signal`, and does not wait for it any longer then.
   */
  #within(
    timeoutMs: number,
    signal: AbortSignal | undefined,
    work: (bound: AbortSignal) => Promise<void>,
  ): Promise<boolean> {
    const onTimeout = (): TenonError => timeUp();
    return endsWithin(work, { timers: this.#timers, timeoutMs, signal, onTimeout, onAbort: onTimeout });
  }

  /** One step of the stop: what fails, or does not end in time, does not hold up the others. */
  async #step(what: string, work: () => Promise<void>, signal?: AbortSignal): Promise<void> {
    const { stopTimeoutMs } = this.#options;
    await this.#quietly(what, this.#bounded(what, stopTimeoutMs, work, signal));
  }

  async #bounded(what: string, ms: number, work: () => Promise<void>, signal?: AbortSignal): Promise<void> {
    const cut = signal?.aborted ? this.#soonAborted(signal) : signal;
    if (await endsWithin(work(), { timers: this.#timers, timeoutMs: ms, signal: cut })) return;
    this.#logger.warn(`${String(this)}: ${what} did not end in time; the stop goes on`, {
      stopTimeoutMs: signal?.aborted ? undefined : ms,
    });
  }

  /** For work that waits for nothing: it has ended before this aborts, and nobody is to say that it had to be cut. */
  #soonAborted({ reason }: AbortSignal): AbortSignal {
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

  #assertGoesOn(start: symbol): void {
    if (this.#start === start) return;
    throw new TenonError({
      code: Code.Unavailable,
      reason: 'server.stopped',
      message: `service "${String(this)}" was stopped while it started`,
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

function timeUp(message = 'the time for this step of the stop is up'): TenonError {
  return new TenonError({
    code: Code.DeadlineExceeded,
    reason: 'service.timeout',
    message,
  });
}
