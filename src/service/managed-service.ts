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
import { Registry } from '../registry/registry.ts';
import { endsWithin } from '../runtime/bounded.ts';
import { Clock, Random, type Runtime, Timers } from '../runtime/runtime.ts';
import { systemClock, systemRandom } from '../runtime/system.ts';
import { Server } from '../server/server.ts';
import { Registration } from './internal/registration.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import {
  type Hook,
  type RegistrationStatistics,
  ServiceOptions,
  type ServiceRuntime,
  type ServiceState,
  type ServiceStatus,
  BackendSummary,
} from './service.ts';

const defaults = {
  registerTtlMs: 30_000,
  registerWorker: true,
  registerBusyAfterMs: 1_000,
  lameDuckMs: 1_000,
  drainTimeoutMs: 10_000,
  stopTimeoutMs: 5_000,
  drain: true,
  health: true,
  healthFollowsRegistry: true,
  healthFollowsBroker: true,
  healthFollowsOutages: false,
  requireBackends: false,
  reflection: false,
} as const satisfies ServiceOptions;

// A stop during a start waits that long for what is being opened.
const openingTimeoutMs = 2_000;
// The default of `registerBusyMs`, in leases.
const busyLeases = 4;

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
  readonly #runtime: Runtime;
  readonly #registry: Registry | undefined;
  readonly #keeper: LeaseKeeper | undefined;
  /** That of the current start. */
  #registration: Registration;
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
    @inject(Registry) @optional() registry?: Registry,
    @inject(LeaseKeeper) @optional() keeper?: LeaseKeeper,
  ) {
    this.#server = server;
    this.#client = client;
    this.#timers = timers;
    this.#baseLogger = logger;
    this.#logger = logger;
    this.#backends = backends;
    this.#runtime = { clock, random, timers };
    this.#registry = registry;
    this.#keeper = keeper;
    this.#options = withDefaults(defaults, checkedOptions('ServiceOptions', options));
    server.init(options);
    this.#registration = this.#newRegistration();
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

  get registration(): RegistrationStatistics {
    return this.#registration.statistics;
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
    this.#registration = this.#newRegistration();
    const start = (this.#start = Symbol('start'));
    const onSubscribed = (): void => this.#updateStatus({ isSubscribed: true });
    const onUnsubscribed = (): void => this.#updateStatus({ isSubscribed: false });
    try {
      await runHooks(this.#options.beforeStart);
      this.#assertNotStopped(start);
      this.#opening = this.#server.start({
        ...options,
        onSubscribed,
        onUnsubscribed,
        followsOutages: this.#options.healthFollowsOutages,
      });
      await this.#opening;
      this.#assertNotStopped(start);
      this.#updateStatus({ state: 'serving', isSubscribed: this.#server.isSubscribed, isAccepting: true });
      const failure = await this.#registration.attempt();
      this.#assertNotStopped(start);
      this.#assertTolerable(failure);
      this.#registration.keep(failure);
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
    await this.#registration.end();
    if (this.#options.drain && !signal.aborted) await this.#drain(signal);
    else await this.#registration.deregister();
    this.#updateStatus({ isAccepting: false, isSubscribed: false });
    await this.#step('stopping the server', () => this.#server.stop());
    await this.#within(openingTimeoutMs, undefined, () => this.#opening?.catch(() => {}) ?? Promise.resolve());
    this.#opening = undefined;
    this.#updateStatus({ state: 'stopped' });
    await this.#step('the afterStop hooks', () => runHooks(this.#options.afterStop), signal);
    this.#logger.info(`${String(this)} stopped`);
  }

  async #drain(signal: AbortSignal): Promise<void> {
    if (await this.#registration.announceDrain(signal)) {
      // Callers choose nodes from their caches: until these have seen the drain, calls still come and are served.
      await this.#timers.sleep(this.#options.lameDuckMs, signal).catch(() => {});
    }
    // A stop that was forced during the lame duck period still deregisters, as one that is forced from the start does.
    await this.#registration.deregister(signal.aborted ? undefined : signal);
    this.#updateStatus({ isAccepting: false, isSubscribed: false });
    const drained = this.#within(this.#options.drainTimeoutMs, signal, (bound) => this.#server.drain(bound));
    if (await drained.catch(() => false)) return;
    this.#logger.warn(
      `${String(this)} aborts ${counted(this.#server.inFlight, 'call')} that did not end within drainTimeoutMs`,
    );
  }

  /**
   * Throws the failure of the first registration, unless the registry is away: then a later renewal registers the node.
   */
  #assertTolerable(failure: TenonError | undefined): void {
    if (failure && (this.#options.requireBackends || !isTransient(failure))) throw failure;
  }

  #newRegistration(): Registration {
    const { registerTtlMs = defaults.registerTtlMs } = this.#server.options;
    const { registerIntervalMs = registerTtlMs / 3, registerBusyMs = busyLeases * registerTtlMs } = this.#options;
    return new Registration(
      {
        server: this.#server,
        registry: this.#registry,
        keeper: this.#keeper,
        runtime: this.#runtime,
        logger: this.#logger,
        onLease: (isRegistered) => this.#updateStatus({ isRegistered }),
      },
      { ...this.#options, registerTtlMs, registerIntervalMs, registerBusyMs },
    );
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

function timeUp(): TenonError {
  return new TenonError({
    code: Code.DeadlineExceeded,
    reason: 'service.timeout',
    message: 'the time limit of this step of the stop has passed',
  });
}
