import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';
import type { Redis } from 'ioredis';

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
import { missingCapabilities } from './delivery.ts';
import { orderKeyHeader, withOrderKey } from './internal/headers.ts';
import * as failures from './internal/failures.ts';
import { RedisChannels } from './internal/redis-channels.ts';
import {
  type Frame,
  HeaderReader,
  HeaderWriter,
  readPayload,
  writeEnvelope,
  writeFrame,
} from './internal/redis-frame.ts';
import { RedisLink } from './internal/redis-link.ts';
import { Backlog } from './internal/backlog.ts';
import { pullIteration, pushTaker } from './internal/takers.ts';
import type { Taker } from './internal/receiver.ts';
import { watched, watchIteration } from './internal/watch-queue.ts';

/** How a {@link RedisBroker} works. */
export interface RedisBrokerOptions {
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
   * How events are written; both are read. `go-micro` is the JSON envelope of Go Micro's redis broker.
   * @default 'native'
   */
  readonly dialect?: 'native' | 'go-micro' | undefined;
  /**
   * Events of one subscription that have arrived and that nobody has in hand. Redis does not wait: what comes on top is dropped, and the logger says so.
   * @default 10_000
   */
  readonly maxBacklog?: number | undefined;
  /**
   * Events that a `watch` may lag behind.
   * @default 1_000
   */
  readonly watchLag?: number | undefined;
  readonly runtime?: Partial<Runtime> | undefined;
  readonly logger?: Logger | undefined;
}
/** Container key of the {@link RedisBrokerOptions}. */
export const RedisBrokerOptions: ServiceIdentifier<RedisBrokerOptions> = token('broker', 'RedisBrokerOptions');

const defaults = {
  timeoutMs: 5_000,
  dialect: 'native',
  maxBacklog: 10_000,
  watchLag: 1_000,
  maxInFlight: 64,
  maxWaiting: 1_000,
} as const;
const nothing = (): void => {};

/**
 * Events over Redis' PUBLISH and SUBSCRIBE: fast, to every subscriber that is there at the moment, at most once. For groups, acknowledgement and events that wait
 * there is `redis-streams`.
 */
@injectable()
export class RedisBroker implements Broker {
  static readonly capabilities: BrokerCapabilities = {
    persistent: false,
    ack: false,
    nack: false,
    delay: false,
    groups: false,
    attempts: false,
    deadLetter: false,
    order: true,
    replay: false,
    shared: true,
  };

  readonly #given: RedisBrokerOptions;
  readonly #random: Random;
  readonly #timers: Timers;
  readonly #logger: Logger;
  readonly #writer = new HeaderWriter();
  readonly #reader = new HeaderReader();
  readonly #endings = new Set<() => unknown>();
  #options: BrokerOptions & { readonly timeoutMs: number };
  #link: RedisLink;
  #channels: RedisChannels;

  constructor(
    @inject(RedisBrokerOptions) @optional() options: RedisBrokerOptions = {},
    @inject(Random) @optional() random: Random = systemRuntime.random,
    @inject(Timers) @optional() timers: Timers = systemRuntime.timers,
    @inject(Logger) @optional() logger: Logger = new ConsoleLogger({ level: 'warn' }),
  ) {
    this.#given = checkedOptions('RedisBrokerOptions', options, { watchLag: {} });
    this.#random = options.runtime?.random ?? random;
    this.#timers = options.runtime?.timers ?? timers;
    this.#logger = options.logger ?? logger;
    this.#options = { address: options.address, timeoutMs: options.timeoutMs ?? defaults.timeoutMs };
    this.#link = this.#makeLink();
    this.#channels = this.#makeChannels();
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
    this.#channels = this.#makeChannels();
  }

  connect(options?: BrokerCallOptions): Promise<void> {
    return this.#link.connect(options);
  }

