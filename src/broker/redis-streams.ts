import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';
import type { Redis } from 'ioredis';

import { checkedOptions } from '../errors/checked-options.ts';
import { token } from '../internal/token.ts';
import { ConsoleLogger } from '../logger/console.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, type Runtime, Timers } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import type { Broker, BrokerCapabilities } from './broker.ts';
import type {
  BrokerDriver,
  DriverHost,
  DriverSubscription,
  ErrorMeaning,
  EventSink,
  OutgoingEvent,
  ReceiveRequest,
} from './kit/driver.ts';
import { HeaderWriter } from './kit/frame.ts';
import { type BrokerSettings, PortableBroker } from './kit/portable-broker.ts';
import { RedisLink } from './redis/link.ts';
import { bodyField, headersField, isPassing, type StreamEntry } from './redis-streams/entries.ts';
import { StreamGroup } from './redis-streams/group.ts';
import { maxBlockMs, type StreamSetup } from './redis-streams/stream.ts';
import { StreamTail } from './redis-streams/tail.ts';

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

const defaults = { keyPrefix: 'tenon:events:', maxLength: 1_000_000, claimIdleMs: 10_000, from: 'now' } as const;

/**
 * Events in Redis Streams (Redis 6.2 or newer): they wait for the groups that have subscribed before, are acknowledged,
 * and go to another member when their receiver has died. Each subscription reads on a connection of its own.
 */
@injectable()
export class RedisStreamsBroker extends PortableBroker<StreamEntry> implements Broker {
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

  constructor(
    @inject(RedisStreamsBrokerOptions) @optional() options: RedisStreamsBrokerOptions = {},
    @inject(Clock) @optional() clock: Clock = systemRuntime.clock,
    @inject(Random) @optional() random: Random = systemRuntime.random,
    @inject(Timers) @optional() timers: Timers = systemRuntime.timers,
    @inject(Logger) @optional() logger: Logger = new ConsoleLogger({ level: 'warn' }),
  ) {
    const { address, timeoutMs } = checkedOptions('RedisStreamsBrokerOptions', options);
    const runtime = { clock, random, timers, ...options.runtime };
    const log = options.logger ?? logger;
    super({
      name: 'redis-streams',
      address,
      timeoutMs,
      runtime,
      logger: log,
      makeDriver: (settings) => new StreamsDriver(options, settings, runtime, log),
    });
  }
}

/** The streams of a Redis. */
class StreamsDriver implements BrokerDriver<StreamEntry> {
  readonly endsCalls = true;
  readonly #options: RedisStreamsBrokerOptions;
  readonly #timeoutMs: number;
  readonly #runtime: Runtime;
  readonly #logger: Logger;
  readonly #keyPrefix: string;
  readonly #maxLength: number;
  readonly #writer = new HeaderWriter();
  readonly #link: RedisLink;

  constructor(options: RedisStreamsBrokerOptions, settings: BrokerSettings, runtime: Runtime, logger: Logger) {
    this.#options = options;
    this.#timeoutMs = settings.timeoutMs;
    this.#runtime = runtime;
    this.#logger = logger;
    this.#keyPrefix = options.keyPrefix ?? defaults.keyPrefix;
    this.#maxLength = options.maxLength ?? defaults.maxLength;
    this.#link = new RedisLink({ ...settings, broker: 'redis-streams', client: options.client, runtime });
  }

  get address(): string {
    return this.#link.address;
  }

  open(host: DriverHost): Promise<void> {
    return this.#link.open(host);
  }

  close(): void {
    this.#link.close();
  }

  publish([event]: readonly [OutgoingEvent]): Promise<unknown> {
    const { topic, headers, body } = event;
    const table = this.#writer.write(headers);
    const bytes = Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    const fields = [headersField, table, bodyField, bytes] as const;
    return this.#link.batched.xadd(this.#keyPrefix + topic, 'MAXLEN', '~', this.#maxLength, '*', ...fields);
  }

  async receive(
    { topic, queue }: ReceiveRequest,
    sink: EventSink<StreamEntry>,
  ): Promise<DriverSubscription<StreamEntry>> {
    const link = this.#link;
    // While Redis is away this throws.
    void link.commands;
    const setup: StreamSetup = {
      link,
      sink,
      runtime: this.#runtime,
      logger: this.#logger,
      key: this.#keyPrefix + topic,
      reads: await link.connect('reads', { socketTimeout: maxBlockMs + this.#timeoutMs }),
      claimIdleMs: this.#options.claimIdleMs ?? defaults.claimIdleMs,
      from: this.#options.from ?? defaults.from,
    };
    const subscription = queue === undefined ? new StreamTail(setup) : new StreamGroup(setup, queue);
    try {
      await subscription.recover();
      return subscription;
    } catch (error) {
      await subscription.close();
      throw error;
    }
  }

  translate(error: unknown): ErrorMeaning {
    return isPassing(error) ? { kind: 'unreachable' } : this.#link.translate(error);
  }

  unwrap(): Redis | undefined {
    return this.#link.client;
  }
}
