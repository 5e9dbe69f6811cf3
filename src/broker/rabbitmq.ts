import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { checkedOptions } from '../errors/checked-options.ts';
import { rabbitMqExchange, topicHeader } from '../go-micro/event-envelope.ts';
import type { BrokerDialect } from '../go-micro/go-micro.ts';
import { token } from '../internal/token.ts';
import { Logger } from '../logger/logger.ts';
import { rabbitMqPlace } from '../rabbitmq/address.ts';
import { RabbitMqClient } from '../rabbitmq/client.ts';
import type { Link } from '../rabbitmq/link.ts';
import { isReservedHeader, maxShortBytes, propertiesOf } from '../rabbitmq/messages.ts';
import { deadLetterGroup, maxTopicBytes, type Queues, Topology } from '../rabbitmq/topology.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import type { Broker, BrokerCapabilities } from './broker.ts';
import type { BrokerDriver, DriverHost, ErrorMeaning, EventSink, OutgoingEvent, ReceiveRequest } from './kit/driver.ts';
import { invalidAddress, tooOld, unroutable, unusableTopic } from './kit/failures.ts';
import { deadLetterHeader, deadLetterTopicOf } from './kit/headers.ts';
import { NameEncoding, type WireRules } from './kit/name-encoding.ts';
import { type DriverSetup, PortableBroker, type PortableBrokerOptions } from './kit/portable-broker.ts';
import { meaningOf, mismatchOf, startFailure } from './rabbitmq/errors.ts';
import { type Delivery, RabbitMqSubscription } from './rabbitmq/subscription.ts';

/** Options of a {@link RabbitMqBroker}. */
export interface RabbitMqBrokerOptions extends PortableBrokerOptions {
  /**
   * `host:port`, several by commas, or `amqp://user:password@host:port/vhost` (`amqps://` for TLS).
   * @default '127.0.0.1:5672'
   */
  readonly address?: string | undefined;
  /** Virtual host. @default that of the address, or '/' */
  readonly vhost?: string | undefined;
  /**
   * Queues of groups. `quorum` needs RabbitMQ 3.10; with `classic` the server may lose an event that waits for a delay.
   * @default 'quorum'
   */
  readonly queueType?: 'quorum' | 'classic' | undefined;
  /**
   * Outcome of `publish` where no queue takes the event: it resolves, which is logged once for the topic; or it rejects
   * with FAILED_PRECONDITION (`broker.unroutable`).
   * @default 'accept'
   */
  readonly unroutable?: 'accept' | 'refuse' | undefined;
  /**
   * Interval of heartbeats in milliseconds, rounded up to seconds. A server that was silent for three is given up.
   * @default 5_000
   */
  readonly heartbeatMs?: number | undefined;
  /** With `go-micro` events go through the exchange of Go Micro's broker, which is not durable. @default 'native' */
  readonly dialect?: BrokerDialect | undefined;
}
/** Container key of the {@link RabbitMqBrokerOptions}. */
export const RabbitMqBrokerOptions: ServiceIdentifier<RabbitMqBrokerOptions> = token('broker', 'RabbitMqBrokerOptions');

const oldRemedy = "renew it, or say queueType: 'classic' (TENON_RABBITMQ_QUEUE_TYPE)";
const maxLogged = 1_000;
// A topic may have slashes: it is the last part of the name of a queue.
const groupNames = new NameEncoding({ allowed: /[^\p{Cc}/]/u });
const longestTopic = maxTopicBytes - deadLetterTopicOf('').length;

/**
 * Events in RabbitMQ: a topic exchange, with a queue for each group and topic. Publishing is confirmed; an event that
 * is not acknowledged goes to another member of its group.
 */
@injectable()
export class RabbitMqBroker extends PortableBroker<Delivery> implements Broker {
  static readonly capabilities: BrokerCapabilities = {
    persistent: true,
    ack: true,
    nack: true,
    delay: true,
    groups: true,
    attempts: true,
    deadLetter: false,
    deadLetterQueue: deadLetterGroup,
    order: true,
    replay: false,
    wildcards: true,
    shared: true,
    tls: true,
    credentials: ['password'],
  };

  constructor(
    @inject(RabbitMqBrokerOptions) @optional() options: RabbitMqBrokerOptions = {},
    @inject(Clock) @optional() clock?: Clock,
    @inject(Random) @optional() random?: Random,
    @inject(Timers) @optional() timers?: Timers,
    @inject(Logger) @optional() logger?: Logger,
  ) {
    checkedOptions('RabbitMqBrokerOptions', options, { heartbeatMs: { min: 1, max: 60_000_000 }, watchLag: {} });
    const seams = { clock, random, timers, logger };
    super({ name: 'rabbitmq', options, seams, makeDriver: (setup) => new RabbitMqDriver(options, setup) });
  }
}

