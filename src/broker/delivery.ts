import { backoffMs } from '../internal/backoff.ts';
import { InFlight } from '../internal/in-flight.ts';
import type { LogFields, Logger } from '../logger/logger.ts';
import { pause } from '../runtime/bounded.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Broker, BrokerCapabilities, Event, Subscriber, SubscribeOptions } from './broker.ts';
import { Deduplicator } from './delivery/deduplicator.ts';
import { KeyedQueue } from './delivery/keyed-queue.ts';
import { capabilitiesOf, missingCapabilities } from './kit/capabilities.ts';
import * as failures from './kit/failures.ts';
import { deadLetterHeaders, dedupeKeyHeader, orderKeyHeader } from './kit/headers.ts';
import { type Deferrable, settled } from './kit/in-flight.ts';

/** Options of a subscription's delivery. */
export interface DeliveryOptions {
  /** Name of a group of which one member gets each event. @default every subscriber gets every event */
  readonly queue?: string | undefined;
  /** Attempts after the first one for an event whose handler threw, with back-off. @default 3 */
  readonly retry?: number | undefined;
  /** Delay before the first redelivery in milliseconds; it doubles up to 30 s. @default 100 */
  readonly retryDelayMs?: number | undefined;
  /**
   * Where an event goes after its last attempt: `true` for `<topic>.dead-letter`, or a topic's name. With `false` the
   * event is logged and dropped.
   * @default true
   */
  readonly deadLetter?: boolean | string | undefined;
  /**
   * Handle events with the same `tenon-dedupe-key` once: keys are remembered in this process, the last 10,000 of them.
   * @default false
   */
  readonly dedupe?: boolean | undefined;
  /** Events handled at once. @default 64 */
  readonly maxInFlight?: number | undefined;
  /**
   * Events that wait in hand for their next attempt or for others of their key, besides; with so many no new ones are
   * taken. @default 1_000
   */
  readonly maxWaiting?: number | undefined;
}

/** Handles an event. `signal` aborts when the subscription was ended by force: its events are for others then. */
export type DeliveryHandler = (event: Event, signal: AbortSignal) => Promise<void>;

/** Gives a delivery time, chance and a logger. */
export interface DeliverySeams {
  readonly runtime: Runtime;
  readonly logger: Logger;
}

const defaults = {
  retry: 3,
  retryDelayMs: 100,
  deadLetter: true,
  dedupe: false,
  maxInFlight: 64,
  maxWaiting: 1_000,
} as const;
/** The options that are counts, and the least that each may be. */
const counts = [
  ['retry', 0],
  ['retryDelayMs', 0],
  ['maxInFlight', 1],
  ['maxWaiting', 1],
] as const;
const maxRetryDelayMs = 30_000;
const maxDedupeKeys = 10_000;

/**
 * Hands the events of `topic` to `handler`, and keeps the promises of the delivery contract over whatever broker is
 * bound. Resolves when the subscription stands.
 *
 * - `handler` resolves: the event is acknowledged.
 * - It throws: the event is handed out again up to `retry` times, after a delay that doubles and is jittered. Where the
 *   broker counts attempts and keeps
 * delays the event goes back to it, and any member of the group may get it; elsewhere it stays in hand and is tried
 * again here.
 * - After the last attempt it is published to the dead-letter topic with its own headers and
 *   `tenon-dead-letter-reason`, `tenon-dead-letter-code`,
 * `tenon-dead-letter-message`, `tenon-attempts` and `tenon-original-topic`, and acknowledged when that has succeeded;
 * until then it is kept. With `deadLetter: false` it is logged and dropped.
 * - It calls `event.reject(reason)`: the same at once, without another attempt.
 * - Events with an order key are handled one at a time per key, in order, and their retries in hand. Those that wait
 *   hold no place of `maxInFlight`.
 * - The subscription ends: what has not been handled goes back, or is left unacknowledged, where the broker has `ack`;
 *   elsewhere the attempts that are left are made at once.
 *
 * Says at the start what the broker cannot keep. FAILED_PRECONDITION (`broker.unsupported`) if {@link
 * missingCapabilities} finds something, INVALID_ARGUMENT (`broker.invalid_options`) for an option without a meaning.
 */
