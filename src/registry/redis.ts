import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';
import { Redis, type RedisOptions } from 'ioredis';

import type { WithDefaults } from '../internal/defaults.ts';
import { isRedisReply, isTemporaryReply } from '../internal/redis.ts';
import { RedisClients, redisPlace } from '../internal/redis-client.ts';
import { RedisSubscriptions, type RedisTopic } from '../internal/redis-subscriptions.ts';
import { token } from '../internal/token.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { BrokenRecords } from './kit/broken-records.ts';
import type { DriverCall, DriverTools, Registration, RegistryDriver, Snapshot, WatchFeed } from './kit/driver.ts';
import { DrivenRegistry } from './kit/driven-registry.ts';
import { type DriverFailure, invalidAddress } from './kit/errors.ts';
import { LeaseManager, type Renewed, takenElsewhere } from './kit/lease-manager.ts';
import { BrokenRecord, decodeNode, encodeNode, pathPart } from './kit/records.ts';
import { WatchFeeds } from './kit/watch-feeds.ts';
import { deregisterScript, namesScript, readScript, registerScript } from './redis/scripts.ts';
import type { Registry, RegistryAction, RegistryCapabilities, RegistryOptions, ServiceRecord } from './registry.ts';

/**
 * Configures a {@link RedisRegistry}. Its address may be `redis://user:password@host:port/database`, `rediss://` for
 * TLS.
 */
export interface RedisRegistryOptions extends RegistryOptions {
  /**
   * A client of ioredis whose settings are used instead of an address, as for sentinels; `tls` and `credentials` are
   * stronger. It is copied, not used itself, and not closed.
   */
  readonly client?: Redis | undefined;
  /** Begins every key and channel. @default 'tenon:registry:' */
  readonly prefix?: string | undefined;
  /** A watcher reads Redis no more often than this, in milliseconds, whatever Redis answers. @default 100 */
  readonly minReadMs?: number | undefined;
  /**
   * A watcher reads what it watches at least as often as this, in milliseconds, and finds changes without a
   * notification, as keys that a Redis lost. A node without a lease, as one that was written by hand, stays until
   * such a read does not find it.
   * @default 30_000
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

/** A registry in Redis, with a key per node that expires with its lease. `docs/registry.md` has the layout. */
@injectable()
export class RedisRegistry extends DrivenRegistry<Settings> implements Registry {
  static readonly capabilities: RegistryCapabilities = {
    expires: true,
    shared: true,
    watches: true,
    renewalRestores: true,
    transferable: true,
    tls: true,
    credentials: ['password'],
  };

  constructor(
    @inject(RedisRegistryOptions) @optional() options: RedisRegistryOptions = {},
    @inject(Clock) @optional() clock?: Clock,
    @inject(Random) @optional() random?: Random,
    @inject(Timers) @optional() timers?: Timers,
    @inject(Logger) @optional() logger?: Logger,
  ) {
    const spec = {
      name: 'redis',
      capabilities: RedisRegistry.capabilities,
      optionsName: 'RedisRegistryOptions',
      defaults,
      check: ({ client, address, credentials }: Settings) => {
        if (!client) redisPlace(address, credentials !== undefined, notRedis);
      },
      open: (settings: Settings, tools: DriverTools) => new RedisDriver(settings, tools),
    };
    super(spec, options, { clock, random, timers, logger });
  }
}

class RedisDriver implements RegistryDriver {
  readonly server: string;
  readonly bounds: Settings;
  readonly #broken: BrokenRecords;
  readonly #clients: RedisClients<Redis>;
  readonly #redis: Redis;
  /** A grant is the address under which the node was registered. */
  readonly #leases: LeaseManager<string>;
  readonly #feeds = new WatchFeeds();
  readonly #subscriptions: RedisSubscriptions<Redis>;

