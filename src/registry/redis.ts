import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';
import { Redis } from 'ioredis';

import { Code, TenonError } from '../errors/errors.ts';
import { token } from '../internal/token.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { systemClock, systemRandom, systemTimers } from '../runtime/system.ts';
import {
  assertRegistrable,
  assertWanted,
  byVersion,
  callCancelled,
  decodeService,
  encodeNode,
  registryClosed,
  registryStarted,
} from './internal/records.ts';
import { openRedis, redisFailure } from './internal/redis-connection.ts';
import { RedisWatches } from './internal/redis-watches.ts';
import {
  type RegisterOptions,
  type Registry,
  type RegistryCallOptions,
  type RegistryCapabilities,
  type RegistryOptions,
  serviceNotFound,
  type ServiceRecord,
  type Watcher,
  type WatchOptions,
} from './registry.ts';

/** How a {@link RedisRegistry} works. */
export interface RedisRegistryOptions extends RegistryOptions {
  /** A connection to share in place of an address. It is duplicated, never closed. */
  readonly client?: Redis | undefined;
  /** Begins every key and channel. @default 'tenon:registry:' */
  readonly prefix?: string | undefined;
}
/** Container key of the {@link RedisRegistryOptions}. */
export const RedisRegistryOptions: ServiceIdentifier<RedisRegistryOptions> = token('registry', 'RedisRegistryOptions');

const defaults = { address: '127.0.0.1:6379', timeoutMs: 5_000, ttlMs: 30_000, prefix: 'tenon:registry:' } as const;

/**
 * Announces the node KEYS[1] with the record ARGV[2] for ARGV[3] ms, and tells watchers if the record is not the one that was there. The
 * indexes are sorted by when their members lapse, so that reading needs no scan and leaves out the dead.
 */
