import { afterEach } from '@jest/globals';
import { type Channel, type ChannelModel, connect, type Replies } from 'amqplib';

import { RabbitMqBroker, type RabbitMqBrokerOptions } from '../../src/broker/rabbitmq.ts';
import type { BackendServer } from '../support/servers.ts';
import { RecordingLogger } from './support.ts';

/** Longest wait for what RabbitMQ does by itself, in milliseconds. */
export const patienceMs = 60_000;

/** A broker of a test, with what it has logged. */
export interface Staged {
  readonly broker: RabbitMqBroker;
  readonly logger: RecordingLogger;
}

/** Brokers and clients of tests, which are closed after each of them. */
export class Stage {
  readonly #closing: (() => Promise<unknown>)[] = [];

  constructor() {
    afterEach(() => this.end(), 60_000);
  }

  async broker(address: string, options: RabbitMqBrokerOptions = {}): Promise<Staged> {
    const logger = new RecordingLogger();
    const broker = new RabbitMqBroker({ address, logger, ...options });
    this.later(() => broker.disconnect());
    await broker.connect();
    return { broker, logger };
  }

  /** A connection of amqplib, past the broker, with a channel. */
  async client(server: BackendServer, user = 'guest:guest'): Promise<Client> {
    const model = await connect(`amqp://${user}@${server.address}`);
    model.on('error', () => undefined);
    const client = new Client(model, await model.createChannel());
    client.channel.on('error', () => undefined);
    this.later(() => model.close().catch(() => undefined));
    return client;
  }

  later(close: () => Promise<unknown>): void {
    this.#closing.push(close);
  }

  async end(): Promise<void> {
    for (const close of this.#closing.splice(0).reverse()) await close();
  }
}

/** A client of a test's own. */
export class Client {
  readonly model: ChannelModel;
  readonly channel: Channel;

  constructor(model: ChannelModel, channel: Channel) {
    this.model = model;
    this.channel = channel;
  }

  /** The number of consumers of a queue; `undefined` if there is no such queue. */
  async consumers(queue: string): Promise<number | undefined> {
    return (await this.#inspect(queue))?.consumerCount;
  }

  /** The number of messages that wait in a queue; `undefined` if there is no such queue. */
  async messages(queue: string): Promise<number | undefined> {
    return (await this.#inspect(queue))?.messageCount;
  }

  /** RabbitMQ that is killed within moments does not recover the quorum queue that it made last: this is another. */
  async makeAnotherQueue(): Promise<void> {
    await this.channel.assertQueue('another', { durable: true, arguments: { 'x-queue-type': 'quorum' } });
    await this.channel.deleteQueue('another');
  }

  /** On a channel of its own, which RabbitMQ closes if there is no such queue. */
  async #inspect(queue: string): Promise<Replies.AssertQueue | undefined> {
    const channel = await this.model.createChannel();
    channel.on('error', () => undefined);
    const found = await channel.checkQueue(queue).catch(() => undefined);
    await channel.close().catch(() => undefined);
    return found;
  }
}