export async function deliver(
  broker: Broker,
  topic: string,
  options: DeliveryOptions,
  handler: DeliveryHandler,
  seams: DeliverySeams,
): Promise<Subscriber> {
  assertDeliverable(broker, topic, options);
  const delivery = new Delivery(broker, topic, options, handler, seams);
  const subscribeOptions: SubscribeOptions = {
    queue: options.queue,
    maxInFlight: options.maxInFlight ?? defaults.maxInFlight,
    maxWaiting: options.maxWaiting ?? defaults.maxWaiting,
    deadLetter: delivery.deadLetter ?? false,
  };
  const subscriber = await broker.subscribe(topic, (event) => delivery.receive(event), subscribeOptions);
  delivery.logMissingPersistence();
  return {
    topic,
    options: subscribeOptions,
    closed: subscriber.closed,
    async unsubscribe(signal) {
      delivery.stop(signal);
      const end = new AbortController();
      const onAbort = (): void => end.abort(signal?.reason);
      if (signal?.aborted) onAbort();
      else signal?.addEventListener('abort', onAbort, { once: true });
      const ended = subscriber.unsubscribe(end.signal);
      await Promise.race([delivery.idle(), ended]);
      // What is left was not settled on purpose, so that the broker hands it out again.
      if (delivery.hasLeftEvents) end.abort();
      await ended.finally(() => signal?.removeEventListener('abort', onAbort));
    },
  };
}

/**
 * Throws what {@link deliver} rejects with for a topic and options that cannot be right, whether the broker is there or
 * not.
 */
export function assertDeliverable(broker: Broker, topic: string, options: DeliveryOptions): void {
  const name = String(broker);
  failures.assertTopic(name, topic);
  const missing = missingCapabilities(capabilitiesOf(broker), options);
  if (missing.length > 0) throw failures.unsupported(name, topic, missing);
  for (const [option, least] of counts) {
    failures.assertCount(name, topic, option, options[option] ?? defaults[option], least);
  }
  const deadLetter = deadLetterTopic(topic, options);
  if (deadLetter !== undefined) failures.assertDeadLetter(name, topic, deadLetter);
}

function deadLetterTopic(topic: string, { deadLetter = defaults.deadLetter }: DeliveryOptions): string | undefined {
  if (deadLetter === false) return undefined;
  return deadLetter === true ? `${topic}.dead-letter` : deadLetter;
}

class Delivery {
  readonly #broker: Broker;
  readonly #topic: string;
  readonly #handler: DeliveryHandler;
  readonly #seams: DeliverySeams;
  readonly #retry: number;
  readonly #retryDelayMs: number;
  /** The topic that events go to after their last attempt. */
  readonly deadLetter: string | undefined;
  readonly #capabilities: BrokerCapabilities;
  /** The broker redelivers by itself: with a delay, and counting. */
  readonly #brokerRetries: boolean;
  readonly #deduplicator: Deduplicator | undefined;
  readonly #keyedQueue = new KeyedQueue();
  /** Aborts when no more events are taken. */
  readonly #ending = new AbortController();
  /** Aborts when its events in hand belong to others. */
  readonly #abandoned = new AbortController();
  /** Events that their handler refused for good, until that is done. */
  readonly #rejected = new Map<Event, Promise<void>>();
  /** The number of the attempt of events that are tried again in hand. */
  readonly #attempts = new Map<Event, number>();
  readonly #handling = new InFlight();
  #hasLeftEvents = false;

  constructor(broker: Broker, topic: string, options: DeliveryOptions, handler: DeliveryHandler, seams: DeliverySeams) {
    this.#capabilities = capabilitiesOf(broker);
    this.#broker = broker;
    this.#topic = topic;
    this.#handler = handler;
    this.#seams = seams;
    this.#retry = options.retry ?? defaults.retry;
    this.#retryDelayMs = options.retryDelayMs ?? defaults.retryDelayMs;
    this.deadLetter = deadLetterTopic(topic, options);
    const { ack, nack, delay, attempts } = this.#capabilities;
    this.#brokerRetries = ack && nack && delay && attempts;
    this.#deduplicator = (options.dedupe ?? defaults.dedupe) ? new Deduplicator(maxDedupeKeys) : undefined;
  }

  /** Events were left without `ack` and `nack`, for the broker to hand out again. */
  get hasLeftEvents(): boolean {
    return this.#hasLeftEvents;
  }

