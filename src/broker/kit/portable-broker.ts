import { checkNumber } from '../../errors/checked-options.ts';
import { Code, TenonError, textOf } from '../../errors/errors.ts';
import { AsyncQueue } from '../../internal/async-queue.ts';
import { withDefaults } from '../../internal/defaults.ts';
import { ConsoleLogger } from '../../logger/console.ts';
import type { Logger } from '../../logger/logger.ts';
import { bounded, pause } from '../../runtime/bounded.ts';
import { retrying } from '../../runtime/retrying.ts';
import type { Clock, Random, Runtime, Timers } from '../../runtime/runtime.ts';
import { systemClock, systemRandom, systemTimers } from '../../runtime/system.ts';
import { ConnectionSecurity, untakenSecurity } from '../../tls/connection.ts';
import type {
  Broker,
  BrokerCallOptions,
  BrokerCapabilities,
  BrokerMessage,
  BrokerOptions,
  BrokerStatus,
  Event,
  EventCallback,
  EventHeaders,
  PublishOptions,
  Subscriber,
  SubscribeOptions,
} from '../broker.ts';
import { classCapabilities, missingCapabilities } from './capabilities.ts';
import { ConnectionStatus } from './connection-status.ts';
import type { BrokerDriver, DriverHost, IncomingEvent, OutgoingEvent, ReceiveRequest } from './driver.ts';
import { callbackConsumer, type PullSource, pullIteration } from './event-sources.ts';
import * as failures from './failures.ts';
import { orderKeyHeader, withOrderKey } from './headers.ts';
import { type EventConsumer, settled } from './in-flight.ts';
import { headerBytes, WireEncoding } from './name-encoding.ts';
import { publishWhenReady } from './publish-when-ready.ts';
import { PublishBatch } from './publishing.ts';
import { withSchedule } from './scheduling.ts';
import { Subscription, type SubscriptionHost } from './subscription.ts';
import { hasWildcard, TopicPattern } from './wildcards.ts';

/** Options of a {@link PortableBroker}. */
export interface PortableBrokerOptions extends BrokerOptions {
  /**
   * Most events that a `watch` may be behind before it misses the oldest ones.
   * @default 1_000
   */
  readonly watchLag?: number | undefined;
  readonly runtime?: Partial<Runtime> | undefined;
  readonly logger?: Logger | undefined;
}

/** Clock, randomness, timers and logger from the container. Those of the options take precedence. */
export interface BrokerSeams {
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly timers?: Timers | undefined;
  readonly logger?: Logger | undefined;
}

/** Address, time-out, runtime and logger for a driver. */
export interface DriverSetup {
  readonly address: string | undefined;
  /** Time-out of each call. */
  readonly timeoutMs: number;
  readonly runtime: Runtime;
  readonly logger: Logger;
  /** TLS and credentials that were said, of those that the capabilities take. Closed after the driver. */
  readonly security: ConnectionSecurity;
}

/** The parts of a {@link PortableBroker}. */
export interface PortableBrokerInit<E extends IncomingEvent> {
  /** The name under which the broker is bound. */
  readonly name: string;
  readonly options: PortableBrokerOptions;
  readonly seams?: BrokerSeams | undefined;
  /** Makes the driver. Called by the constructor, and by `init`. Throws for an invalid address. */
  readonly makeDriver: (setup: DriverSetup) => BrokerDriver<E>;
}

const defaults = { timeoutMs: 5_000, watchLag: 1_000, maxInFlight: 64, maxWaiting: 1_000 } as const;
const reopen = { initialMs: 50, maxMs: 5_000 } as const;
const nothing = (): void => {};

/**
 * Implements `Broker` over a driver, which has only the operations of its server. A broker of one's own extends this
 * class, declares static `capabilities` (or a static function of its options), and passes its driver to the
 * constructor.
 */
