import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { aCount, checkedOptions } from '../errors/checked-options.ts';
import { Code, textOf } from '../errors/errors.ts';
import { type WithDefaults, withDefaults } from '../internal/defaults.ts';
import type { BackendNote } from '../internal/backend-note.ts';
import { hostPort, parseHostPorts } from '../internal/host-port.ts';
import { maskAddress } from '../internal/mask.ts';
import { token } from '../internal/token.ts';
import { KafkaClient } from '../kafka/client.ts';
import { AdvertisedAddressError, KafkaTimeoutError } from '../kafka/cluster.ts';
import { faults, isFault, KafkaFault, NotKafkaError, type SaslMechanism } from '../kafka/kafka.ts';
import { libraryFor } from '../kafka/library.ts';
import { meaningOf } from '../kafka/meanings.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import type { Broker, BrokerCapabilities } from './broker.ts';
import { GroupReader } from './kafka/group-reader.ts';
import { type KafkaEvent, PartitionReader } from './kafka/partition-reader.ts';
import type { BrokerDriver, DriverHost, ErrorMeaning, EventSink, OutgoingEvent, ReceiveRequest } from './kit/driver.ts';
import { invalidAddress, tooLarge } from './kit/failures.ts';
import { type DriverSetup, PortableBroker, type PortableBrokerOptions } from './kit/portable-broker.ts';

/** Options of a {@link KafkaBroker}. */
export interface KafkaBrokerOptions extends PortableBrokerOptions {
  /**
   * Servers of the cluster, of which one has to answer.
   * @default '127.0.0.1:9092'
   */
  readonly address?: string | undefined;
  /**
   * Partitions of the topics that this process creates. With 1 all events of a topic keep their order, and one member
   * of a group gets them all.
   * @default as many as the server gives new topics
   */
  readonly partitions?: number | undefined;
  /**
   * Creates topics that are not there.
   * @default true
   */
  readonly createTopics?: boolean | undefined;
  /**
   * Where a new group begins, and a subscriber without a group: with all events that the topic still has, or with those
   * that are published from now on.
   * @default 'start' for a group, 'now' without one
   */
  readonly from?: 'start' | 'now' | undefined;
  /**
   * A member of a group that sends no heartbeat for so long is taken for dead. It sends ten in that time.
   * @default 10_000
   */
  readonly sessionTimeoutMs?: number | undefined;
  /**
   * Longest wait for the events in hand of a partition that is to go to another member. After it they come again there.
   * @default 30_000
   */
  readonly revokeWaitMs?: number | undefined;
  /**
   * The SASL mechanism that proves user name and password.
   * @default 'PLAIN'
   */
  readonly sasl?: SaslMechanism | undefined;
}
/** Container key of the {@link KafkaBrokerOptions}. */
export const KafkaBrokerOptions: ServiceIdentifier<KafkaBrokerOptions> = token('broker', 'KafkaBrokerOptions');

const name = 'kafka';
const defaults = { createTopics: true, sessionTimeoutMs: 10_000, revokeWaitMs: 30_000, sasl: 'PLAIN' } as const;

/**
 * Events in topics of Kafka (2.4 or newer): they wait for groups, of which one member at a time gets the events of a
 * partition, and are kept as long as Kafka is told to. Each subscription has connections of its own.
 */
@injectable()
export class KafkaBroker extends PortableBroker<KafkaEvent> implements Broker {
  static capabilities({ partitions }: KafkaBrokerOptions = {}): BrokerCapabilities {
    const settling = { persistent: true, ack: true, nack: true, delay: true } as const;
    const counting = { groups: true, competing: false, attempts: true, deadLetter: false } as const;
    const reading = { order: partitions === 1, replay: true, shared: true } as const;
    return { ...settling, ...counting, ...reading, tls: true, credentials: ['password'] };
  }

  /** For `verify`: the client library that is used. */
  static notes(): readonly BackendNote[] {
    const library = libraryFor();
    const message = `Kafka is spoken to by the package ${library} on Node ${process.versions.node}`;
    if (library !== 'kafkajs') return [{ level: 'info', message, fix: 'nothing has to be done' }];
    const fix = 'run it on Node 22.22, 24.6 or newer, where @platformatic/kafka is used';
    return [{ level: 'warn', message: `${message}, whose last release is of 2023`, fix }];
  }

  constructor(
    @inject(KafkaBrokerOptions) @optional() options: KafkaBrokerOptions = {},
    @inject(Clock) @optional() clock?: Clock,
    @inject(Random) @optional() random?: Random,
    @inject(Timers) @optional() timers?: Timers,
    @inject(Logger) @optional() logger?: Logger,
  ) {
    checkedOptions('KafkaBrokerOptions', options, { partitions: aCount });
    const seams = { clock, random, timers, logger };
    super({ name, options, seams, makeDriver: (setup) => new KafkaDriver(options, setup) });
  }
}

