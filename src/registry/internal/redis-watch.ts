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
  readonly nodes: readonly { readonly service: ServiceRecord; readonly leaseMs: number }[];
}

/** What a {@link RedisWatch} works with. */
export interface RedisWatchTools {
  readonly clock: Clock;
  readonly timers: Timers;
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
}

// Leases end a little later here than there.
const slackMs = 20;

/**
 * One watcher. Redis tells of what is announced and taken back, but not of what lapses, for notifications of that are off on most servers: a service is read when a lease of
 * its nodes should have ended, unless it was renewed.
 */
export class RedisWatch {
  readonly watcher: WatchQueue;
  readonly #tools: RedisWatchTools;
  readonly #services = new Map<string, Tracked>();
  /** Changes that came before what is there was known. */
  #early: RedisChange[] | undefined = [];
  #timer: Timer | undefined;

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
    const names = service === undefined ? await this.#tools.names() : [service];
    await Promise.all(
      names.map(async (name) => {
        const { revision, nodes } = await this.#tools.read(name);
        this.#services.set(name, {
          revision,
          nodes: new Map(nodes.map((node) => [idOf(node.service), this.#known(node)])),
        });
      }),
    );
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const change of early) this.#apply(change);
    this.#arm();
  }

  hear(change: RedisChange): void {
    if (this.#early) {
      this.#early.push(change);
      return;
    }
    const action = this.#apply(change);
    if (!action) return;
    this.watcher.push({ action, service: change.service });
    this.#arm();
  }

  /** Takes note of a change, and says what it means to one who knows what this watcher knows. */
  #apply({ revision, action, service, leaseMs }: RedisChange): RegistryAction | undefined {
    let tracked = this.#services.get(service.name);
    if (!tracked) this.#services.set(service.name, (tracked = { revision: 0, nodes: new Map() }));
    if (revision <= tracked.revision) return undefined;
    tracked.revision = revision;
    const id = idOf(service);
    const isKnown = tracked.nodes.has(id);
    if (action === 'delete') {
      tracked.nodes.delete(id);
      return isKnown ? 'delete' : undefined;
    }
    tracked.nodes.set(id, this.#known({ service, leaseMs }));
    return isKnown ? 'update' : 'create';
  }

  #known({ service, leaseMs }: { readonly service: ServiceRecord; readonly leaseMs: number }): Known {
    return { service, text: JSON.stringify(service), lapsesAtMs: this.#tools.clock.monotonicMs() + leaseMs + slackMs };
  }

  #arm(): void {
    this.#timer?.cancel();
    if (this.watcher.isStopped) return;
    let next = Number.POSITIVE_INFINITY;
    for (const [name, { nodes }] of this.#services) {
      if (nodes.size === 0) this.#services.delete(name);
      for (const { lapsesAtMs } of nodes.values()) next = Math.min(next, lapsesAtMs);
    }
    if (next === Number.POSITIVE_INFINITY) return;
    const delayMs = Math.max(0, Math.ceil(next - this.#tools.clock.monotonicMs()));
    this.#timer = this.#tools.timers.after(delayMs, () => void this.#look());
  }

  async #look(): Promise<void> {
    const now = this.#tools.clock.monotonicMs();
    const due = [...this.#services].filter(([, { nodes }]) =>
      [...nodes.values()].some(({ lapsesAtMs }) => lapsesAtMs <= now),
    );
    try {
      await Promise.all(due.map(([name, tracked]) => this.#compare(name, tracked)));
    } catch (error) {
      this.watcher.lose('Redis does not answer', error);
    }
    this.#arm();
  }

  async #compare(name: string, tracked: Tracked): Promise<void> {
    let snapshot = await this.#tools.read(name);
    // Changes that came while the answer was on its way are newer than it.
    while (snapshot.revision < tracked.revision) snapshot = await this.#tools.read(name);
    const before = tracked.nodes;
    tracked.revision = snapshot.revision;
    tracked.nodes = new Map(snapshot.nodes.map((node) => [idOf(node.service), this.#known(node)]));
    for (const [id, { service, text }] of tracked.nodes) {
      const known = before.get(id);
      if (known?.text !== text) this.watcher.push({ action: known ? 'update' : 'create', service });
    }
    for (const [id, { service }] of before) {
      if (!tracked.nodes.has(id)) this.watcher.push({ action: 'delete', service });
    }
  }
}

function idOf({ nodes }: ServiceRecord): string {
  return nodes[0]?.id ?? '';
}
