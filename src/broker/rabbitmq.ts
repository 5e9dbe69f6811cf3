import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { checkedOptions } from '../errors/checked-options.ts';
import { rabbitMqExchange, topicHeader } from '../go-micro/event-envelope.ts';
import type { BrokerDialect } from '../go-micro/go-micro.ts';
import { hostPort } from '../internal/host-port.ts';
import { isError } from '../internal/is-error.ts';
import { token } from '../internal/token.ts';
import { Logger } from '../logger/logger.ts';
import { type RabbitMqPlace, rabbitMqPlace } from '../rabbitmq/address.ts';
import { type Amqplib, Link, loadAmqplib } from '../rabbitmq/link.ts';
import { isReservedHeader, maxShortBytes, propertiesOf } from '../rabbitmq/messages.ts';
import { ForeignServerError, type RabbitMqServer } from '../rabbitmq/rabbitmq.ts';
import { deadLetterGroup, maxTopicBytes, type Queues, Topology } from '../rabbitmq/topology.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import type { Broker, BrokerCapabilities } from './broker.ts';
import type { BrokerDriver, DriverHost, ErrorMeaning, EventSink, OutgoingEvent, ReceiveRequest } from './kit/driver.ts';
import { invalidAddress, tooOld, unroutable, unusableTopic } from './kit/failures.ts';
import { deadLetterHeader, deadLetterTopicOf } from './kit/headers.ts';
import { NameEncoding, type WireRules } from './kit/name-encoding.ts';
import { type DriverSetup, PortableBroker, type PortableBrokerOptions } from './kit/portable-broker.ts';
import { meaningOf, mismatchOf } from './rabbitmq/errors.ts';
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
  readonly #options: RabbitMqBrokerOptions;
  readonly #setup: DriverSetup;
  readonly #place: RabbitMqPlace;
  /** The one that is tried next, or is connected, is the first. */
  readonly #servers: RabbitMqServer[];
  readonly #topology: Topology;
  readonly #isGoMicro: boolean;
  readonly #isQuorum: boolean;
  readonly #idBase: string;
  readonly #logged = new Set<string>();
  /** Declarations of queues for dead letters that are not answered yet, by topic. */
  readonly #storing = new Map<string, Promise<unknown>>();
  /** Subscriptions without a group, which miss events in an outage. */
  readonly #tails = new WeakSet<EventSink<Delivery>>();
  #link: Link | undefined;
  /** Counts the calls of `close`, by which an `open` that ends after one is noticed. */
  #closes = 0;
  #failure: unknown;
  #wasConnected = false;
  #ids = 0;

  constructor(options: RabbitMqBrokerOptions, setup: DriverSetup) {
    const { address = '127.0.0.1:5672', security, runtime } = setup;
    this.#options = options;
    this.#setup = setup;
    this.#place = rabbitMqPlace(address, security.hasCredentials, (...wrong) => invalidAddress('rabbitmq', ...wrong));
    this.#servers = [...this.#place.servers];
    this.#isGoMicro = options.dialect === 'go-micro';
    this.#isQuorum = options.queueType !== 'classic';
    const exchange = this.#isGoMicro ? rabbitMqExchange : 'tenon';
    this.#topology = new Topology({ exchange, isDurable: !this.#isGoMicro, isQuorum: this.#isQuorum });
    this.#idBase = runtime.random.uuid();
  }

  get address(): string {
    const shown = this.#link ? this.#servers.slice(0, 1) : this.#place.servers;
    return shown.map(({ host, port }) => hostPort(host, port)).join(',');
  }

  async open(host: DriverHost): Promise<void> {
    const closes = this.#closes;
    const amqplib = await loadAmqplib();
    for (let left = this.#servers.length; left > 0; left -= 1) {
      const [server, ...others] = this.#servers as [RabbitMqServer, ...RabbitMqServer[]];
      try {
        const link = await this.#connect(amqplib, server, host);
        if (closes === this.#closes) this.#link = link;
        else await link.close();
        this.#wasConnected = true;
        return;
      } catch (error) {
        // The others of a cluster would refuse as well.
        if (left === 1 || this.translate(error).kind === 'refused') throw mismatchOf(error) ?? error;
        this.#servers.splice(0, Number.POSITIVE_INFINITY, ...others, server);
      }
    }
  }

  async close(): Promise<void> {
    const link = this.#link;
    this.#link = undefined;
    this.#closes += 1;
    await link?.close();
  }

  async publish([event]: readonly [OutgoingEvent]): Promise<void> {
    const link = this.#ready;
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
    if (isDeadLetter) await this.#storeDeadLetters(link, topic);
    if (await link.publisher.send(message)) return;
    if (isDeadLetter || this.#options.unroutable === 'refuse') throw unroutable('rabbitmq', topic);
    if (this.#logged.has(topic) || this.#logged.size >= maxLogged) return;
    this.#logged.add(topic);
    this.#setup.logger.warn('an event was published that nobody gets: no queue is bound for its topic', { topic });
  }

  async receive(request: ReceiveRequest, sink: EventSink<Delivery>): Promise<RabbitMqSubscription> {
    const [link, topology] = [this.#ready, this.#topology];
    const { topic, queue } = request;
    const queues = await (queue === undefined
      ? topology.declareTail(link, topic)
      : this.#declareGroup(link, queue, topic));
    const { timers } = this.#setup.runtime;
    const nextId = (): string => this.#nextId();
    try {
      const setup = { link, topology, queues, request, sink, timers, nextId };
      const subscription = await new RabbitMqSubscription(setup).open();
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
    const { security } = this.#setup;
    return meaningOf(error, security.explain(error, this.#servers[0]?.host ?? '', this.#wasConnected));
  }

  unwrap(): unknown {
    return this.#link?.model;
  }

  get #ready(): Link {
    if (this.#link) return this.#link;
    throw isError(this.#failure) ? this.#failure : new Error('the connection is lost');
  }

  #nextId(): string {
    return `${this.#idBase}-${(this.#ids += 1)}`;
  }

  /** Has the group for dead letters declared: others that get them may be a watch, or a pattern that drops them. */
  #storeDeadLetters(link: Link, topic: string): Promise<unknown> {
    const known = this.#storing.get(topic);
    if (known) return known;
    const storing = this.#declareGroup(link, deadLetterGroup, topic).finally(() => this.#storing.delete(topic));
    this.#storing.set(topic, storing);
    return storing;
  }

  async #declareGroup(link: Link, group: string, topic: string): Promise<Queues> {
    const queues = this.#topology.groupOf(groupNames.encode(group), topic);
    if (!queues) throw unusableTopic('rabbitmq', `${topic} of the queue ${group}`);
    try {
      await this.#topology.declareGroup(link, queues, topic);
    } catch (error) {
      throw mismatchOf(error) ?? error;
    }
    return queues;
  }

  async #connect(amqplib: Amqplib, server: RabbitMqServer, host: DriverHost): Promise<Link> {
    const closes = this.#closes;
    const { vhost = this.#place.vhost ?? '/', heartbeatMs = 5_000 } = this.#options;
    const { runtime, ...setup } = this.#setup;
    const link = await Link.open(amqplib, {
      ...setup,
      timers: runtime.timers,
      place: this.#place,
      server,
      vhost,
      heartbeatMs,
      prepare: (channel) => this.#topology.declareExchange(channel),
      onLost: (error) => {
        if (closes !== this.#closes) return;
        this.#failure = error;
        this.#link = undefined;
        host.lost(error);
      },
    }).catch((error: unknown) => {
      if (!(error instanceof ForeignServerError)) throw error;
      const why = 'what listens there speaks no AMQP 0-9-1. TENON_BROKER_ADDRESS says where RabbitMQ is';
      throw invalidAddress('rabbitmq', hostPort(server.host, server.port), why);
    });
    if (!this.#isQuorum || !link.isOlderThan(3, 10)) return link;
    await link.close();
    throw tooOld('rabbitmq', 'RabbitMQ 3.10', "renew it, or say queueType: 'classic' (TENON_RABBITMQ_QUEUE_TYPE)");
  }
}

function isTooLong(topic: string): boolean {
  return Buffer.byteLength(topic) > longestTopic && !topic.endsWith(deadLetterTopicOf(''));
}
