import type { RegistryAction, ServiceRecord, Watcher, WatchOptions } from '../registry.ts';
import { RedisConnection } from './redis-connection.ts';
import { type RedisChange, RedisWatch, type RedisWatchTools } from './redis-watch.ts';

/** What {@link RedisWatches} work with. */
export interface RedisWatchesOptions extends RedisWatchTools {
  /** What the channels of services begin with. */
  readonly channels: string;
  channelOf(service: string): string;
  open(): RedisConnection;
  /** The record that a channel told of; `undefined` if it is broken. */
  decode(text: string, channel: string): ServiceRecord | undefined;
}

/** All watchers of one registry, over one connection: a subscription of a channel per service, and one of all of them. */
export class RedisWatches {
  readonly #options: RedisWatchesOptions;
  readonly #watches = new Set<RedisWatch>();
  #connection: RedisConnection | undefined;

  constructor(options: RedisWatchesOptions) {
    this.#options = options;
  }

  /** `bound` aborts when nobody waits for the watch any more: it is stopped then, or as soon as it stands. */
  async watch(options: WatchOptions, bound: AbortSignal): Promise<Watcher> {
    const connection = (this.#connection ??= this.#open());
    const watch = new RedisWatch(options, this.#options, (stopped) => this.#drop(stopped));
    const { watcher } = watch;
    const stop = (): void => watcher.stop();
    bound.addEventListener('abort', stop, { once: true });
    this.#watches.add(watch);
    try {
      if (options.service === undefined) await connection.redis.psubscribe(`${escaped(this.#options.channels)}*`);
      else await connection.redis.subscribe(this.#options.channelOf(options.service));
      // One that was stopped meanwhile has left already, before there was anything to leave.
      if (watcher.isStopped) this.#drop(watch);
      else await watch.start();
    } catch (error) {
      watcher.stop();
      throw connection.failure('watch', error);
    } finally {
      bound.removeEventListener('abort', stop);
    }
    return watcher;
  }

  close(): void {
    for (const { watcher } of this.#watches) watcher.stop();
    this.#connection?.close();
  }

  #open(): RedisConnection {
    const connection = this.#options.open();
    const { redis } = connection;
    redis.on('message', (channel: string, text: string) => this.#hear(channel, text, false));
    redis.on('pmessage', (_pattern: string, channel: string, text: string) => this.#hear(channel, text, true));
    let wasReady = false;
    redis.on('ready', () => (wasReady = true));
    // Between the end of a connection and the next one changes go unseen. Before the first, nobody was told that the watch stands.
    redis.on('close', () => {
      if (!wasReady || this.#connection !== connection) return;
      this.#connection = undefined;
      connection.close();
      for (const { watcher } of this.#watches) watcher.lose('the connection to Redis was lost');
    });
    return connection;
  }

  /** A change comes once for each kind of subscription. */
  #hear(channel: string, text: string, isForAll: boolean): void {
    const change = this.#changeIn(channel, text);
    if (!change) return;
    for (const watch of this.#watches) {
      const { service } = watch.watcher;
      if (isForAll ? service === undefined : service === change.service.name) watch.hear(change);
    }
  }

  /** `<revision> <lease in ms> <action> <record>` */
  #changeIn(channel: string, text: string): RedisChange | undefined {
    const [, revision, leaseMs, action, record = ''] =
      /^(\d{1,15}) (\d{1,15}) (create|update|delete) (.*)$/s.exec(text) ?? [];
    const service = this.#options.decode(record, channel);
    if (!service) return undefined;
    return { revision: Number(revision), leaseMs: Number(leaseMs), action: action as RegistryAction, service };
  }

  #drop(watch: RedisWatch): void {
    this.#watches.delete(watch);
    const { service } = watch.watcher;
    if ([...this.#watches].some((other) => other.watcher.service === service)) return;
    const redis = this.#connection?.redis;
    if (redis?.status !== 'ready') return;
    const leaving =
      service === undefined
        ? redis.punsubscribe(`${escaped(this.#options.channels)}*`)
        : redis.unsubscribe(this.#options.channelOf(service));
    leaving.catch(() => {});
  }
}

/** Characters that mean something in a pattern of Redis. */
function escaped(text: string): string {
  return text.replace(/[*?[\]\\^]/g, '\\$&');
}
