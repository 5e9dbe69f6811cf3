import { Code, TenonError } from '../../errors/errors.ts';
import { type EventOf, notify } from '../../internal/observers.ts';
import {
  isRegistryCache,
  type NodeRecord,
  nodeState,
  type Registry,
  type ServiceRecord,
} from '../../registry/registry.ts';
import type { Clock, Random } from '../../runtime/runtime.ts';
import type {
  EjectionReason,
  EndedCall,
  NextNode,
  ObservedNode,
  SelectOptions,
  SelectorObserver,
  SelectorOptions,
} from '../selector.ts';
import { keptBy } from './filtering.ts';
import { type NodeGroup, NodeGroups, zoneKey } from './node-groups.ts';
import { noneAvailable } from './none-available.ts';
import { OutlierDetection } from './outlier-detection.ts';
import { checkedPoolOptions, type PoolOptions } from './pool-options.ts';
import { PooledNode } from './pooled-node.ts';
import type { SelectionStrategy } from './strategy.ts';
import { subsetByIndex, subsetBySeed } from './subset.ts';

/** The nodes of one service between calls. */
class ServiceNodes<State, Memory> {
  readonly name: string;
  records: readonly ServiceRecord[] | undefined;
  /** All nodes that are known, also those that have gone a short time ago. */
  readonly byId = new Map<string, PooledNode<State>>();
  /** The calls in flight on all of them. */
  inFlight = 0;
  serving: readonly PooledNode<State>[] = none;
  /** The nodes of `serving` that this process uses. */
  used: readonly PooledNode<State>[] = none;
  /** The nodes to select from. Computed for the value `changes`, and valid until `changeMs`. */
  readonly groups: NodeGroups<State, Memory>;
  changes = -1;
  changeMs = Number.POSITIVE_INFINITY;
  probeMs = Number.POSITIVE_INFINITY;
  /** The records of the callers for which the groups were made. */
  callers: readonly ServiceRecord[] | undefined;
  isPanic = false;
  /** True if it was called since the last sweep. */
  wasUsed = true;
  readonly outliers: OutlierDetection<PooledNode<State>>;

  constructor(name: string, outliers: OutlierDetection<PooledNode<State>>, groups: NodeGroups<State, Memory>) {
    this.name = name;
    this.outliers = outliers;
    this.groups = groups;
  }
}

const none: readonly never[] = [];

// A node that is away for less than this is the same process still: the registry was away, or the network.
const keptMs = 60_000;
// A service that nobody has called for so long is forgotten, as the cache of the registry does.
const idleMs = 600_000;

/** Keeps the nodes of each service and leaves out failing ones, for every strategy alike. */
export class NodePool<State = undefined, Memory = undefined> {
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #strategy: SelectionStrategy<State, Memory>;
  readonly #observer: SelectorObserver | undefined;
  readonly #services = new Map<string, ServiceNodes<State, Memory>>();
  readonly #peek: ((name: string) => readonly ServiceRecord[] | undefined) | undefined;
  #sweptAtMs: number | undefined;
  #isClosed = false;
  #options: PoolOptions;
  /** The service of the callers that was read. */
  #callersRead: string | undefined;
  /** The seed of this process's own subset. */
  #seed: number | undefined;

  constructor(
    registry: Registry,
    clock: Clock,
    random: Random,
    strategy: SelectionStrategy<State, Memory>,
    options: SelectorOptions,
    observer?: SelectorObserver,
  ) {
    this.#registry = registry;
    this.#clock = clock;
    this.#random = random;
    this.#strategy = strategy;
    this.#observer = observer;
    this.#peek = isRegistryCache(registry) ? (name) => registry.peek(name) : undefined;
    this.#options = checkedPoolOptions(options);
  }

  get options(): PoolOptions {
    return this.#options;
  }

