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
import type { Next, SelectOptions, SelectorOptions } from '../selector.ts';
import { Health, type HealthOptions } from './health.ts';
import { noneAvailable } from './none-available.ts';

/** Where a strategy stands within one service. Its own; the pool only keeps it. */
export interface Cursor {
  /** The nodes that `index` counts in. */
  nodes: readonly NodeRecord[] | undefined;
  index: number;
}

/** What makes one selector different from another. */
export interface Strategy {
  /**
   * The index of the node to try first. `nodes` has at least one, ordered by id; the same array as long as nothing
   * changed.
   */
  first(cursor: Cursor, nodes: readonly NodeRecord[]): number;
  /** The index of the one to try next, of those that are left. */
  other(left: readonly NodeRecord[]): number;
}

/** What is kept of a service between calls. */
interface Known {
  records: readonly ServiceRecord[] | undefined;
  serving: readonly NodeRecord[];
  /** Those of `serving` that are not left out, as of `changes` and until `nextBackMs`. */
  fit: readonly NodeRecord[];
  ejected: readonly NodeRecord[];
  changes: number;
  nextBackMs: number;
  readonly health: Health;
  readonly cursor: Cursor;
}

const defaults: HealthOptions = { ejectMs: 5_000, ejectAfter: 3 };
const none: readonly NodeRecord[] = [];

/** The nodes of each service and what is known of their health: what all strategies share. */
export class NodePool {
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #strategy: Strategy;
  readonly #known = new Map<string, Known>();
  readonly #peek: ((name: string) => readonly ServiceRecord[] | undefined) | undefined;
  #isClosed = false;
  #options: HealthOptions = defaults;

  constructor(registry: Registry, clock: Clock, strategy: Strategy, options: SelectorOptions) {
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

  select(service: string, options: SelectOptions | undefined): Next | Promise<Next> {
    if (this.#isClosed) return Promise.reject(closed());
    const records = this.#peek?.(service);
    if (records) return this.#choose(service, records, options);
    return this.#read(service, options);
  }

  mark(service: string, node: NodeRecord, error: TenonError | undefined): void {
    const known = this.#known.get(service);
    if (!known || (!error && known.health.isSpotless)) return;
    known.health.mark(node.id, error, this.#options);
  }

  reset(service: string): void {
    this.#known.get(service)?.health.clear();
  }

  close(): void {
    this.#isClosed = true;
    this.#known.clear();
  }

  async #read(service: string, options: SelectOptions | undefined): Promise<Next> {
    const records = await this.#registry.getService(service, { signal: options?.signal });
    if (this.#isClosed) throw closed();
    return this.#choose(service, records, options);
  }

  /** Throws where the promise of `select` would reject: both are what the caller awaits. */
  #choose(service: string, records: readonly ServiceRecord[], options: SelectOptions | undefined): Next {
    const known = this.#current(service, records);
    const filters = options?.filters;
    if (!filters || filters.length === 0) {
      if (known.serving.length === 0) throw noneAvailable(service, records, records);
      this.#refit(known);
      return this.#next(known, known.fit, known.ejected);
    }
    const kept = filters.reduce((services, filter) => noPromise(filter(services)), records);
    const serving = servingOf(kept);
    if (serving.length === 0) throw noneAvailable(service, records, kept);
    const { fit, ejected } = known.health.isSpotless ? { fit: serving, ejected: none } : known.health.split(serving);
    return fit.length > 0 ? this.#next(known, fit, ejected) : this.#next(known, ejected, none);
  }

  #current(service: string, records: readonly ServiceRecord[]): Known {
    let known = this.#known.get(service);
    if (!known) {
      known = {
        records: undefined,
        serving: none,
        fit: none,
        ejected: none,
        changes: 0,
        nextBackMs: 0,
        health: new Health(this.#clock),
        cursor: { nodes: undefined, index: 0 },
      };
      this.#known.set(service, known);
    }
    if (known.records !== records) {
      known.records = records;
      known.serving = servingOf(records);
      known.fit = known.serving;
      known.ejected = none;
      known.health.keepOnly(records.flatMap(({ nodes }) => nodes));
      known.changes = -1;
    }
    return known;
  }

  /** Brings `fit` up to date. While no node has failed there is nothing to do. */
  #refit(known: Known): void {
    const { health, serving } = known;
    if (known.changes === health.changes && (known.ejected === none || this.#clock.monotonicMs() < known.nextBackMs))
      return;
    const { fit, ejected, nextBackMs } = health.split(serving);
    known.changes = health.changes;
    known.nextBackMs = nextBackMs;
    known.ejected = ejected.length === 0 || fit.length === 0 ? none : ejected;
    // With every node left out, all are used. The array stays the same one wherever it can, as cursors count in it.
    known.fit = known.ejected === none ? serving : fit;
    if (fit.length === 0) known.changes = -1;
  }

  #next(known: Known, fit: readonly NodeRecord[], ejected: readonly NodeRecord[]): Next {
    const first = this.#strategy.first(known.cursor, fit);
    if (fit.length + ejected.length === 1) return () => fit[0] as NodeRecord;
    let left: NodeRecord[] | undefined;
    let lastResort: readonly NodeRecord[] = ejected;
    let isFirst = true;
    return () => {
      if (isFirst) {
        isFirst = false;
        return fit[first] as NodeRecord;
      }
      // From here on a call is in trouble: what it costs matters less than that it gets another node.
      left ??= [...fit.slice(first + 1), ...fit.slice(0, first)];
      if (left.length === 0) {
        left = [...lastResort];
        lastResort = none;
      }
      if (left.length === 0) {
        left = [...fit.slice(first), ...fit.slice(0, first)];
        lastResort = ejected;
      }
      return left.splice(this.#strategy.other(left), 1)[0] as NodeRecord;
    };
  }
}

/** Ordered by id: every process has the same order, whatever order the registry gives. */
function servingOf(records: readonly ServiceRecord[]): readonly NodeRecord[] {
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
