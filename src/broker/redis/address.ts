import type { RedisOptions as AnyRedisOptions } from 'ioredis';

import { maskAddress } from '../../internal/mask.ts';
import { parseRedisAddress, redisAddressRemedy } from '../../internal/redis.ts';
import * as failures from '../kit/failures.ts';

/** Settings of a connection. How replies are mapped is not among them: the brokers read them as they come. */
export type RedisOptions = Omit<AnyRedisOptions, 'replyMapping'>;

/** The address of a Redis, for ioredis and for messages. */
export interface RedisAddress {
  /** `host:port`, without secrets. */
  readonly text: string;
  readonly options: RedisOptions;
}

/**
 * Reads `host:port`, `host`, `redis://…` and `rediss://…`. INVALID_ARGUMENT (`broker.invalid_address`) for anything
 * else.
 */
export function redisAddress(broker: string, address: string): RedisAddress {
  const options = parseRedisAddress(address);
  if (!options) throw failures.invalidAddress(broker, maskAddress(address), redisAddressRemedy(address));
  const { host, port } = options;
  return { text: `${host.includes(':') ? `[${host}]` : host}:${port}`, options };
}
