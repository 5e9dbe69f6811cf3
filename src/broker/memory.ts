import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { checkedOptions } from '../errors/checked-options.ts';
import { token } from '../internal/token.ts';
import { ConsoleLogger } from '../logger/console.ts';
import { Logger } from '../logger/logger.ts';
import { Random, type Runtime, Timers } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import type {
  Broker,
  BrokerCallOptions,
  BrokerCapabilities,
  BrokerMessage,
  BrokerOptions,
  Event,
  EventCallback,
  PublishOptions,
  Subscriber,
  SubscribeOptions,
} from './broker.ts';
import { bounded } from './internal/bounded.ts';
import * as failures from './internal/failures.ts';
import { withOrderKey } from './internal/headers.ts';
import { type Entry, type Group, Topics } from './internal/memory-topic.ts';
import { Receiver } from './internal/receiver.ts';
import { type PullSource, pullIteration, pushTaker } from './internal/takers.ts';
import { watched, watchIteration } from './internal/watch-queue.ts';

/** How a {@link MemoryHub} keeps events. */
export interface MemoryHubOptions {
  readonly runtime?: Partial<Runtime> | undefined;
  readonly logger?: Logger | undefined;
  /**
   * Events that a group keeps and nobody has in hand. While a member is there, `publish` waits for room; without one the oldest give way, and the
   * logger says so.
   * @default 10_000
   */
  readonly maxQueued?: number | undefined;
}

const topicsOf = new WeakMap<MemoryHub, Topics>();

/** Where the events of memory brokers are: brokers with the same hub are as one server's. */
export class MemoryHub {
  constructor(options: MemoryHubOptions = {}) {
    checkedOptions('MemoryHubOptions', options);
    const { runtime, logger = new ConsoleLogger({ level: 'warn' }), maxQueued = 10_000 } = options;
    topicsOf.set(this, new Topics({ timers: runtime?.timers ?? systemRuntime.timers, logger, maxQueued }));
  }
}

/** How a {@link MemoryBroker} works. */
export interface MemoryBrokerOptions {
  /**
   * Where the events are, for brokers that are to share them.
   * @default one of its own
   */
  readonly hub?: MemoryHub | undefined;
  /**
   * Bound of a call that waits for room.
   * @default 5_000
   */
  readonly timeoutMs?: number | undefined;
  /**
   * Events that a `watch` may lag behind.
   * @default 1_000
   */
  readonly watchLag?: number | undefined;
  readonly runtime?: Partial<Runtime> | undefined;
  readonly logger?: Logger | undefined;
}
/** Container key of the {@link MemoryBrokerOptions}. */
export const MemoryBrokerOptions: ServiceIdentifier<MemoryBrokerOptions> = token('broker', 'MemoryBrokerOptions');

const defaults = { maxInFlight: 64, maxWaiting: 1_000, timeoutMs: 5_000, watchLag: 1_000 } as const;

/**
 * Events within this process: groups, acknowledgement, delayed redelivery and order, with nothing installed. What is published lives as long as the
 * hub; a group that has subscribed once keeps its events while its members are away.
 */
@injectable()
export class MemoryBroker implements Broker {
  static readonly capabilities: BrokerCapabilities = {
    persistent: true,
    ack: true,
    nack: true,
    delay: true,
    groups: true,
    attempts: true,
    deadLetter: false,
    order: true,
    replay: false,
    shared: false,
  };

  readonly #topics: Topics;
  readonly #watchLag: number;
  readonly #random: Random;
  readonly #timers: Timers;
  readonly #logger: Logger;
  /** What ends each subscription at once. */
  readonly #endings = new Set<() => unknown>();
  #options: BrokerOptions & { readonly timeoutMs: number };
  #connected = false;

