import { Code, TenonError } from '../../errors/errors.ts';
import type { Logger } from '../../logger/logger.ts';
import { capabilitiesOfRegistry, readBack, type Registry } from '../../registry/registry.ts';
import { endsWithin } from '../../runtime/bounded.ts';
import { Outage } from '../../runtime/outage.ts';
import type { Runtime, Timer } from '../../runtime/runtime.ts';
import type { Server } from '../../server/server.ts';
import type { KeptLease, LeaseEvents, LeaseKeeper, LeaseTerms } from '../lease-keeper.ts';
import type { RegistrationStatistics } from '../service.ts';
import { LeaseRenewal } from './lease-renewal.ts';

/** The options of a registration, with a value for each. */
export interface RegistrationOptions {
  readonly registerTtlMs: number;
  readonly registerIntervalMs: number;
  readonly registerWorker: boolean;
  readonly registerBusyAfterMs: number;
  readonly registerBusyMs: number;
}

/** The parts of a {@link Registration}. */
export interface RegistrationTools {
  readonly server: Server;
  readonly registry: Registry | undefined;
  readonly keeper: LeaseKeeper | undefined;
  readonly runtime: Runtime;
  readonly logger: Logger;
  /** Called when the lease has become valid, and when it has expired. */
  onLease(isValid: boolean): void;
}

// Bounds what a stop asks of a registry that does not answer: without a deregistration the lease expires by itself.
const deregisterTimeoutMs = 2_000;
// The keeper has a part of that time; then the main thread does it itself.
const keeperTimeoutMs = 1_000;
// A process that ends sooner starts no thread for its lease.
const handOverAfterMs = 1_000;
// A keeper that is lost again and again is started ever more seldom.
const keeperProvenAfter = 10;

/**
 * The registration of a server's node. The main thread registers it at the start, so that a registry that refuses fails
 * the start. Later the keeper of leases takes over, where it can: then a process that is busy keeps its lease. If the
 * keeper is lost, the main thread renews again.
 */
export class Registration {
  readonly #tools: RegistrationTools;
  readonly #options: RegistrationOptions;
  readonly #service: string;
  readonly #renewal: LeaseRenewal;
  readonly #keeperOutage: Outage;
  #kept: KeptLease | undefined;
  /** Of this thread, and of keepers that were lost. */
  readonly #counts = { renewals: 0, restorations: 0 };
  #keptRenewals = 0;
  #keptRecord = '';
  #expiry: Timer | undefined;
  /** The hand-over that is due, or the check for a record that changed. */
  #timer: Timer | undefined;
  #hasEnded = false;
  /** True if the registry has the node, or may have it, so that a stop has to deregister it. */
  #mayExist = false;

  constructor(tools: RegistrationTools, options: RegistrationOptions) {
    this.#tools = tools;
    this.#options = options;
    const { server, registry, runtime, logger } = tools;
    this.#service = server.options.name ?? 'service';
    this.#keeperOutage = new Outage(runtime);
    const { shared = false, renewalRestores = false } = (registry && capabilitiesOfRegistry(registry)) ?? {};
    const lease = {
      ttlMs: options.registerTtlMs,
      intervalMs: options.registerIntervalMs,
      register: (signal: AbortSignal) => this.#register(signal),
      deregister: (signal: AbortSignal) => server.deregister({ signal }),
      readBack:
        registry && shared && !renewalRestores && server.options.register !== false
          ? (signal: AbortSignal) => readBack(registry, server.record(), { signal })
          : undefined,
      onRegistered: (isAgain: boolean) => {
        this.#counts.renewals += 1;
        if (isAgain) this.#counts.restorations += 1;
        this.#noteRegistered();
      },
    };
    this.#renewal = new LeaseRenewal(lease, { service: this.#service, runtime, logger });
  }