  disconnect(): Promise<void> {
    for (const end of this.#endings) end();
    this.#endings.clear();
    this.#channels.close();
    this.#link.close();
    return Promise.resolve();
  }

  publish(topic: string, message: BrokerMessage, options?: PublishOptions): Promise<void> {
    const client = this.#link.batched;
    if (!client || topic === '' || options?.signal || options?.timeoutMs !== undefined)
      return this.#publishBounded(topic, message, options);
    return this.#send(client, topic, message, options?.orderKey);
  }

  async subscribe(topic: string, callback: EventCallback, options: SubscribeOptions = {}): Promise<Subscriber> {
    const { backlog, leave } = await this.#join(
      topic,
      pushTaker(callback, this.#logger, this.#random),
      options,
      `subscribe to "${topic}"`,
    );
    const end = (): void => {
      leave();
      backlog.end();
    };
    const stop = (): void => {
      options.signal?.removeEventListener('abort', stop);
      leave();
    };
    this.#endings.add(end);
    options.signal?.addEventListener('abort', stop, { once: true });
    if (options.signal?.aborted) stop();
    return {
      topic,
      options,
      unsubscribe: async (signal) => {
        stop();
        await backlog.finish(signal);
        this.#endings.delete(end);
      },
    };
  }

  pull(topic: string, options: SubscribeOptions = {}): AsyncIterable<Event> {
    return pullIteration(async (taker, end) => {
      const { backlog, leave } = await this.#join(topic, taker, options, `pull from "${topic}"`);
      this.#endings.add(end);
      return {
        asked: () => backlog.pump(),
        stop: leave,
        leave: async () => {
          leave();
          this.#endings.delete(end);
          backlog.end();
        },
      };
    }, options.signal);
  }

  watch(topic: string, options: Omit<SubscribeOptions, 'queue'> = {}): AsyncIterable<Event> {
    return watchIteration(
      this.#given.watchLag ?? defaults.watchLag,
      async (queue) => {
        failures.assertTopic(String(this), topic);
        const leave = await this.#channels.join(
          topic,
          ({ headers, body }) => queue.push(watched(topic, headers, body)),
          `watch "${topic}"`,
        );
        const end = (): void => {
          leave();
          this.#endings.delete(end);
          queue.end();
        };
        this.#endings.add(end);
        return end;
      },
      options.signal,
    );
  }

  toString(): string {
    return 'redis';
  }

  async #join(
    topic: string,
    taker: Taker,
    options: SubscribeOptions,
    doing: string,
  ): Promise<{ backlog: Backlog; leave: () => void }> {
    failures.assertNotAborted(String(this), doing, options);
    failures.assertTopic(String(this), topic);
    const { maxInFlight = defaults.maxInFlight, maxWaiting = defaults.maxWaiting } = options;
    failures.assertCount(String(this), topic, 'maxInFlight', maxInFlight, 1);
    failures.assertCount(String(this), topic, 'maxWaiting', maxWaiting, 1);
    const missing = missingCapabilities(RedisBroker.capabilities, options);
    if (missing.length > 0) throw failures.unsupported(String(this), topic, missing);
    const maxBacklog = this.#given.maxBacklog ?? defaults.maxBacklog;
    const backlog = new Backlog({ topic, maxInFlight, maxWaiting, maxBacklog, taker, logger: this.#logger });
    const leave = await this.#channels.join(topic, (frame) => backlog.add(frame), doing);
    return { backlog, leave };
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
    const payload =
      this.#given.dialect === 'go-micro' ? writeEnvelope(topic, all, body) : writeFrame(this.#writer.write(all), body);
    return client.publish(topic, payload).then(nothing, (error: unknown) => {
      throw this.#link.failure(`publish to "${topic}"`, error);
    });
  }

  #makeLink(): RedisLink {
    const { client } = this.#given;
    const { address, timeoutMs } = this.#options;
    const runtime = { random: this.#random, timers: this.#timers };
    return new RedisLink({ broker: String(this), address, client, timeoutMs, runtime, logger: this.#logger });
  }

  #makeChannels(): RedisChannels {
    const read = (payload: Buffer): Frame => readPayload(payload, this.#reader);
    return new RedisChannels({ link: this.#link, read, timers: this.#timers, logger: this.#logger });
  }
}