export class PortableBroker<E extends IncomingEvent = IncomingEvent> implements Broker {
  readonly #name: string;
  readonly #options: PortableBrokerOptions;
  readonly #watchLag: number;
  readonly #runtime: Runtime;
  readonly #logger: Logger;
  readonly #makeDriver: (setup: DriverSetup) => BrokerDriver<E>;
  readonly #status: ConnectionStatus;
  readonly #host: SubscriptionHost<E>;
  /** Open subscriptions, each with a function that ends it at once. */
  readonly #openSubscriptions = new Map<Subscription<E>, () => Promise<void>>();
  readonly #securities = new WeakMap<BrokerDriver<E>, ConnectionSecurity>();
  #capabilities: BrokerCapabilities | undefined;
  #settings: BrokerOptions & { readonly timeoutMs: number };
  #driver: BrokerDriver<E>;
  #batch: PublishBatch<E> | undefined;
  #encoding: WireEncoding | undefined;
  #opening: Promise<void> | undefined;
  #isOpen = false;
  /** The last topic that was published to: it has no wildcards. */
  #publishedTopic = '';
  /** Counts disconnects, so that an `open` that ends after one is noticed. */
  #connections = 0;
  /** Aborts the attempts to reconnect. */
  #reopening: AbortController | undefined;

  constructor({ name, options, seams = {}, makeDriver }: PortableBrokerInit<E>) {
    const { clock = systemClock, random = systemRandom, timers = systemTimers } = seams;
    this.#name = name;
    this.#options = options;
    this.#watchLag = options.watchLag ?? defaults.watchLag;
    this.#runtime = { clock, random, timers, ...options.runtime };
    this.#logger = options.logger ?? seams.logger ?? new ConsoleLogger({ level: 'warn' });
    this.#makeDriver = makeDriver;
    this.#status = new ConnectionStatus({ broker: name, clock: this.#runtime.clock, logger: this.#logger });
    this.#host = this.#makeHost();
    const { address, timeoutMs = defaults.timeoutMs, tls, credentials } = options;
    this.#settings = { address, timeoutMs, tls, credentials };
    this.#driver = this.#driverFor(this.#settings);
  }

  get options(): BrokerOptions {
    return this.#settings;
  }

  get address(): string {
    return this.#driver.address;
  }

  get status(): BrokerStatus {
    return this.#status.current;
  }

  onStatus(listener: () => void): () => void {
    return this.#status.onChange(listener);
  }

