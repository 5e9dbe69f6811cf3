import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';
import { Redis, type RedisOptions } from 'ioredis';

import { checkedOptions } from '../errors/checked-options.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { RedisClients } from '../internal/redis-client.ts';
import { isRedisReply, isTemporaryReply } from '../internal/redis.ts';
import { token } from '../internal/token.ts';
import { ConsoleLogger } from '../logger/console.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { systemClock, systemRandom, systemTimers } from '../runtime/system.ts';
import { ConnectionSecurity, type ConnectionSecurityOptions } from '../tls/connection.ts';
import { storeClosed, storeUnreachable } from './store-errors.ts';
import type { Store, StoreSwap } from './store.ts';

/** Options of a {@link RedisStore}. */
export interface RedisStoreOptions extends ConnectionSecurityOptions {
  /**
   * `host:port`, or `redis://user:password@host:port/database` (`rediss://` for TLS).
   * @default '127.0.0.1:6379'
   */
  readonly address?: string | undefined;
  /**
   * A client of ioredis whose settings are used instead of an address, as for sentinels. It is copied, not used itself,
   * and not closed.
   */
  readonly client?: Redis | undefined;
  /** Begins every key. @default 'tenon:store:' */
  readonly keyPrefix?: string | undefined;
  /** After this time without an answer a call fails, in milliseconds. @default 5_000 */
  readonly timeoutMs?: number | undefined;
}
/** Container key of the {@link RedisStoreOptions}. */
export const RedisStoreOptions: ServiceIdentifier<RedisStoreOptions> = token('store', 'RedisStoreOptions');

const defaults = { address: '127.0.0.1:6379', keyPrefix: 'tenon:store:', timeoutMs: 5_000 } as const;

/** ARGV: whether a value is expected, the expected one, whether there is a new one, the new one, its time. */
const swapScript = `
local current = redis.call('GET', KEYS[1])
local isEqual = (ARGV[1] == '0' and not current) or (ARGV[1] == '1' and current == ARGV[2])
if not isEqual then return {0, current} end
if ARGV[3] == '0' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5]) end
return {1}`;

/** ARGV: the time that the sum is kept. */
const incrementScript = `
local sum = redis.call('INCR', KEYS[1])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return sum`;

/** Keeps values in Redis, for services of several processes. It connects at the first call. */
@injectable()
export class RedisStore implements Store {
  readonly #options: RedisStoreOptions & typeof defaults;
  readonly #clients: RedisClients<Redis>;
  readonly #security: ConnectionSecurity;
  #opening: Promise<Redis> | undefined;
  #isClosed = false;

  constructor(
    @inject(RedisStoreOptions) @optional() options: RedisStoreOptions = {},
    @inject(Clock) @optional() clock: Clock = systemClock,
    @inject(Random) @optional() random: Random = systemRandom,
    @inject(Timers) @optional() timers: Timers = systemTimers,
    @inject(Logger) @optional() logger: Logger = new ConsoleLogger({ level: 'warn' }),
  ) {
    checkedOptions('RedisStoreOptions', options);
    const { address = defaults.address, keyPrefix = defaults.keyPrefix, timeoutMs = defaults.timeoutMs } = options;
    this.#options = { ...options, address, keyPrefix, timeoutMs } as RedisStoreOptions & typeof defaults;
    const owner = { name: 'the store "redis"', variables: 'TENON_STORE_' };
    this.#security = new ConnectionSecurity(options, owner, { runtime: { clock, timers }, logger });
    const make = (all: Omit<RedisOptions, 'replyMapping'>, copied?: Redis): Redis =>
      copied?.duplicate(all) ?? new Redis(all);
    this.#clients = new RedisClients<Redis>(
      { address, client: options.client, security: this.#security, random: () => random.next(), make },
      invalidAddress,
    );
  }

  async compareAndSet(
    key: string,
    expected: string | undefined,
    value: string | undefined,
    ttlMs: number,
  ): Promise<StoreSwap> {
    const given = [expected === undefined ? '0' : '1', expected ?? '', value === undefined ? '0' : '1', value ?? ''];
    const [isSet, current] = (await this.#run(swapScript, key, [...given, wholeMs(ttlMs)])) as [number, string?];
    return isSet === 1 ? { isSet: true, value } : { isSet: false, value: current ?? undefined };
  }

  async increment(key: string, ttlMs: number): Promise<number> {
    return Number(await this.#run(incrementScript, key, [wholeMs(ttlMs)]));
  }

  async delete(key: string): Promise<void> {
    await this.#run(`return redis.call('DEL', KEYS[1])`, key, []);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const opening = this.#opening;
    this.#opening = undefined;
    (await opening?.catch(() => undefined))?.disconnect();
    this.#security.close();
  }

  async #run(script: string, key: string, args: readonly (string | number)[]): Promise<unknown> {
    if (this.#isClosed) throw storeClosed('redis');
    const opening = (this.#opening ??= this.#connect());
    let client: Redis | undefined;
    try {
      client = await opening;
      return await client.eval(script, 1, this.#options.keyPrefix + key, ...args);
    } catch (error) {
      throw this.#failure(error, client);
    }
  }

  async #connect(): Promise<Redis> {
    const { timeoutMs } = this.#options;
    const client = this.#clients.make({
      connectionName: 'tenon:store',
      connectTimeout: timeoutMs,
      commandTimeout: timeoutMs,
      socketTimeout: timeoutMs,
      enableOfflineQueue: false,
    });
    try {
      await new Promise<void>((resolve, reject) => {
        // Sentinels that do not answer are asked again without end.
        client.once('error', reject);
        client.connect().then(resolve, reject);
      });
      return client;
    } catch (error) {
      const reason = this.#clients.reasonOf(error, client);
      client.disconnect();
      // The next call connects again.
      this.#opening = undefined;
      throw reason;
    }
  }

  #failure(error: unknown, client: Redis | undefined): TenonError {
    const cause = this.#clients.reasonOf(error, client);
    if (!isRedisReply(cause) || isTemporaryReply(cause)) return storeUnreachable('redis', this.#clients.address, cause);
    return new TenonError({
      code: /^(?:NOAUTH|WRONGPASS)\b/.test(cause.message) ? Code.Unauthenticated : Code.Internal,
      reason: 'store.refused',
      message: `the store "redis" at ${this.#clients.address} refused a call, saying "${cause.message}"`,
      cause,
    });
  }
}

/** Redis takes whole milliseconds, of at least one. */
function wholeMs(ms: number): number {
  return Math.max(1, Math.ceil(Math.min(ms, Number.MAX_SAFE_INTEGER / 1_000)));
}

function invalidAddress(shown: string, remedy: string): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'store.invalid_address',
    message: `"${shown}" is no address of the store "redis": ${remedy}`,
  });
}
