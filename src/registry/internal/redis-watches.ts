import type { Redis } from 'ioredis';

import type { Clock, Timer, Timers } from '../../runtime/runtime.ts';
import type { RegistryAction, ServiceRecord, Watcher, WatchOptions } from '../registry.ts';
import { decodeService } from './records.ts';
import { WatchQueue } from './watch-queue.ts';

/** What {@link RedisWatches} work with. */
export interface RedisWatchesOptions {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly channel: string;
  open(): Redis;
  nodesOf(name: string): Promise<ServiceRecord[]>;
  names(): Promise<string[]>;
  /** Milliseconds that a node's lease has left; not positive when it has lapsed. */
  leaseMs(name: string, id: string): Promise<number>;
}

interface Known {
  readonly record: ServiceRecord;
  checkAt: number;
}

// Redis removes a key up to this much after it lapsed, as seen by those who read it.
const slackMs = 50;

/**
 * All watchers of one registry over one subscription. Redis tells of what is announced and taken back, but not of what lapses (keyspace notifications are
 * off on most servers), so the leases of the nodes that are known are looked at when they should have ended.
 */
export class RedisWatches {
  readonly #options: RedisWatchesOptions;
  readonly #watchers = new Set<WatchQueue>();
  readonly #known = new Map<string, Known>();
  #subscription: Redis | undefined;
  #standing: Promise<void> | undefined;
  #timer: Timer | undefined;
  #isChecking = false;

  constructor(options: RedisWatchesOptions) {
    this.#options = options;
  }

  async watch(options: WatchOptions): Promise<Watcher> {
    const watcher = new WatchQueue(options, (stopped) => this.#watchers.delete(stopped));
    this.#watchers.add(watcher);
    try {
      await (this.#standing ??= this.#subscribe());
      await this.#learn(options.service === undefined ? await this.#options.names() : [options.service]);
    } catch (error) {
      watcher.stop();
      throw error;
    }
    return watcher;
  }

  close(): void {
    for (const watcher of this.#watchers) watcher.stop();
    this.#timer?.cancel();
    this.#subscription?.disconnect();
  }

  async #subscribe(): Promise<void> {
    const subscription = this.#options.open();
    this.#subscription = subscription;
    subscription.on('message', (_channel: string, text: string) => this.#receive(text));
    // Between the end of a connection and the next one changes go unseen.
    subscription.on('close', () => this.#loseAll());
    try {
      await subscription.subscribe(this.#options.channel);
    } catch (error) {
      this.#standing = undefined;
      subscription.disconnect();
      throw error;
    }
  }

  #loseAll(): void {
    this.#standing = undefined;
    this.#subscription?.disconnect();
    this.#known.clear();
    for (const watcher of this.#watchers) watcher.lose('the connection to Redis was lost');
  }

  #receive(text: string): void {
    const blank = text.indexOf(' ');
    const action = text.slice(0, blank) as RegistryAction;
    const record = decodeService(text.slice(blank + 1));
    if (record) this.#tell(action, record);
  }

  #tell(action: RegistryAction, record: ServiceRecord): void {
    const key = keyOf(record);
    if (action === 'delete') this.#known.delete(key);
    // The message says nothing of the lease: the first look tells.
    else this.#know(record);
    for (const watcher of this.#watchers) watcher.push({ action, service: record });
  }

  async #learn(names: readonly string[]): Promise<void> {
    for (const name of names) for (const record of await this.#options.nodesOf(name)) this.#know(record);
  }

  #know(record: ServiceRecord): void {
    this.#known.set(keyOf(record), { record, checkAt: this.#options.clock.now() + slackMs });
    this.#arm();
  }

  #arm(): void {
    if (this.#isChecking) return;
    this.#timer?.cancel();
    if (this.#watchers.size === 0 || this.#known.size === 0) return;
    const next = Math.min(...[...this.#known.values()].map(({ checkAt }) => checkAt));
    this.#timer = this.#options.timers.after(Math.max(0, next - this.#options.clock.now()), () => void this.#check());
  }

  async #check(): Promise<void> {
    this.#isChecking = true;
    const now = this.#options.clock.now();
    const due = [...this.#known.values()].filter(({ checkAt }) => checkAt <= now);
    await Promise.all(
      due.map(async (known) => {
        const { record } = known;
        try {
          const leftMs = await this.#options.leaseMs(record.name, record.nodes[0]?.id ?? '');
          // The same node may have been announced anew meanwhile; then this look is out of date.
          if (this.#known.get(keyOf(record)) !== known) return;
          if (leftMs > 0) known.checkAt = this.#options.clock.now() + leftMs + slackMs;
          else this.#tell('delete', record);
        } catch {
          // Redis is away: the subscription notices as well, and ends the watch.
          known.checkAt = this.#options.clock.now() + 1_000;
        }
      }),
    );
    this.#isChecking = false;
    this.#arm();
  }
}

function keyOf({ name, nodes }: ServiceRecord): string {
  return `${name}\n${nodes[0]?.id ?? ''}`;
}
