import type { Clock, Timer, Timers } from '../../runtime/runtime.ts';
import type { RegistryEvent, WatchOptions } from '../registry.ts';
import type { Change, LeasedNode, Snapshot, WatchFeed } from './driver.ts';
import { idOf, nodeKey, NodeTable } from './node-table.ts';
import { WatchQueue } from './watch-queue.ts';

/** The parts of a {@link RegistryWatch}. */
export interface RegistryWatchTools {
  readonly clock: Clock;
  readonly timers: Timers;
  /** The server, for messages. */
  readonly server: string;
  /** See `DriverBounds`. */
  readonly minReadMs: number;
  readonly maxReadMs: number;
  /** Reads the names of all services. Absent if `read` returns all services at once. */
  readonly names?: (() => Promise<readonly string[]>) | undefined;
  read(service: string | undefined, isInitialRead: boolean): Promise<Snapshot>;
  /** True if one more node is accepted beside `count`. @default true */
  hasRoom?(count: number): boolean;
  /** Called when the watch goes on after the server was away. */
  onResumed?(service: string | undefined): void;
}

/** The view of what one read returns: of one service, or of all services. */
interface View {
  readonly service: string | undefined;
  /** The revision of the last change in the view. */
  revision: number;
  /** The revision of the last read. */
  readRevision: number;
  nodes: NodeTable;
  /** The latest time of the next read. */
  dueAtMs: number;
  /** True if something may have changed during a read, so that its result is out of date. */
  isStale: boolean;
  /** The last change of each node during a read: the result may be older. Undefined while nothing is read. */
  changesDuringRead: Map<string, Change> | undefined;
}

// Concurrent reads. The number of services is not bounded: any client of the server may add some.
const maxReads = 64;
// A node whose lease has ended at a server that was busy is back within this time.
const lapseMs = 1_000;
// Added to leases, so that a node is removed here after the server has removed it, not before.
const slackMs = 20;

/**
 * Keeps a view of the nodes of one service, or of all, and queues its changes for one reader. It applies the changes
 * that its driver reports, and reads: when a lease should have ended, and at least every `maxReadMs`. A read replaces
 * the view, whatever its revision: a server may have lost everything, its revision included.
 */
export class RegistryWatch implements WatchFeed {
  readonly watcher: WatchQueue;
  readonly #tools: RegistryWatchTools;
  readonly #views = new Map<string | undefined, View>();
  /** The last change of each node before the initial read ended. Undefined afterwards. */
  #initialChanges: Map<string, Change> | undefined = new Map();
  /** The number of nodes in all views. */
  #count = 0;
  #timer: Timer | undefined;
  /** The time for which the timer is set. */
  #scheduledAtMs = Number.POSITIVE_INFINITY;
  #isReading = false;
  #readAtMs = 0;
  #listNamesAtMs = Number.POSITIVE_INFINITY;

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