class RabbitMqDriver implements BrokerDriver<Delivery> {
  /** A word `*` or `#` of a topic would match others. The queues of its dead letters must have names as well. */
  readonly wire: WireRules = {
    topic: { allowed: /[^\p{Cc}*#]/u, maxBytes: maxTopicBytes, forbids: isTooLong },
    headerName: { allowed: /./su, forbids: isReservedHeader, maxBytes: maxShortBytes },
    maxHeaderBytes: 60_000,
    maxBodyBytes: 134_217_728,
  };
  readonly wildcards = { one: '*', rest: '*.#' };
  readonly #setup: DriverSetup;
  readonly #client: RabbitMqClient;
  readonly #topology: Topology;
  readonly #isGoMicro: boolean;
  readonly #refusesUnroutable: boolean;
  readonly #nextId: () => string;
  readonly #logged = new Set<string>();
  /** Subscriptions without a group, which miss events in an outage. */
  readonly #tails = new WeakSet<EventSink<Delivery>>();

  constructor(options: RabbitMqBrokerOptions, setup: DriverSetup) {
    const { address = '127.0.0.1:5672', security, runtime } = setup;
    const place = rabbitMqPlace(address, security.hasCredentials, (...wrong) => invalidAddress('rabbitmq', ...wrong));
    const { vhost = place.vhost ?? '/', heartbeatMs = 5_000, dialect, queueType, unroutable: otherwise } = options;
    this.#setup = setup;
    this.#isGoMicro = dialect === 'go-micro';
    this.#refusesUnroutable = otherwise === 'refuse';
    const isQuorum = queueType !== 'classic';
    const exchange = this.#isGoMicro ? rabbitMqExchange : 'tenon';
    this.#topology = new Topology({ exchange, isDurable: !this.#isGoMicro, isQuorum });
    this.#client = new RabbitMqClient({
      ...setup,
      place,
      vhost,
      heartbeatMs,
      prepare: (channel) => this.#topology.declareExchange(channel),
      check: (link) => {
        if (isQuorum && link.isOlderThan(3, 10)) throw tooOld('rabbitmq', 'RabbitMQ 3.10', oldRemedy);
      },
      isRefusal: (error) => this.translate(error).kind === 'refused',
    });
    const idBase = runtime.random.uuid();
    let ids = 0;
    this.#nextId = () => `${idBase}-${(ids += 1)}`;
  }

  get address(): string {
    return this.#client.address;
  }

  async open(host: DriverHost): Promise<void> {
    const onLost = (error: unknown): void => host.lost(error);
    await this.#client.open(onLost).catch((error: unknown) => {
      throw startFailure(error) ?? error;
    });
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  async publish([event]: readonly [OutgoingEvent]): Promise<void> {
    const { link, publisher } = this.#client.pair;
    const { topic, body, headers } = event;
    const named = this.#isGoMicro ? { [topicHeader]: topic, ...headers } : headers;
    const message = {
      exchange: this.#topology.exchange,
      routingKey: topic,
      body: Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength),
      properties: propertiesOf(this.#nextId(), named),
      onHeld: (withdraw: () => boolean) => (event.withdraw = withdraw),
    };
    const isDeadLetter = deadLetterHeader.originalTopic in headers;
    // Others that get it may be a watch, or a pattern that drops it.
    if (isDeadLetter) await this.#declareGroup(link, deadLetterGroup, topic);
    if (await publisher.send(message)) return;
    if (isDeadLetter || this.#refusesUnroutable) throw unroutable('rabbitmq', topic);
    if (this.#logged.has(topic) || this.#logged.size >= maxLogged) return;
    this.#logged.add(topic);
    this.#setup.logger.warn('an event was published that nobody gets: no queue is bound for its topic', { topic });
  }

  async receive(request: ReceiveRequest, sink: EventSink<Delivery>): Promise<RabbitMqSubscription> {
    const [pair, topology] = [this.#client.pair, this.#topology];
    const { link } = pair;
    const { topic, queue } = request;
    const declaring = queue === undefined ? topology.declareTail(link, topic) : this.#declareGroup(link, queue, topic);
    const queues = await declaring;
    const own = { pair, topology, queues, timers: this.#setup.runtime.timers, nextId: this.#nextId };
    try {
      const subscription = await new RabbitMqSubscription({ ...own, request, sink }).open();
      if (queue === undefined && this.#tails.has(sink))
        this.#setup.logger.warn('events may have been missed: a subscriber without a queue was cut off', { topic });
      if (queue === undefined) this.#tails.add(sink);
      return subscription;
    } catch (error) {
      // Nobody would read it, for as long as the connection lives.
      if (queue === undefined) await link.declare((channel) => channel.deleteQueue(queues.main)).catch(() => undefined);
      throw error;
    }
  }

  translate(error: unknown): ErrorMeaning {
    const { host, wasConnected } = this.#client;
    return meaningOf(error, this.#setup.security.explain(error, host, wasConnected));
  }

  unwrap(): unknown {
    return this.#client.model;
  }

  async #declareGroup(link: Link, group: string, topic: string): Promise<Queues> {
    const queues = this.#topology.groupOf(groupNames.encode(group), topic);
    if (!queues) throw unusableTopic('rabbitmq', `${topic} of the queue ${group}`);
    await this.#topology.declareGroup(link, queues, topic).catch((error: unknown) => {
      throw mismatchOf(error) ?? error;
    });
    return queues;
  }
}

function isTooLong(topic: string): boolean {
  return Buffer.byteLength(topic) > longestTopic && !topic.endsWith(deadLetterTopicOf(''));
}
