import type { Redis } from 'ioredis';

import type { EventContent } from '../../go-micro/event-envelope.ts';
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
      if (sinks.length > 0) return;
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
    const opening = this.#link.connect('subscriptions').then((connection) => {
      connection.on('messageBuffer', (name, payload) => this.#receive(name, payload));
      connection.on('ready', () => this.#resubscribe(connection));
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

  #resubscribe(connection: Redis): void {
    const topics = [...this.#channels.keys()];
    if (topics.length === 0) return;
    const { logger } = this.#setup;
    const link = this.#link;
    const standing = connection.subscribe(...topics);
    for (const channel of this.#channels.values()) channel.standing = standing;
    standing.then(
      () =>
        logger.info('subscribed again after an outage; what was published meanwhile has passed', {
          address: link.address,
          topics,
        }),
      // The connection is lost again: the next one subscribes.
      (error: unknown) => logger.debug('could not subscribe again', { address: link.address, error }),
    );
  }
}
