import type { Redis } from 'ioredis';

import type { Logger } from '../../logger/logger.ts';
import type { Timer, Timers } from '../../runtime/runtime.ts';
import type { Frame } from './redis-frame.ts';
import type { RedisLink } from './redis-link.ts';

/** What {@link RedisChannels} work with. */
export interface RedisChannelsOptions {
  readonly link: RedisLink;
  read(payload: Buffer): Frame;
  readonly timers: Timers;
  readonly logger: Logger;
}

type See = (frame: Frame) => void;

interface Channel {
  readonly readers: See[];
  /** Redis has confirmed the subscription. */
  standing: Promise<unknown>;
}

// A connection that only listens would never notice that its peer has gone.
const pingEveryMs = 15_000;

/** All subscriptions of one broker to Redis channels, on one connection. */
export class RedisChannels {
  readonly #options: RedisChannelsOptions;
  readonly #channels = new Map<string, Channel>();
  #connection: Promise<Redis> | undefined;
  #ping: Timer | undefined;

  constructor(options: RedisChannelsOptions) {
    this.#options = options;
  }

  /** Resolves when what is published arrives at `see`, which never throws. Gives back what ends it. */
  async join(topic: string, see: See, doing: string): Promise<() => void> {
    const { link } = this.#options;
    link.commands(doing);
    const connection = await (this.#connection ??= this.#open());
    let channel = this.#channels.get(topic);
    if (!channel) {
      channel = { readers: [], standing: connection.subscribe(topic) };
      this.#channels.set(topic, channel);
    }
    const { readers } = channel;
    readers.push(see);
    const leave = (): void => {
      const index = readers.indexOf(see);
      if (index < 0) return;
      readers.splice(index, 1);
      if (readers.length > 0) return;
      this.#channels.delete(topic);
      // If it cannot be told, it has gone with the connection.
      connection.unsubscribe(topic).catch(() => undefined);
    };
    try {
      await channel.standing;
    } catch (error) {
      leave();
      throw link.failure(doing, error, connection);
    }
    return leave;
  }

  close(): void {
    this.#ping?.cancel();
    this.#channels.clear();
    this.#connection = undefined;
  }

  #open(): Promise<Redis> {
    const opening = this.#options.link.open('subscriptions', {}).then((connection) => {
      connection.on('messageBuffer', (name, payload) => this.#receive(name, payload));
      connection.on('ready', () => this.#resubscribe(connection));
      this.#ping = this.#options.timers.every(pingEveryMs, () => {
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
    const readers = this.#channels.get(name.toString())?.readers;
    if (!readers) return;
    const frame = this.#options.read(payload);
    // The body belongs to its receiver: all but one get a copy. A copy of the list: a reader may leave while it reads.
    if (readers.length === 1) readers[0]?.(frame);
    else for (const see of readers.slice()) see({ headers: frame.headers, body: new Uint8Array(frame.body) });
  }

  #resubscribe(connection: Redis): void {
    const topics = [...this.#channels.keys()];
    if (topics.length === 0) return;
    const { logger, link } = this.#options;
    const standing = connection.subscribe(...topics);
    for (const channel of this.#channels.values()) channel.standing = standing;
    standing.then(
      () =>
        logger.info('subscribed again after an outage; what was published meanwhile has passed', {
          address: link.address,
          topics,
        }),
      // Lost again: the next connection asks anew.
      (error: unknown) => logger.debug('could not subscribe again', { address: link.address, error }),
    );
  }
}
