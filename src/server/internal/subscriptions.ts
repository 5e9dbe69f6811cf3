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

/** A subscription that the server is to make. */
export interface IntendedSubscription {
  readonly topic: string;
  /** Resolves when the subscription is active. May be called again after a failure. */
  subscribe(): Promise<Subscriber>;
}

/** Dependencies of {@link Subscriptions}. */
export interface SubscriptionsSeams {
  /** Name of the service. */
  readonly service: string;
  readonly broker: Broker;
  readonly runtime: Runtime;
  readonly logger: Logger;
  /** True if the start fails while the broker cannot be reached. */
  readonly isBrokerRequired: boolean;
  /** Called when all subscriptions are active, if they were not at the start. */
  onStanding(): void;
}

// A broker that does not answer does not hold up a start for longer.
const firstAnswerMs = 10_000;

/** Makes the subscriptions of a server, and keeps trying until the broker can be reached, at the start or later. */
export class Subscriptions {
  readonly #seams: SubscriptionsSeams;
  readonly #standing: Subscriber[] = [];
  readonly #outage: Outage;
  /** Aborts when no more subscriptions are to be made. */
  readonly #end = new AbortController();
  #pending: readonly IntendedSubscription[];
  #timer: Timer | undefined;

  constructor(intended: readonly IntendedSubscription[], seams: SubscriptionsSeams) {
    this.#pending = intended;
    this.#seams = seams;
    this.#outage = new Outage(seams.runtime);
  }

  /** True when every subscription is active. */
  get areStanding(): boolean {
    return this.#pending.length === 0;
  }

  /**
   * Resolves when all subscriptions are active, or when the broker turns out to be away; then it goes on trying in the
   * background. Rejects with errors that waiting does not mend, and with any error if the broker is required.
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
   * Takes no more events, and resolves when those in progress are settled, or at once when `signal` aborts. May be
   * called again.
   */
  async end(signal?: AbortSignal): Promise<void> {
    this.#end.abort(ended());
    this.#timer?.cancel();
    await Promise.all(this.#standing.map((subscriber) => subscriber.unsubscribe(signal)));
  }

  /**
   * Makes the subscriptions that are missing. The first failure because the broker is away ends the attempt; a
   * subscription that is refused does not stop the others.
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
    // The server has ended while this one was made.
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
