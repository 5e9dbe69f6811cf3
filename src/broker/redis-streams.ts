import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';
import type { Redis } from 'ioredis';

import { checkedOptions } from '../errors/checked-options.ts';
import { token } from '../internal/token.ts';
import { ConsoleLogger } from '../logger/console.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, type Runtime, Timers } from '../runtime/runtime.ts';
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
import * as failures from './internal/failures.ts';
import { orderKeyHeader, withOrderKey } from './internal/headers.ts';
import { Receiver, type Taker } from './internal/receiver.ts';
import { HeaderWriter } from './internal/redis-frame.ts';
import { RedisLink } from './internal/redis-link.ts';
import { bodyField, headersField, type StreamEntry } from './internal/stream-entries.ts';
import { StreamGroup } from './internal/stream-group.ts';
import { StreamReader, type StreamSink } from './internal/stream-reader.ts';
import { maxBlockMs, type StreamSetup, type StreamSource } from './internal/stream-source.ts';
import { StreamTail } from './internal/stream-tail.ts';
import { pullIteration, pushTaker } from './internal/takers.ts';
import { watched } from './internal/watch-queue.ts';

/** How a {@link RedisStreamsBroker} works. */
export interface RedisStreamsBrokerOptions {
  /**
   * `host:port`, or `redis://user:password@host:port/database` (`rediss://` for TLS).
   * @default '127.0.0.1:6379'
   */
  readonly address?: string | undefined;
  /** A client of ioredis whose settings are used instead of an address: for TLS, sentinels, credentials. It is copied, not used itself, and not closed. */
  readonly client?: Redis | undefined;
  /**
   * After this time without an answer a connection is given up, and with it what waits for an answer.
   * @default 5_000
   */
  readonly timeoutMs?: number | undefined;
  /**
   * Before the topic in the key of its stream.
   * @default 'tenon:events:'
   */
  readonly keyPrefix?: string | undefined;
  /**
   * Events that a stream keeps, handled or not, about: older ones are cut off. A group that lags further behind loses them, which is logged.
   * @default 1_000_000
   */
  readonly maxLength?: number | undefined;
  /**
   * An event whose receiver has not been heard of for so long goes to another member of the group. Living receivers are heard of three times in that time, however long they work on an
   * event. Less finds dead ones sooner, and takes a process that hangs for a dead one.
   * @default 10_000
   */
  readonly claimIdleMs?: number | undefined;
  /**
   * Where a group begins that has not been there before, and a subscriber without a group: with what is published from now on, or with everything that the stream has.
   * @default 'now'
   */
  readonly from?: 'now' | 'start' | undefined;
  readonly runtime?: Partial<Runtime> | undefined;
  readonly logger?: Logger | undefined;
}
/** Container key of the {@link RedisStreamsBrokerOptions}. */
export const RedisStreamsBrokerOptions: ServiceIdentifier<RedisStreamsBrokerOptions> = token(
  'broker',
  'RedisStreamsBrokerOptions',
);

const defaults = {
  timeoutMs: 5_000,
  keyPrefix: 'tenon:events:',
  maxLength: 1_000_000,
  claimIdleMs: 10_000,
  from: 'now',
  maxInFlight: 64,
  maxWaiting: 1_000,
} as const;
const nothing = (): void => {};

/** A subscription that stands. */
interface Standing<Sink> {
  readonly sink: Sink;
  readonly reader: StreamReader;
  /** Leaves, and closes its connection. */
  readonly close: () => Promise<void>;
}

/**
 * Events in Redis Streams (Redis 6.2 or newer): they wait for the groups that have subscribed before, are acknowledged, and go to another member when their receiver has died. Each
 * subscription reads on a connection of its own.
 */
@injectable()
export class RedisStreamsBroker implements Broker {
  static readonly capabilities: BrokerCapabilities = {
    persistent: true,
    ack: true,
    nack: true,
    delay: true,
    groups: true,
    attempts: true,
    deadLetter: false,
    order: true,
    replay: true,
    shared: true,
  };

