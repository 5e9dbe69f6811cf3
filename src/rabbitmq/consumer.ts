import type { Channel, ConsumeMessage } from 'amqplib';

import { InFlight } from '../internal/in-flight.ts';
import type { Link } from './link.ts';

/** A message, with the consumer that it came by. */
export interface ReceivedMessage {
  readonly message: ConsumeMessage;
  readonly consumer: Consumer;
}

/** A consumer of a queue. RabbitMQ sends it as many messages as it may have that are not settled. */
interface Consumer {
  readonly queue: string;
  readonly tag: string;
  readonly prefetch: number;
  /** True if it was added to others of its queue. */
  readonly isMore: boolean;
  unsettled: number;
  isLive: boolean;
}

/** The parts of a {@link QueueConsumer}. */
export interface QueueConsumerInit {
  readonly link: Link;
  readonly queue: string;
  /** A second queue, of which it has one message at a time. @default none */
  readonly aside?: string | undefined;
  readonly prefetch: number;
  /** Most messages beyond `prefetch`, should the demand grow over it. */
  readonly maxMore: number;
  /** True if it consumes only while there is a demand. */
  readonly isPull: boolean;
  /** True if nothing is settled: messages come as fast as they can. */
  readonly noAck: boolean;
  /** Returns the number of messages that are wanted now. */
  readonly demand: () => number;
  readonly onMessage: (received: ReceivedMessage) => void;
  /** Called when RabbitMQ has closed the channel, or has ended a consumer. */
  readonly onFailure: (error: Error) => void;
}

const maxPrefetch = 65_535;
const moreAtOnce = 64;
const nothing = (): void => {};

/**
 * Consumes a queue on a channel of its own. It has one consumer, and adds others while more messages are wanted than
 * that may have. One that pulls has a consumer only while a message is wanted. Messages belong to the channel: when it
 * has closed, RabbitMQ has taken them back, and settling them does nothing.
 */
export class QueueConsumer {
  readonly #init: QueueConsumerInit;
  readonly #channel: Channel;
  readonly #consumers = new Set<Consumer>();
  /** Consumers that RabbitMQ was told to end. */
  readonly #ending = new Set<Promise<unknown>>();
  /** Messages that are settled when no consumer is left. */
  readonly #settling = new InFlight();
  /** Messages of the queue that RabbitMQ may still send. */
  #open = 0;
  /** Messages that came before the first `resume`. */
  readonly #early: ReceivedMessage[] = [];
  #tags = 0;
  /** Messages that were settled after the channel had closed. */
  #late = 0;
  #isStarted = false;
  #isStopped = false;
  #isClosed = false;
  #failure: Error | undefined;

