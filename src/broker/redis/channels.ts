import type { Redis } from 'ioredis';

import type { EventContent } from '../../go-micro/event-envelope.ts';
import { isRedisReply } from '../../internal/redis.ts';
import type { Timer } from '../../runtime/runtime.ts';
import type { EventSink } from '../kit/driver.ts';
import type { DriverSetup } from '../kit/portable-broker.ts';
import type { RedisLink } from './link.ts';

/** The subscription to a channel, or to a pattern of channels. */
interface Channel {
  readonly name: string;
  readonly isPattern: boolean;
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
  async join(name: string, sink: EventSink, isPattern = false): Promise<() => void> {
    const connection = await (this.#connection ??= this.#open());
    const key = keyOf(name, isPattern);
    let channel = this.#channels.get(key);
    if (!channel) {
      channel = { name, isPattern, sinks: [], standing: subscribe(connection, name, isPattern) };
      this.#channels.set(key, channel);
    }
    const { sinks } = channel;
    sinks.push(sink);
    const leave = (): void => {
      const index = sinks.indexOf(sink);
      if (index < 0) return;
      sinks.splice(index, 1);
      if (sinks.length > 0 || this.#channels.get(key) !== channel) return;
      this.#channels.delete(key);
      const left = isPattern ? connection.punsubscribe(name) : connection.unsubscribe(name);
      // A failure means that the connection is lost, and the subscription of the channel with it.
      left.catch(() => undefined);
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
      connection.on('messageBuffer', (name, payload) => this.#receive(name.toString(), payload, false, undefined));
      connection.on('pmessageBuffer', (pattern, name, payload) =>
        this.#receive(pattern, payload, true, name.toString()),
      );
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

  #receive(name: string, payload: Buffer, isPattern: boolean, topic: string | undefined): void {
    const sinks = this.#channels.get(keyOf(name, isPattern))?.sinks;
    if (!sinks) return;
    const { headers, body } = this.#read(payload);
    // The body belongs to its receiver: all but one get a copy. A copy of the list: one may leave while it receives.
    if (sinks.length === 1) sinks[0]?.deliver({ topic, headers, body, attempt: 1 });
    else for (const sink of sinks.slice()) sink.deliver({ topic, headers, body: Buffer.from(body), attempt: 1 });
  }

  /** Redis counts as away until it has answered. The broker subscribes again, with back-off, to what is refused. */
  async #resubscribe(connection: Redis): Promise<void> {
    const { logger } = this.#setup;
    const link = this.#link;
    const topics: string[] = [];
    const refused: [channel: Channel, error: Error][] = [];
    // A command for each: Redis refuses a whole one for one channel.
    const asked = Array.from(this.#channels, async ([key, channel]) => {
      channel.standing = subscribe(connection, channel.name, channel.isPattern);
      try {
        await channel.standing;
        topics.push(channel.name);
      } catch (error) {
        // The connection is lost again: the next one subscribes.
        if (!isRedisReply(error)) return logger.debug('could not subscribe again', { address: link.address, error });
        this.#channels.delete(key);
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

/** Channels and patterns may have the same name. */
function keyOf(name: string, isPattern: boolean): string {
  return isPattern ? `p:${name}` : `c:${name}`;
}

function subscribe(connection: Redis, name: string, isPattern: boolean): Promise<unknown> {
  return isPattern ? connection.psubscribe(name) : connection.subscribe(name);
}