  readonly #given: RedisStreamsBrokerOptions;
  readonly #runtime: Runtime;
  readonly #logger: Logger;
  readonly #writer = new HeaderWriter();
  /** What ends each subscription at once. */
  readonly #endings = new Set<() => Promise<void>>();
  #options: BrokerOptions & { readonly timeoutMs: number };
  #link: RedisLink;

  constructor(
    @inject(RedisStreamsBrokerOptions) @optional() options: RedisStreamsBrokerOptions = {},
    @inject(Clock) @optional() clock: Clock = systemRuntime.clock,
    @inject(Random) @optional() random: Random = systemRuntime.random,
    @inject(Timers) @optional() timers: Timers = systemRuntime.timers,
    @inject(Logger) @optional() logger: Logger = new ConsoleLogger({ level: 'warn' }),
  ) {
    this.#given = checkedOptions('RedisStreamsBrokerOptions', options);
    this.#runtime = {
      clock: options.runtime?.clock ?? clock,
      random: options.runtime?.random ?? random,
      timers: options.runtime?.timers ?? timers,
    };
    this.#logger = options.logger ?? logger;
    this.#options = { address: options.address, timeoutMs: options.timeoutMs ?? defaults.timeoutMs };
    this.#link = this.#makeLink();
  }

  get options(): BrokerOptions {
    return this.#options;
  }

  get address(): string {
    return this.#link.address;
  }

  init(options: BrokerOptions): void {
    if (this.#link.isOpen) throw failures.alreadyStarted(String(this));
    const { address = this.#options.address, timeoutMs = this.#options.timeoutMs } = options;
    this.#options = { address, timeoutMs };
    this.#link = this.#makeLink();
  }

  connect(options?: BrokerCallOptions): Promise<void> {
    return this.#link.connect(options);
  }

  async disconnect(): Promise<void> {
    const endings = [...this.#endings];
    this.#endings.clear();
    await Promise.all(endings.map((end) => end()));
    this.#link.close();
  }

  publish(topic: string, message: BrokerMessage, options?: PublishOptions): Promise<void> {
    const client = this.#link.batched;
    if (!client || topic === '' || options?.signal || options?.timeoutMs !== undefined)
      return this.#publishBounded(topic, message, options);
    return this.#send(client, topic, message, options?.orderKey);
  }

  async subscribe(topic: string, callback: EventCallback, options: SubscribeOptions = {}): Promise<Subscriber> {
    const taker = pushTaker(callback, this.#logger, this.#runtime.random);
    const { sink: receiver, reader, close } = await this.#join(topic, options, taker, `subscribe to "${topic}"`);
    const stop = (): Promise<void> => {
      options.signal?.removeEventListener('abort', onAbort);
      receiver.stop();
      return reader.stop();
    };
    const onAbort = (): void => void stop();
    let closed: Promise<void> | undefined;
    const unsubscribe = async (signal?: AbortSignal): Promise<void> => {
      const stopped = stop();
      // What is in hand can be given back while the read is still to end.
      await receiver.idle(signal);
      await stopped;
      this.#endings.delete(end);
      await (closed ??= close());
    };
    const end = (): Promise<void> => unsubscribe(AbortSignal.abort());
    this.#endings.add(end);
    if (options.signal?.aborted) onAbort();
    else options.signal?.addEventListener('abort', onAbort, { once: true });
    return { topic, options, unsubscribe };
  }

  pull(topic: string, options: SubscribeOptions = {}): AsyncIterable<Event> {
    return pullIteration(async (taker, leave) => {
      const { sink: receiver, reader, close } = await this.#join(topic, options, taker, `pull from "${topic}"`);
      this.#endings.add(leave);
      return {
        asked: () => reader.wake(),
        stop: () => {
          receiver.stop();
          void reader.stop();
        },
        leave: async () => {
          this.#endings.delete(leave);
          receiver.stop();
          await Promise.all([receiver.giveBack(), reader.stop()]);
          await close();
        },
      };
    }, options.signal);
  }

  watch(topic: string, options: Omit<SubscribeOptions, 'queue'> = {}): AsyncIterable<Event> {
    return pullIteration(async (taker, leave) => {
      const sink: StreamSink = {
        get room() {
          return taker.wanted;
        },
        hand: ({ headers, body }) => taker.take(watched(topic, headers, body)),
      };
      const { reader, close } = await this.#stand(topic, {}, `watch "${topic}"`, () => sink);
      this.#endings.add(leave);
      return {
        asked: () => reader.wake(),
        stop: () => void reader.stop(),
        leave: async () => {
          this.#endings.delete(leave);
          await reader.stop();
          await close();
        },
      };
    }, options.signal);
  }

  toString(): string {
    return 'redis-streams';
  }

  async #join(
    topic: string,
    options: SubscribeOptions,
    taker: Taker,
    doing: string,
  ): Promise<Standing<Receiver<StreamEntry>>> {
    const { queue, maxInFlight = defaults.maxInFlight, maxWaiting = defaults.maxWaiting } = options;
    failures.assertNotAborted(String(this), doing, options);
    failures.assertCount(String(this), topic, 'maxInFlight', maxInFlight, 1);
    failures.assertCount(String(this), topic, 'maxWaiting', maxWaiting, 1);
    return this.#stand(
      topic,
      { queue, maxWaiting },
      doing,
      (settlement, onRoom) => new Receiver({ topic, maxInFlight, maxWaiting, taker, settlement, onRoom }),
    );
  }

  async #stand<Sink extends StreamSink>(
    topic: string,
    { queue, maxWaiting = defaults.maxWaiting }: SubscribeOptions,
    doing: string,
    sinkOf: (source: StreamSource, onRoom: () => void) => Sink,
  ): Promise<Standing<Sink>> {
    failures.assertTopic(String(this), topic);
    const link = this.#link;
    link.commands(doing);
    const reads = await link.open('reads', { socketTimeout: maxBlockMs + this.#options.timeoutMs });
    const setup: StreamSetup = {
      link,
      reads,
      runtime: this.#runtime,
      logger: this.#logger,
      key: this.#keyOf(topic),
      claimIdleMs: this.#given.claimIdleMs ?? defaults.claimIdleMs,
      from: this.#given.from ?? defaults.from,
      maxWaiting,
    };
    const source = queue === undefined ? new StreamTail(setup) : new StreamGroup(setup, queue);
    const close = async (): Promise<void> => {
      await source.close();
      link.release(reads);
    };
    try {
      await source.open();
    } catch (error) {
      await close();
      throw link.failure(doing, error);
    }
    const sink = sinkOf(source, () => reader.wake());
    const reader = new StreamReader(setup, source, sink);
    reader.start();
    return { sink, reader, close };
  }

  async #publishBounded(topic: string, message: BrokerMessage, options: PublishOptions | undefined): Promise<void> {
    const doing = `publish to "${topic}"`;
    failures.assertNotAborted(String(this), doing, options);
    failures.assertTopic(String(this), topic);
    const client = this.#link.commands(doing);
    await this.#link.bounded(this.#send(client, topic, message, options?.orderKey), doing, options);
  }

  #send(client: Redis, topic: string, { headers, body }: BrokerMessage, orderKey: string | undefined): Promise<void> {
    const all =
      orderKey === undefined || headers[orderKeyHeader] === orderKey ? headers : withOrderKey(headers, orderKey);
    const maxLength = this.#given.maxLength ?? defaults.maxLength;
    const table = this.#writer.write(all);
    const bytes = Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    return client
      .xadd(this.#keyOf(topic), 'MAXLEN', '~', maxLength, '*', headersField, table, bodyField, bytes)
      .then(nothing, (error: unknown) => {
        throw this.#link.failure(`publish to "${topic}"`, error);
      });
  }

  #keyOf(topic: string): string {
    return `${this.#given.keyPrefix ?? defaults.keyPrefix}${topic}`;
  }

  #makeLink(): RedisLink {
    const { client } = this.#given;
    const { address, timeoutMs } = this.#options;
    return new RedisLink({
      broker: String(this),
      address,
      client,
      timeoutMs,
      runtime: this.#runtime,
      logger: this.#logger,
    });
  }
}
