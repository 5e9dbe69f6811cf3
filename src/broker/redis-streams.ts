import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { checkedOptions } from '../errors/checked-options.ts';
import { type WithDefaults, withDefaults } from '../internal/defaults.ts';
import { token } from '../internal/token.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import type { Broker, BrokerCapabilities } from './broker.ts';
import type { ErrorMeaning, EventSink, OutgoingEvent, ReceiveRequest } from './kit/driver.ts';
import { HeaderWriter } from './kit/frame.ts';
import { type DriverSetup, PortableBroker } from './kit/portable-broker.ts';
import { type RedisConnectionOptions, RedisDriver, RedisLink, redisSecurity } from './redis/link.ts';
import { bodyField, headersField, isPassing, type StreamEntry } from './redis-streams/entries.ts';
import { StreamGroup } from './redis-streams/group.ts';
import { maxBlockMs, type StreamReader } from './redis-streams/reader.ts';
import { StreamTail } from './redis-streams/tail.ts';

/** Options of a {@link RedisStreamsBroker}. */
export interface RedisStreamsBrokerOptions extends RedisConnectionOptions {
  /**
   * Before the topic in the key of its stream.
   * @default 'tenon:events:'
   */
  readonly keyPrefix?: string | undefined;
  /**
   * Events that a stream keeps, handled or not, about: older ones are cut off. A group that lags further behind loses
   * them, which is logged.
   * @default 1_000_000
   */
  readonly maxLength?: number | undefined;
  /**
   * An event whose receiver sent no heartbeat for so long goes to another member of the group. A living receiver
   * sends three heartbeats in that time, however long it works on an event. Less finds dead ones sooner, and takes a
   * process that hangs for a dead one.
   * @default 10_000
   */
  readonly claimIdleMs?: number | undefined;
  /**
   * Start of a new group, and of a subscriber without a group: with events that are published from now on, or with all
   * events of the stream.
   * @default 'now'
   */
  readonly from?: 'now' | 'start' | undefined;
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
    ...redisSecurity,
  };

  constructor(
    @inject(RedisStreamsBrokerOptions) @optional() options: RedisStreamsBrokerOptions = {},
    @inject(Clock) @optional() clock?: Clock,
    @inject(Random) @optional() random?: Random,
    @inject(Timers) @optional() timers?: Timers,
    @inject(Logger) @optional() logger?: Logger,
  ) {
    checkedOptions('RedisStreamsBrokerOptions', options);
    const seams = { clock, random, timers, logger };
    super({ name: 'redis-streams', options, seams, makeDriver: (setup) => new StreamsDriver(options, setup) });
  }
}

/** The streams of a Redis. */
class StreamsDriver extends RedisDriver<StreamEntry> {
  readonly #options: WithDefaults<RedisStreamsBrokerOptions, typeof defaults>;
  readonly #setup: DriverSetup;
  readonly #writer = new HeaderWriter();

  constructor(options: RedisStreamsBrokerOptions, setup: DriverSetup) {
    super(new RedisLink('redis-streams', options.client, setup));
    this.#options = withDefaults(defaults, options);
    this.#setup = setup;
  }

  override publish(events: readonly [OutgoingEvent]): Promise<unknown> {
    const { topic, headers, body } = events[0];
    const { keyPrefix, maxLength } = this.#options;
    const table = this.#writer.write(headers);
    const bytes = Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    const fields = [headersField, table, bodyField, bytes] as const;
    return this.link.batched.xadd(keyPrefix + topic, 'MAXLEN', '~', maxLength, '*', ...fields);
  }

  override async receive(request: ReceiveRequest, sink: EventSink<StreamEntry>): Promise<StreamReader> {
    const { topic, queue, from = this.#options.from } = request;
    const { keyPrefix, claimIdleMs } = this.#options;
    const { link } = this;
    const reads = await link.connect('reads', { socketTimeout: maxBlockMs + this.#setup.timeoutMs });
    const setup = { ...this.#setup, link, sink, reads, key: keyPrefix + topic, claimIdleMs, from };
    const reader = queue === undefined ? new StreamTail(setup) : new StreamGroup(setup, queue);
    try {
      await reader.recover();
      return reader;
    } catch (error) {
      link.release(reads);
      throw error;
    }
  }

  override translate(error: unknown): ErrorMeaning {
    return isPassing(error) ? { kind: 'unreachable' } : super.translate(error);
  }
}