  private constructor(init: QueueConsumerInit, channel: Channel) {
    this.#init = init;
    this.#channel = channel;
    channel.on('error', (error) => this.#fail(error));
  }

  static async open(init: QueueConsumerInit): Promise<QueueConsumer> {
    const channel = await init.link.channel();
    const one = new QueueConsumer(init, channel);
    try {
      if (!init.isPull) await one.#consumeAll(init.prefetch);
      if (one.#failure) throw one.#failure;
      return one;
    } catch (error) {
      one.#isClosed = true;
      channel.close().catch(nothing);
      throw one.#failure ?? error;
    }
  }

  /** Begins to hand on messages. Called again when the demand has grown. */
  resume(): void {
    if (!this.#isStarted) this.#start();
    if (this.#isStopped || this.#open > 0) return;
    const { demand, isPull, queue, maxMore } = this.#init;
    const wanted = demand();
    if (wanted <= 0) return;
    // A failure closes the channel, which is told of.
    if (isPull) this.#consumeAll(wanted).catch(nothing);
    else if (maxMore > 0) this.#consume(queue, Math.max(wanted, Math.min(moreAtOnce, maxMore))).catch(nothing);
  }

  ack({ message, consumer }: ReceivedMessage): void {
    this.#settle(consumer, () => this.#channel.ack(message));
  }

  /** Gives a message back, for whoever consumes its queue. */
  requeue({ message, consumer }: ReceivedMessage): void {
    this.#settle(consumer, () => this.#channel.nack(message, false, true));
  }

  /** Resolves when RabbitMQ knows what was settled before. */
  async settled(): Promise<void> {
    await this.#init.link.call(this.#channel.prefetch(1));
  }

  /** Resolves when no more messages come. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#cancelAll();
  }

  /** Closes the channel: what is not settled goes back to its queue. */
  async close(deletesQueue: boolean): Promise<void> {
    const { link, queue } = this.#init;
    this.#isClosed = true;
    await this.#settling.idle();
    if (this.#late > 0) link.logger.debug('messages were settled after their channel', { queue, messages: this.#late });
    await link.call(this.#channel.close()).catch(nothing);
    if (deletesQueue) await link.declare((channel) => channel.deleteQueue(queue));
  }

  #start(): void {
    this.#isStarted = true;
    for (const one of this.#early.splice(0)) this.#init.onMessage(one);
    if (this.#failure) this.#fail(this.#failure);
  }

  async #consumeAll(prefetch: number): Promise<void> {
    const { queue, aside } = this.#init;
    const first = aside === undefined ? [] : [this.#consume(aside, 1)];
    await Promise.all([...first, this.#consume(queue, prefetch)]);
  }

  async #consume(queue: string, atMost: number): Promise<void> {
    const { link, noAck } = this.#init;
    const prefetch = Math.min(atMost, maxPrefetch);
    const isMore = Array.from(this.#consumers).some((other) => other.queue === queue);
    const tag = `tenon-${(this.#tags += 1)}`;
    const consumer: Consumer = { queue, tag, prefetch, isMore, unsettled: 0, isLive: true };
    this.#consumers.add(consumer);
    this.#opened(consumer, prefetch);
    const receive = (message: ConsumeMessage | null): void => this.#receive(consumer, message);
    await Promise.all([
      link.call(this.#channel.prefetch(prefetch)),
      link.call(this.#channel.consume(queue, receive, { consumerTag: tag, noAck })),
    ]);
  }

  #receive(consumer: Consumer, message: ConsumeMessage | null): void {
    const { onMessage, isPull, demand, noAck } = this.#init;
    if (message === null)
      return this.#fail(new Error(`RabbitMQ ended the consumer of the queue "${consumer.queue}": was it deleted?`));
    if (!noAck) {
      consumer.unsettled += 1;
      this.#opened(consumer, -1);
    }
    if (this.#isStarted) onMessage({ message, consumer });
    else this.#early.push({ message, consumer });
    if (!isPull) return;
    if (demand() <= 0) void this.#cancelAll();
    else this.resume();
  }

  #settle(consumer: Consumer, settle: () => void): void {
    if (this.#init.isPull) void this.#settleAfterEnd(consumer, settle);
    else this.#settleNow(consumer, settle);
  }

  /** Otherwise RabbitMQ would send another message to a consumer that ends, and count that as a delivery. */
  async #settleAfterEnd(consumer: Consumer, settle: () => void): Promise<void> {
    this.#settling.enter();
    await this.#cancelAll();
    this.#settleNow(consumer, settle);
    this.#settling.leave();
    this.resume();
  }

  #settleNow(consumer: Consumer, settle: () => void): void {
    try {
      settle();
    } catch {
      this.#late += 1;
      return;
    }
    consumer.unsettled -= 1;
    this.#opened(consumer, 1);
    if (this.#consumers.size > (this.#init.aside === undefined ? 1 : 2)) this.#shrink();
  }

  /** Ends a consumer that was added and has no messages, when there is room without it again. */
  #shrink(): void {
    for (const one of this.#consumers)
      if (one.isMore && one.unsettled === 0 && this.#open > one.prefetch) return this.#cancel(one);
  }

  #opened({ queue, isLive }: Consumer, messages: number): void {
    if (isLive && queue === this.#init.queue) this.#open += messages;
  }

  /** Resolves when no consumer is left. */
  async #cancelAll(): Promise<void> {
    for (const one of this.#consumers) this.#cancel(one);
    await Promise.all(this.#ending);
  }

  #cancel(consumer: Consumer): void {
    this.#consumers.delete(consumer);
    this.#opened(consumer, consumer.unsettled - consumer.prefetch);
    consumer.isLive = false;
    // A failure closes the channel, which is told of.
    const ending = this.#init.link.call(this.#channel.cancel(consumer.tag)).catch(nothing);
    this.#ending.add(ending);
    void ending.then(() => this.#ending.delete(ending));
  }

  #fail(error: Error): void {
    if (this.#isClosed) return;
    if (this.#isStarted) this.#init.onFailure(error);
    else this.#failure ??= error;
  }
}
