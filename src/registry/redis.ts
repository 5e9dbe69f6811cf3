import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';
import type { Redis } from 'ioredis';

import { checkedOptions } from '../errors/checked-options.ts';
import { type WithDefaults, withDefaults } from '../internal/defaults.ts';
import { token } from '../internal/token.ts';
import { Logger, silentLogger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { systemClock, systemRandom, systemTimers } from '../runtime/system.ts';
import { boundedCall } from './internal/bounded-call.ts';
import { BrokenRecords } from './internal/broken-records.ts';
import {
  assertRegistrable,
  assertWanted,
  BrokenRecord,
  byVersion,
  decodeNode,
  encodeNode,
  leaseOf,
  registryClosed,
  registryStarted,
} from './internal/records.ts';
import { assertRedisAddress, RedisConnection, shownAddress } from './internal/redis-connection.ts';
import { deregisterScript, namesScript, readScript, registerScript } from './internal/redis-scripts.ts';
import type { RedisSnapshot } from './internal/redis-watch.ts';
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

/** How a {@link RedisRegistry} works. Its address may be `redis://user:password@host:port/database`, `rediss://` for TLS. */
export interface RedisRegistryOptions extends RegistryOptions {
  /** A client of ioredis whose settings are used instead of an address: for TLS, sentinels, credentials. It is copied, not used itself, and not closed. */
  readonly client?: Redis | undefined;
  /** Begins every key and channel. @default 'tenon:registry:' */
  readonly prefix?: string | undefined;
  /** A watcher reads Redis no more often than this, in milliseconds, whatever Redis answers. @default 100 */
  readonly minReadMs?: number | undefined;
  /**
   * A watcher reads what it watches at least as often as this, in milliseconds: it finds then what nobody told it, as what a Redis lost. A node without a lease, as one that was written by
   * hand, stays until such a read misses it. @default 30_000
   */
  readonly maxReadMs?: number | undefined;
  /** A larger record of a node is refused, and passed over by readers, in bytes. @default 1_048_576 */
  readonly maxRecordBytes?: number | undefined;
}
/** Container key of the {@link RedisRegistryOptions}. */
export const RedisRegistryOptions: ServiceIdentifier<RedisRegistryOptions> = token('registry', 'RedisRegistryOptions');

const defaults = {
  address: '127.0.0.1:6379',
  timeoutMs: 5_000,
  ttlMs: 30_000,
  prefix: 'tenon:registry:',
  minReadMs: 100,
  maxReadMs: 30_000,
  maxRecordBytes: 1_048_576,
} as const;
type Settings = WithDefaults<RedisRegistryOptions, typeof defaults>;

/** Nodes in Redis: a key per node, which lapses with its lease. `docs/registry.md` has the layout. */
@injectable()
export class RedisRegistry implements Registry {
  static readonly capabilities: RegistryCapabilities = { expires: true, shared: true, watches: true };

  readonly #timers: Timers;
  readonly #random: Random;
  readonly #clock: Clock;
  readonly #broken: BrokenRecords;
  #options: Settings;
  #connection: RedisConnection | undefined;
  #watches: RedisWatches | undefined;
  #isClosed = false;

  constructor(
    @inject(RedisRegistryOptions) @optional() options: RedisRegistryOptions = {},
    @inject(Clock) @optional() clock: Clock = systemClock,
    @inject(Random) @optional() random: Random = systemRandom,
    @inject(Timers) @optional() timers: Timers = systemTimers,
    @inject(Logger) @optional() logger: Logger = silentLogger,
  ) {
    this.#options = settingsOf(defaults, options);
    this.#clock = clock;
    this.#random = random;
    this.#timers = timers;
    this.#broken = new BrokenRecords(logger);
  }

  get options(): RegistryOptions {
    return this.#options;
  }

  init(options: RegistryOptions): void {
    if (this.#connection || this.#isClosed) throw registryStarted('redis');
    this.#options = settingsOf(this.#options, options);
  }

  register(service: ServiceRecord, options: RegisterOptions = {}): Promise<void> {
    return this.#call('register', options, async (redis) => {
      assertRegistrable(service, this.#options.maxRecordBytes);
      const { name } = service;
      const ttlMs = leaseOf(options.ttlMs ?? this.#options.ttlMs);
      await Promise.all(
        service.nodes.map((node) => {
          const keys = [...this.#keys(name, node.id), encoded(node.id), encodeNode(service, node), ttlMs];
          return redis.eval(registerScript, 4, ...keys, name, this.#channelOf(name));
        }),
      );
    });
  }

  deregister(service: ServiceRecord, options: RegistryCallOptions = {}): Promise<void> {
    return this.#call('deregister', options, async (redis) => {
      const { name } = service;
      await Promise.all(
        service.nodes.map(({ id }) =>
          redis.eval(deregisterScript, 4, ...this.#keys(name, id), encoded(id), name, this.#channelOf(name)),
        ),
      );
    });
  }

  async getService(name: string, options: RegistryCallOptions = {}): Promise<readonly ServiceRecord[]> {
    const { nodes } = await this.#call('getService', options, (redis) => this.#read(redis, name));
    if (nodes.length === 0) throw serviceNotFound('redis', name);
    return byVersion(nodes.map(({ service }) => service));
  }

  listServices(options: RegistryCallOptions = {}): Promise<readonly ServiceRecord[]> {
    return this.#call('listServices', options, async (redis) => {
      const names = await this.#names(redis);
      const found = await Promise.all(names.map((name) => this.#read(redis, name)));
      return found.flatMap(({ nodes }) => byVersion(nodes.map(({ service }) => service)));
    });
  }

  watch(options: WatchOptions = {}): Promise<Watcher> {
    return this.#call('watch', { signal: options.signal }, (redis, signal) => {
      this.#watches ??= new RedisWatches({
        clock: this.#clock,
        timers: this.#timers,
        minReadMs: this.#options.minReadMs,
        maxReadMs: this.#options.maxReadMs,
        channels: this.#channelOf(''),
        channelOf: (name) => this.#channelOf(name),
        open: () => this.#open(),
        decode: (text, channel) => this.#told(text, channel),
        names: () => this.#call('watch', {}, () => this.#names(redis)),
        read: (name) => this.#call('watch', {}, () => this.#read(redis, name)),
      });
      return this.#watches.watch(options, signal);
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#watches?.close();
    this.#connection?.close();
  }

  toString(): string {
    return 'redis';
  }

  async #call<T>(
    what: string,
    options: RegistryCallOptions,
    work: (redis: Redis, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    if (this.#isClosed) throw registryClosed('redis');
    assertWanted('redis', options);
    const connection = (this.#connection ??= this.#open());
    const timeoutMs = options.timeoutMs ?? this.#options.timeoutMs;
    const where = `Redis at ${shownAddress(this.#options)}`;
    const bounds = { registry: 'redis', what, where, timers: this.#timers, signal: options.signal, timeoutMs };
    return boundedCall(bounds, async (bound) => {
      try {
        return await work(connection.redis, bound);
      } catch (error) {
        throw this.#isClosed ? registryClosed('redis') : connection.failure(what, error);
      }
    });
  }

  async #read(redis: Redis, name: string): Promise<RedisSnapshot> {
    const [, index, , revision] = this.#keys(name, '');
    const { maxRecordBytes } = this.#options;
    const prefix = this.#nodeKey(name, '');
    const [last, ...found] = (await redis.eval(readScript, 2, index, revision, prefix, maxRecordBytes)) as (
      string | number
    )[];
    const nodes: { service: ServiceRecord; leaseMs: number }[] = [];
    for (let at = 0; at < found.length; at += 3) {
      const [id, text, leaseMs] = found.slice(at, at + 3);
      const key = `${prefix}${id}`;
      const service = this.#broken.read(key, () => this.#decode(String(text), key));
      if (service) nodes.push({ service, leaseMs: Number(leaseMs) });
    }
    return { revision: Number(last), nodes };
  }

  /** The record of a node, which has to lie under its own key. */
  #decode(text: string, key: string): ServiceRecord {
    const { maxRecordBytes } = this.#options;
    if (text === '') throw new BrokenRecord(`is no text of at most ${maxRecordBytes} bytes`);
    const service = decodeNode(text, maxRecordBytes);
    const own = this.#nodeKey(service.name, service.nodes[0]?.id ?? '');
    if (own !== key) throw new BrokenRecord('is the record of another node');
    return service;
  }

  /** The record of a node that a channel told of. Its key tells where the same record lies, if it does. */
  #told(text: string, channel: string): ServiceRecord | undefined {
    return this.#broken.read(channel, () => {
      const service = decodeNode(text, this.#options.maxRecordBytes);
      if (this.#channelOf(service.name) !== channel) throw new BrokenRecord('is the record of another service');
      return service;
    });
  }

  async #names(redis: Redis): Promise<string[]> {
    return ((await redis.eval(namesScript, 1, this.#keys('', '')[2])) as string[]).sort();
  }

  #open(): RedisConnection {
    const { client, address, timeoutMs } = this.#options;
    return new RedisConnection({ client, address, timeoutMs, random: () => this.#random.next() });
  }

  #keys(name: string, id: string): [node: string, index: string, services: string, revision: string] {
    const { prefix } = this.#options;
    return [this.#nodeKey(name, id), `${prefix}service:${encoded(name)}`, `${prefix}services`, `${prefix}revision`];
  }

  #nodeKey(name: string, id: string): string {
    return `${this.#options.prefix}node:${encoded(name)}:${encoded(id)}`;
  }

  #channelOf(name: string): string {
    return `${this.#options.prefix}events:${encoded(name)}`;
  }
}

/** Keeps the parts of a key apart, whatever is in a name. */
function encoded(name: string): string {
  // Half a surrogate pair has no UTF-8, and is replaced.
  return encodeURIComponent(Buffer.from(name).toString());
}

function settingsOf(base: typeof defaults | Settings, options: RedisRegistryOptions): Settings {
  const settings = withDefaults(base, checkedOptions('RedisRegistryOptions', options));
  if (!settings.client) assertRedisAddress(settings.address);
  return settings;
}
