import { Code, TenonError } from '../../errors/errors.ts';
import { noPromise } from '../../internal/quietly.ts';
import {
  isRegistryCache,
  type NodeRecord,
  nodeState,
  type Registry,
  type ServiceRecord,
} from '../../registry/registry.ts';
import type { Clock } from '../../runtime/runtime.ts';
import type { EndedCall, NextNode, SelectOptions, SelectorOptions } from '../selector.ts';
import { noneAvailable } from './none-available.ts';
import { NodeHealth, OutlierDetection } from './outlier-detection.ts';
import { checkedPoolOptions, type PoolOptions } from './pool-options.ts';
import { PooledNode } from './pooled-node.ts';
import type { SelectionStrategy } from './strategy.ts';

/** The nodes of one service between calls. */
class ServiceNodes<State, Memory> {
  records: readonly ServiceRecord[] | undefined;
  /** All nodes that are known, also those that have gone a short time ago. */
  readonly byId = new Map<string, PooledNode<State>>();
  serving: readonly PooledNode<State>[] = none;
  /** The nodes of `serving` to select from. Computed for the value `changes`, and valid until `changeMs`. */
  available: readonly PooledNode<State>[] = none;
  lastResort: readonly PooledNode<State>[] = none;
  changes = -1;
  changeMs = Number.POSITIVE_INFINITY;
  probeMs = Number.POSITIVE_INFINITY;
  readonly outliers: OutlierDetection<PooledNode<State>>;
  readonly memory: Memory;

  constructor(outliers: OutlierDetection<PooledNode<State>>, memory: Memory) {
    this.outliers = outliers;
    this.memory = memory;
  }
}

const none: readonly never[] = [];

// A node that is away for less than this is the same process still: the registry was away, or the network.
const keptMs = 60_000;

/** Keeps the nodes of each service and leaves out failing ones, for every strategy alike. */
export class NodePool<State = undefined, Memory = undefined> {
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #strategy: SelectionStrategy<State, Memory>;
  readonly #services = new Map<string, ServiceNodes<State, Memory>>();
  readonly #peek: ((name: string) => readonly ServiceRecord[] | undefined) | undefined;
  #isClosed = false;
  #options: PoolOptions;

  constructor(registry: Registry, clock: Clock, strategy: SelectionStrategy<State, Memory>, options: SelectorOptions) {
    this.#registry = registry;
    this.#clock = clock;
    this.#strategy = strategy;
    this.#peek = isRegistryCache(registry) ? (name) => registry.peek(name) : undefined;
    this.#options = checkedPoolOptions(options);
  }

  get options(): PoolOptions {
    return this.#options;
  }