  /**
   * Reads the initial state. The driver must report changes from before the call; changes are queued for the reader
   * from when it resolves.
   */
  async start(): Promise<void> {
    const { names } = this.#tools;
    const all = this.#hasViewPerService && names ? await names() : [this.service];
    if (this.watcher.isStopped) return;
    const views = all.map((name) => this.#view(name));
    await this.#readAll(views, true);
    const changes = this.#initialChanges ?? new Map<string, Change>();
    for (const change of changes.values()) this.#apply(change);
    this.#initialChanges = undefined;
    this.#readAtMs = this.#now();
    this.#listNamesAtMs = this.#readAtMs + this.#tools.maxReadMs;
    this.#schedule();
  }

  change(change: Change): void {
    if (!this.watcher.covers(change.service.name)) return;
    if (!this.#hasRoomFor(change)) return;
    if (this.#initialChanges) {
      this.#initialChanges.set(keyOf(change), change);
      return;
    }
    const { dueAtMs } = this.#apply(change);
    if (dueAtMs < this.#scheduledAtMs) this.#schedule(dueAtMs);
  }

  refresh(service?: string): void {
    const views = service === undefined ? this.#views.values() : [this.#views.get(service), this.#views.get(undefined)];
    for (const view of views) if (view) this.#markStale(view);
    // A service without a view is found when names are listed.
    if (this.#hasViewPerService && (service === undefined || !this.#views.has(service)))
      this.#listNamesAtMs = this.#now();
    if (!this.#initialChanges && this.#now() < this.#scheduledAtMs) this.#schedule(this.#now());
  }

  resumed(): void {
    this.#tools.onResumed?.(this.service);
  }

  fail(why: string, cause?: unknown): void {
    this.watcher.fail(why, cause);
  }

  /** Applies a reported change, and queues an event if it changes the view. Returns the view. */
  #apply(change: Change): View {
    const view = this.#view(this.#isSingleView ? undefined : change.service.name);
    view.changesDuringRead?.set(keyOf(change), change);
    const { revision } = change;
    // Several changes may have one revision.
    if (revision === undefined || (revision > view.readRevision && revision >= view.revision)) {
      if (revision !== undefined) view.revision = revision;
      this.#count -= view.nodes.size;
      this.#emit(this.#put(view.nodes, change));
      this.#count += view.nodes.size;
      if (change.action !== 'delete') view.dueAtMs = Math.min(view.dueAtMs, this.#expiryOf(change));
      // In the view already, or of a server whose revision started again: a read shows which.
    } else if (!this.#initialChanges) this.#markStale(view);
    return view;
  }

  #markStale(view: View): void {
    view.isStale = true;
    view.dueAtMs = this.#now();
  }

  /** Replaces the view by the result of a read and the changes since, and queues the difference. */
  #replace(view: View, snapshot: Snapshot, askedAtMs: number): void {
    const { changesDuringRead = new Map<string, Change>(), nodes: before } = view;
    view.changesDuringRead = undefined;
    const found = new NodeTable();
    for (const node of snapshot.nodes) {
      const known = before.get(node.service);
      if (node.hasLapsed === true) {
        const lapsesAtMs = Math.min(known?.expiresAtMs ?? 0, askedAtMs + lapseMs);
        if (known && lapsesAtMs > askedAtMs) found.put(known.service, lapsesAtMs);
      } else if (this.watcher.covers(node.service.name) && (known || this.#hasRoom(found.size - before.size))) {
        found.put(node.service, this.#expiryOf(node));
      }
    }
    if (snapshot.isComplete === false) {
      for (const { service, expiresAtMs } of before.nodes()) {
        if (expiresAtMs > askedAtMs && !found.get(service)) found.put(service, expiresAtMs);
      }
    }
    const { revision = 0 } = snapshot;
    view.readRevision = Number.isSafeInteger(revision) ? revision : 0;
    view.revision = view.readRevision;
    for (const change of changesDuringRead.values()) {
      if (change.revision !== undefined && change.revision <= view.readRevision) continue;
      this.#put(found, change);
    }
    for (const change of changesDuringRead.values()) view.revision = Math.max(view.revision, change.revision ?? 0);
    view.dueAtMs = this.#now() + (view.isStale ? 0 : (snapshot.readAgainMs ?? this.#tools.maxReadMs));
    for (const { expiresAtMs } of found.nodes()) view.dueAtMs = Math.min(view.dueAtMs, expiresAtMs);
    this.#count -= before.size;
    for (const event of before.replaceWith(found)) this.#emit(event);
    this.#count += before.size;
  }

  #put(nodes: NodeTable, change: Change): RegistryEvent | undefined {
    const { action, service } = change;
    if (action !== 'delete') return nodes.put(service, this.#expiryOf(change));
    return nodes.remove(service.name, idOf(service)) && { action, service };
  }

  #emit(event: RegistryEvent | undefined): void {
    if (event && !this.#initialChanges) this.watcher.push(event);
  }

  #view(service: string | undefined): View {
    let view = this.#views.get(service);
    if (!view) {
      const dueAtMs = Number.POSITIVE_INFINITY;
      const times = { revision: 0, readRevision: 0, dueAtMs, isStale: false };
      view = { service, ...times, nodes: new NodeTable(), changesDuringRead: undefined };
      this.#views.set(service, view);
    }
    return view;
  }

  #expiryOf({ leaseMs = -1 }: LeasedNode): number {
    return leaseMs >= 0 ? this.#now() + leaseMs + slackMs : Number.POSITIVE_INFINITY;
  }

  #hasRoomFor({ action, service }: Change): boolean {
    if (action === 'delete') return true;
    const view = this.#views.get(this.#isSingleView ? undefined : service.name);
    return view?.nodes.get(service) !== undefined || this.#hasRoom(this.#initialChanges?.size ?? 0);
  }

  #hasRoom(more: number): boolean {
    return this.#tools.hasRoom?.(this.#count + more) ?? true;
  }

  /** Sets the timer for the next read. */
  #schedule(dueAtMs = this.#nextDueMs()): void {
    if (this.#isReading) return;
    this.#timer?.cancel();
    this.#scheduledAtMs = Number.POSITIVE_INFINITY;
    if (this.watcher.isStopped || dueAtMs === Number.POSITIVE_INFINITY) return;
    const { timers, minReadMs } = this.#tools;
    this.#scheduledAtMs = Math.max(dueAtMs, this.#readAtMs + minReadMs);
    const delayMs = Math.max(0, Math.ceil(this.#scheduledAtMs - this.#now()));
    this.#timer = timers.after(delayMs, () => void this.#readDue());
  }

  #nextDueMs(): number {
    let next = this.#hasViewPerService ? this.#listNamesAtMs : Number.POSITIVE_INFINITY;
    for (const { dueAtMs } of this.#views.values()) next = Math.min(next, dueAtMs);
    return next;
  }

  /** Reads the views that are due, one run at a time. Never rejects. */
  async #readDue(): Promise<void> {
    this.#isReading = true;
    try {
      if (this.#hasViewPerService && this.#listNamesAtMs <= this.#now()) await this.#listNames();
      const now = this.#now();
      const due = [...this.#views.values()].filter(({ dueAtMs }) => dueAtMs <= now);
      await this.#readAll(due, false);
      // A service without nodes needs no view.
      if (this.#hasViewPerService)
        for (const { service, nodes } of due) if (nodes.size === 0) this.#views.delete(service);
    } catch (error) {
      this.watcher.fail(`${this.#tools.server} does not answer`, error);
    }
    this.#isReading = false;
    this.#readAtMs = this.#now();
    this.#schedule();
  }

  /** Finds services of which no change was reported. */
  async #listNames(): Promise<void> {
    this.#listNamesAtMs = this.#now() + this.#tools.maxReadMs;
    const names = (await this.#tools.names?.()) ?? [];
    for (const name of names) if (!this.#views.has(name)) this.#view(name).dueAtMs = this.#now();
  }

  async #readAll(views: readonly View[], isInitialRead: boolean): Promise<void> {
    for (let at = 0; at < views.length && !this.watcher.isStopped; at += maxReads) {
      await Promise.all(views.slice(at, at + maxReads).map((view) => this.#read(view, isInitialRead)));
    }
  }

  async #read(view: View, isInitialRead: boolean): Promise<void> {
    if (!isInitialRead) view.changesDuringRead = new Map();
    view.isStale = false;
    const askedAtMs = this.#now();
    this.#replace(view, await this.#tools.read(view.service, isInitialRead), askedAtMs);
  }

  /** True if one read returns all services. */
  get #isSingleView(): boolean {
    return this.service === undefined && this.#tools.names === undefined;
  }

  /** True if all services are watched, each with a view of its own. */
  get #hasViewPerService(): boolean {
    return this.service === undefined && this.#tools.names !== undefined;
  }

  #now(): number {
    return this.#tools.clock.monotonicMs();
  }
}

function keyOf({ service }: Change): string {
  return nodeKey(service.name, idOf(service));
}