class KafkaDriver implements BrokerDriver<KafkaEvent> {
  readonly address: string;
  readonly maxBatch = 1_000;
  readonly wire = {
    topic: {
      allowed: /[A-Za-z0-9._-]/,
      escape: '_',
      forbids: (text: string): boolean => /^\.\.?$/.test(text),
      maxBytes: 249,
    },
    // kafkajs keeps headers in an object, which cannot have that name.
    headerName: { allowed: /[^]/u, forbids: (text: string): boolean => text === '__proto__' },
  };
  readonly #options: WithDefaults<KafkaBrokerOptions, typeof defaults>;
  readonly #setup: DriverSetup;
  readonly #client: KafkaClient;
  /** The first of the addresses. */
  readonly #host: string;

  constructor(options: KafkaBrokerOptions, setup: DriverSetup) {
    const { address = '127.0.0.1:9092', timeoutMs, runtime, security } = setup;
    const { sasl, createTopics, partitions = -1 } = (this.#options = withDefaults(defaults, options));
    const addresses = parseHostPorts(address.replaceAll(/(^|,)\s*kafka:\/\//g, '$1'), 9_092);
    if (!addresses) throw invalidAddress(name, maskAddress(address), 'write host:port, several separated by commas');
    this.#host = addresses[0]?.host ?? '';
    this.address = addresses.map(({ host, port }) => hostPort(host, port)).join(',');
    this.#setup = setup;
    this.#client = new KafkaClient({ addresses, timeoutMs, runtime, security, sasl, createTopics, partitions });
  }

  open(host: DriverHost): Promise<void> {
    return this.#client.open(host);
  }

  close(): void {
    this.#client.close();
  }

  publish(events: readonly OutgoingEvent[]): readonly Promise<void>[] {
    const { producer } = this.#client;
    // Events without a key that are published together stay together.
    const share = this.#setup.runtime.random.next();
    return events.map((event) => {
      const { topic, headers, body, orderKey } = event;
      const value = Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
      const key = orderKey === undefined ? undefined : Buffer.from(orderKey);
      const pending = producer.add(topic, { key, value, headers }, share);
      event.withdraw = () => pending.withdraw();
      return pending.written.catch(async (error: unknown) => {
        const isTooLarge = isFault(error, faults.messageTooLarge, faults.recordListTooLarge);
        throw isTooLarge ? await this.#tooLarge(event, error) : error;
      });
    });
  }

  async receive(request: ReceiveRequest, sink: EventSink<KafkaEvent>): Promise<PartitionReader> {
    const { queue, mode, topic } = request;
    const isMember = queue !== undefined && mode === 'consume';
    const usual = mode === 'consume' ? this.#options.from : undefined;
    const from = request.from ?? usual ?? (isMember ? 'start' : 'now');
    const [reads, control] = [this.#client.connect(), this.#client.connect()];
    const own = { request, sink, from, reads, control, leaders: () => this.#client.leaders(topic) };
    const setup = { ...this.#options, ...this.#setup, ...own };
    const reader = isMember ? new GroupReader(setup, queue) : new PartitionReader(setup);
    try {
      await reader.open();
      return reader;
    } catch (error) {
      await reader.close().catch(() => undefined);
      throw error;
    }
  }

  translate(error: unknown): ErrorMeaning {
    if (error instanceof KafkaTimeoutError) return { kind: 'timeout', cause: error };
    if (error instanceof NotKafkaError) return { kind: 'refused', code: Code.FailedPrecondition, said: error.message };
    if (error instanceof AdvertisedAddressError) return { kind: 'unreachable', said: error.message, cause: error };
    if (!(error instanceof KafkaFault)) return { kind: 'unreachable', said: this.#explain(error), cause: error };
    const meaning = meaningOf(error);
    if (!meaning) return { kind: 'unreachable', said: `cannot do it for the moment: ${error.message}`, cause: error };
    const { code, remedy } = meaning;
    const said = remedy === undefined ? error.message : `${error.message}; ${remedy}`;
    return { kind: 'refused', code, said, cause: error, isFinal: code !== Code.Internal };
  }

  unwrap(): unknown {
    return this.#client.library;
  }

  #explain(error: unknown): string | undefined {
    const wasAnswered = this.#client.library !== undefined;
    const { host = this.#host } = error as { readonly host?: string };
    const ofTls = this.#setup.security.explain(error, host, wasAnswered);
    if (ofTls !== undefined || wasAnswered || !/clos|ECONNRESET|EPIPE/i.test(textOf(error))) return ofTls;
    return 'closes the connection. It may want TLS (TENON_BROKER_TLS), or a user (TENON_BROKER_USERNAME and _PASSWORD)';
  }

  async #tooLarge({ topic, body }: OutgoingEvent, cause: unknown): Promise<unknown> {
    const limit = await this.#client.maxRecordBytes(topic);
    return limit === undefined ? cause : tooLarge(name, topic, 'an event with a body', body.length, limit);
  }
}
