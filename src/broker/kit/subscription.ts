import { TenonError } from '../../errors/errors.ts';
import { backoffMs } from '../../internal/backoff.ts';
import type { Logger } from '../../logger/logger.ts';
import { pause } from '../../runtime/bounded.ts';
import type { Runtime, Timer } from '../../runtime/runtime.ts';
import type { BrokerMessage, Event, EventHeaders, PublishOptions } from '../broker.ts';
import { AckBatch } from './ack-batch.ts';
import { publishDeadLetter } from './dead-letter.ts';
import type { DriverSubscription, EventSink, IncomingEvent, ReceiveRequest } from './driver.ts';
import { watched } from './event-sources.ts';
import * as failures from './failures.ts';
import { FailureLog } from './failure-log.ts';
import { deadLetterTopicOf } from './headers.ts';
import { type EventConsumer, InFlightEvents, settled, type Settlement } from './in-flight.ts';
import type { WireEncoding } from './name-encoding.ts';
import { PollLoop } from './poll-loop.ts';
import { PushBuffer } from './push-buffer.ts';
import { deliverAtHeader, expiresAtHeader, isExpired, untilDueMs } from './scheduling.ts';
import type { TopicPattern } from './wildcards.ts';

/** The services that a broker provides to its subscriptions. */
export interface SubscriptionHost<E extends IncomingEvent> {
  readonly name: string;
  readonly runtime: Runtime;
  readonly logger: Logger;
  isConnected(): boolean;
  /** See `Broker.isControlHeader`. */
  isControlHeader(name: string): boolean;
  /** True if the server has dead letters of its own. */
  hasDeadLetters(): boolean;
  receive(request: ReceiveRequest, sink: EventSink<E>): Promise<DriverSubscription<E>>;
  publish(topic: string, message: BrokerMessage, options: PublishOptions): Promise<void>;
  /** Translates an error of the driver for the caller. */
  failure(doing: string, error: unknown): TenonError;
  /** True if trying again is of no use. */
  isFinal(error: unknown): boolean;
  /** The encoding of topics and headers, if the server needs one. */
  encoding(): WireEncoding | undefined;
  onEnd(subscription: Subscription<E>): void;
}

/** The parts of a {@link Subscription}. */
export interface SubscriptionInit<E extends IncomingEvent> {
  readonly host: SubscriptionHost<E>;
  /** The topic, not encoded. */
  readonly topic: string;
  /** Set if the topic has wildcards. */
  readonly pattern: TopicPattern | undefined;
  readonly request: ReceiveRequest;
  readonly consumer: EventConsumer;
  /** Most events that a `watch` may be behind. */
  readonly watchLag: number;
  /** @default the topic of dead letters of the event's topic */
  readonly deadLetter: string | false | undefined;
  readonly signal: AbortSignal | undefined;
}

const retry = { initialMs: 50, maxMs: 5_000 } as const;

/**
 * One subscription of a broker. It buffers the events of its driver, delivers them within the limits of its options,
 * has them settled, and subscribes again after failures, until it ends.
 */
export class Subscription<E extends IncomingEvent> implements EventSink<E>, Settlement<E> {
  /** See `Subscriber.closed`. */
  readonly closed: Promise<TenonError | undefined>;
  readonly #init: SubscriptionInit<E>;
  readonly #host: SubscriptionHost<E>;
  /** Undefined for a watch, which settles no events. */
  readonly #inFlight: InFlightEvents<E> | undefined;
  readonly #buffer: PushBuffer<E>;
  /** Aborts when it takes no more events. */
  readonly #ending = new AbortController();
  readonly #receiveLog: FailureLog;
  readonly #keepLog: FailureLog;
  #source: DriverSubscription<E> | undefined;
  #encoding: WireEncoding | undefined;
  #loop: PollLoop<E> | undefined;
  #acks: AckBatch<E> | undefined;
  #heartbeat: Timer | undefined;
  #isKeepingAlive = false;
  #isDropping = false;
  #isDispatching = false;
  #isFlushScheduled = false;
  #resubscribing: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  #finishing: Promise<void> | undefined;
  #whenEmpty: (() => void)[] = [];
  #ids = 0;
  /** Events that were returned, and may come as the same objects. */
  readonly #nacked = new WeakSet<E>();
  #idBase: string | undefined;
  #close: (error: TenonError | undefined) => void = () => {};

