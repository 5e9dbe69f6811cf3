import type { Clock, Timer, Timers } from '../../runtime/runtime.ts';
import type { NodeRecord, RegistryAction, ServiceRecord } from '../registry.ts';
import type { WatchQueue } from './watch-queue.ts';

/** Time, for leases. */
export interface StoreTime {
  readonly clock: Clock;
  readonly timers: Timers;
}

interface Entry {
  /** With just the one node. */
  readonly service: ServiceRecord;
  readonly text: string;
  expiresAtMs: number;
}

/** What was announced, by service and node. One timer, for the next lease that lapses. */
export class MemoryEntries {
  readonly watchers = new Set<WatchQueue>();
  readonly #time: StoreTime;
  readonly #services = new Map<string, Map<string, Entry>>();
  #timer: Timer | undefined;
  #armedForMs = Number.POSITIVE_INFINITY;

  constructor(time: StoreTime) {
    this.#time = time;
  }

  put(service: ServiceRecord, node: NodeRecord, ttlMs: number): void {
    this.#expire();
    // A copy: what the caller does with its record afterwards is not announced.
    const text = JSON.stringify({ ...service, nodes: [node] });
    const expiresAtMs = this.#time.clock.monotonicMs() + ttlMs;
    let nodes = this.#services.get(service.name);
    if (!nodes) this.#services.set(service.name, (nodes = new Map()));
    const before = nodes.get(node.id);
    if (before?.text === text) before.expiresAtMs = expiresAtMs;
    else {
      const entry = { service: JSON.parse(text) as ServiceRecord, text, expiresAtMs };
      nodes.set(node.id, entry);
      this.#tell(before ? 'update' : 'create', entry.service);
    }
    if (expiresAtMs < this.#armedForMs) this.#arm(expiresAtMs);
  }

  remove(service: string, id: string): void {
    this.#expire();
    this.#drop(service, id);
  }

  /** The nodes of a service, each as a record of its own. */
  nodesOf(service: string): ServiceRecord[] {
    this.#expire();
    return [...(this.#services.get(service)?.values() ?? [])].map((entry) => entry.service);
  }

  names(): string[] {
    this.#expire();
    return [...this.#services.keys()].sort();
  }

  /** Lets go of the timer. */
  stop(): void {
    this.#timer?.cancel();
    this.#armedForMs = Number.POSITIVE_INFINITY;
  }

  #drop(service: string, id: string): void {
    const nodes = this.#services.get(service);
    const entry = nodes?.get(id);
    if (!nodes || !entry) return;
    nodes.delete(id);
    if (nodes.size === 0) this.#services.delete(service);
    this.#tell('delete', entry.service);
  }

  #tell(action: RegistryAction, service: ServiceRecord): void {
    for (const watcher of this.watchers) watcher.push({ action, service });
  }

  #expire(): void {
    if (this.#time.clock.monotonicMs() >= this.#armedForMs) this.#sweep();
  }

  #sweep(): void {
    const now = this.#time.clock.monotonicMs();
    let next = Number.POSITIVE_INFINITY;
    for (const [name, nodes] of this.#services) {
      for (const [id, { expiresAtMs }] of nodes) {
        if (expiresAtMs <= now) this.#drop(name, id);
        else next = Math.min(next, expiresAtMs);
      }
    }
    this.#arm(next);
  }

  #arm(atMs: number): void {
    this.#timer?.cancel();
    this.#armedForMs = atMs;
    if (atMs === Number.POSITIVE_INFINITY) return;
    const delayMs = Math.max(0, Math.ceil(atMs - this.#time.clock.monotonicMs()));
    this.#timer = this.#time.timers.after(delayMs, () => this.#sweep());
  }
}
