import type { Broker, Subscriber } from '../../broker/broker.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { isTransient } from '../../errors/transient.ts';
import { unthrown } from '../../errors/unthrown.ts';
import { maskAddress } from '../../internal/mask.ts';
import { quietly } from '../../internal/quietly.ts';
import type { Logger } from '../../logger/logger.ts';
import { Outage } from '../../runtime/outage.ts';
import type { Runtime, Timer } from '../../runtime/runtime.ts';
import { endsWithin } from '../../runtime/bounded.ts';

/** A subscription that is to stand. */
export interface IntendedSubscription {
  readonly topic: string;
  /** Resolves when it stands. May be called again after a failure. */
  subscribe(): Promise<Subscriber>;
}

/** What {@link Subscriptions} work with. */
export interface SubscriptionsSeams {
  /** Name of the service. */
  readonly service: string;
  readonly broker: Broker;
  readonly runtime: Runtime;
  readonly logger: Logger;
  /** A broker that is away fails the start. */
  readonly isBrokerRequired: boolean;
  /** Called when all stand, if they did not at the start. */
  onStanding(): void;
}

// A broker that does not answer does not hold up a start for longer.
const firstAnswerMs = 10_000;

/**
 * The subscriptions of a server: they stand once their broker can be reached, whether it is there at the start or comes
 * later.
 */
export class Subscriptions {
  readonly #seams: SubscriptionsSeams;
  readonly #standing: Subscriber[] = [];
  readonly #outage: Outage;
  /** Aborts when no more of them are to stand. */
  readonly #end = new AbortController();
  #pending: readonly IntendedSubscription[];
  #timer: Timer | undefined;

  constructor(intended: readonly IntendedSubscription[], seams: SubscriptionsSeams) {
    this.#pending = intended;
    this.#seams = seams;
    this.#outage = new Outage(seams.runtime);
  }

  /** True when every one of them stands. */
  get areStanding(): boolean {
    return this.#pending.length === 0;
  }

  /**
   * Resolves when they stand, or when the broker turns out to be away: then it is tried until it is back. Rejects with
   * what does not mend by waiting, and with any failure if the broker is required.
   */
  async start(): Promise<void> {
    if (this.areStanding) return;
    const {
      broker,
      runtime: { timers },
      isBrokerRequired,
    } = this.#seams;
    const attempt = this.#attempt();
    try {
      if (await endsWithin(attempt, { timers, timeoutMs: firstAnswerMs, signal: this.#end.signal })) return;
    } catch (error) {
      const failure = TenonError.from(error);
      if (isBrokerRequired || !isTransient(failure)) throw failure;
      this.#tryLater(failure);
      return;
    }
    if (this.#end.signal.aborted) return;
    const failure = unanswered(broker);
    if (isBrokerRequired) throw failure;
    this.#tell(failure);
    void this.#follow(attempt);
  }

  /**
   * Takes no more events, and resolves when those in hand are settled; at once when `signal` aborts. May be called
   * again.
   */
  async end(signal?: AbortSignal): Promise<void> {
    this.#end.abort(ended());
    this.#timer?.cancel();
    await Promise.all(this.#standing.map((subscriber) => subscriber.unsubscribe(signal)));
  }

  /**
   * Makes those stand that do not yet. The first that the broker is away for ends the attempt; one that is refused does
   * not stop the others.
   */
  async #attempt(): Promise<void> {
    await this.#seams.broker.connect({ signal: this.#end.signal });
    let refusal: TenonError | undefined;
    for (const intended of this.#pending) {
      if (this.#end.signal.aborted) return;
      try {
        await this.#keep(intended, await intended.subscribe());
      } catch (error) {
        const failure = TenonError.from(error);
        if (isTransient(failure)) throw failure;
        refusal ??= failure;
      }
    }
    if (refusal) throw refusal;
  }

  async #keep(intended: IntendedSubscription, subscriber: Subscriber): Promise<void> {
    // Nobody waits for one that comes after the end.
    if (this.#end.signal.aborted) await subscriber.unsubscribe(this.#end.signal);
    else {
      this.#standing.push(subscriber);
      this.#pending = this.#pending.filter((one) => one !== intended);
    }
  }

  async #follow(attempt: Promise<void>): Promise<void> {
    try {
      await attempt;
    } catch (error) {
      if (!this.#end.signal.aborted) this.#tryLater(TenonError.from(error));
      return;
    }
    if (this.#end.signal.aborted) return;
    const { service, logger } = this.#seams;
    logger.warn(`${service} receives events: its subscriptions stand`, { failures: this.#outage.ended() });
    const failed = (error: unknown): void =>
      logger.warn(`${service}: a listener to its subscriptions failed`, { error });
    quietly(() => this.#seams.onStanding(), undefined, failed);
  }

  #tryLater(failure: TenonError): void {
    this.#tell(failure);
    this.#timer = this.#seams.runtime.timers.after(this.#outage.retryMs(), () => void this.#follow(this.#attempt()));
  }

  #tell(error: TenonError): void {
    const isAway = isTransient(error);
    const told = this.#outage.failed(isAway ? 'away' : 'refused');
    if (told === undefined) return;
    const { service, logger } = this.#seams;
    const topics = this.#pending.map(({ topic }) => topic).join(', ');
    const how = told === 'new' ? 'runs' : 'still runs';
    const message = `${service} ${how} without events of ${topics}, and is not ready, until its broker ${isAway ? 'is back' : 'accepts its subscriptions'}; trying again`;
    logger[isAway ? 'warn' : 'error'](message, { error, failures: this.#outage.failures });
  }
}

function unanswered(broker: Broker): TenonError {
  return new TenonError({
    code: Code.DeadlineExceeded,
    reason: 'broker.timeout',
    message: `the broker "${String(broker)}" at ${maskAddress(broker.address)} did not answer within ${firstAnswerMs} ms`,
  });
}

function ended(): TenonError {
  return unthrown({ code: Code.Unavailable, reason: 'server.stopped', message: 'the server was stopped' });
}
