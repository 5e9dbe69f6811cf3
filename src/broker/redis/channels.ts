import type { Redis } from 'ioredis';

import type { EventContent } from '../../go-micro/event-envelope.ts';
import { isRedisReply } from '../../internal/redis.ts';
import type { Timer } from '../../runtime/runtime.ts';
import type { EventSink } from '../kit/driver.ts';
import type { DriverSetup } from '../kit/portable-broker.ts';
import type { RedisLink } from './link.ts';

interface Channel {
  readonly sinks: EventSink[];
  /** Redis has confirmed the subscription. */
  standing: Promise<unknown>;
}

// Without pings, a connection that only subscribes would not notice a dead peer.
const pingEveryMs = 15_000;

/** All subscriptions of one broker to Redis channels, on one connection. */
export class RedisChannels {
  readonly #link: RedisLink;
  readonly #setup: DriverSetup;
  readonly #read: (payload: Buffer) => EventContent;
  readonly #channels = new Map<string, Channel>();
  #connection: Promise<Redis> | undefined;
  #ping: Timer | undefined;

  constructor(link: RedisLink, setup: DriverSetup, read: (payload: Buffer) => EventContent) {
    this.#link = link;
    this.#setup = setup;
    this.#read = read;
  }

  /** Resolves once events of the topic arrive at the sink, with the function that ends that. */
  async join(topic: string, sink: EventSink): Promise<() => void> {
    const connection = await (this.#connection ??= this.#open());
    let channel = this.#channels.get(topic);
    if (!channel) {
      channel = { sinks: [], standing: connection.subscribe(topic) };
      this.#channels.set(topic, channel);
    }
    const { sinks } = channel;
    sinks.push(sink);
    const leave = (): void => {
      const index = sinks.indexOf(sink);
      if (index < 0) return;
      sinks.splice(index, 1);
      if (sinks.length > 0 || this.#channels.get(topic) !== channel) return;
      this.#channels.delete(topic);
      // A failure means that the connection is lost, and the subscription of the channel with it.
      connection.unsubscribe(topic).catch(() => undefined);
    };
    try {
      await channel.standing;
    } catch (error) {
      leave();
      throw error;
    }
    return leave;
  }

  close(): void {
    this.#ping?.cancel();
    this.#channels.clear();
    this.#connection = undefined;
  }

  #open(): Promise<Redis> {
    const again = (connection: Redis): void => void this.#resubscribe(connection);
    const opening = this.#link.connect('subscriptions', {}, again).then((connection) => {
      connection.on('messageBuffer', (name, payload) => this.#receive(name, payload));
      this.#ping = this.#setup.runtime.timers.every(pingEveryMs, () => {
        if (connection.status === 'ready') connection.ping().catch(() => undefined);
      });
      return connection;
    });
    opening.catch(() => {
      this.#connection = undefined;
    });
    return opening;
  }

  #receive(name: Buffer, payload: Buffer): void {
    const sinks = this.#channels.get(name.toString())?.sinks;
    if (!sinks) return;
    const { headers, body } = this.#read(payload);
    // The body belongs to its receiver: all but one get a copy. A copy of the list: one may leave while it receives.
    if (sinks.length === 1) sinks[0]?.deliver({ headers, body, attempt: 1 });
    else for (const sink of sinks.slice()) sink.deliver({ headers, body: new Uint8Array(body), attempt: 1 });
  }

  /** Redis counts as away until it has answered. The broker subscribes again, with back-off, to what is refused. */
  async #resubscribe(connection: Redis): Promise<void> {
    const { logger } = this.#setup;
    const link = this.#link;
    const topics: string[] = [];
    const refused: [channel: Channel, error: Error][] = [];
    // A command for each: Redis refuses a whole one for one channel.
    const asked = Array.from(this.#channels, async ([topic, channel]) => {
      channel.standing = connection.subscribe(topic);
      try {
        await channel.standing;
        topics.push(topic);
      } catch (error) {
        // The connection is lost again: the next one subscribes.
        if (!isRedisReply(error)) return logger.debug('could not subscribe again', { address: link.address, error });
        this.#channels.delete(topic);
        refused.push([channel, error]);
      }
    });
    await Promise.all(asked);
    if (connection.status === 'ready') link.found(connection);
    for (const [{ sinks }, error] of refused) for (const sink of sinks.slice()) sink.fail(error);
    if (topics.length === 0) return;
    logger.info('subscribed again after an outage; what was published meanwhile has passed', {
      address: link.address,
      topics,
    });
  }
}
