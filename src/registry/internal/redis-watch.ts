import type { Clock, Timer, Timers } from '../../runtime/runtime.ts';
import type { RegistryAction, ServiceRecord, WatchOptions } from '../registry.ts';
import { WatchQueue } from './watch-queue.ts';

/** A change as it was published. */
export interface RedisChange {
  readonly revision: number;
  readonly action: RegistryAction;
  /** With the one node. */
  readonly service: ServiceRecord;
  readonly leaseMs: number;
}

/** What there is of a service, and the last change that it takes into account. */
export interface RedisSnapshot {
  readonly revision: number;
  /** A lease below 0 is one without an end. */
  readonly nodes: readonly { readonly service: ServiceRecord; readonly leaseMs: number }[];
}

/** What a {@link RedisWatch} works with. */
export interface RedisWatchTools {
  readonly clock: Clock;
  readonly timers: Timers;
  /** Redis is read no more often than this, whatever it answers. */
  readonly minReadMs: number;
  /** Each service is read at least this often: changes that nobody told of are found then. */
  readonly maxReadMs: number;
  names(): Promise<readonly string[]>;
  read(service: string): Promise<RedisSnapshot>;
}

interface Known {
  readonly service: ServiceRecord;
  readonly text: string;
  readonly lapsesAtMs: number;
}

interface Tracked {
  revision: number;
  nodes: Map<string, Known>;
  /** When it is read at the latest. */
  dueAtMs: number;
  /** What was told while an answer is on its way: whether the answer knows of it is seen by the number. */
  meanwhile: RedisChange[] | undefined;
}

// Leases end a little later here than there.
const slackMs = 20;

/**
 * One watcher. Redis tells of what is announced and taken back, but not of what lapses, for notifications of that are off on most servers: a service is read when a lease of
 * its nodes should have ended, unless it was renewed. What a read finds counts, whatever was known before: a Redis may have lost everything, the numbers of its changes included.
 */
export class RedisWatch {
  readonly watcher: WatchQueue;
  readonly #tools: RedisWatchTools;
  readonly #services = new Map<string, Tracked>();
  /** Changes that came before what is there was known. */
  #early: RedisChange[] | undefined = [];
  #timer: Timer | undefined;
  #isLooking = false;
  #lookedAtMs = 0;
  #listAtMs = Number.POSITIVE_INFINITY;

  constructor(options: WatchOptions, tools: RedisWatchTools, onStop: (watch: RedisWatch) => void) {
    this.#tools = tools;
    this.watcher = new WatchQueue(options, () => {
      this.#timer?.cancel();
      onStop(this);
    });
  }