  get capabilities(): BrokerCapabilities {
    return (this.#capabilities ??= classCapabilities(this, this.#options));
  }

  init(options: BrokerOptions): void {
    if (this.#isOpen || this.#opening) throw failures.alreadyStarted(this.#name);
    const settings = withDefaults(this.#settings, options);
    this.#driver = this.#driverFor(settings);
    this.#settings = settings;
  }

  async connect(options?: BrokerCallOptions): Promise<void> {
    failures.assertNotAborted(this.#name, 'connect', options);
    if (this.#isOpen) {
      if (this.status.state === 'away') throw this.#away('connect');
      return;
    }
    if (!this.#opening) {
      const opening = this.#open().finally(() => {
        if (this.#opening === opening) this.#opening = undefined;
      });
      this.#opening = opening;
    }
    await this.#bounded(this.#opening, 'connect', options);
  }

  async disconnect(): Promise<void> {
    this.#isOpen = false;
    this.#opening = undefined;
    this.#connections += 1;
    this.#reopening?.abort();
    this.#reopening = undefined;
    const open = [...this.#openSubscriptions.values()];
    this.#openSubscriptions.clear();
    await Promise.all(open.map((end) => end()));
    await this.#closeDriver(this.#driver);
    // It may have been connected again in the meantime.
    if (!this.#isOpen) this.#status.closed();
  }

  publish(topic: string, message: BrokerMessage, options?: PublishOptions): Promise<void> {
    if (options?.waitForReady === true) return this.#publishWhenReady(topic, message, options);
    try {
      return this.#publish(topic, message, options);
    } catch (error) {
      return Promise.reject(this.#failure(`publish to "${topic}"`, error));
    }
  }

  async subscribe(topic: string, callback: EventCallback, options: SubscribeOptions = {}): Promise<Subscriber> {
    const consumer = callbackConsumer(callback, this.#logger, this.#runtime.random);
    const subscription = this.#subscription(topic, options, consumer, `subscribe to "${topic}"`);
    await this.#openSubscription(subscription, () => subscription.unsubscribe(AbortSignal.abort()));
    return {
      topic,
      options,
      closed: subscription.closed,
      unsubscribe: (signal) => subscription.unsubscribe(signal),
    };
  }

  pull(topic: string, options: SubscribeOptions = {}): AsyncIterable<Event> {
    return this.#iterate(topic, options, 'consume', `pull from "${topic}"`);
  }

  watch(topic: string, options: Omit<SubscribeOptions, 'queue'> = {}): AsyncIterable<Event> {
    return this.#iterate(topic, { signal: options.signal, from: options.from }, 'watch', `watch "${topic}"`);
  }

  isControlHeader(name: string): boolean {
    return this.#driver.wire?.controlHeaders?.test(name) ?? false;
  }

  unwrap(): unknown {
    return this.#isOpen ? this.#driver.unwrap() : undefined;
  }

  toString(): string {
    return this.#name;
  }

  #publish(topic: string, message: BrokerMessage, options: PublishOptions | undefined): Promise<void> {
    const driver = this.#driver;
    if (options?.signal?.aborted) failures.assertNotAborted(this.#name, `publish to "${topic}"`, options);
    if (!this.#isOpen) throw failures.notConnected(this.#name, `publish to "${topic}"`);
    if (topic !== this.#publishedTopic || topic === '') this.#assertPublishable(topic);
    const isScheduled = options?.delayMs !== undefined || options?.ttlMs !== undefined;
    const scheduled = isScheduled ? this.#scheduled(topic, message, options) : message;
    const event = this.#outgoing(topic, scheduled, options?.orderKey);
    const sent = this.#batch ? this.#batch.add(event) : single(driver.publish([event]));
    if (sent === undefined) return settled;
    const done = sent.then(nothing, (error: unknown) => {
      throw this.#failure(`publish to "${topic}"`, error);
    });
    const timeoutMs = options?.timeoutMs ?? (driver.endsCalls ? undefined : this.#settings.timeoutMs);
    if (timeoutMs === undefined && options?.signal === undefined) return done;
    return this.#bounded(done, `publish to "${topic}"`, { signal: options?.signal, timeoutMs }, event);
  }

  #publishWhenReady(topic: string, message: BrokerMessage, options: PublishOptions): Promise<void> {
    const { timeoutMs = this.#settings.timeoutMs, signal, delayMs, ttlMs, orderKey } = options;
    const publish = (leftMs: number): Promise<void> =>
      this.publish(topic, message, { timeoutMs: leftMs, signal, delayMs, ttlMs, orderKey });
    return publishWhenReady({ status: this.#status, runtime: this.#runtime, timeoutMs, signal, publish });
  }

  /** Adds the times of the event to its headers. */
  #scheduled(topic: string, { headers, body }: BrokerMessage, options: PublishOptions): BrokerMessage {
    checkNumber('delayMs', options.delayMs);
    checkNumber('ttlMs', options.ttlMs);
    const { ack, nack, delay } = this.capabilities;
    if ((options.delayMs ?? 0) > 0 && !(ack && nack && delay)) throw failures.cannotDelay(this.#name, topic);
    return { headers: withSchedule(headers, options, this.#runtime.clock), body };
  }

  #assertPublishable(topic: string): void {
    failures.assertTopic(this.#name, topic);
    if (hasWildcard(topic)) throw failures.wildcardPublished(this.#name, topic);
    this.#publishedTopic = topic;
  }

  /** Returns the event as it is sent, with topic and headers encoded for the server. */
  #outgoing(topic: string, { headers, body }: BrokerMessage, orderKey: string | undefined): OutgoingEvent {
    const all =
      orderKey === undefined || headers[orderKeyHeader] === orderKey ? headers : withOrderKey(headers, orderKey);
    if (this.#driver.wire) return this.#encoded(topic, all, body, orderKey);
    return { topic, headers: all, body, orderKey, withdraw: undefined };
  }

  #encoded(topic: string, headers: EventHeaders, body: Uint8Array, orderKey: string | undefined): OutgoingEvent {
    const name = this.#name;
    const encoding = this.#wireEncoding();
    const { maxBodyBytes = Number.POSITIVE_INFINITY, maxHeaderBytes } = encoding?.rules ?? {};
    if (body.length > maxBodyBytes) throw failures.tooLarge(name, topic, 'a body', body.length, maxBodyBytes);
    const control = encoding?.controlHeader(headers);
    if (control !== undefined) throw failures.controlHeader(name, topic, control);
    const written = encoding?.headers(headers) ?? headers;
    if (typeof written === 'string') throw failures.unusableHeader(name, topic, written);
    const bytes = maxHeaderBytes === undefined ? 0 : headerBytes(written);
    if (maxHeaderBytes !== undefined && bytes > maxHeaderBytes)
      throw failures.tooLarge(name, topic, 'headers', bytes, maxHeaderBytes);
    return { topic: this.#topicOf(topic), headers: written, body, orderKey, withdraw: undefined };
  }

  #topicOf(topic: string): string {
    const encoding = this.#wireEncoding();
    const encoded = encoding ? encoding.topic(topic) : topic;
    if (encoded === undefined) throw failures.unusableTopic(this.#name, topic);
    return encoded;
  }

  #patternOf(pattern: TopicPattern): string {
    const { wildcards } = this.#driver;
    if (!wildcards) throw failures.unusableTopic(this.#name, pattern.text);
    const encoding = this.#wireEncoding();
    const written = encoding ? encoding.pattern(pattern, wildcards) : pattern.write(wildcards, '.', (word) => word);
    if (written === undefined) throw failures.unusableTopic(this.#name, pattern.text);
    return written;
  }

  #wireEncoding(): WireEncoding | undefined {
    const { wire } = this.#driver;
    if (wire && this.#encoding?.rules !== wire) this.#encoding = new WireEncoding(wire);
    return wire && this.#encoding;
  }

  #iterate(
    topic: string,
    options: SubscribeOptions,
    mode: ReceiveRequest['mode'],
    doing: string,
  ): AsyncIterable<Event> {
    return pullIteration(async (queue, leave): Promise<PullSource> => {
      const subscription = this.#subscription(topic, options, queue, doing, mode);
      await this.#openSubscription(subscription, leave);
      return {
        resume: () => subscription.resume(),
        stop: () => void subscription.stop(),
        leave: () => subscription.unsubscribe(AbortSignal.abort()),
      };
    }, options.signal);
  }

  #subscription(
    topic: string,
    options: SubscribeOptions,
    consumer: EventConsumer,
    doing: string,
    mode: ReceiveRequest['mode'] = 'consume',
  ): Subscription<E> {
    const name = this.#name;
    const { queue, maxInFlight = defaults.maxInFlight, maxWaiting = defaults.maxWaiting } = options;
    const { signal, deadLetter, from } = options;
    failures.assertNotAborted(name, doing, options);
    failures.assertTopic(name, topic);
    failures.assertCount(name, topic, 'maxInFlight', maxInFlight, 1);
    failures.assertCount(name, topic, 'maxWaiting', maxWaiting, 1);
    const pattern = TopicPattern.of(topic);
    if (pattern?.isValid === false) throw failures.invalidPattern(name, topic);
    if (deadLetter !== false && deadLetter !== undefined) failures.assertDeadLetter(name, topic, deadLetter);
    const missing = missingCapabilities(this.capabilities, options, topic);
    if (missing.length > 0) throw failures.unsupported(name, topic, missing);
    // Otherwise none of its dead letters could be published.
    if (deadLetter !== false && deadLetter !== undefined) this.#topicOf(deadLetter);
    const encoded = pattern ? this.#patternOf(pattern) : this.#topicOf(topic);
    const limits = { maxInFlight, maxWaiting };
    return new Subscription<E>({
      host: this.#host,
      topic,
      pattern,
      request: { topic: encoded, isPattern: pattern && true, queue, from, mode, ...limits, doing },
      consumer,
      watchLag: this.#watchLag,
      deadLetter,
      // An iteration handles its signal itself: it ends at the next `next()`.
      signal: consumer instanceof AsyncQueue ? undefined : signal,
    });
  }

  /** Opens a subscription, and keeps it with `end`, which ends it at once. */
  async #openSubscription(subscription: Subscription<E>, end: () => Promise<void>): Promise<void> {
    const { doing } = subscription.request;
    const driver = this.#driver;
    if (!this.#isOpen) throw failures.notConnected(this.#name, doing);
    try {
      await subscription.open();
    } catch (error) {
      throw this.#failure(doing, error);
    }
    this.#openSubscriptions.set(subscription, end);
    if (this.#isOpen && driver === this.#driver) return;
    // Disconnected meanwhile.
    await subscription.unsubscribe(AbortSignal.abort());
    throw failures.notConnected(this.#name, doing);
  }

  #driverFor(settings: BrokerOptions & { readonly timeoutMs: number }): BrokerDriver<E> {
    const untaken = untakenSecurity(settings, this.capabilities);
    if (untaken.length > 0) throw failures.takesNot(this.#name, untaken);
    const { address, timeoutMs } = settings;
    const seams = { runtime: this.#runtime, logger: this.#logger };
    const owner = { name: `the broker "${this.#name}"`, variables: 'TENON_BROKER_' };
    const security = new ConnectionSecurity(settings, owner, seams);
    const driver = this.#makeDriver({ address, timeoutMs, ...seams, security });
    this.#securities.set(driver, security);
    return driver;
  }

  async #closeDriver(driver: BrokerDriver<E>): Promise<void> {
    await driver.close();
    this.#securities.get(driver)?.close();
  }

  #makeHost(): SubscriptionHost<E> {
    return {
      name: this.#name,
      runtime: this.#runtime,
      logger: this.#logger,
      isConnected: () => this.#isOpen && this.status.state === 'connected',
      isControlHeader: (name) => this.isControlHeader(name),
      hasDeadLetters: () => this.capabilities.deadLetter,
      encoding: () => this.#wireEncoding(),
      receive: (request, sink) => this.#driver.receive(request, sink),
      publish: (topic, message, options) => this.publish(topic, message, options),
      failure: (doing, error) => this.#failure(doing, error),
      isFinal: (error) => this.#isFinal(error),
      onEnd: (subscription) => {
        this.#openSubscriptions.delete(subscription);
        this.#driver.forget?.(subscription.request);
      },
    };
  }

  async #open(): Promise<void> {
    const driver = this.#driver;
    const connection = this.#connections;
    try {
      await driver.open(this.#driverHost(driver));
    } catch (error) {
      const failure = this.#failure('connect', error);
      if (connection === this.#connections) this.#securities.get(driver)?.close();
      throw failure;
    }
    if (connection !== this.#connections) {
      // Disconnected in the meantime. If it was connected again since, the driver is in use.
      if (!this.#isOpen && !this.#opening) await this.#closeDriver(driver);
      throw failures.notConnected(this.#name, 'connect');
    }
    const { maxBatch = 1 } = driver;
    this.#batch = maxBatch > 1 ? new PublishBatch(driver, maxBatch) : undefined;
    this.#isOpen = true;
    this.#status.connected(driver.address);
  }

  #driverHost(driver: BrokerDriver<E>): DriverHost {
    const isCurrent = (): boolean => this.#isOpen && driver === this.#driver;
    return {
      away: (error) => {
        if (isCurrent()) this.#status.away(driver.address, this.#failure('reach it', error));
      },
      back: () => {
        if (isCurrent() && !this.#reopening) this.#onBack();
      },
      lost: (error) => {
        if (!isCurrent() || this.#reopening) return;
        this.#status.away(driver.address, this.#failure('reach it', error));
        void this.#reopen(driver);
      },
    };
  }

  #onBack(): void {
    this.#status.connected(this.#driver.address);
    for (const subscription of this.#openSubscriptions.keys()) {
      if (subscription.isInterrupted) void subscription.resubscribe(undefined);
    }
  }

  /** Opens the driver again, with back-off, until it succeeds or the broker is disconnected. */
  async #reopen(driver: BrokerDriver<E>): Promise<void> {
    const runtime = this.#runtime;
    const reopening = new AbortController();
    const { signal } = reopening;
    this.#reopening = reopening;
    await Promise.all(Array.from(this.#openSubscriptions.keys(), (one) => one.resubscribe(undefined)));
    const open = async (): Promise<void> => {
      await driver.close();
      await driver.open(this.#driverHost(driver));
    };
    try {
      // As the connection does: a process that only receives must not end while its broker is away.
      await pause(runtime.timers, reopen.initialMs, signal, { keepAlive: true });
      await retrying(open, {
        runtime,
        backoff: reopen,
        signal,
        keepAlive: true,
        onFailure: (error) => this.#status.away(driver.address, this.#failure('reach it', error)),
      });
      // The attempt that succeeds may end after a disconnect.
      signal.throwIfAborted();
      this.#reopening = undefined;
      this.#onBack();
    } catch {
      // Disconnected meanwhile. If it was connected again since, the driver is in use.
      if (!this.#isOpen && !this.#opening) await this.#closeDriver(driver);
    }
  }

  #failure(doing: string, error: unknown): TenonError {
    if (TenonError.is(error)) return error;
    const { address } = this;
    const name = this.#name;
    const { kind, code = Code.Internal, said: why, cause = error } = this.#driver.translate(error);
    if (kind === 'timeout') return failures.timedOut(name, address, doing, this.#settings.timeoutMs);
    if (kind === 'unreachable') return failures.unreachable(name, address, doing, cause, why);
    return failures.refused(name, address, doing, code, why ?? textOf(error), cause);
  }

  #isFinal(error: unknown): boolean {
    if (!TenonError.is(error)) return this.#driver.translate(error).isFinal === true;
    return error.code !== Code.Unavailable && error.code !== Code.DeadlineExceeded;
  }

  #away(doing: string): TenonError {
    const { lastError } = this.status;
    if (lastError?.cause === undefined) return failures.unreachable(this.#name, this.address, doing, lastError);
    return this.#failure(doing, lastError.cause);
  }

  #bounded(
    work: Promise<void>,
    doing: string,
    { signal, timeoutMs }: BrokerCallOptions = {},
    event?: OutgoingEvent,
  ): Promise<void> {
    if (signal === undefined && timeoutMs === undefined) return work;
    const name = this.#name;
    return bounded(work, {
      timers: this.#runtime.timers,
      signal,
      timeoutMs,
      onTimeout: (afterMs) =>
        event?.withdraw?.()
          ? failures.withdrawn(name, doing, afterMs)
          : failures.timedOut(name, this.address, doing, afterMs),
      onAbort: (reason) => {
        event?.withdraw?.();
        return failures.cancelled(name, doing, reason);
      },
    });
  }
}

/** Returns the promise for the one event of a batch. */
function single(
  result: Promise<unknown> | readonly (Promise<unknown> | undefined)[] | undefined,
): Promise<unknown> | undefined {
  return Array.isArray(result)
    ? (result as readonly (Promise<unknown> | undefined)[])[0]
    : (result as Promise<unknown>);
}
