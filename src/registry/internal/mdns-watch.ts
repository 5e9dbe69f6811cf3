import type { Clock, Timer, Timers } from '../../runtime/runtime.ts';
import type { RegistryAction, ServiceRecord, WatchOptions } from '../registry.ts';
import type { HeardNode } from './mdns-records.ts';
import { WatchQueue } from './watch-queue.ts';

/** What an {@link MdnsWatch} works with. */
export interface MdnsWatchTools {
  readonly clock: Clock;
  readonly timers: Timers;
  /** Nodes are asked for no more often than this, whatever they answer. */
  readonly minReadMs: number;
  /** Whether one more node is believed beside so many. */
  hasRoom(count: number): boolean;
  /** Every service that answers now. */
  names(): Promise<readonly string[]>;
  /** The nodes of a service that answer now; `isPatient` waits longer for the first answer. */
  ask(name: string, isPatient: boolean): Promise<readonly HeardNode[]>;
}

// Questions that are open at the same time.
const maxQuestions = 64;

interface Known {
  service: ServiceRecord;
  text: string;
  believedUntilMs: number;
}

/**
 * One watcher. Nodes say when they come, change and go; each is believed for as long as it said, and asked for when it has not said anything since: one that died cannot say
 * good-bye, and a good-bye may get lost.
 */
export class MdnsWatch {
  readonly watcher: WatchQueue;
  readonly #tools: MdnsWatchTools;
  readonly #known = new Map<string, Known>();
  #isStanding = false;
  #isAsking = false;
  #askedAtMs = 0;
  #armedForMs = Number.POSITIVE_INFINITY;
  #timer: Timer | undefined;

  constructor(options: WatchOptions, tools: MdnsWatchTools, onStop: (watch: MdnsWatch) => void) {
    this.#tools = tools;
    this.watcher = new WatchQueue(options, () => {
      this.#timer?.cancel();
      onStop(this);
    });
  }

  /** Learns what is there; from here on changes are told. */
  async start(): Promise<void> {
    const { service } = this.watcher;
    const names = service === undefined ? await this.#tools.names() : [service];
    await this.#ask(names, false);
    this.#isStanding = true;
    this.#askedAtMs = this.#tools.clock.monotonicMs();
    this.#arm();
  }

  hear({ service, ttlS }: HeardNode): void {
    if (!this.watcher.wants(service.name)) return;
    const key = keyOf(service);
    const known = this.#known.get(key);
    if (ttlS === 0) {
      if (known) this.#forget(key, service);
      return;
    }
    if (!known && !this.#tools.hasRoom(this.#known.size)) return;
    const text = JSON.stringify(service);
    const believedUntilMs = this.#tools.clock.monotonicMs() + ttlS * 1_000;
    this.#known.set(key, { service, text, believedUntilMs });
    // Announcements are repeated: only what is new is told.
    if (known?.text !== text) this.#tell(known ? 'update' : 'create', service);
    if (believedUntilMs < this.#armedForMs) this.#arm();
  }

  #forget(key: string, service: ServiceRecord): void {
    this.#known.delete(key);
    this.#tell('delete', service);
  }

  #tell(action: RegistryAction, service: ServiceRecord): void {
    if (this.#isStanding) this.watcher.push({ action, service });
  }

  #arm(): void {
    if (this.#isAsking) return;
    this.#timer?.cancel();
    this.#armedForMs = Number.POSITIVE_INFINITY;
    if (!this.#isStanding || this.watcher.isStopped || this.#known.size === 0) return;
    let next = Number.POSITIVE_INFINITY;
    for (const { believedUntilMs } of this.#known.values()) next = Math.min(next, believedUntilMs);
    this.#armedForMs = next;
    const atMs = Math.max(next, this.#askedAtMs + this.#tools.minReadMs);
    const delayMs = Math.max(0, Math.ceil(atMs - this.#tools.clock.monotonicMs()));
    this.#timer = this.#tools.timers.after(delayMs, () => void this.#askForSilent());
  }

  /** A few at a time: anyone may tell of services without end. */
  async #ask(names: readonly string[], isPatient: boolean): Promise<void> {
    for (let at = 0; at < names.length && !this.watcher.isStopped; at += maxQuestions) {
      const some = names.slice(at, at + maxQuestions);
      const found = await Promise.all(some.map((name) => this.#tools.ask(name, isPatient)));
      for (const node of found.flat()) this.hear(node);
    }
  }

  /** One round at a time. Never rejects. */
  async #askForSilent(): Promise<void> {
    this.#isAsking = true;
    const now = this.#tools.clock.monotonicMs();
    const silent = [...this.#known].filter(([, { believedUntilMs }]) => believedUntilMs <= now);
    const names = new Set(silent.map(([, { service }]) => service.name));
    try {
      await this.#ask([...names], true);
      // Answered or announced anew, a node is known as something else by now.
      for (const [key, known] of silent) if (this.#known.get(key) === known) this.#forget(key, known.service);
    } catch (error) {
      this.watcher.lose('multicast DNS does not work any more', error);
    }
    this.#isAsking = false;
    this.#askedAtMs = this.#tools.clock.monotonicMs();
    this.#arm();
  }
}

/** A node's key among those of all services. */
function keyOf({ name, nodes }: ServiceRecord): string {
  return `${name}\n${nodes[0]?.id ?? ''}`;
}
