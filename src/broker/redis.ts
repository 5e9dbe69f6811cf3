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
import { HeaderReader, HeaderWriter, readPayload, writeFrame } from './kit/frame.ts';
import { type BrokerDialect, writeEnvelope } from './kit/go-micro.ts';
import { type BrokerSettings, PortableBroker } from './kit/portable-broker.ts';
import { RedisChannels } from './redis/channels.ts';
import { RedisLink } from './redis/link.ts';

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
  readonly dialect?: BrokerDialect | undefined;
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

const defaultBacklog = 10_000;

/**
 * Events over Redis' PUBLISH and SUBSCRIBE: fast, to every subscriber that is there at the moment, at most once. For
 * groups, acknowledgement and events that wait there is `redis-streams`.
 */
@injectable()
export class RedisBroker extends PortableBroker implements Broker {
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

  constructor(
    @inject(RedisBrokerOptions) @optional() options: RedisBrokerOptions = {},
    @inject(Clock) @optional() clock: Clock = systemRuntime.clock,
    @inject(Random) @optional() random: Random = systemRuntime.random,
    @inject(Timers) @optional() timers: Timers = systemRuntime.timers,
    @inject(Logger) @optional() logger: Logger = new ConsoleLogger({ level: 'warn' }),
  ) {
    const { address, timeoutMs, watchLag } = checkedOptions('RedisBrokerOptions', options, { watchLag: {} });
    const runtime = { clock, random, timers, ...options.runtime };
    const log = options.logger ?? logger;
    super({
      name: 'redis',
      address,
      timeoutMs,
      watchLag,
      runtime,
      logger: log,
      makeDriver: (settings) => new RedisDriver(options, settings, runtime, log),
    });
  }
}

/** The channels of a Redis. It sends to whoever listens, and forgets. */
class RedisDriver implements BrokerDriver {
  readonly endsCalls = true;
  readonly #maxBacklog: number;
  readonly #dialect: BrokerDialect | undefined;
  readonly #writer = new HeaderWriter();
  readonly #link: RedisLink;
  readonly #channels: RedisChannels;

  constructor(options: RedisBrokerOptions, settings: BrokerSettings, runtime: Runtime, logger: Logger) {
    const reader = new HeaderReader();
    this.#maxBacklog = options.maxBacklog ?? defaultBacklog;
    this.#dialect = options.dialect;
    this.#link = new RedisLink({ ...settings, broker: 'redis', client: options.client, runtime });
    this.#channels = new RedisChannels({
      link: this.#link,
      read: (payload) => readPayload(payload, reader),
      timers: runtime.timers,
      logger,
    });
  }

  get address(): string {
    return this.#link.address;
  }

  open(host: DriverHost): Promise<void> {
    return this.#link.open(host);
  }

  close(): void {
    this.#channels.close();
    this.#link.close();
  }

  publish([event]: readonly [OutgoingEvent]): Promise<unknown> {
    const { topic, headers, body } = event;
    const client = this.#link.batched;
    return client.publish(
      topic,
      this.#dialect === 'go-micro'
        ? writeEnvelope(topic, headers, body)
        : writeFrame(this.#writer.write(headers), body),
    );
  }

  async receive({ topic }: ReceiveRequest, sink: EventSink): Promise<DriverSubscription> {
    const leave = await this.#channels.join(topic, sink);
    return { maxBacklog: this.#maxBacklog, stop: leave, close: leave };
  }

  translate(error: unknown): ErrorMeaning {
    return this.#link.translate(error);
  }

  unwrap(): Redis | undefined {
    return this.#link.client;
  }
}
