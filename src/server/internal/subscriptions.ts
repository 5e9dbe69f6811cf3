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
  /** True if they do not count as active while the connection to the broker is lost. */
  readonly followsOutages: boolean;
  /** Called when all subscriptions are active, if they were not at the start, or one of them was ended. */
  onStanding(): void;
  /** Called when the broker has ended a subscription. */
  onEnded(): void;
}

// A broker that does not answer does not hold up a start for longer.
const firstAnswerMs = 10_000;

/**
 * Makes the subscriptions of a server, and keeps trying until the broker can be reached, at the start or later. One
 * that the broker ends, as its queue was deleted or a right was taken away, is made again in the same way.
 */
export class Subscriptions {
  readonly #seams: SubscriptionsSeams;
  readonly #standing = new Set<Subscriber>();
  readonly #outage: Outage;
  /** Aborts when no more subscriptions are to be made. */
  readonly #end = new AbortController();
  #pending: readonly IntendedSubscription[];
  #timer: Timer | undefined;
  /** True while the subscriptions that are missing are being made, or are to be made later. */
  #isTrying = false;
  #isAway = false;
  /** Ends listening to the state of the broker. */
  #forget = (): void => {};
  /** The error with which the broker ended a subscription last. */
  #ended: TenonError | undefined;

  constructor(intended: readonly IntendedSubscription[], seams: SubscriptionsSeams) {
    this.#pending = intended;
    this.#seams = seams;
    this.#outage = new Outage(seams.runtime);
  }

  /** True when every subscription is active. */
  get areStanding(): boolean {
    return this.#pending.length === 0 && !this.#isAway;
  }

  /**
   * Resolves when all subscriptions are active, or when the broker turns out to be away; then it goes on trying in the
   * background. Rejects with errors that waiting does not mend, and with any error if the broker is required.
   */
  async start(): Promise<void> {
    if (this.#pending.length === 0) return;
    if (this.#seams.followsOutages) this.#forget = this.#seams.broker.onStatus?.(this.#onStatus) ?? this.#forget;
    const {
      broker,
      runtime: { timers },
      isBrokerRequired,
    } = this.#seams;
    this.#isTrying = true;
    const attempt = this.#attempt();
    try {
      if (await endsWithin(attempt, { timers, timeoutMs: firstAnswerMs, signal: this.#end.signal })) {
        this.#isTrying = false;
        if (this.#ended) this.#tryLater(this.#ended);
        return;
      }
    } catch (error) {
      const failure = TenonError.from(error);
      if (isBrokerRequired || !isTransient(failure)) throw failure;
      this.#tryAgain(failure);
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
    this.#forget();
    await Promise.all(Array.from(this.#standing, (subscriber) => subscriber.unsubscribe(signal)));
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
      this.#standing.add(subscriber);
      this.#pending = this.#pending.filter((one) => one !== intended);
      void this.#awaitEnd(intended, subscriber);
    }
  }

  async #awaitEnd(intended: IntendedSubscription, subscriber: Subscriber): Promise<void> {
    const error = await subscriber.closed;
    if (error === undefined || this.#end.signal.aborted) return;
    this.#standing.delete(subscriber);
    this.#pending = [...this.#pending, intended];
    this.#ended = error;
    this.#call(() => this.#seams.onEnded());
    this.#tryLater(error);
  }

  #call(listener: () => void): void {
    const { service, logger } = this.#seams;
    const failed = (error: unknown): void =>
      logger.warn(`${service}: a listener to its subscriptions failed`, { error });
    quietly(listener, undefined, failed);
  }

  async #follow(attempt: Promise<void>): Promise<void> {
    try {
      await attempt;
    } catch (error) {
      this.#tryAgain(TenonError.from(error));
      return;
    }
    if (this.#end.signal.aborted) return;
    if (this.#pending.length > 0) return this.#tryAgain(this.#ended ?? unanswered(this.#seams.broker));
    this.#isTrying = false;
    const { service, logger } = this.#seams;
    logger.warn(`${service} receives events: its subscriptions stand`, { failures: this.#outage.ended() });
    if (this.areStanding) this.#call(() => this.#seams.onStanding());
  }

  readonly #onStatus = (): void => {
    const isAway = this.#seams.broker.status.state === 'away';
    if (isAway === this.#isAway) return;
    const stood = this.areStanding;
    this.#isAway = isAway;
    if (stood) this.#call(() => this.#seams.onEnded());
    else if (this.areStanding) this.#call(() => this.#seams.onStanding());
  };

  #tryAgain(failure: TenonError): void {
    this.#isTrying = false;
    this.#tryLater(failure);
  }

  #tryLater(failure: TenonError): void {
    if (this.#isTrying || this.#pending.length === 0 || this.#end.signal.aborted) return;
    this.#isTrying = true;
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