  /** Learns what is there. Changes have to be heard from before it is called; from when it resolves they are told. */
  async start(): Promise<void> {
    const { service } = this.watcher;
    const wanted = service === undefined ? await this.#tools.names() : [service];
    if (this.watcher.isStopped) return;
    await Promise.all(wanted.map(async (name) => this.#learn(this.#track(name), await this.#tools.read(name))));
    const early = this.#early ?? [];
    for (const change of early) this.#apply(change);
    this.#early = undefined;
    this.#lookedAtMs = this.#now();
    this.#listAtMs = this.#lookedAtMs + this.#tools.maxReadMs;
    this.#arm();
  }

  hear(change: RedisChange): void {
    if (this.#early) {
      this.#early.push(change);
      return;
    }
    this.#apply(change);
    this.#arm();
  }

  /** Takes note of a change, and tells of it if it is one to who knows what this watcher knows. */
  #apply(change: RedisChange): void {
    const tracked = this.#track(change.service.name);
    tracked.meanwhile?.push(change);
    if (change.revision > tracked.revision) {
      tracked.revision = change.revision;
      this.#change(tracked, change);
      // Known already, or of a Redis that counts anew: a look will tell.
    } else if (!this.#early) tracked.dueAtMs = this.#now();
  }

  #change(tracked: Tracked, { action, service, leaseMs }: RedisChange): void {
    const id = idOf(service);
    const known = tracked.nodes.get(id);
    if (action === 'delete') {
      tracked.nodes.delete(id);
      if (known) this.#tell('delete', service);
      return;
    }
    const now = this.#known({ service, leaseMs });
    tracked.nodes.set(id, now);
    tracked.dueAtMs = Math.min(tracked.dueAtMs, now.lapsesAtMs);
    if (known?.text !== now.text) this.#tell(known ? 'update' : 'create', service);
  }

  /** What a read found, and what was told since: from what was known to that. */
  #learn(tracked: Tracked, { revision, nodes }: RedisSnapshot): void {
    const { meanwhile = [], nodes: before } = tracked;
    tracked.meanwhile = undefined;
    const found = new Map(nodes.map((node) => [idOf(node.service), this.#known(node)]));
    tracked.revision = Number.isSafeInteger(revision) ? revision : 0;
    for (const { revision: at, action, service, leaseMs } of meanwhile) {
      if (at <= tracked.revision) continue;
      tracked.revision = at;
      if (action === 'delete') found.delete(idOf(service));
      else found.set(idOf(service), this.#known({ service, leaseMs }));
    }
    tracked.nodes = found;
    tracked.dueAtMs = this.#now() + this.#tools.maxReadMs;
    for (const [id, { service, text, lapsesAtMs }] of found) {
      const known = before.get(id);
      tracked.dueAtMs = Math.min(tracked.dueAtMs, lapsesAtMs);
      if (known?.text !== text) this.#tell(known ? 'update' : 'create', service);
    }
    for (const [id, { service }] of before) if (!found.has(id)) this.#tell('delete', service);
  }

  #tell(action: RegistryAction, service: ServiceRecord): void {
    if (!this.#early) this.watcher.push({ action, service });
  }

  #track(name: string): Tracked {
    let tracked = this.#services.get(name);
    if (!tracked) {
      tracked = { revision: 0, nodes: new Map(), dueAtMs: Number.POSITIVE_INFINITY, meanwhile: undefined };
      this.#services.set(name, tracked);
    }
    return tracked;
  }

  #known({ service, leaseMs }: { readonly service: ServiceRecord; readonly leaseMs: number }): Known {
    const lapsesAtMs = leaseMs >= 0 ? this.#now() + leaseMs + slackMs : Number.POSITIVE_INFINITY;
    return { service, text: JSON.stringify(service), lapsesAtMs };
  }

  #arm(): void {
    if (this.#isLooking) return;
    this.#timer?.cancel();
    if (this.watcher.isStopped) return;
    const { timers, minReadMs } = this.#tools;
    let next = this.#isForAll ? this.#listAtMs : Number.POSITIVE_INFINITY;
    for (const { dueAtMs } of this.#services.values()) next = Math.min(next, dueAtMs);
    const atMs = Math.max(next, this.#lookedAtMs + minReadMs);
    this.#timer = timers.after(Math.ceil(atMs - this.#now()), () => void this.#look());
  }

  /** One look at a time. Never rejects. */
  async #look(): Promise<void> {
    this.#isLooking = true;
    try {
      if (this.#isForAll && this.#listAtMs <= this.#now()) await this.#list();
      const now = this.#now();
      const due = [...this.#services].filter(([, { dueAtMs }]) => dueAtMs <= now);
      await Promise.all(due.map(([name, tracked]) => this.#read(name, tracked)));
      // A service of which there is nothing left is as one that was never there.
      if (this.#isForAll) {
        for (const [name, { nodes }] of due) if (nodes.size === 0) this.#services.delete(name);
      }
    } catch (error) {
      this.watcher.lose('Redis does not answer', error);
    }
    this.#isLooking = false;
    this.#lookedAtMs = this.#now();
    this.#arm();
  }

  /** Finds services that came without a word. */
  async #list(): Promise<void> {
    const names = await this.#tools.names();
    this.#listAtMs = this.#now() + this.#tools.maxReadMs;
    for (const name of names) {
      if (!this.#services.has(name)) this.#track(name).dueAtMs = this.#now();
    }
  }

  async #read(name: string, tracked: Tracked): Promise<void> {
    if (this.watcher.isStopped) return;
    tracked.meanwhile = [];
    this.#learn(tracked, await this.#tools.read(name));
  }

  get #isForAll(): boolean {
    return this.watcher.service === undefined;
  }

  #now(): number {
    return this.#tools.clock.monotonicMs();
  }
}

function idOf({ nodes }: ServiceRecord): string {
  return nodes[0]?.id ?? '';
}
