import { aCount, checkedOptions } from '../../errors/checked-options.ts';
import { noPromise } from '../../internal/quietly.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import {
  isRegistryCache,
  type NodeRecord,
  nodeState,
  type Registry,
  type ServiceRecord,
} from '../../registry/registry.ts';
import type { Clock } from '../../runtime/runtime.ts';
import type { NextNode, SelectOptions, SelectorOptions } from '../selector.ts';
import { noneAvailable } from './none-available.ts';
import { type EjectionOptions, OutlierDetection } from './outlier-detection.ts';

/** The position of a strategy within the nodes of one service. The pool stores it between calls and never reads it. */
export interface Cursor {
  /** The array that `index` refers to. */
  nodes: readonly NodeRecord[] | undefined;
  index: number;
}

/** The order in which a selector tries nodes. */
export interface SelectionStrategy {
  /**
   * Returns the index of the node to try first. `nodes` has at least one node and is ordered by id; it is the same
   * array as long as nothing changed.
   */
  first(cursor: Cursor, nodes: readonly NodeRecord[]): number;
  /** Returns the index of the node to try after a failed attempt, among the nodes not tried yet. */
  next(untried: readonly NodeRecord[]): number;
}

/** The state of one service between calls. */
interface ServiceNodes {
  records: readonly ServiceRecord[] | undefined;
  serving: readonly NodeRecord[];
  /** Nodes of `serving` that are not ejected. Computed for the value `changes`, and valid until `nextReturnMs`. */
  available: readonly NodeRecord[];
  ejected: readonly NodeRecord[];
  changes: number;
  nextReturnMs: number;
  readonly outliers: OutlierDetection;
  readonly cursor: Cursor;
}

const defaults: EjectionOptions = { ejectMs: 5_000, ejectAfter: 3 };
const none: readonly NodeRecord[] = [];

/** Keeps the nodes of each service and ejects failing ones, for every strategy alike. */
export class NodePool {
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #strategy: SelectionStrategy;
  readonly #services = new Map<string, ServiceNodes>();
  readonly #peek: ((name: string) => readonly ServiceRecord[] | undefined) | undefined;
  #isClosed = false;
  #options: EjectionOptions = defaults;

  constructor(registry: Registry, clock: Clock, strategy: SelectionStrategy, options: SelectorOptions) {
    this.#registry = registry;
    this.#clock = clock;
    this.#strategy = strategy;
    this.#peek = isRegistryCache(registry) ? (name) => registry.peek(name) : undefined;
    this.init(options);
  }

  get options(): SelectorOptions {
    return this.#options;
  }

  init(options: SelectorOptions): void {
    const { ejectMs = this.#options.ejectMs, ejectAfter = this.#options.ejectAfter } = checkedOptions(
      'SelectorOptions',
      options,
      { ejectAfter: aCount },
    );
    this.#options = { ejectMs, ejectAfter };
  }

  select(service: string, options: SelectOptions | undefined): NextNode | Promise<NextNode> {
    if (this.#isClosed) return Promise.reject(closed());
    const records = this.#peek?.(service);
    if (records) return this.#choose(service, records, options);
    return this.#read(service, options);
  }

  mark(service: string, node: NodeRecord, error: TenonError | undefined): void {
    const state = this.#services.get(service);
    if (!state || (!error && state.outliers.isEmpty)) return;
    state.outliers.record(node.id, error, this.#options);
  }

  reset(service: string): void {
    this.#services.get(service)?.outliers.clear();
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
  #choose(service: string, records: readonly ServiceRecord[], options: SelectOptions | undefined): NextNode {
    const state = this.#current(service, records);
    const filters = options?.filters;
    if (!filters || filters.length === 0) {
      if (state.serving.length === 0) throw noneAvailable(service, records, records);
      this.#refresh(state);
      return this.#next(state, state.available, state.ejected);
    }
    const kept = filters.reduce((services, filter) => noPromise(filter(services)), records);
    const serving = servingOf(kept);
    if (serving.length === 0) throw noneAvailable(service, records, kept);
    const { available, ejected } = state.outliers.isEmpty
      ? { available: serving, ejected: none }
      : state.outliers.partition(serving);
    return available.length > 0 ? this.#next(state, available, ejected) : this.#next(state, ejected, none);
  }

  #current(service: string, records: readonly ServiceRecord[]): ServiceNodes {
    let state = this.#services.get(service);
    if (!state) {
      state = {
        records: undefined,
        serving: none,
        available: none,
        ejected: none,
        changes: 0,
        nextReturnMs: 0,
        outliers: new OutlierDetection(this.#clock),
        cursor: { nodes: undefined, index: 0 },
      };
      this.#services.set(service, state);
    }
    if (state.records !== records) {
      state.records = records;
      state.serving = servingOf(records);
      state.available = state.serving;
      state.ejected = none;
      state.outliers.retain(records.flatMap(({ nodes }) => nodes));
      state.changes = -1;
    }
    return state;
  }

  /** Updates `available` and `ejected` after a change. Does nothing while no node has failed. */
  #refresh(state: ServiceNodes): void {
    const { outliers, serving } = state;
    if (
      state.changes === outliers.changes &&
      (state.ejected === none || this.#clock.monotonicMs() < state.nextReturnMs)
    )
      return;
    const { available, ejected, nextReturnMs } = outliers.partition(serving);
    state.changes = outliers.changes;
    state.nextReturnMs = nextReturnMs;
    state.ejected = ejected.length === 0 || available.length === 0 ? none : ejected;
    // While every node is ejected, all are used. The array stays the same wherever possible: cursors refer to it.
    state.available = state.ejected === none ? serving : available;
    if (available.length === 0) state.changes = -1;
  }

  #next(state: ServiceNodes, available: readonly NodeRecord[], ejected: readonly NodeRecord[]): NextNode {
    const first = this.#strategy.first(state.cursor, available);
    if (available.length + ejected.length === 1) return () => available[0] as NodeRecord;
    let untried: NodeRecord[] | undefined;
    let lastResort: readonly NodeRecord[] = ejected;
    let isFirst = true;
    return () => {
      if (isFirst) {
        isFirst = false;
        return available[first] as NodeRecord;
      }
      // Only a call whose first attempt failed comes here, so these arrays cost other calls nothing.
      untried ??= [...available.slice(first + 1), ...available.slice(0, first)];
      if (untried.length === 0) {
        untried = [...lastResort];
        lastResort = none;
      }
      if (untried.length === 0) {
        untried = [...available.slice(first), ...available.slice(0, first)];
        lastResort = ejected;
      }
      return untried.splice(this.#strategy.next(untried), 1)[0] as NodeRecord;
    };
  }
}

/** Returns the serving nodes ordered by id, so that the order is the same in every process. */ function servingOf(
  records: readonly ServiceRecord[],
): readonly NodeRecord[] {
  return records
    .flatMap(({ nodes }) => nodes.filter((node) => nodeState(node) === 'serving'))
    .sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
}

function closed(): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'selector.closed',
    message: 'the selector is closed: its system has stopped',
  });
}
