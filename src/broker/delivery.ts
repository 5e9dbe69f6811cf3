import { backoffMs } from '../internal/backoff.ts';
import { InFlight } from '../internal/in-flight.ts';
import type { LogFields, Logger } from '../logger/logger.ts';
import { pause } from '../runtime/bounded.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Store } from '../store/store.ts';
import type { Broker, BrokerCapabilities, Event, Subscriber, SubscribeOptions } from './broker.ts';
import { deadLetteredMessage, DeadLetters, storesDeadLetters } from './delivery/dead-letters.ts';
import { Deduplicator } from './delivery/deduplicator.ts';
import { KeyedQueue } from './delivery/keyed-queue.ts';
import { OneAtATime } from './delivery/one-at-a-time.ts';
import { type AttemptFailure, type HandlerAttempt, OneAttempt, RunningAttempts } from './delivery/running-attempts.ts';
import { StoredAttempts } from './delivery/stored-attempts.ts';
import { type KeyLease, StoredKeys } from './delivery/stored-keys.ts';
import { capabilitiesOf, missingCapabilities } from './kit/capabilities.ts';
import * as failures from './kit/failures.ts';
import { deadLetterTopicOf, dedupeKeyHeader, orderKeyHeader } from './kit/headers.ts';
import { type Deferrable, reclaimSlot, settled, yieldSlot } from './kit/in-flight.ts';
import { deliverAtHeader } from './kit/scheduling.ts';
import { TopicPattern } from './kit/wildcards.ts';

/** Options of a subscription's delivery. */
export interface DeliveryOptions {
  /** Name of a consumer group, of which one member gets each event. @default every subscriber gets every event */
  readonly queue?: string | undefined;
  /** Attempts after the first one for an event whose handler failed. @default 3 */
  readonly retry?: number | undefined;
  /** Delay before the first redelivery in milliseconds; it doubles up to 30 s. @default 100 */
  readonly retryDelayMs?: number | undefined;
  /**
   * Topic to which an event is moved after its last attempt: `true` for `<topic>.dead-letter`, with the topic of the
   * event, or a name. With `false` the event is logged and dropped.
   * @default true
   */
  readonly deadLetter?: boolean | string | undefined;
  /**
   * Handles events with the same `tenon-dedupe-key` once. The last 10,000 keys are remembered in this process; with a
   * `queue` and a store all keys, by all members, for `dedupeKeepMs`.
   * @default false
   */
  readonly dedupe?: boolean | undefined;
  /** Time that a store remembers a key that was handled, in milliseconds. @default 86_400_000, a day */
  readonly dedupeKeepMs?: number | undefined;
  /**
   * Longest time of a handler in milliseconds. Then its attempt has failed with DEADLINE_EXCEEDED
   * (`broker.handler_timeout`), and the event is retried like any other that failed; how the handler ends is ignored.
   * @default 600_000
   */
  readonly handlerTimeoutMs?: number | undefined;
  /** Events handled at once. @default 64 */
  readonly maxInFlight?: number | undefined;
  /**
   * Most further events that wait in this process for their next attempt, or for others of their key. With so many no
   * new ones are received.
   * @default 1_000
   */
  readonly maxWaiting?: number | undefined;
}

/**
 * Handles an event. `signal` aborts when the subscription is ended at once: the event is then left to the broker. The
 * signal of `attempt` aborts also when this attempt is given up.
 */
export type DeliveryHandler = (event: Event, signal: AbortSignal, attempt: HandlerAttempt) => Promise<void>;

/** The runtime, the logger and the store of a delivery. */
export interface DeliverySeams {
  readonly runtime: Runtime;
  readonly logger: Logger;
  /**
   * Remembers handled keys for all members of a queue, and counts the attempts of its events where the broker does not.
   * @default keys are remembered in this process, and attempts count as the broker says
   */
  readonly store?: Store | undefined;
}

