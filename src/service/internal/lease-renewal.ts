import { Code, TenonError } from '../../errors/errors.ts';
import type { Logger } from '../../logger/logger.ts';
import type { Presence } from '../../registry/registry.ts';
import { endsWithin } from '../../runtime/bounded.ts';
import type { Runtime, Timer } from '../../runtime/runtime.ts';
import { RenewalSchedule } from './renewal-schedule.ts';

/** The registration that a {@link LeaseRenewal} renews. */
export interface RenewedLease {
  readonly ttlMs: number;
  /** Time between renewals, in milliseconds. */
  readonly intervalMs: number;
  /** Announces the node, or renews its lease. */
  register(signal: AbortSignal): Promise<void>;
  deregister(signal: AbortSignal): Promise<void>;
  /** Reads the record back. Absent if every renewal writes it. */
  readBack?: ((signal: AbortSignal) => Promise<Presence>) | undefined;
  /** Called after each success; `isAgain` after failures, and for a node whose record was lost. */
  onRegistered(isAgain: boolean): void;
}

/** The parts of a {@link LeaseRenewal}. */
export interface RenewalTools {
  /** The name of the service, for logs. */
  readonly service: string;
  readonly runtime: Runtime;
  readonly logger: Logger;
}

// Bounds a registration, so that a registry that does not answer delays neither the start nor the next renewal.
const registerTimeoutMs = 10_000;
// A record is read back with every one of so many renewals.
const readBackEvery = 10;

/**
 * Renews one lease, attempt after attempt, never two at once. Now and then it reads the record back: a node that is
 * missing twice in a row is registered anew, as a registry may have lost the record and not the lease.
 */
export class LeaseRenewal {
  readonly #lease: RenewedLease;
  readonly #tools: RenewalTools;
  readonly #schedule: RenewalSchedule;
  #timer: Timer | undefined;
  #underWay: Promise<unknown> | undefined;
  #abort = new AbortController();
  #isRunning = false;
  #renewals = 0;
  #isSuspected = false;
  #isTaken = false;
  /** When the lease ends unless it is renewed, on the monotonic clock. */
  #endsAtMs = Number.POSITIVE_INFINITY;

  constructor(lease: RenewedLease, tools: RenewalTools) {
    this.#lease = lease;
    this.#tools = tools;
    this.#schedule = new RenewalSchedule(tools.runtime.random, tools.runtime.clock);
  }

  /** True if the lease is renewed. */
  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** Registers once. Resolves with the error if that failed. */
  attempt(): Promise<TenonError | undefined> {
    const attempt = this.#register();
    this.#underWay = attempt;
    return attempt;
  }

  /** Renews from now on, first after `delayMs`. */
  start(delayMs: number = this.#schedule.nextMs(this.#lease.intervalMs)): void {
    // What happened before a stop is known to who stopped it.
    if (!this.#isRunning) this.#endsAtMs = Number.POSITIVE_INFINITY;
    this.#isRunning = true;
    this.#timer?.cancel();
    this.#timer = this.#tools.runtime.timers.after(delayMs, () => void this.#renew());
  }

  /** Logs a failed attempt, which {@link start} repeats. */
  noteFailure(failure: TenonError): void {
    const { service, logger } = this.#tools;
    this.#schedule.failed(service, failure, logger);
  }

  /**
   * Ends renewals. Resolves when none is under way; one that does not end within `graceMs` is aborted. Renewals may be
   * started again.
   */
  async stop(graceMs: number): Promise<void> {
    this.#isRunning = false;
    this.#timer?.cancel();
    const { timers } = this.#tools.runtime;
    if (this.#underWay && !(await endsWithin(this.#underWay, { timers, timeoutMs: graceMs }))) {
      this.#abort.abort(timeUp('the service stops'));
      this.#abort = new AbortController();
    }
    this.#underWay = undefined;
  }

  /** Ends renewals for good: one that is under way is aborted at once. */
  abandon(): void {
    this.#isRunning = false;
    this.#timer?.cancel();
    this.#abort.abort(timeUp('the renewal was given up'));
  }

  async #renew(): Promise<void> {
    const attempt = this.#register();
    const renewal = attempt.then((failure) => {
      if (!failure) return this.#check();
      // One that was aborted says nothing about the registry.
      return this.#isRunning ? this.noteFailure(failure) : undefined;
    });
    this.#underWay = renewal;
    await renewal;
    if (this.#underWay !== renewal) return;
    this.#underWay = undefined;
    if (this.#isRunning) this.start();
  }

  async #register(wasLost = false): Promise<TenonError | undefined> {
    const { service, logger } = this.#tools;
    try {
      if (!(await this.#within((signal) => this.#lease.register(signal)))) throw timeUp('the registry does not answer');
      const isAgain = this.#schedule.succeeded(service, logger);
      const wasOver = this.#noteRenewal();
      if (wasOver && !isAgain)
        logger.warn(`${service} is registered again: this process did not run, and its lease ended meanwhile`);
      this.#lease.onRegistered(isAgain || wasLost || wasOver);
      return undefined;
    } catch (error) {
      return TenonError.from(error);
    }
  }

  /** Returns true if the lease had ended before. */
  #noteRenewal(): boolean {
    const now = this.#tools.runtime.clock.monotonicMs();
    const wasOver = now > this.#endsAtMs;
    this.#endsAtMs = now + this.#lease.ttlMs;
    return wasOver;
  }

  /** Reads the record back, if it is time. Never rejects: a registry that does not answer is the next renewal's. */
  async #check(): Promise<void> {
    this.#renewals += 1;
    if (!this.#isSuspected && this.#renewals % readBackEvery !== 0) return;
    const { service, logger } = this.#tools;
    const presence = await this.#readBack();
    if (presence === 'taken' && !this.#isTaken)
      logger.warn(`the registry has another address under the node id of ${service}: does another process use it?`);
    this.#isTaken = presence === 'taken';
    const isGone = presence === 'missing' && this.#isSuspected;
    this.#isSuspected = presence === 'missing' && !isGone;
    if (isGone && this.#isRunning) await this.#restore();
  }

  /** Resolves to undefined if the record need not be read back, and if that failed. */
  async #readBack(): Promise<Presence | undefined> {
    const { readBack } = this.#lease;
    if (!readBack) return undefined;
    const found: Presence[] = [];
    try {
      await this.#within(async (signal) => void found.push(await readBack(signal)));
    } catch (error) {
      const { service, logger } = this.#tools;
      logger.debug(`${service} could not read its registration back`, { error });
    }
    return found[0];
  }

  /** Registers a node anew whose record the registry no longer has, though it renews the lease. */
  async #restore(): Promise<void> {
    const { service, logger } = this.#tools;
    logger.warn(`the registry no longer had the record of ${service}: it is registered again`);
    await this.#within((signal) => this.#lease.deregister(signal)).catch(() => {});
    if (!this.#isRunning) return;
    const failure = await this.#register(true);
    if (failure) this.noteFailure(failure);
  }

  #within(work: (signal: AbortSignal) => Promise<void>): Promise<boolean> {
    const { timers } = this.#tools.runtime;
    const onTimeout = (): TenonError => timeUp('the time limit of a registration has passed');
    return endsWithin(work, { timers, timeoutMs: registerTimeoutMs, signal: this.#abort.signal, onTimeout });
  }
}

function timeUp(message: string): TenonError {
  return new TenonError({ code: Code.DeadlineExceeded, reason: 'service.timeout', message });
}
