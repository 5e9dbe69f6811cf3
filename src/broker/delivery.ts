import { backoffMs } from '../internal/backoff.ts';
import type { Logger } from '../logger/logger.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Broker, BrokerCapabilities, Event, Subscriber, SubscribeOptions } from './broker.ts';
import { brokersWithGroups, capabilitiesOf } from './internal/capabilities.ts';
import { Deduplicator } from './internal/deduplicator.ts';
import * as failures from './internal/failures.ts';
import { deadLetterHeaders, dedupeKeyHeader, orderKeyHeader } from './internal/headers.ts';
import { KeyedTurns } from './internal/keyed-turns.ts';
import { Pauses } from './internal/pauses.ts';

/** How a subscription delivers. */
export interface DeliveryOptions {
  /** Name of a group of which one member gets each event. @default every subscriber gets every event */
  readonly queue?: string | undefined;
  /** How often an event whose handler threw is handed out again, with back-off. @default 0 */
  readonly retry?: number | undefined;
  /** Delay before the first redelivery in milliseconds; it doubles up to 30 s. @default 100 */
  readonly retryDelayMs?: number | undefined;
  /**
   * Where an event goes after its last attempt: `true` for `<topic>.dead-letter`, or a topic's name. Without it the event is logged
   * and dropped.
   * @default false
   */
  readonly deadLetter?: boolean | string | undefined;
  /** Handle events with the same `tenon-dedupe-key` once: keys are remembered in this process, the last 10,000 of them. @default false */
  readonly dedupe?: boolean | undefined;
  /** Events handled at once. @default 64 */
  readonly maxInFlight?: number | undefined;
}

/** What a delivery works with. */
export interface DeliverySeams {
  readonly runtime: Runtime;
  readonly logger: Logger;
}

const defaults = { retry: 0, retryDelayMs: 100, deadLetter: false, dedupe: false, maxInFlight: 64 } as const;
const longestDelayMs = 30_000;
const rememberedKeys = 10_000;

/**
 * What a subscription asks for and neither a broker of these capabilities nor the framework can do, each as a sentence with its remedy. Retry, dead letters,
 * dedupe and order by key are never among it: {@link deliver} does what the broker does not.
 */
export function missingCapabilities(capabilities: BrokerCapabilities, options: DeliveryOptions): string[] {
  const missing: string[] = [];
  if (options.queue !== undefined && !capabilities.groups) {
    missing.push(
      `the queue "${options.queue}" needs a broker with groups (${brokersWithGroups}): on this one every subscriber would handle every event. Bind one of those, or leave out queue`,
    );
  }
  return missing;
}

/**
 * Hands the events of `topic` to `handler`, and keeps the promises of the delivery contract over whatever broker is bound. Resolves when the subscription stands.
 *
 * - `handler` resolves: the event is acknowledged.
 * - It throws: the event is handed out again up to `retry` times, after a delay that doubles and is jittered. Where the broker counts attempts and keeps
 *   delays the event goes back to it, and any member of the group may get it; elsewhere it stays in hand and is tried again here.
 * - After the last attempt it is published to the dead-letter topic with its own headers and `tenon-dead-letter-reason`, `tenon-dead-letter-code`, `tenon-attempts` and
 *   `tenon-original-topic`, and acknowledged when that has succeeded; until then it is kept. Without a dead-letter topic it is logged and dropped.
 * - Events with an order key are handled one at a time per key, in order, and their retries in hand.
 *
 * FAILED_PRECONDITION (`broker.unsupported`) if {@link missingCapabilities} finds something.
 */
export async function deliver(
  broker: Broker,
  topic: string,
  options: DeliveryOptions,
  handler: (event: Event) => Promise<void>,
  seams: DeliverySeams,
): Promise<Subscriber> {
  const missing = missingCapabilities(capabilitiesOf(broker), options);
  if (missing.length > 0) throw failures.unsupported(String(broker), topic, missing);
  failures.assertCount(String(broker), topic, 'retry', options.retry ?? defaults.retry, 0);
  failures.assertCount(String(broker), topic, 'retryDelayMs', options.retryDelayMs ?? defaults.retryDelayMs, 0);
  const delivery = new Delivery(broker, topic, options, handler, seams);
  const subscribeOptions: SubscribeOptions = {
    queue: options.queue,
    maxInFlight: options.maxInFlight ?? defaults.maxInFlight,
  };
  const subscriber = await broker.subscribe(topic, (event) => delivery.receive(event), subscribeOptions);
  return {
    topic,
    options: subscribeOptions,
    async unsubscribe(signal) {
      delivery.stop(signal);
      await subscriber.unsubscribe(signal);
    },
  };
}

class Delivery {
  readonly #broker: Broker;
  readonly #handler: (event: Event) => Promise<void>;
  readonly #seams: DeliverySeams;
  readonly #retry: number;
  readonly #retryDelayMs: number;
  readonly #deadLetter: string | undefined;
  /** The broker redelivers by itself: with a delay, and counting. */
  readonly #brokerRetries: boolean;
  readonly #brokerTakesBack: boolean;
  readonly #deduplicator: Deduplicator | undefined;
  readonly #turns = new KeyedTurns();
  readonly #pauses: Pauses;
  /** Its events in hand belong to others from now on. */
  #abandoned = false;

