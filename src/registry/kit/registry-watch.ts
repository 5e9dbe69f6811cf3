import type { Clock, Timer, Timers } from '../../runtime/runtime.ts';
import type { RegistryEvent, WatchOptions } from '../registry.ts';
import type { Change, HeldNode, Snapshot, WatchFeed } from './driver.ts';
import { idOf, nodeKey, NodeTable } from './node-table.ts';
import { WatchQueue } from './watch-queue.ts';

/** Options of a {@link RegistryWatch}. */
export interface RegistryWatchTools {
  readonly clock: Clock;
  readonly timers: Timers;
  /** The server, for the error of a watch that is lost. */
  readonly where: string;
  /** The server is read no more often than this, whatever it answers. */
  readonly minReadMs: number;
  /** Everything that is watched is read at least this often: changes that nobody told of are found then. */
  readonly maxReadMs: number;
  /** The services there are. Absent if `read` gives all of them at once. */
  readonly names?: (() => Promise<readonly string[]>) | undefined;
  read(service: string | undefined, isFirstLook: boolean): Promise<Snapshot>;
  /** True if one more node is believed beside so many. @default yes */
  hasRoom?(count: number): boolean;
}

/** The unit that is read in one piece: a service, or all of them. */
interface Unit {
  readonly service: string | undefined;
  revision: number;
  nodes: NodeTable;
  /** When it is read at the latest. */
  dueAtMs: number;
  /** What the read that is under way finds may be out of date already. */
  isStale: boolean;
  /** The last change of each node that was told while an answer is on its way: the answer may be older. */
  meanwhile: Map<string, Change> | undefined;
}

// Reads that are open at the same time: anyone may tell of services without end.
const maxReads = 64;
// Leases end a little later here than there.
const slackMs = 20;

/**
 * Keeps a view of the nodes of one service, or of all, and queues its changes for one reader. It learns by reading and
 * by what it is told. It reads again when a lease should have ended, unless it was renewed, and at least every
 * `maxReadMs`. What a read finds counts, whatever was known before: a server may have lost everything, the numbers of
 * its changes included.
 */
export class RegistryWatch implements WatchFeed {
  readonly watcher: WatchQueue;
  readonly #tools: RegistryWatchTools;
  readonly #units = new Map<string | undefined, Unit>();
  /** Changes that were told before what is there was known. */
  #early: Map<string, Change> | undefined = new Map();
  /** Of the nodes of all units. */
  #count = 0;
  #timer: Timer | undefined;
  #isLooking = false;
  #lookedAtMs = 0;
  #listAtMs = Number.POSITIVE_INFINITY;

  constructor(options: WatchOptions, tools: RegistryWatchTools, onStop: (watch: RegistryWatch) => void) {
    this.#tools = tools;
    this.watcher = new WatchQueue(options, () => {
      this.#timer?.cancel();
      onStop(this);
    });
  }

  get service(): string | undefined {
    return this.watcher.service;
  }