const registerScript = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lapses = now + tonumber(ARGV[3])
local before = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', KEYS[2], lapses, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('PEXPIREAT', KEYS[2], redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2])
redis.call('ZADD', KEYS[3], 'GT', lapses, ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
if before ~= ARGV[2] then
  redis.call('PUBLISH', KEYS[4], (before and 'update' or 'create') .. ' ' .. ARGV[2])
end
`;

const deregisterScript = `
local before = redis.call('GET', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
if redis.call('ZCARD', KEYS[2]) == 0 then redis.call('ZREM', KEYS[3], ARGV[2]) end
if before then
  redis.call('DEL', KEYS[1])
  redis.call('PUBLISH', KEYS[4], 'delete ' .. before)
end
`;

/** Nodes in Redis: a key per node, which lapses with its lease. `docs/registry.md` has the layout. */
@injectable()
export class RedisRegistry implements Registry {
  static readonly capabilities: RegistryCapabilities = { expires: true, shared: true, watches: true };

  readonly #timers: Timers;
  readonly #random: Random;
  readonly #clock: Clock;
  #options: RedisRegistryOptions & typeof defaults;
  #connection: Redis | undefined;
  #watches: RedisWatches | undefined;
  #isClosed = false;

  constructor(
    @inject(RedisRegistryOptions) @optional() options: RedisRegistryOptions = {},
    @inject(Clock) @optional() clock: Clock = systemClock,
    @inject(Random) @optional() random: Random = systemRandom,
    @inject(Timers) @optional() timers: Timers = systemTimers,
  ) {
    this.#options = withDefaults(defaults, options);
    this.#clock = clock;
    this.#random = random;
    this.#timers = timers;
  }

  get options(): RegistryOptions {
    return this.#options;
  }

  init(options: RegistryOptions): void {
    if (this.#connection) throw registryStarted('redis');
    this.#options = withDefaults(this.#options, options);
  }

  async register(service: ServiceRecord, options: RegisterOptions = {}): Promise<void> {
    assertRegistrable(service);
    const ttlMs = Math.max(1, Math.ceil(options.ttlMs ?? this.#options.ttlMs));
    await this.#call('register', options, (redis) =>
      Promise.all(
        service.nodes.map((node) =>
          redis.eval(
            registerScript,
            4,
            ...this.#keys(service.name, node.id),
            node.id,
            encodeNode(service, node),
            ttlMs,
            service.name,
          ),
        ),
      ),
    );
  }

  async deregister(service: ServiceRecord, options: RegistryCallOptions = {}): Promise<void> {
    await this.#call('deregister', options, (redis) =>
      Promise.all(
        service.nodes.map((node) =>
          redis.eval(deregisterScript, 4, ...this.#keys(service.name, node.id), node.id, service.name),
        ),
      ),
    );
  }

  async getService(name: string, options: RegistryCallOptions = {}): Promise<readonly ServiceRecord[]> {
    const found = await this.#call('getService', options, (redis) => this.#nodesOf(redis, name));
    if (found.length === 0) throw serviceNotFound('redis', name);
    return byVersion(found);
  }

  listServices(options: RegistryCallOptions = {}): Promise<readonly ServiceRecord[]> {
    return this.#call('listServices', options, async (redis) => {
      const names = await redis.zrange(`${this.#options.prefix}services`, '0', '-1');
      const found = await Promise.all(names.sort().map((name) => this.#nodesOf(redis, name)));
      return found.flatMap(byVersion);
    });
  }

  watch(options: WatchOptions = {}): Promise<Watcher> {
    return this.#call('watch', options, async (redis) => {
      this.#watches ??= new RedisWatches({
        clock: this.#clock,
        timers: this.#timers,
        channel: `${this.#options.prefix}events`,
        open: () => this.#open(),
        nodesOf: async (name) => this.#nodesOf(this.#connection ?? redis, name),
        names: async () => (this.#connection ?? redis).zrange(`${this.#options.prefix}services`, '0', '-1'),
        leaseMs: (name, id) => (this.#connection ?? redis).pttl(this.#keys(name, id)[0]),
      });
      return this.#watches.watch(options);
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#watches?.close();
    this.#connection?.disconnect();
  }

  toString(): string {
    return 'redis';
  }

  async #nodesOf(redis: Redis, name: string): Promise<ServiceRecord[]> {
    const ids = await redis.zrange(this.#keys(name, '')[1], '0', '-1');
    if (ids.length === 0) return [];
    const texts = await redis.mget(ids.map((id) => this.#keys(name, id)[0]));
    return texts.flatMap((text) => (text === null ? [] : (decodeService(text) ?? [])));
  }

  /** The node's key, the service's index, the index of services, the channel of changes. */
  #keys(name: string, id: string): [node: string, index: string, services: string, events: string] {
    const { prefix } = this.#options;
    return [`${prefix}node:${name}:${id}`, `${prefix}service:${name}`, `${prefix}services`, `${prefix}events`];
  }

  #open(): Redis {
    const { client, address, timeoutMs } = this.#options;
    return openRedis(client, address, timeoutMs, () => this.#random.next());
  }

  async #call<T>(what: string, options: RegistryCallOptions, work: (redis: Redis) => Promise<T>): Promise<T> {
    if (this.#isClosed) throw registryClosed('redis');
    assertWanted('redis', options);
    const redis = (this.#connection ??= this.#open());
    const timeoutMs = options.timeoutMs ?? this.#options.timeoutMs;
    return new Promise((resolve, reject) => {
      const onAbort = (): void => reject(callCancelled('redis', options.signal as AbortSignal));
      const timer = this.#timers.after(timeoutMs, () =>
        reject(
          new TenonError({
            code: Code.DeadlineExceeded,
            reason: 'registry.timeout',
            message: `${what}: the redis registry at ${this.#options.address} did not answer within ${timeoutMs} ms`,
          }),
        ),
      );
      options.signal?.addEventListener('abort', onAbort, { once: true });
      work(redis)
        .then(resolve, (error: unknown) =>
          reject(this.#isClosed ? registryClosed('redis') : redisFailure(what, this.#options.address, error)),
        )
        .finally(() => {
          timer.cancel();
          options.signal?.removeEventListener('abort', onAbort);
        });
    });
  }
}

function withDefaults(
  base: RedisRegistryOptions & typeof defaults,
  options: RedisRegistryOptions,
): RedisRegistryOptions & typeof defaults {
  return { ...base, ...Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) };
}