  init(options: SelectorOptions): void {
    this.#options = checkedPoolOptions(options, this.#options);
    for (const state of this.#services.values()) this.#use(state);
  }

  select(service: string, options: SelectOptions | undefined): NextNode | Promise<NextNode> {
    if (this.#isClosed) return Promise.reject(closed());
    const records = this.#peek?.(service);
    if (records) return this.#choose(service, records, options);
    return this.#read(service, options);
  }

  begin(service: string, node: NodeRecord): void {
    const state = this.#services.get(service);
    const known = state?.byId.get(node.id);
    if (!state || !known) return;
    known.inFlight += 1;
    state.inFlight += 1;
    if (known.health.beforeProbe) state.outliers.begin(known);
    this.#strategy.onBegin?.(known);
  }

  firstReply(service: string, node: NodeRecord, latencyMs: number | undefined, startMs: number | undefined): void {
    const state = this.#services.get(service);
    const known = state?.byId.get(node.id);
    if (!state || !known) return;
    const nowMs = this.#clock.monotonicMs();
    // A stream may go on for long: its first reply shows that the node takes calls.
    if (state.outliers.reached(known, nowMs, startMs ?? startOf(nowMs, latencyMs))) this.#welcome(state, known, nowMs);
    if (latencyMs !== undefined) this.#strategy.onReply?.(known, nowMs, latencyMs);
  }

  mark(
    service: string,
    node: NodeRecord,
    error: TenonError | undefined,
    latencyMs: number | undefined,
    call: EndedCall | undefined,
  ): void {
    const state = this.#services.get(service);
    const known = state?.byId.get(node.id);
    if (!state || !known) return;
    if (known.inFlight > 0) {
      known.inFlight -= 1;
      state.inFlight -= 1;
    }
    const nowMs = this.#clock.monotonicMs();
    const startMs = call?.startMs ?? startOf(nowMs, latencyMs);
    const isBack = state.outliers.record(known, state.serving, nowMs, error, latencyMs, call?.answer, startMs);
    if (isBack) this.#welcome(state, known, nowMs);
    this.#strategy.onEnd?.(known, nowMs, error, latencyMs, call);
  }

  reset(service: string): void {
    const state = this.#services.get(service);
    if (!state) return;
    for (const node of state.byId.values()) {
      state.outliers.forget(node);
      this.#strategy.forget?.(node);
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#services.clear();
  }

  /** Takes back a node that was away and takes calls: a process that has just started. */
  #welcome(state: ServiceNodes<State, Memory>, node: PooledNode<State>, nowMs: number): void {
    node.sinceMs = nowMs;
    this.#strategy.forget?.(node);
    this.#tellSlowStart(state.name, node);
  }

  #tell<Name extends keyof SelectorObserver>(name: Name, event: EventOf<SelectorObserver, Name>): void {
    if (this.#observer) notify(this.#observer, name, event);
  }

  #tellSlowStart(service: string, node: PooledNode<State>): void {
    const { slowStartMs } = this.#options;
    if (this.#observer && this.#strategy.startsSlowly && slowStartMs > 0)
      this.#tell('onSlowStart', { ...observed(service, node), durationMs: slowStartMs });
  }

  /** The error for a call that gets no node. */
  #noneAvailable(service: string, records: readonly ServiceRecord[], kept: readonly ServiceRecord[]): TenonError {
    const nodes = records.reduce((sum, record) => sum + record.nodes.length, 0);
    this.#tell('onNoneAvailable', { service, nodes });
    return noneAvailable(service, records, kept);
  }

  async #read(service: string, options: SelectOptions | undefined): Promise<NextNode> {
    let records: readonly ServiceRecord[];
    try {
      records = await this.#registry.getService(service, { signal: options?.signal });
    } catch (error) {
      if (TenonError.from(error).code === Code.NotFound) this.#takeNone(service);
      throw error;
    }
    if (this.#isClosed) throw closed();
    return this.#choose(service, records, options);
  }

  /** Throws, where the promise of `select` would reject: to a caller that awaits it is the same. */
  #choose(service: string, records: readonly ServiceRecord[], call: SelectOptions | undefined): NextNode {
    const state = this.#current(service, records);
    const filters = call?.filters;
    if (!filters || filters.length === 0) {
      if (state.serving.length === 0) throw this.#noneAvailable(service, records, records);
      this.#refresh(state);
      const { groups } = state;
      const group = groups.of(call, groups.dependOnChance ? this.#random.next() : 0);
      const next = this.#next(group, call);
      return state.probeMs === Number.POSITIVE_INFINITY ? next : this.#probing(state, state.probeMs, group, call, next);
    }
    const kept = keptBy(filters, records);
    const ids = new Set(kept.flatMap(({ nodes }) => nodes.map(({ id }) => id)));
    const serving = state.serving.filter(({ record }) => ids.has(record.id));
    if (serving.length === 0) throw this.#noneAvailable(service, records, kept);
    const { available, lastResort, probeMs } = state.outliers.partition(serving, this.#clock.monotonicMs());
    const group = { nodes: available, rest: lastResort, memory: state.groups.whole.memory };
    return this.#probing(state, probeMs, group, call, this.#next(group, call));
  }

  #current(service: string, records: readonly ServiceRecord[]): ServiceNodes<State, Memory> {
    let state = this.#services.get(service);
    if (!state) {
      this.#sweep();
      const listener = this.#observer && {
        onOut: (node: PooledNode<State>, reason: EjectionReason, durationMs: number | undefined) =>
          this.#tell('onEjected', { ...observed(service, node), reason, durationMs }),
        onBack: (node: PooledNode<State>) => this.#tell('onReadmitted', observed(service, node)),
      };
      const outliers = new OutlierDetection<PooledNode<State>>(() => this.#options, listener);
      state = new ServiceNodes(service, outliers, new NodeGroups<State, Memory>(() => this.#strategy.memoryOf()));
      this.#services.set(service, state);
    }
    state.wasUsed = true;
    if (state.records !== records) this.#take(state, records);
    return state;
  }

  /** Notes that the registry has no node of the service. */
  #takeNone(service: string): void {
    const state = this.#services.get(service);
    if (!state) return;
    this.#take(state, none);
    if (state.byId.size === 0) this.#forget(state);
  }

  /** Forgets services that are no longer called. Their number is not bounded: names may come from callers. */
  #sweep(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#sweptAtMs ??= nowMs;
    if (nowMs - this.#sweptAtMs < idleMs) return;
    this.#sweptAtMs = nowMs;
    for (const state of this.#services.values()) {
      if (!state.wasUsed && state.inFlight === 0) {
        for (const node of state.byId.values()) state.outliers.leave(node);
        this.#forget(state);
      }
      state.wasUsed = false;
    }
  }

  #forget(state: ServiceNodes<State, Memory>): void {
    if (state.isPanic) this.#panic(state, false);
    this.#services.delete(state.name);
  }

  /** Takes new records of the service. What is known of nodes outlives them for a while. */
  #take(state: ServiceNodes<State, Memory>, records: readonly ServiceRecord[]): void {
    const { byId } = state;
    const nowMs = this.#clock.monotonicMs();
    const isFirst = state.records === undefined;
    const serving = new Set<PooledNode<State>>();
    for (const { nodes } of records) {
      for (const record of nodes) {
        if (nodeState(record) !== 'serving') continue;
        let node = byId.get(record.id);
        if (!node) {
          // Nodes that were there before this process looked may be as old as they like.
          node = new PooledNode(
            record,
            state,
            isFirst ? Number.NEGATIVE_INFINITY : nowMs,
            this.#strategy.stateOf(record),
          );
          byId.set(record.id, node);
          if (!isFirst) this.#tellSlowStart(state.name, node);
        }
        // What was known is of another address.
        if (record.address !== node.record.address) state.outliers.forget(node);
        node.update(record);
        if (node.goneMs !== undefined) {
          node.goneMs = undefined;
          state.outliers.rejoin(node, nowMs);
        }
        serving.add(node);
      }
    }
    for (const [id, node] of byId) {
      if (serving.has(node)) continue;
      state.outliers.leave(node);
      node.goneMs ??= nowMs;
      if (node.inFlight === 0 && nowMs - node.goneMs >= keptMs) byId.delete(id);
    }
    state.records = records;
    // Ordered by id, so that the order is the same in every process.
    state.serving = [...serving].sort((a, b) => (a.record.id < b.record.id ? -1 : 1));
    this.#use(state);
  }