  get statistics(): RegistrationStatistics {
    const { renewals = 0, restorations = 0 } = this.#kept ?? {};
    return { renewals: this.#counts.renewals + renewals, restorations: this.#counts.restorations + restorations };
  }

  /** Registers the node once. Resolves with the error if that failed. */
  attempt(): Promise<TenonError | undefined> {
    return this.#renewal.attempt();
  }

  /** Renews the lease from now on. `failure` is that of the first attempt: it is logged, and tried again. */
  keep(failure: TenonError | undefined): void {
    if (this.#hasEnded) return;
    if (failure) this.#renewal.noteFailure(failure);
    this.#renewal.start();
    const { registerWorker, registerIntervalMs } = this.#options;
    if (registerWorker && this.#tools.server.options.register !== false)
      this.#handOverIn(Math.min(handOverAfterMs, registerIntervalMs / 2));
  }

  /** Ends renewals for good. Resolves when the last of them has ended. */
  async end(): Promise<void> {
    this.#hasEnded = true;
    this.#timer?.cancel();
    await this.#renewal.stop(deregisterTimeoutMs);
  }

  /** Announces that the node drains, after the last renewal. Resolves to false if it is not registered. */
  async announceDrain(signal: AbortSignal): Promise<boolean> {
    if (!this.#mayExist) return false;
    const { server } = this.#tools;
    await this.#bounded('announcing the drain', signal, async (bound) => {
      if (await this.#askKeeper((kept) => kept.announce(server.record('draining'), bound))) return;
      await server.register({ state: 'draining', signal: bound });
    });
    return true;
  }

  /** Removes the node from the registry, after the last renewal. */
  async deregister(signal?: AbortSignal): Promise<void> {
    if (!this.#mayExist) return;
    const { server } = this.#tools;
    await this.#bounded('deregistering', signal, async (bound) => {
      await this.#askKeeper((kept) => kept.withdraw(bound));
      // Also for the caller that this process may be: its cache forgets the node.
      await server.deregister({ signal: bound });
    });
    await this.#kept?.abandon();
    this.#dropKeeper();
    this.#mayExist = false;
    this.#expiry?.cancel();
    this.#tools.onLease(false);
  }

  async #register(signal: AbortSignal): Promise<void> {
    // The registration may have taken effect although its answer did not come.
    const noteDoubt = (): void => void (this.#mayExist = true);
    signal.addEventListener('abort', noteDoubt, { once: true });
    try {
      await this.#tools.server.register({ state: 'serving', signal });
    } catch (error) {
      const { code } = TenonError.from(error);
      if (code === Code.DeadlineExceeded || code === Code.Cancelled) noteDoubt();
      throw error;
    }
  }

  #noteRegistered(): void {
    if (!this.#mayExist) this.#tools.logger.debug(`${this.#service} is registered`);
    this.#mayExist = true;
    if (this.#hasEnded) return;
    this.#keptRenewals = this.#kept?.renewals ?? 0;
    if (this.#keptRenewals >= keeperProvenAfter) this.#keeperOutage.ended();
    this.#expiry?.cancel();
    this.#tools.onLease(true);
    const { timers } = this.#tools.runtime;
    this.#expiry = timers.after(this.#options.registerTtlMs, () => this.#noteExpiry());
  }

  /** The lease has expired, unless the keeper has renewed it and this thread was too busy to hear of it. */
  #noteExpiry(): void {
    const { renewals = 0 } = this.#kept ?? {};
    if (renewals === this.#keptRenewals) this.#tools.onLease(false);
    else this.#noteRegistered();
  }

  #handOverIn(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#tools.runtime.timers.after(delayMs, () => void this.#handOver());
  }

  /** Never rejects. */
  async #handOver(): Promise<void> {
    const { keeper, logger, server, registry } = this.#tools;
    if (!keeper || this.#hasEnded) return;
    let kept: KeptLease | undefined;
    try {
      const record = server.record();
      let isLost = false;
      const events: LeaseEvents = {
        onRegistered: () => this.#noteRegistered(),
        onLost: (error) => {
          isLost = true;
          this.#takeBack(error);
        },
      };
      kept = await keeper.keep(this.#termsOf(record), events);
      if (!kept) return;
      if (!this.#hasEnded) await this.#renewal.stop(deregisterTimeoutMs);
      if (this.#hasEnded || isLost) return await kept.abandon();
      await registry?.release?.(record);
      if (this.#hasEnded || isLost) return await kept.abandon();
      this.#kept = kept;
      this.#keptRenewals = kept.renewals;
      this.#keptRecord = JSON.stringify(record);
      kept.begin();
      logger.debug(`the lease of ${this.#service} is renewed by a thread of its own`);
      this.#followRecord();
    } catch (error) {
      if (this.#kept !== kept) await kept?.abandon();
      this.#noteKeeperFailure('no thread could be started that renews its lease; trying again', error);
      if (!this.#hasEnded && !this.#renewal.isRunning) this.#renewal.start(0);
    }
  }

  /** Logs it, once for many in a row, and tries again later. */
  #noteKeeperFailure(what: string, error: unknown): void {
    if (this.#hasEnded) return;
    const { logger } = this.#tools;
    if (this.#keeperOutage.failed() !== undefined) logger.warn(`${this.#service}: ${what}`, { error });
    this.#handOverIn(this.#keeperOutage.retryMs());
  }

  #termsOf(record: LeaseTerms['record']): LeaseTerms {
    const { registerTtlMs, registerIntervalMs, registerBusyAfterMs, registerBusyMs } = this.#options;
    return {
      service: this.#service,
      record,
      ttlMs: registerTtlMs,
      intervalMs: registerIntervalMs,
      busyAfterMs: registerBusyAfterMs,
      busyMs: registerBusyMs,
    };
  }

  /** Tells the keeper of changes of the record: the address may change while the service runs. */
  #followRecord(): void {
    this.#timer = this.#tools.runtime.timers.after(this.#options.registerIntervalMs, () => {
      if (!this.#kept || this.#hasEnded) return;
      const record = this.#tools.server.record();
      const text = JSON.stringify(record);
      if (text !== this.#keptRecord) this.#kept.update(record);
      this.#keptRecord = text;
      this.#followRecord();
    });
  }

  /** Renews the lease by this thread again, after the keeper was lost. */
  #takeBack(error: unknown): void {
    this.#dropKeeper();
    if (this.#hasEnded) return;
    this.#renewal.start(0);
    this.#noteKeeperFailure('the thread that renewed its lease has ended; another is started', error);
  }

  #dropKeeper(): void {
    const { renewals = 0, restorations = 0 } = this.#kept ?? {};
    this.#counts.renewals += renewals;
    this.#counts.restorations += restorations;
    this.#kept = undefined;
  }

  /** Resolves to false if there is no keeper, or if it failed: then it renews nothing any more. */
  async #askKeeper(ask: (kept: KeptLease) => Promise<void>): Promise<boolean> {
    const kept = this.#kept;
    if (!kept) return false;
    const { runtime, logger } = this.#tools;
    try {
      if (await endsWithin(ask(kept), { timers: runtime.timers, timeoutMs: keeperTimeoutMs })) return true;
      logger.warn(`${this.#service}: the thread that renews its lease does not answer`);
    } catch (error) {
      logger.debug(`${this.#service}: the thread that renews its lease failed`, { error });
    }
    this.#dropKeeper();
    await kept.abandon();
    return false;
  }

  async #bounded(
    what: string,
    signal: AbortSignal | undefined,
    work: (bound: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const { runtime, logger } = this.#tools;
    try {
      await endsWithin(work, { timers: runtime.timers, timeoutMs: deregisterTimeoutMs, signal });
    } catch (error) {
      logger.warn(`${this.#service}: ${what} failed`, { error });
    }
  }
}