  constructor(
    @inject(MemoryBrokerOptions) @optional() options: MemoryBrokerOptions = {},
    @inject(Random) @optional() random: Random = systemRuntime.random,
    @inject(Timers) @optional() timers: Timers = systemRuntime.timers,
    @inject(Logger) @optional() logger: Logger = new ConsoleLogger({ level: 'warn' }),
  ) {
    checkedOptions('MemoryBrokerOptions', options, { watchLag: {} });
    this.#random = options.runtime?.random ?? random;
    this.#timers = options.runtime?.timers ?? timers;
    this.#logger = options.logger ?? logger;
    const hub = options.hub ?? new MemoryHub({ runtime: { timers: this.#timers }, logger: this.#logger });
    this.#topics = topicsOf.get(hub) as Topics;
    this.#watchLag = options.watchLag ?? defaults.watchLag;
    this.#options = { timeoutMs: options.timeoutMs ?? defaults.timeoutMs };
  }

  get options(): BrokerOptions {
    return this.#options;
  }

  get address(): string {
    return 'memory';
  }

  init(options: BrokerOptions): void {
    if (this.#connected) throw failures.alreadyStarted(String(this));
    this.#options = { ...this.#options, ...options, timeoutMs: options.timeoutMs ?? this.#options.timeoutMs };
  }

  connect(options?: BrokerCallOptions): Promise<void> {
    return this.#try('connect', options, () => {
      this.#connected = true;
    });
  }

  disconnect(): Promise<void> {
    this.#connected = false;
    for (const end of this.#endings) end();
    this.#endings.clear();
    return Promise.resolve();
  }

  publish(topic: string, message: BrokerMessage, options?: PublishOptions): Promise<void> {
    const doing = `publish to "${topic}"`;
    return this.#try(doing, options, () => {
      this.#assertConnected(doing);
      failures.assertTopic(String(this), topic);
      const headers = Object.freeze(withOrderKey(message.headers, options?.orderKey));
      // The caller may use its buffer again once this has resolved.
      const waiting = this.#topics.find(topic)?.publish(headers, new Uint8Array(message.body), options?.orderKey);
      return waiting && this.#bounded(waiting.stored, doing, options, () => waiting.giveUp());
    });
  }

  subscribe(topic: string, callback: EventCallback, options: SubscribeOptions = {}): Promise<Subscriber> {
    const doing = `subscribe to "${topic}"`;
    return this.#try(doing, options, () => {
      const taker = pushTaker(callback, this.#logger, this.#random);
      const { receiver, leave } = this.#join(topic, options, taker, doing);
      const stop = (): void => {
        options.signal?.removeEventListener('abort', stop);
        leave();
      };
      const end = (): void => {
        stop();
        void receiver.giveBack();
      };
      this.#endings.add(end);
      options.signal?.addEventListener('abort', stop, { once: true });
      return {
        topic,
        options,
        unsubscribe: async (signal) => {
          stop();
          await receiver.idle(signal);
          this.#endings.delete(end);
        },
      };
    });
  }

  pull(topic: string, options: SubscribeOptions = {}): AsyncIterable<Event> {
    return pullIteration(async (taker, end): Promise<PullSource> => {
      const { receiver, group, leave } = this.#join(topic, options, taker, `pull from "${topic}"`);
      this.#endings.add(end);
      return {
        asked: () => group.schedule(),
        stop: leave,
        leave: () => {
          leave();
          this.#endings.delete(end);
          return receiver.giveBack();
        },
      };
    }, options.signal);
  }

  watch(topic: string, options: Omit<SubscribeOptions, 'queue'> = {}): AsyncIterable<Event> {
    return watchIteration(
      this.#watchLag,
      async (queue) => {
        this.#assertConnected(`watch "${topic}"`);
        failures.assertTopic(String(this), topic);
        const see = (entry: Entry): void => queue.push(watched(topic, entry.headers, new Uint8Array(entry.body)));
        const { watchers } = this.#topics.open(topic);
        const end = (): void => {
          watchers.delete(see);
          this.#topics.prune(topic);
          this.#endings.delete(end);
          queue.end();
        };
        watchers.add(see);
        this.#endings.add(end);
        return end;
      },
      options.signal,
    );
  }

  toString(): string {
    return 'memory';
  }

  #join(
    topic: string,
    options: SubscribeOptions,
    taker: Receiver<Entry>['taker'],
    doing: string,
  ): { receiver: Receiver<Entry>; group: Group; leave: () => void } {
    this.#assertConnected(doing);
    failures.assertTopic(String(this), topic);
    const { queue, maxInFlight = defaults.maxInFlight, maxWaiting = defaults.maxWaiting } = options;
    failures.assertCount(String(this), topic, 'maxInFlight', maxInFlight, 1);
    failures.assertCount(String(this), topic, 'maxWaiting', maxWaiting, 1);
    const where = this.#topics.open(topic);
    const group = where.group(queue);
    const receiver = new Receiver<Entry>({
      topic,
      maxInFlight,
      maxWaiting,
      taker,
      settlement: {
        ack: (entry) => group.ack(entry),
        nack: (entry, delayMs) => group.nack(entry, delayMs),
        giveBack: (entries) => group.giveBack(entries),
      },
      onRoom: () => group.schedule(),
    });
    group.join(receiver);
    const leave = (): void => {
      receiver.stop();
      where.leave(group, receiver);
      this.#topics.prune(topic);
    };
    return { receiver, group, leave };
  }

  /** Runs `work` now; what it throws is a rejection. */
  #try<T>(doing: string, options: BrokerCallOptions | undefined, work: () => T | Promise<T>): Promise<T> {
    try {
      failures.assertNotAborted(String(this), doing, options);
      return Promise.resolve(work());
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #bounded(
    work: Promise<void>,
    doing: string,
    options: BrokerCallOptions | undefined,
    giveUp: () => void,
  ): Promise<void> {
    return bounded(work, {
      timers: this.#timers,
      signal: options?.signal,
      timeoutMs: options?.timeoutMs ?? this.#options.timeoutMs,
      onTimeout: (timeoutMs) => {
        giveUp();
        return failures.full(String(this), doing, timeoutMs);
      },
      onAbort: (signal) => {
        giveUp();
        return failures.cancelled(String(this), doing, signal);
      },
    });
  }

  #assertConnected(doing: string): void {
    if (!this.#connected) throw failures.notConnected(String(this), doing);
  }
}
