import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { checkedOptions } from '../errors/checked-options.ts';
import { writeEnvelope } from '../go-micro/event-envelope.ts';
import type { BrokerDialect } from '../go-micro/go-micro.ts';
import { token } from '../internal/token.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import type { Broker, BrokerCapabilities } from './broker.ts';
import type { DriverSubscription, EventSink, OutgoingEvent, ReceiveRequest } from './kit/driver.ts';
import { HeaderReader, HeaderWriter, readPayload, writeFrame } from './kit/frame.ts';
import { type DriverSetup, PortableBroker } from './kit/portable-broker.ts';
import { RedisChannels } from './redis/channels.ts';
import { type RedisConnectionOptions, RedisDriver, RedisLink, redisSecurity } from './redis/link.ts';

/** Options of a {@link RedisBroker}. */
export interface RedisBrokerOptions extends RedisConnectionOptions {
  /**
   * The form that events are written in; both are read. `go-micro` is the JSON envelope of Go Micro's redis broker.
   * @default 'native'
   */
  readonly dialect?: BrokerDialect | undefined;
  /**
   * Events of one subscription that have arrived and wait for a handler. Redis does not wait: further events are
   * dropped, and a warning is logged.
   * @default 10_000
   */
  readonly maxBacklog?: number | undefined;
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
    wildcards: true,
    shared: true,
    ...redisSecurity,
  };

  constructor(
    @inject(RedisBrokerOptions) @optional() options: RedisBrokerOptions = {},
    @inject(Clock) @optional() clock?: Clock,
    @inject(Random) @optional() random?: Random,
    @inject(Timers) @optional() timers?: Timers,
    @inject(Logger) @optional() logger?: Logger,
  ) {
    checkedOptions('RedisBrokerOptions', options, { watchLag: {} });
    const seams = { clock, random, timers, logger };
    super({ name: 'redis', options, seams, makeDriver: (setup) => new ChannelsDriver(options, setup) });
  }
}

/** A driver over the channels of a Redis, which sends each event to the subscribers of the moment and stores none. */
class ChannelsDriver extends RedisDriver {
  /** A glob's asterisk matches dots as well. */
  readonly wildcards = { one: '*', rest: '*', escapes: /[\\*?[\]^]/ };
  readonly #options: RedisBrokerOptions;
  readonly #writer = new HeaderWriter();
  readonly #channels: RedisChannels;

  constructor(options: RedisBrokerOptions, setup: DriverSetup) {
    super(new RedisLink('redis', options.client, setup));
    const reader = new HeaderReader();
    this.#options = options;
    this.#channels = new RedisChannels(this.link, setup, (payload) => readPayload(payload, reader));
  }

  override close(): void {
    this.#channels.close();
    super.close();
  }

  override publish(events: readonly [OutgoingEvent]): Promise<unknown> {
    const { topic, headers, body } = events[0];
    const payload =
      this.#options.dialect === 'go-micro'
        ? writeEnvelope(topic, headers, body)
        : writeFrame(this.#writer.write(headers), body);
    return this.link.batched.publish(topic, payload);
  }

  override async receive({ topic, isPattern }: ReceiveRequest, sink: EventSink): Promise<DriverSubscription> {
    const leave = await this.#channels.join(topic, sink, isPattern);
    return { maxBacklog: this.#options.maxBacklog ?? defaultBacklog, stop: leave, close: leave };
  }
}