  constructor(settings: Settings, tools: DriverTools) {
    const { address, client } = settings;
    const { logger, random, security } = tools;
    const make = (options: Omit<RedisOptions, 'replyMapping'>, copied?: Redis): Redis =>
      copied?.duplicate(options) ?? new Redis(options);
    this.#clients = new RedisClients({ address, client, security, random: () => random.next(), make }, notRedis);
    this.server = `Redis at ${this.#clients.address}`;
    this.bounds = settings;
    this.#broken = new BrokenRecords(logger);
    this.#redis = this.#open();
    this.#subscriptions = new RedisSubscriptions({
      clients: this.#clients,
      open: () => this.#open(),
      onMessage: (...message) => this.#hear(...message),
      onLost: () => this.#feeds.fail('the connection to Redis was lost'),
    });
    this.#leases = new LeaseManager<string>(
      {
        grant: (one) => this.#put(one).then(() => one.node.address),
        renew: (own, one) => this.#put(one, own),
        replace: (own, one) => this.#put(one, own),
        revoke: (own, { service, node }) => this.#eval(deregisterScript, service.name, node.id, [own]),
      },
      { ...tools, registry: 'redis', lapses: true },
    );
  }

  announce(registration: Registration, { signal }: DriverCall): Promise<void> {
    return this.#leases.announce(registration, signal);
  }

  /** Removes a node that another process registered as well, unless this one registered it before that. */
  withdraw(service: string, id: string, { signal }: DriverCall): Promise<void> {
    return this.#leases.withdraw(service, id, signal, (before) =>
      this.#eval(deregisterScript, service, id, [before?.node.address ?? '']),
    );
  }

  release(service: string, id: string): Promise<void> {
    return this.#leases.release(service, id);
  }

  async names(): Promise<readonly string[]> {
    return ((await this.#redis.eval(namesScript, 1, this.#keys('', '')[2])) as string[]).sort();
  }

  async read(name = ''): Promise<Snapshot> {
    const [, index, , revision] = this.#keys(name, '');
    const prefix = this.#nodeKey(name, '');
    const args = [index, revision, prefix, this.bounds.maxRecordBytes];
    const [last, ...found] = (await this.#redis.eval(readScript, 2, ...args)) as (string | number)[];
    const nodes: Snapshot['nodes'][0][] = [];
    for (let at = 0; at < found.length; at += 3) {
      const [id, text, leaseMs] = found.slice(at, at + 3);
      const key = `${prefix}${id}`;
      const service = this.#broken.read(key, () => this.#decode(String(text), key));
      if (service) nodes.push({ service, leaseMs: Number(leaseMs) });
    }
    return { revision: Number(last), nodes };
  }

  /** Subscribes to the channel of a service, or to all channels, once for all watches that want the same. */
  async watch(feed: WatchFeed, signal: AbortSignal): Promise<void> {
    const topic = this.#topicOf(feed.service);
    this.#feeds.join(feed, signal, () => this.#subscriptions.leave(topic));
    await this.#subscriptions.join(topic);
    // All watches ended before the subscription was made.
    if (!this.#feeds.has(feed.service)) this.#subscriptions.leave(topic);
  }

  /** Translates an error: an error reply of Redis is a refusal, anything else means that it is away. */
  failure(error: unknown): DriverFailure {
    const cause = this.#clients.reasonOf(error, this.#redis);
    if (isRedisReply(cause) && !isTemporaryReply(cause)) {
      const isDenied = /^(?:NOAUTH|WRONGPASS|NOPERM)\b|user executing the script can't/.test(cause.message);
      const remedy = 'TENON_REGISTRY_USERNAME and TENON_REGISTRY_PASSWORD (or its _FILE) say who connects';
      return isDenied ? { kind: 'denied', remedy, cause } : { kind: 'refused', cause };
    }
    const why = this.#clients.explain(cause);
    const remedy = why === undefined ? 'Is Redis running there? TENON_REGISTRY_ADDRESS says where to look' : undefined;
    return { kind: 'unreachable', why, remedy, cause };
  }

  close(): void {
    this.#leases.close();
    this.#subscriptions.close();
    this.#redis.disconnect();
  }

  /** Stores a record; with `own`, its address until then, only if no other process has registered the node since. */
  async #put({ service, node, ttlMs }: Registration, own = ''): Promise<Renewed<string>> {
    const args = [own, encodeNode(service, node), ttlMs, node.address];
    const did = await this.#eval<string>(registerScript, service.name, node.id, args);
    return did === 'taken' ? takenElsewhere : did === 'create' ? undefined : node.address;
  }

  async #eval<T>(script: string, service: string, id: string, args: readonly (string | number)[]): Promise<T> {
    const all = [...this.#keys(service, id), pathPart(id), service, this.#channelOf(service), ...args];
    return (await this.#redis.eval(script, 4, ...all)) as T;
  }

  /** Commands wait for the attempt to connect that is under way or comes next, and fail with it. */
  #open(): Redis {
    const { timeoutMs } = this.bounds;
    return this.#clients.make({
      connectTimeout: Math.min(timeoutMs, 2_000),
      // A Redis that hangs makes calls time out, and then the connection is opened again.
      socketTimeout: 2 * timeoutMs,
    });
  }

  /** `<revision> <lease in ms> <action> <record>` */
  #hear(channel: string, text: string, isByPattern: boolean): void {
    const [, revision, leaseMs, action, record = ''] =
      /^(\d{1,15}) (\d{1,15}) (create|update|delete) (.*)$/s.exec(text) ?? [];
    const service = this.#broken.read(channel, () => {
      const told = decodeNode(record, this.bounds.maxRecordBytes);
      if (this.#channelOf(told.name) !== channel) throw new BrokenRecord('is the record of another service');
      return told;
    });
    if (!service) return;
    const change = { revision: Number(revision), leaseMs: Number(leaseMs), action: action as RegistryAction, service };
    this.#feeds.change(change, isByPattern ? 'every' : 'service');
  }

  /** Decodes the record of a node, whose name and id must match its key. */
  #decode(text: string, key: string): ServiceRecord {
    if (text === '') throw new BrokenRecord(`is no text of at most ${this.bounds.maxRecordBytes} bytes`);
    const service = decodeNode(text, this.bounds.maxRecordBytes);
    const own = this.#nodeKey(service.name, service.nodes[0]?.id ?? '');
    if (own !== key) throw new BrokenRecord('is the record of another node');
    return service;
  }

  #keys(name: string, id: string): [node: string, index: string, services: string, revision: string] {
    const { prefix } = this.bounds;
    return [this.#nodeKey(name, id), `${prefix}service:${pathPart(name)}`, `${prefix}services`, `${prefix}revision`];
  }

  #nodeKey(name: string, id: string): string {
    return `${this.bounds.prefix}node:${pathPart(name)}:${pathPart(id)}`;
  }

  #channelOf(name: string): string {
    return `${this.bounds.prefix}events:${pathPart(name)}`;
  }

  /** The channel of a service, or all of them, with the special characters of the prefix escaped. */
  #topicOf(service: string | undefined): RedisTopic {
    if (service !== undefined) return { name: this.#channelOf(service), isPattern: false };
    return { name: `${this.#channelOf('').replace(/[*?[\]\\^]/g, '\\$&')}*`, isPattern: true };
  }
}

function notRedis(address: string, remedy: string): Error {
  return invalidAddress(`"${address}" is not the address of a Redis: ${remedy}`);
}
