import type { Channel } from 'amqplib';

import type { Link } from './link.ts';
import { maxShortBytes } from './messages.ts';

/** The queues of one subscription. */
export interface Queues {
  readonly main: string;
  /** Events of a group whose receiver was lost. @default none: there is no group */
  readonly redelivery?: string | undefined;
  /** The end of the names of a group's queues: `/<group>/<topic>`. */
  readonly suffix?: string | undefined;
}

type GroupQueues = { readonly [K in keyof Queues]-?: string };

/** The parts of a {@link Topology}. */
export interface TopologyInit {
  readonly exchange: string;
  readonly isDurable: boolean;
  readonly isQuorum: boolean;
}

// An event that was redelivered more often is dropped by RabbitMQ. From version 4 on the default is 20.
const deliveryLimit = 2_000_000_000;
const maxDelayMs = 2_000_000_000;
/** The group for which dead letters are stored. */
export const deadLetterGroup = 'dead-letter';
/** Longest topic, in bytes, for which that group can have its queues. */
export const maxTopicBytes = maxShortBytes - `tenon.delay.${maxDelayMs}/${deadLetterGroup}/`.length;

/**
 * The exchange and the queues of events:
 *
 * - `<exchange>/<group>/<topic>` has the events of a group;
 * - `<exchange>.redelivery/<group>/<topic>` has those whose receiver was lost. Each member takes one of them at a time:
 * if its process ends by it, no other is counted;
 * - `<exchange>.delay.<ms>/<group>/<topic>` has those that wait for a delay. RabbitMQ moves them to the first then;
 * - a queue of the connection's own has the events of a subscriber without a group, and of a watch.
 */
export class Topology {
  readonly exchange: string;
  readonly #isDurable: boolean;
  readonly #isQuorum: boolean;
  /** The queues for delays that were declared on a connection. */
  #delays = new WeakMap<Link, Map<string, Promise<void>>>();
  /** Declarations of groups that are not answered yet, by the name of the queue. */
  readonly #declaring = new WeakMap<Link, Map<string, Promise<void>>>();

  constructor({ exchange, isDurable, isQuorum }: TopologyInit) {
    this.exchange = exchange;
    this.#isDurable = isDurable;
    this.#isQuorum = isQuorum;
  }

  async declareExchange(channel: Channel): Promise<void> {
    await channel.assertExchange(this.exchange, 'topic', { durable: this.#isDurable });
  }

  /** Returns the names of the queues of a group; `undefined` if they are too long. */
  groupOf(group: string, topic: string): GroupQueues | undefined {
    const suffix = `/${group}/${topic}`;
    const queues = { main: this.exchange + suffix, redelivery: `${this.exchange}.redelivery${suffix}`, suffix };
    return Buffer.byteLength(this.#delayName(maxDelayMs, suffix)) > maxShortBytes ? undefined : queues;
  }

  /** Declares the queues of a group. Calls for the same group share one declaration while it is under way. */
  declareGroup(link: Link, queues: GroupQueues, topic: string): Promise<void> {
    const { main } = queues;
    const all = this.#declaring.get(link) ?? new Map<string, Promise<void>>();
    this.#declaring.set(link, all);
    const known = all.get(main);
    if (known) return known;
    const declaring = this.#declareGroup(link, queues, topic).finally(() => all.delete(main));
    all.set(main, declaring);
    return declaring;
  }

  async #declareGroup(link: Link, { main, redelivery }: GroupQueues, topic: string): Promise<void> {
    const args = this.#isQuorum ? { 'x-delivery-limit': deliveryLimit } : {};
    await link.declare(async (channel) => {
      await this.declareExchange(channel);
      await this.#declareQueue(channel, redelivery, args);
      await this.#declareQueue(channel, main, args);
      await channel.bindQueue(main, this.exchange, topic);
    });
  }

  /** Declares a queue that is gone with the connection. */
  declareTail(link: Link, topic: string): Promise<Queues> {
    return link.declare(async (channel) => {
      await this.declareExchange(channel);
      const options = { exclusive: true, durable: false, arguments: { 'x-queue-type': 'classic' } };
      const { queue } = await channel.assertQueue('', options);
      await channel.bindQueue(queue, this.exchange, topic);
      return { main: queue };
    });
  }

  /** Returns the name of the queue for a delay, rounded up to 1, 2 or 5 times a power of ten. */
  async delayQueue(link: Link, { main, suffix = '' }: Queues, delayMs: number): Promise<string> {
    const atLeastMs = Math.min(Math.max(10, delayMs), maxDelayMs);
    const unit = 10 ** Math.floor(Math.log10(atLeastMs));
    const stepMs = unit * ([1, 2, 5].find((factor) => factor * unit >= atLeastMs) ?? 10);
    const name = this.#delayName(stepMs, suffix);
    const args = {
      'x-message-ttl': stepMs,
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': main,
      // Otherwise RabbitMQ may lose what it moves.
      ...(this.#isQuorum && { 'x-dead-letter-strategy': 'at-least-once', 'x-overflow': 'reject-publish' }),
    };
    const declared = this.#delays.get(link) ?? new Map<string, Promise<void>>();
    this.#delays.set(link, declared);
    const declaring = declared.get(name) ?? link.declare((channel) => this.#declareQueue(channel, name, args));
    declared.set(name, declaring);
    await declaring;
    return name;
  }

  /** Has the queues for delays declared again: one of them was gone. */
  forgetDelays(): void {
    this.#delays = new WeakMap();
  }

  #delayName(delayMs: number, suffix: string): string {
    return `${this.exchange}.delay.${delayMs}${suffix}`;
  }

  async #declareQueue(channel: Channel, name: string, args: object): Promise<void> {
    const kind = { 'x-queue-type': this.#isQuorum ? 'quorum' : 'classic' };
    await channel.assertQueue(name, { durable: true, arguments: { ...kind, ...args } });
  }
}