  /** A topic that nobody can read later keeps nothing. */
  logMissingPersistence(): void {
    if (this.deadLetter === undefined || (this.#capabilities.persistent && this.#capabilities.replay)) return;
    const fields = { topic: this.#topic, broker: String(this.#broker), deadLetter: this.deadLetter };
    if (this.#capabilities.persistent)
      this.#logSafely('info', 'dead letters are kept only for queues that have subscribed to their topic', fields);
    else
      this.#logSafely(
        'warn',
        'events whose handler fails are lost: this broker keeps no dead letters for later',
        fields,
      );
  }

  /** Ends the waiting between attempts; those whose broker keeps events leave them to it. */
  stop(signal: AbortSignal | undefined): void {
    const abandon = (): void => this.#abandoned.abort(failures.subscriptionEnded(String(this.#broker), this.#topic));
    if (signal?.aborted) abandon();
    else signal?.addEventListener('abort', abandon, { once: true });
    this.#ending.abort();
  }

  /** Resolves when no event is being handled. */
  idle(): Promise<void> {
    return this.#handling.idle();
  }

  /** Never rejects: what happens to the event is decided here. */
  async receive(event: Event): Promise<void> {
    this.#handling.enter();
    // Events of brokers that are not made with the kit may be anything: they are left as they are.
    if ('onReject' in event) (event as Event & Deferrable).onReject = this.#onReject;
    try {
      const key = event.headers[orderKeyHeader];
      if (key === undefined) await this.#handleOnce(event, false);
      else {
        // It waits for its turn, and others need not wait with it.
        if (this.#keyedQueue.isBusy(key)) yieldSlot(event);
        await this.#keyedQueue.run(key, () => this.#handleInOrder(event));
      }
    } catch (error) {
      this.#log('warn', 'an event could not be settled', event, error);
      // Had it been settled, this would do nothing.
      await this.#returnToBroker(event, this.#retryDelayMs).catch(() => undefined);
    } finally {
      this.#rejected.delete(event);
      this.#attempts.delete(event);
      this.#handling.leave();
    }
  }

  /** It is over, and the broker has the events that were not handled. */
  get #isLeaving(): boolean {
    return this.#ending.signal.aborted && this.#capabilities.ack;
  }

  async #handleInOrder(event: Event): Promise<void> {
    await reclaimSlot(event);
    // Its predecessor may have been given back: it must not overtake.
    if (this.#isLeaving) await this.#returnToBroker(event, 0);
    else await this.#handleOnce(event, true);
  }

  async #handleOnce(event: Event, inOrder: boolean): Promise<void> {
    const key = this.#deduplicator && event.headers[dedupeKeyHeader];
    if (this.#deduplicator === undefined || key === undefined) {
      await this.#handle(event, inOrder);
      return;
    }
    if (this.#deduplicator.isBusy(key)) yieldSlot(event);
    const handle = async (): Promise<boolean> => {
      await reclaimSlot(event);
      return this.#handle(event, inOrder);
    };
    if (!(await this.#deduplicator.run(key, handle))) await event.ack();
  }

  /** Resolves with whether the event was handled. */
  async #handle(event: Event, inOrder: boolean): Promise<boolean> {
    const inHand = inOrder || !this.#brokerRetries;
    for (let attempt = event.attempt; ; attempt += 1) {
      const { aborted, reason } = this.#abandoned.signal;
      const failure = aborted ? { error: reason as unknown } : await this.#attempt(event);
      const rejected = this.#rejected.get(event);
      if (rejected) {
        await rejected;
        return false;
      }
      if (failure === undefined) {
        await event
          .ack()
          .catch((error: unknown) =>
            this.#log('warn', 'an event was handled and could not be acknowledged', event, error),
          );
        return true;
      }
      if (this.#abandoned.signal.aborted && this.#capabilities.ack) return false;
      if (attempt > this.#retry || this.#abandoned.signal.aborted) {
        await this.#giveUp(event, attempt, failure.error, 'its handler failed at the last attempt');
        return false;
      }
      const delayMs = this.#delayMs(attempt);
      this.#log('warn', 'a handler failed; its event is handed out again', event, failure.error, { attempt, delayMs });
      if (!inHand || !(await this.#waitInHand(event, delayMs))) {
        await this.#returnToBroker(event, delayMs);
        return false;
      }
      this.#attempts.set(event, attempt + 1);
    }
  }

  async #attempt(event: Event): Promise<{ readonly error: unknown } | undefined> {
    try {
      await this.#handler(event, this.#abandoned.signal);
      return undefined;
    } catch (error) {
      return { error };
    }
  }

  readonly #onReject = (event: Event, reason: unknown): Promise<void> => {
    const known = this.#rejected.get(event);
    if (known) return known;
    const cause = reason ?? failures.rejected(String(this.#broker), this.#topic);
    const attempts = this.#attempts.get(event) ?? event.attempt;
    const done = this.#giveUp(event, attempts, cause, 'its handler refused it');
    // What went wrong with it is seen to when the handler has ended, whether or not that looks.
    done.catch(() => undefined);
    this.#rejected.set(event, done);
    return done;
  };

  async #giveUp(event: Event, attempts: number, failure: unknown, why: string): Promise<void> {
    const deadLetter = this.deadLetter;
    if (deadLetter === undefined) {
      this.#log('error', `an event is dropped: ${why}, and it has no dead-letter topic`, event, failure, { attempts });
      return event.ack();
    }
    const message = { headers: deadLetterHeaders(event, attempts, failure), body: event.body };
    const orderKey = event.headers[orderKeyHeader];
    for (let tried = 1; ; tried += 1) {
      try {
        await this.#broker.publish(deadLetter, message, { orderKey });
        break;
      } catch (error) {
        if (this.#ending.signal.aborted && !this.#capabilities.ack) {
          const lost = 'an event is lost: the subscription ended before its dead-letter topic could be reached';
          this.#log('error', lost, event, error, { deadLetter });
          return event.ack();
        }
        const kept = 'an event could not be published to its dead-letter topic; it is kept';
        this.#log('warn', kept, event, error, { deadLetter });
      }
      if (!(await this.#waitInHand(event, this.#delayMs(tried))))
        return this.#returnToBroker(event, this.#retryDelayMs);
    }
    const { persistent, replay } = this.#capabilities;
    this.#log('error', deadLetteredMessage(persistent, replay, why), event, failure, { attempts, deadLetter });
    return event.ack();
  }

  /**
   * True if the event stays in hand after the delay. At the end of the subscription it does only where the broker would
   * lose it.
   */
  async #waitInHand(event: Event, delayMs: number): Promise<boolean> {
    yieldSlot(event);
    await pause(this.#seams.runtime.timers, delayMs, this.#ending.signal);
    if (this.#isLeaving) return false;
    await reclaimSlot(event);
    return !this.#isLeaving;
  }

  /**
   * The event is for the broker to hand out again. One that cannot take it back does so when it was never acknowledged.
   */
  #returnToBroker(event: Event, delayMs: number): Promise<void> {
    const { ack, nack } = this.#capabilities;
    if (nack || !ack) return event.nack({ delayMs });
    this.#hasLeftEvents = true;
    return settled;
  }

  #delayMs(attempt: number): number {
    const { random } = this.#seams.runtime;
    return backoffMs(attempt, () => random.next(), { initialMs: this.#retryDelayMs, maxMs: maxRetryDelayMs });
  }

  #log(level: 'warn' | 'error', message: string, event: Event, error: unknown, fields: object = {}): void {
    this.#logSafely(level, message, { topic: event.topic, ...fields, error });
  }

  /** A logger that fails must not cost an event. */
  #logSafely(level: 'info' | 'warn' | 'error', message: string, fields: LogFields): void {
    try {
      this.#seams.logger[level](message, fields);
    } catch {
      // There is nowhere else to say it.
    }
  }
}

/** Says what became of an event that was published to its dead-letter topic. */
function deadLetteredMessage(persistent: boolean, replay: boolean, why: string): string {
  if (persistent && replay) return `an event went to its dead-letter topic: ${why}`;
  if (persistent) return `an event went to its dead-letter topic, for the queues that have subscribed there: ${why}`;
  return `an event is lost, unless somebody reads its dead-letter topic at this moment: ${why}`;
}

function yieldSlot(event: Event & Partial<Deferrable>): void {
  event.yieldSlot?.();
}

function reclaimSlot(event: Event & Partial<Deferrable>): Promise<void> | undefined {
  return event.reclaimSlot?.();
}