  constructor(
    broker: Broker,
    topic: string,
    options: DeliveryOptions,
    handler: (event: Event) => Promise<void>,
    seams: DeliverySeams,
  ) {
    const { ack, nack, delay, attempts } = capabilitiesOf(broker);
    this.#broker = broker;
    this.#handler = handler;
    this.#seams = seams;
    this.#retry = options.retry ?? defaults.retry;
    this.#retryDelayMs = options.retryDelayMs ?? defaults.retryDelayMs;
    const { deadLetter = defaults.deadLetter } = options;
    this.#deadLetter = deadLetter === true ? `${topic}.dead-letter` : deadLetter || undefined;
    this.#brokerTakesBack = ack && nack;
    this.#brokerRetries = this.#brokerTakesBack && delay && attempts;
    this.#deduplicator = (options.dedupe ?? defaults.dedupe) ? new Deduplicator(rememberedKeys) : undefined;
    this.#pauses = new Pauses(seams.runtime.timers);
  }

  /** Ends the waiting between attempts; those whose broker takes events back give them back. */
  stop(signal: AbortSignal | undefined): void {
    const abandon = (): void => {
      this.#abandoned = true;
      this.#pauses.end();
    };
    if (signal?.aborted) abandon();
    else signal?.addEventListener('abort', abandon, { once: true });
    this.#pauses.end();
  }

  /** Never rejects: what happens to the event is decided here. */
  async receive(event: Event): Promise<void> {
    try {
      const key = event.headers[orderKeyHeader];
      if (key === undefined) await this.#once(event, false);
      else await this.#turns.run(key, () => this.#inTurn(event));
    } catch (error) {
      // The broker could not be told; it hands the event out again, if it can.
      this.#log('warn', 'an event could not be settled', event, error);
    }
  }

  #inTurn(event: Event): Promise<void> {
    // Its predecessor may have been given back: it must not overtake.
    if (this.#pauses.isEnded && this.#brokerTakesBack) return event.nack();
    return this.#once(event, true);
  }

  async #once(event: Event, inOrder: boolean): Promise<void> {
    const key = this.#deduplicator && event.headers[dedupeKeyHeader];
    if (this.#deduplicator === undefined || key === undefined) await this.#handle(event, inOrder);
    else if (!(await this.#deduplicator.run(key, () => this.#handle(event, inOrder)))) await event.ack();
  }

  /** Resolves with whether the event was handled. */
  async #handle(event: Event, inOrder: boolean): Promise<boolean> {
    const inHand = inOrder || !this.#brokerRetries;
    for (let attempt = event.attempt; ; attempt += 1) {
      const failure = await this.#attempt(event);
      if (failure === undefined) {
        await event
          .ack()
          .catch((error: unknown) =>
            this.#log('warn', 'an event was handled and could not be acknowledged', event, error),
          );
        return true;
      }
      if (this.#abandoned && this.#brokerTakesBack) return false;
      if (attempt > this.#retry || this.#abandoned) {
        await this.#giveUp(event, attempt, failure.error);
        return false;
      }
      const delayMs = this.#delayMs(attempt);
      this.#log('warn', 'a handler failed; its event is handed out again', event, failure.error, { attempt, delayMs });
      if (!inHand || !(await this.#waited(delayMs))) {
        await event.nack({ delayMs });
        return false;
      }
    }
  }

  async #attempt(event: Event): Promise<{ readonly error: unknown } | undefined> {
    try {
      await this.#handler(event);
      return undefined;
    } catch (error) {
      return { error };
    }
  }

  async #giveUp(event: Event, attempts: number, failure: unknown): Promise<void> {
    const deadLetter = this.#deadLetter;
    if (deadLetter === undefined) {
      this.#log(
        'error',
        'an event is dropped: its handler failed at the last attempt, and there is no dead-letter topic',
        event,
        failure,
        { attempts },
      );
      return event.ack();
    }
    const message = { headers: deadLetterHeaders(event, attempts, failure), body: event.body };
    const orderKey = event.headers[orderKeyHeader];
    for (let tried = 1; ; tried += 1) {
      try {
        await this.#broker.publish(deadLetter, message, { orderKey });
        break;
      } catch (error) {
        if (this.#pauses.isEnded && !this.#brokerTakesBack) {
          this.#log(
            'error',
            'an event is lost: the subscription ended before its dead-letter topic could be reached',
            event,
            error,
            { deadLetter },
          );
          return event.ack();
        }
        this.#log('warn', 'an event could not be published to its dead-letter topic; it is kept', event, error, {
          deadLetter,
        });
      }
      if (!(await this.#waited(this.#delayMs(tried)))) return event.nack({ delayMs: this.#retryDelayMs });
    }
    const fields = { attempts, deadLetter };
    this.#log(
      'error',
      'an event went to its dead-letter topic: its handler failed at the last attempt',
      event,
      failure,
      fields,
    );
    return event.ack();
  }

  /** Whether the event stays in hand after the delay. At the end of the subscription it does only where the broker would lose it. */
  async #waited(delayMs: number): Promise<boolean> {
    await this.#pauses.wait(delayMs);
    return !(this.#pauses.isEnded && this.#brokerTakesBack);
  }

  #delayMs(attempt: number): number {
    const { random } = this.#seams.runtime;
    return backoffMs(attempt, () => random.next(), { initialMs: this.#retryDelayMs, maxMs: longestDelayMs });
  }

  #log(level: 'warn' | 'error', message: string, event: Event, error: unknown, fields: object = {}): void {
    this.#seams.logger[level](message, { topic: event.topic, ...fields, error });
  }
}
