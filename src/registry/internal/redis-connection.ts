import { Redis } from 'ioredis';

import { Code, TenonError, textOf } from '../../errors/errors.ts';
import { backoffMs } from '../../internal/backoff.ts';
import { maskAddress } from '../../internal/mask.ts';
import { isRedisReply, isTemporaryReply, parseRedisAddress, redisAddressRemedy } from '../../internal/redis.ts';

/** Where Redis is, and how it is spoken to. */
export interface RedisConnectionOptions {
  readonly address: string;
  readonly client?: Redis | undefined;
  readonly timeoutMs: number;
  /** Gives numbers in [0, 1). */
  random(): number;
}

const connectTimeoutMs = 2_000;

/** One connection, which comes back by itself. Its commands wait for the attempt to connect that is under way or comes next, and fail with it. */
export class RedisConnection {
  readonly redis: Redis;
  readonly #options: RedisConnectionOptions;
  #lastError: Error | undefined;

  constructor(options: RedisConnectionOptions) {
    this.#options = options;
    this.redis = open(options);
    // Every command reports its own failure; without a listener ioredis writes to the console.
    this.redis.on('error', (error) => (this.#lastError = error));
    this.redis.on('ready', () => (this.#lastError = undefined));
  }

  /** What an error of ioredis means: a reply of Redis is one thing, a Redis that does not reply another. */
  failure(what: string, error: unknown): TenonError {
    if (TenonError.is(error)) return error;
    const where = shownAddress(this.#options);
    // That a command was given up says less than why there is no connection.
    const cause = isRedisReply(error) ? error : (this.#lastError ?? error);
    if (isRedisReply(cause) && !isTemporaryReply(cause)) {
      const isDenied = /^(?:NOAUTH|WRONGPASS|NOPERM)\b/.test(cause.message);
      return new TenonError({
        code: isDenied ? Code.PermissionDenied : Code.Internal,
        reason: 'registry.refused',
        message: `${what}: the redis registry at ${where} refused: ${cause.message}`,
        cause,
      });
    }
    return new TenonError({
      code: Code.Unavailable,
      reason: 'registry.unreachable',
      message: `${what}: the redis registry at ${where} cannot be reached (${textOf(cause)}): is Redis running there? TENON_REGISTRY_ADDRESS says where to look`,
      cause,
    });
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
  if (!parseRedisAddress(address)) {
    throw new TenonError({
      code: Code.InvalidArgument,
      reason: 'registry.invalid_address',
      message: `"${shownAddress({ address })}" is not the address of a Redis: ${redisAddressRemedy(address)}`,
    });
  }
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
    // ioredis waits this long for the end of a connection, even of one that is gone, and keeps the process alive meanwhile.
    disconnectTimeout: 100,
    retryStrategy: (attempt: number) => backoffMs(attempt, () => given.random(), { initialMs: 50, maxMs: 1_000 }),
  };
  if (client) return client.duplicate(options);
  return new Redis({ ...options, ...parseRedisAddress(address) });
}