const defaults = {
  retry: 3,
  retryDelayMs: 100,
  deadLetter: true,
  dedupe: false,
  dedupeKeepMs: 86_400_000,
  handlerTimeoutMs: 600_000,
  maxInFlight: 64,
  maxWaiting: 1_000,
} as const;
/** Options that are counts, each with its smallest value. */
const counts = [
  ['retry', 0],
  ['retryDelayMs', 0],
  ['dedupeKeepMs', 1],
  ['handlerTimeoutMs', 1],
  ['maxInFlight', 1],
  ['maxWaiting', 1],
] as const;
const maxRetryDelayMs = 30_000;
const maxDedupeKeys = 10_000;
const dedupeLeaseMs = 30_000;
/**
 * Further deliveries of an event whose attempts are used up although none of its handlers has ended. Some were lost
 * with their process, and it is not known by which of the events that it had in hand.
 */
const spareAttempts = 10;

/**
 * Delivers the events of a topic to `handler`, under the same contract over every broker. Resolves when the
 * subscription is established.
 *
 * - `handler` resolves: the event is acknowledged.
 * - `handler` throws: the event is retried up to `retry` times, after a delay with jitter that doubles. A broker that
 * counts attempts and respects delays redelivers it, to any member of the group; otherwise it is retried in this
 * process.
 * - After the last attempt the event is published to the dead-letter topic, with its own headers and
 * `tenon-dead-letter-reason`, `tenon-dead-letter-code`, `tenon-dead-letter-message`, `tenon-attempts`,
 * `tenon-first-failed-at`, `tenon-last-failed-at` and `tenon-original-topic`. It is acknowledged when that has
 * succeeded. With `deadLetter: false` it is logged and dropped.
 * - `handler` takes longer than `handlerTimeoutMs`: its attempt has failed, and its slot is free for others.
 * - An event that was delivered more often than it has attempts, as when its handler kills the process, is handled
 * alone among its like, and after ten more deliveries is a dead letter (`broker.attempts_exhausted`).
 * - `handler` calls `event.reject(reason)`: the event is moved to the dead-letter topic without another attempt.
 * - Events with an order key are handled one at a time per key, in order, and retried in this process. Those that wait
 * do not count for `maxInFlight`.
 * - The subscription ends: events that were not handled are nacked, or left without `ack` where the broker has the
 * capability; otherwise their remaining attempts are made at once.
 *
 * Logs at the start which dead letters the broker cannot store. FAILED_PRECONDITION (`broker.unsupported`) if {@link
 * missingCapabilities} finds something, INVALID_ARGUMENT (`broker.invalid_options`) for an invalid option.
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
    deadLetter: deadLetterOf(topic, options),
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
      // Events that are not settled by now are left on purpose, so that the broker redelivers them.
      if (delivery.hasLeftEvents) end.abort();
      await ended.finally(() => signal?.removeEventListener('abort', onAbort));
    },
  };
}

/**
 * Checks the topic and the options of {@link deliver}, without a connection. Throws the errors with which it would
 * reject.
 */
export function assertDeliverable(broker: Broker, topic: string, options: DeliveryOptions): void {
  const name = String(broker);
  failures.assertTopic(name, topic);
  if (TopicPattern.of(topic)?.isValid === false) throw failures.invalidPattern(name, topic);
  const missing = missingCapabilities(capabilitiesOf(broker), options, topic);
  if (missing.length > 0) throw failures.unsupported(name, topic, missing);
  for (const [option, least] of counts) {
    failures.assertCount(name, topic, option, options[option] ?? defaults[option], least);
  }
  const deadLetter = deadLetterOf(topic, options);
  if (typeof deadLetter === 'string') failures.assertDeadLetter(name, topic, deadLetter);
}

/** The dead-letter topic of a subscription; `undefined` if each topic of its pattern has one. */
function deadLetterOf(topic: string, options: DeliveryOptions): string | false | undefined {
  const { deadLetter = defaults.deadLetter } = options;
  if (deadLetter !== true) return deadLetter;
  return TopicPattern.of(topic) ? undefined : deadLetterTopicOf(topic);
}