  /** Learns what is there. Changes have to be heard from before it is called; from when it resolves they are queued. */
  async start(): Promise<void> {
    const { names } = this.#tools;
    const all = this.#hasUnits && names ? await names() : [this.service];
    if (this.watcher.isStopped) return;
    const units = all.map((name) => this.#unit(name));
    await this.#readAll(units, true);
    const early = this.#early ?? new Map<string, Change>();
    for (const change of early.values()) this.#apply(change);
    this.#early = undefined;
    this.#lookedAtMs = this.#now();
    this.#listAtMs = this.#lookedAtMs + this.#tools.maxReadMs;
    this.#arm();
  }

  change(change: Change): void {
    if (!this.watcher.wants(change.service.name)) return;
    if (!this.#hasRoomFor(change)) return;
    if (this.#early) {
      this.#early.set(keyOf(change), change);
      return;
    }
    this.#apply(change);
    this.#arm();
  }

  refresh(service?: string): void {
    for (const unit of this.#units.values()) {
      if (service === undefined || unit.service === undefined || unit.service === service) this.#outdate(unit);
    }
    // One that is not known yet is found among the names.
    if (this.#hasUnits && (service === undefined || !this.#units.has(service))) this.#listAtMs = this.#now();
    if (!this.#early) this.#arm();
  }

  lose(why: string, cause?: unknown): void {
    this.watcher.lose(why, cause);
  }

  /** Takes note of a change, and tells of it if it is one to who knows what this view knows. */
  #apply(change: Change): void {
    const unit = this.#unit(this.#isWhole ? undefined : change.service.name);
    unit.meanwhile?.set(keyOf(change), change);
    const { revision } = change;
    if (revision === undefined || revision > unit.revision) {
      if (revision !== undefined) unit.revision = revision;
      this.#count -= unit.nodes.size;
      this.#tell(this.#put(unit.nodes, change));
      this.#count += unit.nodes.size;
      if (change.action !== 'delete') unit.dueAtMs = Math.min(unit.dueAtMs, this.#lapseOf(change));
      // Known already, or of a server that counts anew: a look will tell.
    } else if (!this.#early) this.#outdate(unit);
  }

  #outdate(unit: Unit): void {
    unit.isStale = true;
    unit.dueAtMs = this.#now();
  }

  /** What a read found, and what was told since: from what was known to that. */
  #learn(unit: Unit, snapshot: Snapshot, askedAtMs: number): void {
    const { meanwhile = new Map<string, Change>(), nodes: before } = unit;
    unit.meanwhile = undefined;
    const found = new NodeTable();
    for (const node of snapshot.nodes) {
      const isKnown = before.get(node.service) !== undefined;
      if (this.watcher.wants(node.service.name) && (isKnown || this.#hasRoom(found.size - before.size))) {
        found.put(node.service, this.#lapseOf(node));
      }
    }
    if (snapshot.isComplete === false) {
      for (const { service, lapsesAtMs } of before.nodes()) {
        if (lapsesAtMs > askedAtMs && !found.get(service)) found.put(service, lapsesAtMs);
      }
    }
    const { revision = 0 } = snapshot;
    unit.revision = Number.isSafeInteger(revision) ? revision : 0;
    for (const change of meanwhile.values()) {
      if (change.revision !== undefined && change.revision <= unit.revision) continue;
      this.#put(found, change);
    }
    for (const change of meanwhile.values()) unit.revision = Math.max(unit.revision, change.revision ?? 0);
    unit.dueAtMs = this.#now() + (unit.isStale ? 0 : (snapshot.readAgainMs ?? this.#tools.maxReadMs));
    for (const { lapsesAtMs } of found.nodes()) unit.dueAtMs = Math.min(unit.dueAtMs, lapsesAtMs);
    this.#count -= before.size;
    for (const event of before.replaceWith(found)) this.#tell(event);
    this.#count += before.size;
  }

  #put(nodes: NodeTable, change: Change): RegistryEvent | undefined {
    const { action, service } = change;
    if (action !== 'delete') return nodes.put(service, this.#lapseOf(change));
    return nodes.remove(service.name, idOf(service)) && { action, service };
  }

  #tell(event: RegistryEvent | undefined): void {
    if (event && !this.#early) this.watcher.push(event);
  }

  #unit(service: string | undefined): Unit {
    let unit = this.#units.get(service);
    if (!unit) {
      const dueAtMs = Number.POSITIVE_INFINITY;
      unit = { service, revision: 0, nodes: new NodeTable(), dueAtMs, isStale: false, meanwhile: undefined };
      this.#units.set(service, unit);
    }
    return unit;
  }

  #lapseOf({ leaseMs = -1 }: HeldNode): number {
    return leaseMs >= 0 ? this.#now() + leaseMs + slackMs : Number.POSITIVE_INFINITY;
  }

  #hasRoomFor({ action, service }: Change): boolean {
    if (action === 'delete') return true;
    const unit = this.#units.get(this.#isWhole ? undefined : service.name);
    return unit?.nodes.get(service) !== undefined || this.#hasRoom(this.#early?.size ?? 0);
  }

  #hasRoom(more: number): boolean {
    return this.#tools.hasRoom?.(this.#count + more) ?? true;
  }

  #arm(): void {
    if (this.#isLooking) return;
    this.#timer?.cancel();
    if (this.watcher.isStopped) return;
    const { timers, minReadMs } = this.#tools;
    let next = this.#hasUnits ? this.#listAtMs : Number.POSITIVE_INFINITY;
    for (const { dueAtMs } of this.#units.values()) next = Math.min(next, dueAtMs);
    if (next === Number.POSITIVE_INFINITY) return;
    const atMs = Math.max(next, this.#lookedAtMs + minReadMs);
    this.#timer = timers.after(Math.max(0, Math.ceil(atMs - this.#now())), () => void this.#look());
  }

  /** One look at a time. Never rejects. */
  async #look(): Promise<void> {
    this.#isLooking = true;
    try {
      if (this.#hasUnits && this.#listAtMs <= this.#now()) await this.#list();
      const now = this.#now();
      const due = [...this.#units.values()].filter(({ dueAtMs }) => dueAtMs <= now);
      await this.#readAll(due, false);
      // A service of which there is nothing left is as one that was never there.
      if (this.#hasUnits) for (const { service, nodes } of due) if (nodes.size === 0) this.#units.delete(service);
    } catch (error) {
      this.watcher.lose(`${this.#tools.where} does not answer`, error);
    }
    this.#isLooking = false;
    this.#lookedAtMs = this.#now();
    this.#arm();
  }

  /** Finds services that came without a word. */
  async #list(): Promise<void> {
    this.#listAtMs = this.#now() + this.#tools.maxReadMs;
    const names = (await this.#tools.names?.()) ?? [];
    for (const name of names) if (!this.#units.has(name)) this.#unit(name).dueAtMs = this.#now();
  }

  async #readAll(units: readonly Unit[], isFirstLook: boolean): Promise<void> {
    for (let at = 0; at < units.length && !this.watcher.isStopped; at += maxReads) {
      await Promise.all(units.slice(at, at + maxReads).map((unit) => this.#read(unit, isFirstLook)));
    }
  }

  async #read(unit: Unit, isFirstLook: boolean): Promise<void> {
    if (!isFirstLook) unit.meanwhile = new Map();
    unit.isStale = false;
    const askedAtMs = this.#now();
    this.#learn(unit, await this.#tools.read(unit.service, isFirstLook), askedAtMs);
  }

  /** Whether everything is read at once. */
  get #isWhole(): boolean {
    return this.service === undefined && this.#tools.names === undefined;
  }

  /** Whether services are read one by one, and looked for by their names. */
  get #hasUnits(): boolean {
    return this.service === undefined && this.#tools.names !== undefined;
  }

  #now(): number {
    return this.#tools.clock.monotonicMs();
  }
}

function keyOf({ service }: Change): string {
  return nodeKey(service.name, idOf(service));
}
