import type { RedisClient, RedisClients } from './redis-client.ts';

/** The parts of an ioredis client that are used here. */
export interface SubscribingClient extends RedisClient {
  readonly status: string;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'ready' | 'close', listener: () => void): unknown;
  on(event: 'message', listener: (channel: string, text: string) => void): unknown;
  on(event: 'pmessage', listener: (pattern: string, channel: string, text: string) => void): unknown;
  subscribe(channel: string): Promise<unknown>;
  psubscribe(pattern: string): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  punsubscribe(pattern: string): Promise<unknown>;
}

/** A channel, or a pattern of channels. */
export interface RedisTopic {
  readonly name: string;
  readonly isPattern: boolean;
}

/** The parts of {@link RedisSubscriptions}. */
export interface RedisSubscriptionsInit<C extends SubscribingClient> {
  readonly clients: RedisClients<C>;
  open(): C;
  onMessage(channel: string, text: string, isByPattern: boolean): void;
  /** The connection was lost: all subscriptions have ended, and messages may have been missed. */
  onLost(): void;
}

/** A connection for subscriptions, as it takes no other commands. It is made when it is needed, anew after a loss. */
export class RedisSubscriptions<C extends SubscribingClient> {
  readonly #init: RedisSubscriptionsInit<C>;
  #redis: C | undefined;

  constructor(init: RedisSubscriptionsInit<C>) {
    this.#init = init;
  }

  /** Resolves when messages are received. Subscriptions to one topic are one. */
  async join({ name, isPattern }: RedisTopic): Promise<void> {
    const redis = (this.#redis ??= this.#connect());
    try {
      await (isPattern ? redis.psubscribe(name) : redis.subscribe(name));
    } catch (error) {
      throw this.#init.clients.reasonOf(error, redis);
    }
  }

  leave({ name, isPattern }: RedisTopic): void {
    if (this.#redis?.status !== 'ready') return;
    const leaving = isPattern ? this.#redis.punsubscribe(name) : this.#redis.unsubscribe(name);
    leaving.catch(() => {});
  }

  close(): void {
    this.#redis?.disconnect();
  }

  #connect(): C {
    const init = this.#init;
    const redis = init.open();
    redis.on('message', (channel: string, text: string) => init.onMessage(channel, text, false));
    redis.on('pmessage', (_pattern: string, channel: string, text: string) => init.onMessage(channel, text, true));
    let wasReady = false;
    redis.on('ready', () => (wasReady = true));
    // There is no subscription before the first connection.
    redis.on('close', () => {
      if (!wasReady || this.#redis !== redis) return;
      this.#redis = undefined;
      redis.disconnect();
      init.onLost();
    });
    return redis;
  }
}