  init(options: SelectorOptions): void {
    this.#options = checkedPoolOptions(options, this.#options);
    for (const { outliers } of this.#services.values()) outliers.touch();
  }

  select(service: string, options: SelectOptions | undefined): NextNode | Promise<NextNode> {
    if (this.#isClosed) return Promise.reject(closed());
    const records = this.#peek?.(service);
    if (records) return this.#choose(service, records, options);
    return this.#read(service, options);
  }

  begin(service: string, node: NodeRecord): void {
    const known = this.#services.get(service)?.byId.get(node.id);
    if (known) known.inFlight += 1;
  }

  firstReply(service: string, node: NodeRecord, latencyMs: number): void {
    const known = this.#services.get(service)?.byId.get(node.id);
    if (known) this.#strategy.onReply?.(known, this.#clock.monotonicMs(), latencyMs);
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
    if (known.inFlight > 0) known.inFlight -= 1;
    const nowMs = this.#clock.monotonicMs();
    const isBack = state.outliers.record(known, state.serving, nowMs, error, latencyMs, call?.answer);
    if (isBack) {
      // It was away and takes calls: a process that has just started.
      known.sinceMs = nowMs;
      this.#strategy.forget?.(known);
    }
    this.#strategy.onEnd?.(known, nowMs, error, latencyMs, call);
  }

  reset(service: string): void {
    const state = this.#services.get(service);
    if (!state) return;
    for (const node of state.byId.values()) {
      node.health = new NodeHealth();
      this.#strategy.forget?.(node);
    }
    state.outliers.touch();
  }

  close(): void {
    this.#isClosed = true;
    this.#services.clear();
  }

  async #read(service: string, options: SelectOptions | undefined): Promise<NextNode> {
    const records = await this.#registry.getService(service, { signal: options?.signal });
    if (this.#isClosed) throw closed();
    return this.#choose(service, records, options);
  }

  /** Throws, where the promise of `select` would reject: to a caller that awaits it is the same. */
  #choose(service: string, records: readonly ServiceRecord[], call: SelectOptions | undefined): NextNode {
    const state = this.#current(service, records);
    const filters = call?.filters;
    if (!filters || filters.length === 0) {
      if (state.serving.length === 0) throw noneAvailable(service, records, records);
      this.#refresh(state);
      if (state.probeMs !== Number.POSITIVE_INFINITY) {
        const nowMs = this.#clock.monotonicMs();
        if (nowMs >= state.probeMs) {
          const due = state.outliers.probeOf(state.lastResort, nowMs);
          if (due) return this.#probing(state, due, this.#next(state, state.available, state.lastResort, call));
        }
      }
      return this.#next(state, state.available, state.lastResort, call);
    }
    const kept = filters.reduce((services, filter) => noPromise(filter(services)), records);
    const ids = new Set(kept.flatMap(({ nodes }) => nodes.map(({ id }) => id)));
    const serving = state.serving.filter(({ record }) => ids.has(record.id));
    if (serving.length === 0) throw noneAvailable(service, records, kept);
    const nowMs = this.#clock.monotonicMs();
    const { available, lastResort, probeMs } = state.outliers.partition(serving, nowMs);
    const next = this.#next(state, available, lastResort, call);
    const due = nowMs >= probeMs ? state.outliers.probeOf(lastResort, nowMs) : undefined;
    return due ? this.#probing(state, due, next) : next;
  }

  #current(service: string, records: readonly ServiceRecord[]): ServiceNodes<State, Memory> {
    let state = this.#services.get(service);
    if (!state) {
      const outliers = new OutlierDetection<PooledNode<State>>(() => this.#options);
      state = new ServiceNodes(outliers, this.#strategy.memoryOf());
      this.#services.set(service, state);
    }
    if (state.records !== records) this.#take(state, records);
    return state;
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
          node = new PooledNode(record, isFirst ? Number.NEGATIVE_INFINITY : nowMs, this.#strategy.stateOf());
          byId.set(record.id, node);
        }
        // Whoever is announced anew is worth a try.
        if (node.goneMs !== undefined) node.health.isUnreachable = false;
        node.goneMs = undefined;
        node.update(record);
        serving.add(node);
      }
    }
    for (const [id, node] of byId) {
      if (serving.has(node)) continue;
      node.goneMs ??= nowMs;
      if (node.inFlight === 0 && nowMs - node.goneMs >= keptMs) byId.delete(id);
    }
    state.records = records;
    // Ordered by id, so that the order is the same in every process.
    state.serving = [...serving].sort((a, b) => (a.record.id < b.record.id ? -1 : 1));
    state.changes = -1;
  }

  /** Updates what there is to select from. Does nothing while all nodes are well. */
  #refresh(state: ServiceNodes<State, Memory>): void {
    const { outliers, serving } = state;
    const isCurrent =
      state.changes === outliers.changes &&
      (state.changeMs === Number.POSITIVE_INFINITY || this.#clock.monotonicMs() < state.changeMs);
    if (isCurrent) return;
    const { available, lastResort, changeMs, probeMs } = outliers.partition(serving, this.#clock.monotonicMs());
    state.changes = outliers.changes;
    state.changeMs = changeMs;
    state.probeMs = probeMs;
    state.lastResort = lastResort;
    state.available = available;
  }

  #next(
    state: ServiceNodes<State, Memory>,
    available: readonly PooledNode<State>[],
    lastResort: readonly PooledNode<State>[],
    call: SelectOptions | undefined,
  ): NextNode {
    const strategy = this.#strategy;
    const first = strategy.first(available, state.memory, call, this.#options);
    if (available.length + lastResort.length === 1) return () => (available[0] as PooledNode<State>).record;
    let untried: PooledNode<State>[] | undefined;
    let others: readonly PooledNode<State>[] = lastResort;
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
        others = lastResort;
      }
      return (untried.splice(strategy.next(untried, call, this.#options), 1)[0] as PooledNode<State>).record;
    };
  }

  /** Tries a node that was unreachable before the others, unless another call has done so by then. */
  #probing(state: ServiceNodes<State, Memory>, due: PooledNode<State>, next: NextNode): NextNode {
    let isFirst = true;
    return () => {
      const nowMs = this.#clock.monotonicMs();
      const isProbe = isFirst && due.health.isUnreachable && due.health.probeAtMs <= nowMs;
      isFirst = false;
      if (!isProbe) return next();
      state.outliers.probe(due, nowMs);
      return due.record;
    };
  }
}

function closed(): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'selector.closed',
    message: 'the selector is closed: its system has stopped',
  });
}