  constructor(init: SubscriptionInit<E>) {
    const { host, request, consumer, topic, watchLag } = init;
    this.#init = init;
    this.#host = host;
    this.#receiveLog = new FailureLog(host.logger, { broker: host.name, topic });
    this.#keepLog = new FailureLog(host.logger, { broker: host.name, topic });
    const isWatch = request.mode === 'watch';
    this.#buffer = new PushBuffer(
      isWatch ? { limit: watchLag, drops: 'oldest' } : { limit: Number.POSITIVE_INFINITY, drops: 'newest' },
    );
    const { maxInFlight, maxWaiting } = request;
    this.#inFlight = isWatch
      ? undefined
      : new InFlightEvents({
          topic,
          maxInFlight,
          maxWaiting,
          consumer,
          settlement: this,
          onDemand: () => this.#onDemand(),
        });
    this.closed = new Promise((resolve) => {
      this.#close = resolve;
    });
  }

  async open(): Promise<void> {
    this.#start(await this.#receive());
    const { signal } = this.#init;
    if (signal?.aborted) this.#onAbort();
    else signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  get request(): ReceiveRequest {
    return this.#init.request;
  }

  get isStopped(): boolean {
    return this.#stopping !== undefined;
  }

  get demand(): number {
    return this.#stopping ? 0 : Math.max(0, this.#freeSlots - this.#buffer.size);
  }

  deliver(event: E): void {
    if (!this.#isWanted(event)) this.#discard(event);
    else if (this.#canDispatch && this.#buffer.size === 0 && this.#freeSlots > 0) this.#dispatch(event);
    else if (this.#stopping && this.#source?.release) void this.release([event]);
    else if (!this.#buffer.push(event)) this.#onDrop();
  }

  wake(): void {
    this.#loop?.wake();
    this.#loop?.interrupt();
  }

  unsettled(): readonly E[] {
    return [...(this.#inFlight?.events ?? []), ...this.#buffer.events];
  }

  settling(): readonly E[] {
    return this.#acks?.events ?? [];
  }

  resetSession(): void {
    this.#buffer.clear();
    this.#inFlight?.forget();
    this.#acks?.drop(failures.sessionOver(this.#host.name, this.#init.topic));
  }

  fail(error: unknown): void {
    if (this.#stopping) return;
    if (this.#host.isFinal(error)) this.#endWith(error);
    else void this.resubscribe(error);
  }

  /** It has no source, and nothing is done about it: the broker was away when it was interrupted. */
  get isInterrupted(): boolean {
    return this.#source === undefined && !this.#resubscribing && !this.#stopping;
  }

  /** Delivers what is buffered, or asks the driver for more: the demand has grown. */
  resume(): void {
    this.#flushBuffer();
    this.#onDemand();
  }

  /** Subscribes again, with back-off, until it succeeds or the subscription has ended. */
  resubscribe(cause: unknown): Promise<void> {
    return (this.#resubscribing ??= this.#resubscribe(cause).finally(() => {
      this.#resubscribing = undefined;
    }));
  }

  /** Stops receiving. Resolves when no more events are delivered. */
  stop(): Promise<void> {
    return (this.#stopping ??= this.#stop());
  }

  /** Stops receiving, then resolves when all delivered events are settled; if `signal` aborts, at once. */
  async unsubscribe(signal?: AbortSignal): Promise<void> {
    const stopped = this.stop();
    // Where nothing can be given back, what comes until the driver has stopped is handled.
    if (this.#inFlight && !this.#source?.release && !signal?.aborted) await stopped;
    if (this.#buffer.size > 0) await this.#bufferEmptied(signal);
    this.#inFlight?.stop();
    await this.#inFlight?.idle(signal);
    await stopped;
    await (this.#finishing ??= this.#finish());
  }

  ack(event: E): Promise<void> {
    if (this.#acks) return this.#acks.add(event);
    const done = this.#source?.ack?.([event]);
    return done ? this.#translated('acknowledge an event', done) : settled;
  }

  nack(event: E, delayMs: number): Promise<void> {
    this.#nacked.add(event);
    return this.#ignoringFailure(this.#source?.nack?.(event, delayMs));
  }

  async reject(event: Event, from: E, reason: unknown): Promise<boolean> {
    const { topic } = event;
    const { deadLetter = deadLetterTopicOf(topic) } = this.#init;
    const cause = reason ?? failures.rejected(this.#host.name, topic);
    if (this.#host.hasDeadLetters() && this.#source?.reject) {
      await this.#translated('refuse an event', this.#source.reject(from, cause));
      return true;
    }
    const fields = { topic, attempts: event.attempt, error: cause };
    if (deadLetter === false) {
      this.#host.logger.error('an event is dropped: it was refused, and has no dead-letter topic', fields);
      return false;
    }
    await publishDeadLetter((...all) => this.#host.publish(...all), deadLetter, event, {
      attempts: event.attempt,
      failure: cause,
      firstFailedMs: undefined,
      clock: this.#host.runtime.clock,
      isControlHeader: (name) => this.#host.isControlHeader(name),
    });
    this.#host.logger.error('an event went to its dead-letter topic: it was refused', { ...fields, deadLetter });
    return false;
  }

  release(events: readonly E[]): Promise<void> {
    return this.#ignoringFailure(this.#source?.release?.(events));
  }

  nextId(): string {
    this.#idBase ??= this.#host.runtime.random.uuid();
    return `${this.#idBase}-${(this.#ids += 1)}`;
  }

  readonly #onAbort = (): void => void this.#quietly('end', () => this.unsubscribe());

  get #freeSlots(): number {
    if (this.#inFlight) return this.#inFlight.room;
    return this.#stopping ? 0 : this.#init.consumer.demand;
  }

  #receive(): Promise<DriverSubscription<E>> {
    // Set first, as events may be delivered before `receive` resolves.
    this.#encoding = this.#host.encoding();
    return this.#host.receive(this.#init.request, this);
  }

  #start(source: DriverSubscription<E>): void {
    const { host } = this.#init;
    const { runtime, logger } = host;
    this.#source = source;
    if (this.#inFlight) this.#buffer.limit = source.maxBacklog ?? Number.POSITIVE_INFINITY;
    this.#acks =
      source.ack && source.batchesAcks
        ? new AckBatch({
            runtime,
            send: (events) => this.#translated('acknowledge events', source.ack?.(events)),
            isRefusal: (error) => TenonError.is(error) && error.reason === 'broker.refused',
            onRefusal: (error, events, isLast) => this.#onRefusal(error, events, isLast),
          })
        : undefined;
    if (source.poll) {
      const isRefusal = (error: unknown): boolean => host.failure('receive', error).reason === 'broker.refused';
      this.#loop = new PollLoop({
        source,
        sink: this,
        maxWaiting: this.#init.request.maxWaiting,
        runtime,
        logger,
        fields: { broker: host.name, topic: this.#init.topic },
        isRefusal,
        isConnected: () => host.isConnected(),
      });
    } else this.#onDemand();
    if (source.keepAlive && source.keepAliveMs !== undefined)
      this.#heartbeat = runtime.timers.every(Math.max(1, source.keepAliveMs), () => void this.#keepAlive(source));
  }

  #dispatch(event: E): void {
    const { consumer } = this.#init;
    const encoding = this.#encoding;
    const headers = encoding ? encoding.readHeaders(event.headers) : event.headers;
    const topic = this.#topicOf(event);
    if (headers[expiresAtHeader] !== undefined && this.#isFirst(event, headers) && this.#isOver(headers, topic))
      return this.#discard(event);
    if (headers[deliverAtHeader] !== undefined && this.#isPostponed(event, headers)) return;
    this.#isDispatching = true;
    if (this.#inFlight) this.#inFlight.deliver(event, headers, topic);
    else {
      const { body, id = this.nextId() } = event;
      consumer.push(watched({ id, topic, headers, body, attempt: 1 }));
    }
    this.#isDispatching = false;
  }

  #topicOf({ topic }: E): string {
    if (!this.#init.pattern || topic === undefined) return this.#init.topic;
    return this.#encoding?.readTopic(topic) ?? topic;
  }

  /** False if the server's wildcards match more than the pattern does. */
  #isWanted(event: E): boolean {
    return this.#init.pattern?.matches(this.#topicOf(event)) ?? true;
  }

  /** True unless the event was delivered before, in its time. */
  #isFirst(event: E, headers: EventHeaders): boolean {
    const early = headers[deliverAtHeader] === undefined ? 0 : 1;
    return event.attempt - early <= 1 && !this.#nacked.has(event);
  }

  #isOver(headers: EventHeaders, topic: string): boolean {
    const { runtime, logger, name } = this.#host;
    if (!isExpired(headers, runtime.clock)) return false;
    logger.debug('an event is dropped: it was not delivered in its time', { broker: name, topic });
    return true;
  }

  /** Returns an event that is not due to the broker. Its next delivery is not another attempt. */
  #isPostponed(event: E, headers: EventHeaders): boolean {
    const waitMs = this.#inFlight ? untilDueMs(headers, this.#host.runtime.clock) : 0;
    if (waitMs === 0 || !this.#source?.nack) return false;
    void this.#ignoringFailure(this.#source.nack(event, waitMs));
    this.#onDemand();
    return true;
  }

  /** Settles an event that was not asked for. If that fails, it is redelivered and settled again. */
  #discard(event: E): void {
    if (this.#inFlight) this.ack(event).catch(() => undefined);
    // A driver that was to deliver as many events as are in demand must deliver another.
    this.#onDemand();
  }

  #onDemand(): void {
    if (this.#buffer.size > 0) {
      if (this.#isFlushScheduled || this.#isDispatching) return;
      this.#isFlushScheduled = true;
      queueMicrotask(() => {
        this.#isFlushScheduled = false;
        this.#flushBuffer();
      });
    } else if (this.#loop) this.#loop.wake();
    else this.#source?.resume?.();
  }

  /** False before the driver has answered `receive` too: events that come earlier could not be settled yet. */
  get #canDispatch(): boolean {
    return this.#source !== undefined && !this.#isDispatching;
  }

  /** Delivers buffered events, as far as there are free slots. */
  #flushBuffer(): void {
    if (!this.#canDispatch || this.#buffer.size === 0) return;
    while (this.#buffer.size > 0 && this.#freeSlots > 0) this.#dispatch(this.#buffer.shift() as E);
    if (this.#buffer.size > 0) return;
    this.#caughtUp();
    this.#onDemand();
  }

  #onDrop(): void {
    if (!this.#inFlight || this.#isDropping) return;
    this.#isDropping = true;
    const fields = { topic: this.#init.topic, maxBacklog: this.#buffer.limit };
    this.#host.logger.warn('events are dropped: the subscriber is slower than its events come', fields);
  }

  #caughtUp(): void {
    const dropped = this.#buffer.takeDropped();
    if (this.#isDropping) {
      this.#isDropping = false;
      this.#host.logger.warn('the subscriber has caught up with its events', { topic: this.#init.topic, dropped });
    }
    for (const resolve of this.#whenEmpty.splice(0)) resolve();
  }

  /** Resolves when the buffer is empty. When `signal` aborts, the buffered events are dropped. */
  async #bufferEmptied(signal: AbortSignal | undefined): Promise<void> {
    const drop = (): void => {
      this.#buffer.clear();
      this.#caughtUp();
    };
    if (signal?.aborted) return drop();
    signal?.addEventListener('abort', drop, { once: true });
    await new Promise<void>((resolve) => this.#whenEmpty.push(resolve));
    signal?.removeEventListener('abort', drop);
  }

  async #keepAlive(source: DriverSubscription<E>): Promise<void> {
    if (this.#isKeepingAlive) return;
    this.#isKeepingAlive = true;
    try {
      const events = this.unsettled();
      await source.keepAlive?.(events);
      this.#keepLog.succeeded();
    } catch (error) {
      this.#logNotKept(error);
      await this.#quietly('recover', () => (this.#stopping ? undefined : source.recover?.(error)));
    } finally {
      this.#isKeepingAlive = false;
    }
  }

  /** Waits for a call about events, and only logs its failure: the server redelivers them anyway. */
  #ignoringFailure(work: Promise<void> | void): Promise<void> {
    return work ? work.catch((error: unknown) => this.#logNotKept(error)) : settled;
  }

  #logNotKept(error: unknown): void {
    // While the server is away no other receiver gets the events.
    if (this.#host.isConnected()) {
      this.#keepLog.failed('events in hand could not be kept: others may be given them as well', error);
      return;
    }
    const fields = { broker: this.#host.name, topic: this.#init.topic, error };
    this.#host.logger.debug('events in hand could not be kept', fields);
  }

  async #stop(): Promise<void> {
    this.#init.signal?.removeEventListener('abort', this.#onAbort);
    this.#ending.abort();
    const source = this.#source;
    let released = settled;
    if (source?.release || !this.#inFlight) {
      this.#inFlight?.stop();
      const rest = this.#buffer.clear();
      if (rest.length > 0 && this.#inFlight) released = this.release(rest);
    }
    await Promise.all([released, this.#resubscribing, this.#stopSource(source)]);
  }

  async #stopSource(source: DriverSubscription<E> | undefined): Promise<void> {
    // A driver without `poll` must be stopped in this turn, before it delivers more.
    if (this.#loop) await this.#loop.stop();
    await this.#quietly('stop', () => source?.stop());
  }

  async #finish(): Promise<void> {
    await this.#closeSource();
    this.#host.onEnd(this);
    this.#close(undefined);
  }

  async #closeSource(): Promise<void> {
    const source = this.#source;
    this.#heartbeat?.cancel();
    await this.#acks?.finish();
    await this.#quietly('close', () => source?.close());
  }

  /** Ends the subscription with an error. */
  #endWith(cause: unknown): void {
    const { topic, request, consumer } = this.#init;
    const error = this.#host.failure(request.doing, cause);
    this.#stopping ??= this.#stop();
    this.#finishing ??= this.#stopping.then(async () => {
      this.resetSession();
      await this.#closeSource();
      this.#host.onEnd(this);
    });
    this.#host.logger.error('a subscription has ended: the broker refuses it', {
      broker: this.#host.name,
      topic,
      error,
    });
    consumer.fail?.(error);
    this.#close(error);
  }

  async #resubscribe(cause: unknown): Promise<void> {
    const { runtime } = this.#host;
    let reason = cause;
    for (let attempt = 1; !this.#stopping; attempt += 1) {
      this.resetSession();
      const [loop, source] = [this.#loop, this.#source];
      this.#loop = undefined;
      this.#source = undefined;
      this.#heartbeat?.cancel();
      await loop?.stop();
      await this.#quietly('close', () => source?.close());
      // The loss of the connection is logged by the broker.
      if (reason !== undefined && this.#host.isConnected())
        this.#receiveLog.failed('a subscription was interrupted; it is made again', reason);
      // The broker resubscribes when it is connected again.
      if (!this.#host.isConnected()) return;
      await pause(
        runtime.timers,
        backoffMs(attempt, () => runtime.random.next(), retry),
        this.#ending.signal,
      );
      if (this.#stopping || !this.#host.isConnected()) return;
      try {
        const anew = await this.#receive();
        if (this.isStopped) {
          await this.#quietly('stop', () => anew.stop());
          await this.#quietly('close', () => anew.close());
          return;
        }
        this.#start(anew);
        this.#receiveLog.succeeded();
        return;
      } catch (error) {
        reason = error;
        if (this.#host.isFinal(error)) return this.#endWith(error);
      }
    }
  }

  #onRefusal(error: unknown, events: number, isLast: boolean): void {
    const { logger, name } = this.#host;
    const fields = { broker: name, topic: this.#init.topic, events, error };
    if (isLast) logger.error('the broker refuses an acknowledgement: the events are redelivered', fields);
    else logger.warn('the broker refuses an acknowledgement; it is tried again', fields);
  }

  async #translated(doing: string, work: Promise<unknown> | void): Promise<void> {
    try {
      await work;
    } catch (error) {
      throw this.#host.failure(doing, error);
    }
  }

  async #quietly(doing: string, work: () => Promise<void> | void | undefined): Promise<void> {
    try {
      await work();
    } catch (error) {
      const fields = { broker: this.#host.name, topic: this.#init.topic, error };
      this.#host.logger.debug(`a subscription could not ${doing} in order`, fields);
    }
  }
}
