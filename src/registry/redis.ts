import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';
import type { Redis } from 'ioredis';

import type { WithDefaults } from '../internal/defaults.ts';
import { token } from '../internal/token.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { assertRedisAddress, RedisConnection, redisFailure, shownAddress } from './internal/redis-connection.ts';
import { deregisterScript, namesScript, readScript, registerScript } from './internal/redis-scripts.ts';
import { BrokenRecords } from './kit/broken-records.ts';
import type {
  Change,
  DriverTools,
  LeasedNode,
  Registration,
  RegistryDriver,
  Snapshot,
  WatchFeed,
} from './kit/driver.ts';
import { DrivenRegistry } from './kit/driven-registry.ts';
import type { DriverFailure } from './kit/errors.ts';
import { BrokenRecord, decodeNode, encodeNode } from './kit/records.ts';
import type { Registry, RegistryAction, RegistryCapabilities, RegistryOptions, ServiceRecord } from './registry.ts';

/**
 * Configures a {@link RedisRegistry}. Its address may be `redis://user:password@host:port/database`, `rediss://` for
 * TLS.
 */
export interface RedisRegistryOptions extends RegistryOptions {
  /**
   * A client of ioredis whose settings are used instead of an address: for TLS, sentinels, credentials. It is copied,
   * not used itself, and not closed.
   */
  readonly client?: Redis | undefined;
  /** Begins every key and channel. @default 'tenon:registry:' */
  readonly prefix?: string | undefined;
  /** A watcher reads Redis no more often than this, in milliseconds, whatever Redis answers. @default 100 */
  readonly minReadMs?: number | undefined;
  /**
   * A watcher reads what it watches at least as often as this, in milliseconds: it finds then what nobody told it, as
   * what a Redis lost. A node without a lease, as one that was written by hand, stays until such a read misses it.
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

/** Nodes in Redis: a key per node, which lapses with its lease. `docs/registry.md` has the layout. */
@injectable()
export class RedisRegistry extends DrivenRegistry<Settings> implements Registry {
  static readonly capabilities: RegistryCapabilities = { expires: true, shared: true, watches: true };

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
      check: ({ client, address }: Settings) => {
        if (!client) assertRedisAddress(address);
      },
      open: (settings: Settings, tools: DriverTools) => new RedisDriver(settings, tools),
    };
    super(spec, options, { clock, random, timers, logger });
  }
}

class RedisDriver implements RegistryDriver {
  readonly server: string;
  readonly bounds: Settings;
  readonly #tools: DriverTools;
  readonly #broken: BrokenRecords;
  readonly #connection: RedisConnection;
  readonly #feeds = new Set<WatchFeed>();
  /** A connection with subscriptions takes no other commands. */
  #subscriptions: RedisConnection | undefined;

  constructor(settings: Settings, tools: DriverTools) {
    this.server = `Redis at ${shownAddress(settings)}`;
    this.bounds = settings;
    this.#tools = tools;
    this.#broken = new BrokenRecords(tools.logger);
    this.#connection = this.#open();
  }