class Delivery {
  readonly #broker: Broker;
  readonly #topic: string;
  readonly #handler: DeliveryHandler;
  readonly #seams: DeliverySeams;
  readonly #retry: number;
  readonly #retryDelayMs: number;
  readonly #deadLetters: DeadLetters;
  readonly #capabilities: BrokerCapabilities;
  /** True if the broker redelivers with a delay and counts attempts. */
  readonly #brokerRetries: boolean;
  readonly #deduplicator: Deduplicator | undefined;
  readonly #storedKeys: StoredKeys | undefined;
  readonly #storedAttempts: StoredAttempts | undefined;
  readonly #running: RunningAttempts;
  readonly #suspects: OneAtATime;
  readonly #keyedQueue = new KeyedQueue();
  /** Aborts when no more events are received. */
  readonly #ending = new AbortController();
  /** Aborts when events that are being handled are left to the broker. */
  readonly #abandoned = new AbortController();
  /** Events that their handler rejected, each until it is stored as a dead letter. */
  readonly #rejected = new Map<Event, Promise<void>>();
  /**
   * Events that waited for others, at whose deaths their own deliveries were counted as well: they are not given up
   * before a handler of them has begun.
   */
  readonly #delayed = new WeakSet<Event>();
  /** The current attempt of events that are retried in this process. */
  readonly #attempts = new Map<Event, number>();
  /** Events, as their handlers have them, of which an attempt has failed: that handler decides no more. */
  readonly #ended = new WeakSet<Event>();
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
    const { runtime, store } = seams;
    this.#deadLetters = new DeadLetters({ broker, runtime, deadLetter: options.deadLetter ?? defaults.deadLetter });
    const { ack, nack, delay, attempts } = this.#capabilities;
    this.#brokerRetries = ack && nack && delay && attempts;
    const { queue, dedupe = defaults.dedupe, dedupeKeepMs: keepMs = defaults.dedupeKeepMs } = options;
    const shared = queue === undefined ? undefined : store;
    // What a store remembers it also forgets in time.
    this.#deduplicator = dedupe ? new Deduplicator(shared ? 0 : maxDedupeKeys) : undefined;
    const scope = `${topic} ${queue} `;
    if (shared && dedupe)
      this.#storedKeys = new StoredKeys({
        store: shared,
        runtime,
        scope: `handled ${scope}`,
        leaseMs: dedupeLeaseMs,
        keepMs,
      });
    if (shared && ack && !attempts) this.#storedAttempts = new StoredAttempts(shared, `attempts ${scope}`);
    this.#suspects = new OneAtATime(runtime);
    const { handlerTimeoutMs = defaults.handlerTimeoutMs } = options;
    this.#running = new RunningAttempts({
      timeoutMs: handlerTimeoutMs,
      runtime,
      timedOut: (event) => {
        this.#ended.add(event);
        return failures.handlerTimedOut(String(broker), topic, handlerTimeoutMs);
      },
      onLateEnd: () => this.#logSafely('info', 'a handler that was given up has ended', { topic }),
    });
  }

  /** True if events were left without `ack` and `nack`, for the broker to redeliver. */
  get hasLeftEvents(): boolean {
    return this.#hasLeftEvents;
  }

  /** Logs that dead letters are lost, or stored for existing groups alone. */
  logMissingPersistence(): void {
    const deadLetter = this.#deadLetters.topicFor(this.#topic);
    if (deadLetter === undefined || storesDeadLetters(this.#capabilities)) return;
    const fields = { topic: this.#topic, broker: String(this.#broker), deadLetter };
    if (this.#capabilities.persistent)
      this.#logSafely('info', 'dead letters are kept only for queues that have subscribed to their topic', fields);
    else
      this.#logSafely(
        'warn',
        'events whose handler fails are lost: this broker keeps no dead letters for later',
        fields,
      );
  }

  /** Ends the waits between attempts. A broker with the capability `ack` redelivers the events. */
  stop(signal: AbortSignal | undefined): void {
    const abandon = (): void => {
      const reason = failures.subscriptionEnded(String(this.#broker), this.#topic);
      this.#abandoned.abort(reason);
      this.#running.abort(reason);
    };
    if (signal?.aborted) abandon();
    else signal?.addEventListener('abort', abandon, { once: true });
    this.#ending.abort();
    this.#running.stop();
  }

  /** Resolves when no event is being handled. */
  idle(): Promise<void> {
    return this.#handling.idle();
  }

  /** Handles an event, with retries and dead letters. Never rejects. */
  async receive(event: Event): Promise<void> {
    this.#handling.enter();
    // Only events of the kit have this. Those of other brokers are not changed.
    if ('onReject' in event) (event as Event & Deferrable).onReject = this.#onReject;
    try {
      const key = event.headers[orderKeyHeader];
      if (key === undefined) await this.#handleOnce(event, false);
      else {
        // While it waits for its turn, events of other keys use its slot.
        if (this.#keyedQueue.isBusy(key)) this.#stepAside(event);
        await this.#keyedQueue.run(key, () => this.#handleInOrder(event));
      }
    } catch (error) {
      this.#log('warn', 'an event could not be settled', event, error);
      // Does nothing for an event that is settled.
      await this.#returnToBroker(event, this.#retryDelayMs).catch(() => undefined);
    } finally {
      this.#rejected.delete(event);
      this.#attempts.delete(event);
      this.#handling.leave();
    }
  }

  /** True if the broker has given the event to others since, or may do so. */
  #isOver(event: Event & Partial<Deferrable>): boolean {
    return this.#capabilities.ack && event.isOver === true;
  }

  /** Lets others use the slot of an event that has to wait for them. */
  #stepAside(event: Event): void {
    this.#delayed.add(event);
    yieldSlot(event);
  }

  /** True if the subscription ends, and the broker redelivers events that were not handled. */
  get #isLeaving(): boolean {
    return this.#ending.signal.aborted && this.#capabilities.ack;
  }

  async #handleInOrder(event: Event): Promise<void> {
    await reclaimSlot(event);
    if (this.#isOver(event)) return;
    // An earlier event of the key may have been returned: this one must not overtake it.
    if (this.#isLeaving) await this.#returnToBroker(event, 0);
    else await this.#handleOnce(event, true);
  }

  async #handleOnce(event: Event, inOrder: boolean): Promise<void> {
    const key = this.#deduplicator && event.headers[dedupeKeyHeader];
    if (this.#deduplicator === undefined || key === undefined) {
      await this.#handle(event, inOrder);
      return;
    }
    if (this.#deduplicator.isBusy(key)) this.#stepAside(event);
    const handle = async (): Promise<boolean> => {
      await reclaimSlot(event);
      if (this.#isOver(event)) return false;
      return this.#storedKeys
        ? this.#handleByStore(this.#storedKeys, key, event, inOrder)
        : this.#handle(event, inOrder);
    };
    if (!(await this.#deduplicator.run(key, handle))) await event.ack();
  }

  /** Handles an event, unless the store says that its key is done. While others work on the key, the event waits. */
  async #handleByStore(keys: StoredKeys, key: string, event: Event, inOrder: boolean): Promise<boolean> {
    for (let tried = 1; ; tried += 1) {
      const lease = await keys.start(key).catch((error: unknown) => {
        this.#log(
          'warn',
          'it is not known whether an event was handled before; the store is asked again',
          event,
          error,
        );
        return 'busy' as const;
      });
      if (lease === 'done') {
        await event.ack();
        return true;
      }
      // A broker that does not redeliver would lose an event that waits any longer.
      if (lease === 'busy' && this.#ending.signal.aborted && !this.#capabilities.ack)
        return this.#handle(event, inOrder);
      if (lease !== 'busy') return this.#handleWithLease(lease, event, inOrder);
      if (await this.#waitInHand(event, this.#delayMs(tried))) continue;
      await this.#returnToBroker(event, this.#retryDelayMs);
      return false;
    }
  }

  async #handleWithLease(lease: KeyLease, event: Event, inOrder: boolean): Promise<boolean> {
    const forgotten = (error: unknown): void =>
      this.#log('warn', 'the store did not take note of an event: it may be handled again', event, error);
    let isHandled = false;
    try {
      isHandled = await this.#handle(event, inOrder, async () => {
        const isOurs = await lease.done().catch((error: unknown) => (forgotten(error), true));
        if (!isOurs) this.#log('warn', 'an event may have been handled twice: its lease was lost', event, undefined);
      });
    } finally {
      if (!isHandled) await lease.release().catch(forgotten);
    }
    return isHandled;
  }

  /** Resolves with true if the event was handled. `onHandled` runs before it is acknowledged. */
  #handle(event: Event, inOrder: boolean, onHandled?: () => Promise<void>): Promise<boolean> {
    const { attempt } = event;
    if (this.#countIn(event) || attempt > this.#retry + 1) return this.#handleCounted(event, inOrder, onHandled);
    return this.#handleFrom(attempt, event, inOrder, onHandled);
  }

  /** Counts the attempt, and handles the event with care if it has used up its attempts without an end. */
  async #handleCounted(event: Event, inOrder: boolean, onHandled?: () => Promise<void>): Promise<boolean> {
    const first = await this.#countAttempt(event, event.attempt);
    if (first <= this.#retry + 1) return this.#handleFrom(first, event, inOrder, onHandled);
    // How many deliveries of a postponed event came too early is known to no broker.
    const isUncertain = event.headers[deliverAtHeader] !== undefined && !this.#countIn(event);
    if (first > this.#retry + 1 + spareAttempts && !this.#delayed.has(event) && !isUncertain) {
      const cause = failures.attemptsExhausted(String(this.#broker), event.topic, first - 1);
      await this.#giveUp(event, first - 1, cause, 'it was delivered too often, and no handler of it has ended');
      return false;
    }
    yieldSlot(event);
    return this.#suspects.run(async () => {
      await reclaimSlot(event);
      if (this.#isOver(event)) return false;
      if (!this.#isLeaving) return this.#handleFrom(isUncertain ? 1 : first, event, inOrder || isUncertain, onHandled);
      await this.#returnToBroker(event, 0);
      return false;
    });
  }

  /** The store that counts the attempts of an event. One that has another id each time cannot be counted. */
  #countIn(event: Event & Partial<Deferrable>): StoredAttempts | undefined {
    return event.hasOwnId === false ? undefined : this.#storedAttempts;
  }

  /** Counts an attempt in the store. Resolves with its number; with `otherwise` if none counts, or it is away. */
  async #countAttempt(event: Event, otherwise: number): Promise<number> {
    try {
      return (await this.#countIn(event)?.begin(event)) ?? otherwise;
    } catch (error) {
      this.#log('warn', 'an attempt could not be counted in the store', event, error);
      return otherwise;
    }
  }

  async #handleFrom(first: number, event: Event, inOrder: boolean, onHandled?: () => Promise<void>): Promise<boolean> {
    const inHand = inOrder || !this.#brokerRetries;
    if (first !== event.attempt) this.#attempts.set(event, first);
    let own = inHand ? this.#ownAttempt(event) : event;
    for (let attempt = first; ; attempt = await this.#countAttempt(event, attempt + 1)) {
      const { aborted, reason } = this.#abandoned.signal;
      const failure = aborted ? { error: reason as unknown } : await this.#attempt(own);
      const rejected = this.#rejected.get(event);
      if (rejected) {
        await rejected;
        return false;
      }
      if (failure === undefined) {
        if (onHandled) await onHandled();
        this.#forget(event);
        await event
          .ack()
          .catch((error: unknown) =>
            this.#log('warn', 'an event was handled and could not be acknowledged', event, error),
          );
        return true;
      }
      if (this.#abandoned.signal.aborted && this.#capabilities.ack) return false;
      this.#ended.add(own);
      this.#deadLetters.onFailure(event);
      if (attempt > this.#retry || this.#abandoned.signal.aborted) {
        await this.#giveUp(event, attempt, failure.error, 'its handler failed at the last attempt');
        return false;
      }
      const delayMs = this.#delayMs(attempt);
      this.#log('warn', 'a handler failed; its event is tried again', event, failure.error, { attempt, delayMs });
      if (!inHand || !(await this.#waitInHand(event, delayMs))) {
        await this.#returnToBroker(event, delayMs);
        return false;
      }
      this.#attempts.set(event, attempt + 1);
      own = this.#ownAttempt(event);
    }
  }

  #ownAttempt(event: Event): Event {
    return new OneAttempt({ event, ended: this.#ended, reject: (reason) => this.#rejectLater(event, reason) });
  }

  #attempt(event: Event): Promise<AttemptFailure | undefined> {
    return this.#running.run(event, (attempt) => this.#handler(event, this.#abandoned.signal, attempt));
  }

  /** Forgets the failures and the attempts of an event that is settled. */
  #forget(event: Event): void {
    this.#deadLetters.forget(event);
    // What is not removed is forgotten after its time.
    const store = this.#countIn(event);
    store?.forget(event).catch(() => undefined);
  }

  readonly #onReject = (event: Event, reason: unknown): Promise<void> =>
    this.#ended.has(event) ? settled : this.#reject(event, reason);

  #rejectLater(event: Event & Partial<Deferrable>, reason: unknown): Promise<void> {
    // Only events of the kit say so.
    if (event.isOver === undefined) return event.reject(reason);
    return event.isOver ? settled : this.#reject(event, reason);
  }

  #reject(event: Event, reason: unknown): Promise<void> {
    const known = this.#rejected.get(event);
    if (known) return known;
    const cause = reason ?? failures.rejected(String(this.#broker), this.#topic);
    const attempts = this.#attempts.get(event) ?? event.attempt;
    const done = this.#giveUp(event, attempts, cause, 'its handler refused it');
    // A failure is handled after the handler has ended, whether or not the handler awaits this promise.
    done.catch(() => undefined);
    this.#rejected.set(event, done);
    return done;
  }

  async #giveUp(event: Event, attempts: number, failure: unknown, why: string): Promise<void> {
    const deadLetter = this.#deadLetters.topicFor(event.topic);
    if (deadLetter === undefined) {
      this.#log('error', `an event is dropped: ${why}, and it has no dead-letter topic`, event, failure, { attempts });
      this.#forget(event);
      return event.ack();
    }
    for (let tried = 1; ; tried += 1) {
      if (this.#isOver(event)) return this.#forget(event);
      try {
        await this.#deadLetters.publish(deadLetter, event, attempts, failure);
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
    this.#forget(event);
    this.#log('error', deadLetteredMessage(this.#capabilities, why), event, failure, { attempts, deadLetter });
    return event.ack();
  }

  /**
   * Waits before another attempt in this process. Resolves with false if the subscription ends and the broker
   * redelivers the event.
   */
  async #waitInHand(event: Event, delayMs: number): Promise<boolean> {
    yieldSlot(event);
    await pause(this.#seams.runtime.timers, delayMs, this.#ending.signal);
    if (this.#isLeaving) return false;
    await reclaimSlot(event);
    return !this.#isLeaving && !this.#isOver(event);
  }

  /** Returns the event to the broker by `nack`; without the capability by leaving it without `ack`. */
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

  /** Logs. An error of the logger is ignored, so that it does not cost an event. */
  #logSafely(level: 'info' | 'warn' | 'error', message: string, fields: LogFields): void {
    try {
      this.#seams.logger[level](message, fields);
    } catch {
      // There is nowhere else to report it.
    }
  }
}
