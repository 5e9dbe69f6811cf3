import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { checkedOptions } from '../errors/checked-options.ts';
import { Code } from '../errors/errors.ts';
import { token } from '../internal/token.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import type { Broker, BrokerCapabilities } from './broker.ts';
import type { BrokerDriver, DriverHost, ErrorMeaning, EventSink, OutgoingEvent, ReceiveRequest } from './kit/driver.ts';
import { deadLetterHeader, dedupeKeyHeader, redrivesHeader } from './kit/headers.ts';
import type { WireRules } from './kit/name-encoding.ts';
import { type DriverSetup, PortableBroker } from './kit/portable-broker.ts';
import { loadLibrary } from './nats/library.ts';
import { type NatsConnectionOptions, NatsLink, natsSecurity } from './nats/link.ts';
import { asHeaders, HeaderBlocks, whyNotSent } from './nats/messages.ts';
import type { JetStreamClient, JetStreamLibrary, JetStreamManager } from './nats-jetstream/library.ts';
import { PullReader, type StoredEvent } from './nats-jetstream/reader.ts';
import { isForbidden, type StreamPlace, Streams, type StreamSettings } from './nats-jetstream/streams.ts';

/** Options of a {@link NatsJetStreamBroker}. */
export interface NatsJetStreamBrokerOptions extends NatsConnectionOptions, StreamSettings {
  /**
   * An event whose receiver sent no heartbeat for so long goes to another member of the group. A living receiver
   * sends three heartbeats in that time, however long it works on an event.
   * @default 10_000 for a new group, else what the group has
   */
  readonly ackWaitMs?: number | undefined;
  /**
   * Start of a new group, and of a subscriber without a group: with events that are published from now on, or with all
   * events of the stream.
   * @default 'now'
   */
  readonly from?: 'now' | 'start' | undefined;
}
/** Container key of the {@link NatsJetStreamBrokerOptions}. */
export const NatsJetStreamBrokerOptions: ServiceIdentifier<NatsJetStreamBrokerOptions> = token(
  'broker',
  'NatsJetStreamBrokerOptions',
);

/** The first server whose consumers have names. */
const needed = { version: '2.9', feature: 'named consumers' } as const;
/** An error of the API, in whose words the server is out of what a stream needs. */
const exhausted = /insufficient|maximum|exceeded|resource|too large/i;
const noBlock = Buffer.alloc(0);
/** Headers of events that were published before: of dead letters, and of those that are tried again. */
const againHeaders = [deadLetterHeader.originalTopic, redrivesHeader];

/**
 * Events in streams of NATS JetStream: they wait for the groups that have subscribed before, are acknowledged, and go
 * to another member when their receiver has died. `publish` resolves when the stream has the event.
 */
@injectable()
export class NatsJetStreamBroker extends PortableBroker<StoredEvent> implements Broker {
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
    ...natsSecurity,
  };

  constructor(
    @inject(NatsJetStreamBrokerOptions) @optional() options: NatsJetStreamBrokerOptions = {},
    @inject(Clock) @optional() clock?: Clock,
    @inject(Random) @optional() random?: Random,
    @inject(Timers) @optional() timers?: Timers,
    @inject(Logger) @optional() logger?: Logger,
  ) {
    const replicas = { min: 1, max: 5, isWhole: true };
    checkedOptions('NatsJetStreamBrokerOptions', options, { watchLag: {}, replicas });
    const seams = { clock, random, timers, logger };
    super({ name: 'nats-jetstream', options, seams, makeDriver: (setup) => new JetStreamDriver(options, setup) });
  }
}

interface Clients {
  readonly client: JetStreamClient;
  readonly manager: JetStreamManager;
}

/** The streams of a NATS. */
class JetStreamDriver implements BrokerDriver<StoredEvent> {
  readonly endsCalls = true;
  readonly #options: NatsJetStreamBrokerOptions;
  readonly #setup: DriverSetup;
  readonly #link: NatsLink;
  readonly #streams: Streams;
  readonly #blocks = new HeaderBlocks();
  #library: JetStreamLibrary | undefined;
  /** Those of the last connection. */
  #clients: Promise<Clients> | undefined;
  #connection: unknown;
  /** The server has answered for its streams: when it does not, it is not up yet. */
  #hasStreams = false;

  constructor(options: NatsJetStreamBrokerOptions, setup: DriverSetup) {
    this.#options = options;
    this.#setup = setup;
    this.#link = new NatsLink('nats-jetstream', setup, needed);
    const onNew = (topic: string, { name }: StreamPlace): void => {
      setup.logger.error('the stream was gone with its events, and is made again', { topic, stream: name });
    };
    this.#streams = new Streams(options, () => this.#manager(), onNew);
  }

  get address(): string {
    return this.#link.address;
  }

  get wire(): WireRules {
    return this.#link.wire;
  }