  /** Decides which of the serving nodes this process uses. */
  #use(state: ServiceNodes<State, Memory>): void {
    const { subsetSize, subsetIndex } = this.#options;
    const { serving } = state;
    state.changes = -1;
    state.used = serving;
    if (subsetSize === undefined) return;
    const idOf = (node: PooledNode<State>): string => node.record.id;
    if (subsetIndex === undefined) {
      state.used = subsetBySeed(serving, subsetSize, (this.#seed ??= this.#random.next()), idOf);
    } else {
      state.used = subsetByIndex(serving, subsetSize, subsetIndex, idOf);
    }
  }

  /** Updates what there is to select from. Does nothing while nothing has changed. */
  #refresh(state: ServiceNodes<State, Memory>): void {
    const { outliers } = state;
    const callers = this.#options.zoneCallers === undefined ? undefined : this.#callers(this.#options.zoneCallers);
    const isCurrent =
      state.changes === outliers.changes &&
      state.callers === callers &&
      (state.changeMs === Number.POSITIVE_INFINITY || this.#clock.monotonicMs() < state.changeMs);
    if (isCurrent) return;
    const isLost = state.used.every(({ health }) => health.isUnreachable);
    const partition = outliers.partition(isLost ? state.serving : state.used, this.#clock.monotonicMs());
    state.changes = outliers.changes;
    state.callers = callers;
    state.changeMs = partition.changeMs;
    state.probeMs = partition.probeMs;
    if (partition.isPanic !== state.isPanic) this.#panic(state, partition.isPanic);
    state.groups.update(partition, this.#options, callers && countByZone(callers));
  }

  #panic(state: ServiceNodes<State, Memory>, isPanic: boolean): void {
    state.isPanic = isPanic;
    if (!this.#observer) return;
    const { name: service, serving } = state;
    const nowMs = this.#clock.monotonicMs();
    const usable = serving.filter(({ health }) => !health.isUnreachable && health.ejectedUntilMs <= nowMs).length;
    if (isPanic) this.#tell('onPanic', { service, usable, nodes: serving.length });
    else this.#tell('onPanicOver', { service });
  }

  /** Returns the records of the service of the callers, once the registry has read them. */
  #callers(service: string): readonly ServiceRecord[] | undefined {
    const records = this.#peek?.(service);
    if (!records && this.#peek && this.#callersRead !== service) {
      this.#callersRead = service;
      this.#registry.getService(service).catch(() => (this.#callersRead = undefined));
    }
    return records;
  }

  #next({ nodes: available, rest, memory }: NodeGroup<State, Memory>, call: SelectOptions | undefined): NextNode {
    const strategy = this.#strategy;
    const first = strategy.first(available, memory, call, this.#options);
    if (available.length + rest.length === 1) return (available[0] as PooledNode<State>).alone;
    let untried: PooledNode<State>[] | undefined;
    let others: readonly PooledNode<State>[] = rest;
    let isFirst = true;
    return () => {
      if (isFirst) {
        isFirst = false;
        return (available[first] as PooledNode<State>).record;
      }
      // Only a call whose first attempt failed comes here, so these arrays cost other calls nothing.
      untried ??= [...available.slice(first + 1), ...available.slice(0, first)];
      if (untried.length === 0) {
        untried = [...others];
        others = none;
      }
      if (untried.length === 0) {
        untried = [...available.slice(first), ...available.slice(0, first)];
        others = rest;
      }
      return (untried.splice(strategy.next(untried, call, this.#options), 1)[0] as PooledNode<State>).record;
    };
  }

  /**
   * Tries a node that is left out before the others, if it is due and no other call has done so by then. A node that
   * the caller passes over was not tried: it is left to the next call. A call that cannot go on to another node tries
   * only one that no other call has tried for the time of the longest ejection.
   */
  #probing(
    state: ServiceNodes<State, Memory>,
    probeMs: number,
    { nodes, rest, memory, admits }: NodeGroup<State, Memory>,
    call: SelectOptions | undefined,
    next: NextNode,
  ): NextNode {
    const nowMs = this.#clock.monotonicMs() - (call?.isSentOnce === true ? this.#options.maxEjectMs : 0);
    if (nowMs < probeMs) return next;
    const { outliers } = state;
    const mayProbe = this.#strategy.mayProbe?.(nodes, memory, call);
    const isFit = (node: PooledNode<State>): boolean => admits?.(node) !== false && mayProbe?.(node) !== false;
    const due = outliers.probeOf(rest, nowMs, isFit);
    if (!due) return next;
    let calls = 0;
    let isProbed = false;
    // The number of calls until each node has been returned.
    const round = nodes.length + rest.length;
    return () => {
      calls += 1;
      if (calls === 1 && outliers.isDue(due, nowMs)) {
        isProbed = true;
        outliers.probe(due, this.#clock.monotonicMs());
        return due.record;
      }
      if (!isProbed) return next();
      if (calls === 2) outliers.passOver(due);
      const record = next();
      return record === due.record && calls <= round ? next() : record;
    };
  }
}

function startOf(nowMs: number, latencyMs: number | undefined): number | undefined {
  return latencyMs === undefined ? undefined : nowMs - latencyMs;
}

function observed<State>(service: string, { record }: PooledNode<State>): ObservedNode {
  return { service, node: record.id, address: record.address };
}

function countByZone(records: readonly ServiceRecord[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { nodes } of records) {
    for (const { metadata } of nodes) {
      const zone = metadata[zoneKey] ?? '';
      counts.set(zone, (counts.get(zone) ?? 0) + 1);
    }
  }
  return counts;
}

function closed(): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'selector.closed',
    message: 'the selector is closed: its system has stopped',
  });
}
