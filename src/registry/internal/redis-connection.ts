import { Redis } from 'ioredis';

import { backoffMs } from '../../internal/backoff.ts';
import { maskAddress } from '../../internal/mask.ts';
import { isRedisReply, isTemporaryReply, parseRedisAddress, redisAddressRemedy } from '../../internal/redis.ts';
import { type DriverFailure, invalidAddress } from '../kit/errors.ts';

/** Address and settings of a {@link RedisConnection}. */
export interface RedisConnectionOptions {
  readonly address: string;
  readonly client?: Redis | undefined;
  readonly timeoutMs: number;
  /** Gives numbers in [0, 1). */
  random(): number;
}

const connectTimeoutMs = 2_000;

/**
 * One connection, which comes back by itself. Its commands wait for the attempt to connect that is under way or comes
 * next, and fail with it.
 */
export class RedisConnection {
  readonly redis: Redis;
  #lastError: Error | undefined;

  constructor(options: RedisConnectionOptions) {
    this.redis = open(options);
    // Every command reports its own failure; without a listener ioredis writes to the console.
    this.redis.on('error', (error) => (this.#lastError = error));
    this.redis.on('ready', () => (this.#lastError = undefined));
  }

  /** The error that says most: a reply of Redis, or why there is no connection, or that a command was given up. */
  reasonOf(error: unknown): unknown {
    return isRedisReply(error) ? error : (this.#lastError ?? error);
  }

  close(): void {
    this.redis.disconnect();
  }
}

/** The address without its secrets, for messages. */
export function shownAddress({ address, client }: Pick<RedisConnectionOptions, 'address' | 'client'>): string {
  if (client) return client.options.path ?? `${client.options.host}:${client.options.port}`;
  return maskAddress(address);
}

/** INVALID_ARGUMENT (`registry.invalid_address`) for what is no address of a Redis. */
export function assertRedisAddress(address: string): void {
  if (parseRedisAddress(address)) return;
  throw invalidAddress(`"${shownAddress({ address })}" is not the address of a Redis: ${redisAddressRemedy(address)}`);
}

/** Translates an error: Redis replied with it, or is unreachable. */
export function redisFailure(cause: unknown): DriverFailure {
  if (isRedisReply(cause) && !isTemporaryReply(cause)) {
    return { kind: /^(?:NOAUTH|WRONGPASS|NOPERM)\b/.test(cause.message) ? 'denied' : 'refused', cause };
  }
  return { kind: 'unreachable', remedy: 'Is Redis running there? TENON_REGISTRY_ADDRESS says where to look', cause };
}

function open(given: RedisConnectionOptions): Redis {
  const { client, address, timeoutMs } = given;
  const options = {
    connectTimeout: Math.min(timeoutMs, connectTimeoutMs),
    // A Redis that hangs is not waited for: calls give up, and then the connection is made anew.
    socketTimeout: 2 * timeoutMs,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    // ioredis waits this long for the end of a connection, even of one that is gone, and keeps the process alive
    // meanwhile.
    disconnectTimeout: 100,
    retryStrategy: (attempt: number) => backoffMs(attempt, () => given.random(), { initialMs: 50, maxMs: 1_000 }),
  };
  if (client) return client.duplicate(options);
  return new Redis({ ...options, ...parseRedisAddress(address) });
}