  async announce({ service, node, ttlMs }: Registration): Promise<void> {
    const { name } = service;
    const keys = [...this.#keys(name, node.id), encoded(node.id), encodeNode(service, node), ttlMs];
    await this.#redis.eval(registerScript, 4, ...keys, name, this.#channelOf(name));
  }

  async withdraw(service: string, id: string): Promise<void> {
    const keys = this.#keys(service, id);
    await this.#redis.eval(deregisterScript, 4, ...keys, encoded(id), service, this.#channelOf(service));
  }

  async names(): Promise<readonly string[]> {
    return ((await this.#redis.eval(namesScript, 1, this.#keys('', '')[2])) as string[]).sort();
  }

  async read(name = ''): Promise<Snapshot> {
    const [, index, , revision] = this.#keys(name, '');
    const prefix = this.#nodeKey(name, '');
    const [last, ...found] = (await this.#redis.eval(
      readScript,
      2,
      index,
      revision,
      prefix,
      this.bounds.maxRecordBytes,
    )) as (string | number)[];
    const nodes: LeasedNode[] = [];
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
    const connection = (this.#subscriptions ??= this.#subscribe());
    this.#feeds.add(feed);
    signal.addEventListener('abort', () => this.#leave(feed), { once: true });
    const { redis } = connection;
    try {
      if (feed.service === undefined) await redis.psubscribe(this.#everyChannel);
      else await redis.subscribe(this.#channelOf(feed.service));
    } catch (error) {
      throw connection.reasonOf(error);
    }
    // One that ended meanwhile has left already, before there was anything to leave.
    if (signal.aborted) this.#leave(feed);
  }

  failure(error: unknown): DriverFailure {
    return redisFailure(this.#connection.reasonOf(error));
  }

  close(): void {
    this.#subscriptions?.close();
    this.#connection.close();
  }

  #subscribe(): RedisConnection {
    const connection = this.#open();
    const { redis } = connection;
    redis.on('message', (channel: string, text: string) => this.#hear(channel, text, false));
    redis.on('pmessage', (_pattern: string, channel: string, text: string) => this.#hear(channel, text, true));
    let wasReady = false;
    redis.on('ready', () => (wasReady = true));
    // Between the end of a connection and the next one changes go unseen. Before the first, no watch stands.
    redis.on('close', () => {
      if (!wasReady || this.#subscriptions !== connection) return;
      this.#subscriptions = undefined;
      connection.close();
      for (const feed of this.#feeds) feed.fail('the connection to Redis was lost');
    });
    return connection;
  }

  /** A change comes once for each kind of subscription. */
  #hear(channel: string, text: string, isForAll: boolean): void {
    const change = this.#changeIn(channel, text);
    if (!change) return;
    for (const feed of this.#feeds) {
      if (feed.service === (isForAll ? undefined : change.service.name)) feed.change(change);
    }
  }

  /** `<revision> <lease in ms> <action> <record>` */
  #changeIn(channel: string, text: string): Change | undefined {
    const [, revision, leaseMs, action, record = ''] =
      /^(\d{1,15}) (\d{1,15}) (create|update|delete) (.*)$/s.exec(text) ?? [];
    const service = this.#broken.read(channel, () => {
      const told = decodeNode(record, this.bounds.maxRecordBytes);
      if (this.#channelOf(told.name) !== channel) throw new BrokenRecord('is the record of another service');
      return told;
    });
    if (!service) return undefined;
    return { revision: Number(revision), leaseMs: Number(leaseMs), action: action as RegistryAction, service };
  }

  #leave(feed: WatchFeed): void {
    this.#feeds.delete(feed);
    if ([...this.#feeds].some(({ service }) => service === feed.service)) return;
    const redis = this.#subscriptions?.redis;
    if (redis?.status !== 'ready') return;
    const leaving =
      feed.service === undefined
        ? redis.punsubscribe(this.#everyChannel)
        : redis.unsubscribe(this.#channelOf(feed.service));
    leaving.catch(() => {});
  }

  /** The record of a node, which has to lie under its own key. */
  #decode(text: string, key: string): ServiceRecord {
    if (text === '') throw new BrokenRecord(`is no text of at most ${this.bounds.maxRecordBytes} bytes`);
    const service = decodeNode(text, this.bounds.maxRecordBytes);
    const own = this.#nodeKey(service.name, service.nodes[0]?.id ?? '');
    if (own !== key) throw new BrokenRecord('is the record of another node');
    return service;
  }

  #open(): RedisConnection {
    const { client, address, timeoutMs } = this.bounds;
    return new RedisConnection({ client, address, timeoutMs, random: () => this.#tools.random.next() });
  }

  get #redis(): Redis {
    return this.#connection.redis;
  }

  #keys(name: string, id: string): [node: string, index: string, services: string, revision: string] {
    const { prefix } = this.bounds;
    return [this.#nodeKey(name, id), `${prefix}service:${encoded(name)}`, `${prefix}services`, `${prefix}revision`];
  }

  #nodeKey(name: string, id: string): string {
    return `${this.bounds.prefix}node:${encoded(name)}:${encoded(id)}`;
  }

  #channelOf(name: string): string {
    return `${this.bounds.prefix}events:${encoded(name)}`;
  }

  /** A pattern of Redis, in which some characters of the prefix may mean something. */
  get #everyChannel(): string {
    return `${this.#channelOf('').replace(/[*?[\]\\^]/g, '\\$&')}*`;
  }
}

/** Keeps the parts of a key apart, whatever is in a name. */
function encoded(name: string): string {
  // Half a surrogate pair has no UTF-8, and is replaced.
  return encodeURIComponent(Buffer.from(name).toString());
}