  async open(host: DriverHost): Promise<void> {
    this.#library ??= loadLibrary<JetStreamLibrary>('nats-jetstream', '@nats-io/jetstream');
    await this.#link.open(host);
    try {
      const { manager } = await this.#current();
      await manager.getAccountInfo();
      this.#hasStreams = true;
    } catch (error) {
      // A user may have no right to ask, and yet to all that is needed.
      if (isForbidden(error)) return;
      this.#link.close();
      throw error;
    }
  }

  close(): void {
    this.#link.close();
    this.#hasStreams = false;
    this.#streams.forget();
  }

  publish([event]: readonly [OutgoingEvent]): Promise<void> {
    const messageId = messageIdOf(event);
    const isBare = messageId === undefined && Object.keys(event.headers).length === 0;
    const block = isBare ? noBlock : this.#blocks.write(event.headers, messageId);
    const problem = whyNotSent('nats-jetstream', event, block, this.#link.maxPayload);
    if (problem || typeof block === 'string') return Promise.reject(problem);
    return this.#store(event, block);
  }

  async receive(request: ReceiveRequest, sink: EventSink<StoredEvent>): Promise<PullReader> {
    const { ackWaitMs } = this.#options;
    const { from = this.#options.from ?? 'now' } = request;
    const reader = new PullReader({
      ...this.#setup,
      link: this.#link,
      streams: this.#streams,
      manager: () => this.#manager(),
      request,
      sink,
      ackWaitMs,
      from,
    });
    await reader.open();
    return reader;
  }

  translate(error: unknown): ErrorMeaning {
    const { name, message = '' } = error as Partial<Error>;
    if (name === 'JetStreamNotEnabled') {
      if (this.#hasStreams) return { kind: 'unreachable', said: 'does not answer for its streams' };
      const remedy = 'start the server with --jetstream, give the account of this user JetStream';
      const said = `${message}: ${remedy}, or bind the broker "nats"`;
      return { kind: 'refused', code: Code.FailedPrecondition, said, isFinal: true };
    }
    if (name === 'JetStreamApiError') {
      const { status } = error as { readonly status?: unknown };
      if (exhausted.test(message)) return { kind: 'refused', code: Code.ResourceExhausted, said: message };
      if (status === 503) return { kind: 'unreachable', said: `says "${message}"` };
      return { kind: 'refused', code: Code.FailedPrecondition, said: message };
    }
    // They are made again.
    if (name === 'StreamNotFoundError' || name === 'ConsumerNotFoundError')
      return { kind: 'unreachable', said: `has lost its data: ${message}` };
    return this.#link.translate(error);
  }

  unwrap(): unknown {
    return this.#link.current;
  }

  async #manager(): Promise<JetStreamManager> {
    return (await this.#current()).manager;
  }

  /** The clients of the connection. Throws while the server is away. After an outage it may have other streams. */
  #current(): Promise<Clients> {
    const { connection } = this.#link;
    if (this.#clients && this.#connection === connection) return this.#clients;
    const { jetstream, jetstreamManager } = this.#library as JetStreamLibrary;
    const { timeoutMs: timeout } = this.#setup;
    this.#streams.forget();
    this.#connection = connection;
    const client = jetstream(connection, { timeout });
    this.#clients = jetstreamManager(connection, { checkAPI: false, timeout }).then((manager) => ({
      client,
      manager,
    }));
    return this.#clients;
  }

  /** Stores an event. If no stream takes its subject one is made, and the event is sent again: it was not stored. */
  async #store(event: OutgoingEvent, block: Buffer): Promise<void> {
    const { topic, body } = event;
    const { logger } = this.#setup;
    const options = block.length > 0 ? { headers: asHeaders(block) } : {};
    const { client } = await this.#current();
    const stream = await this.#streams.of(topic);
    let stored;
    try {
      stored = await client.publish(topic, body, options);
    } catch (error) {
      const { name } = error as Partial<Error>;
      // If the stream is gone and another program listens to the subject, nobody says so: it is looked for again.
      if (name === 'TimeoutError') this.#streams.forget(topic);
      // So the library says that nobody takes the subject.
      if (name !== 'JetStreamNotEnabled') throw error;
      await this.#streams.renew(topic, stream);
      stored = await client.publish(topic, body, options);
    }
    const { duplicate, seq } = stored;
    if (duplicate) logger.debug('an event with this dedupe key was published before', { topic, seq });
  }
}

/**
 * Has the server drop a second event with the same key within its window. Not one that was dead-lettered, or is
 * published again after that: its key was seen, and it was not handled.
 */
function messageIdOf({ topic, headers }: OutgoingEvent): string | undefined {
  const key = headers[dedupeKeyHeader];
  const isLater = againHeaders.some((name) => headers[name] !== undefined);
  return key === undefined || isLater ? undefined : `${topic} ${key}`;
}
