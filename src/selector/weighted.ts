import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { checkedOptions } from '../errors/checked-options.ts';
import type { TenonError } from '../errors/errors.ts';
import { type WithDefaults, withDefaults } from '../internal/defaults.ts';
import { token } from '../internal/token.ts';
import { Registry } from '../registry/registry.ts';
import { Clock, Random } from '../runtime/runtime.ts';
import { systemClock, systemRandom } from '../runtime/system.ts';
import { EdfScheduler } from './internal/edf-scheduler.ts';
import { loadReportOf, loadWeight } from './internal/load-report.ts';
import { NodePool } from './internal/node-pool.ts';
import type { PoolOptions } from './internal/pool-options.ts';
import type { PooledNode } from './internal/pooled-node.ts';
import { PooledSelector } from './internal/pooled-selector.ts';
import type { SelectionStrategy } from './internal/strategy.ts';
import {
  type EndedCall,
  type SelectOptions,
  type Selector,
  SelectorObserver,
  type SelectorOptions,
} from './selector.ts';

/** Options of a {@link WeightedSelector}. */
export interface WeightedSelectorOptions extends SelectorOptions {
  /**
   * Time from the first load report of a node until its reports count, in milliseconds: gRFC A58's `blackout_period`.
   * @default 10_000
   */
  readonly blackoutMs?: number | undefined;
  /** Time after which a load report no longer counts, in milliseconds: `weight_expiration_period`. @default 180_000 */
  readonly weightExpirationMs?: number | undefined;
  /**
   * Time between two looks at the load reports, in milliseconds, 100 at least: `weight_update_period`.
   * @default 1_000
   */
  readonly weightUpdateMs?: number | undefined;
  /** The part of the failed calls in the load of a node: `error_utilization_penalty`. @default 1 */
  readonly errorUtilizationPenalty?: number | undefined;
}

/** Container key of the options of a {@link WeightedSelector}. */
export const WeightedSelectorOptions: ServiceIdentifier<WeightedSelectorOptions> = token(
  'selector',
  'WeightedSelectorOptions',
);

/**
 * Selects nodes in turn, each as often as its weight says: the `weight` of its metadata, or that of its load reports
 * (gRFC A58), where two nodes at least send some.
 */
@injectable()
export class WeightedSelector extends PooledSelector implements Selector {
  readonly #strategy: WeightedRoundRobin;

  constructor(
    @inject(Registry) registry: Registry,
    @inject(WeightedSelectorOptions) @optional() options: WeightedSelectorOptions = {},
    @inject(Clock) @optional() clock: Clock = systemClock,
    @inject(Random) @optional() random: Random = systemRandom,
    @inject(SelectorObserver) @optional() observer?: SelectorObserver,
  ) {
    const strategy = new WeightedRoundRobin(clock, random);
    strategy.options = withDefaults(defaults, ownOf(options));
    super(new NodePool(registry, clock, random, strategy, options, observer));
    this.#strategy = strategy;
  }

  override get options(): WeightedSelectorOptions {
    return { ...super.options, ...this.#strategy.options };
  }

  override init(options: WeightedSelectorOptions): void {
    const own = ownOf(options);
    super.init(options);
    this.#strategy.options = withDefaults(this.#strategy.options, own);
  }

  override toString(): string {
    return 'weighted';
  }
}

const defaults = {
  blackoutMs: 10_000,
  weightExpirationMs: 180_000,
  weightUpdateMs: 1_000,
  errorUtilizationPenalty: 1,
} satisfies WeightedSelectorOptions;

const leastUpdateMs = 100;

/** Returns the options that only this selector has, checked. */
function ownOf(options: WeightedSelectorOptions): WeightedSelectorOptions {
  const penalty = { min: 0, max: Number.MAX_VALUE };
  const checked = checkedOptions('WeightedSelectorOptions', options, { errorUtilizationPenalty: penalty });
  const { blackoutMs, weightExpirationMs, weightUpdateMs, errorUtilizationPenalty } = checked;
  return {
    blackoutMs,
    weightExpirationMs,
    weightUpdateMs: weightUpdateMs === undefined ? undefined : Math.max(leastUpdateMs, weightUpdateMs),
    errorUtilizationPenalty,
  };
}

/** The load reports of one node. */
class Reported {
  weight = 0;
  /** The times of the first report in a row, and of the last. */
  sinceMs: number | undefined;
  lastMs = 0;
}

/** The order of the nodes of one service, or of a part of them. */
interface Schedule {
  nodes: readonly PooledNode<Reported>[] | undefined;
  scheduler: EdfScheduler | undefined;
  /** The time at which weights are looked at again. */
  dueMs: number;
}

class WeightedRoundRobin implements SelectionStrategy<Reported, Schedule> {
  readonly startsSlowly = true;
  options: WithDefaults<WeightedSelectorOptions, typeof defaults> = defaults;
  readonly #clock: Clock;
  readonly #random: Random;
  #hasReports = false;

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  stateOf(): Reported {
    return new Reported();
  }

  memoryOf(): Schedule {
    return { nodes: undefined, scheduler: undefined, dueMs: Number.POSITIVE_INFINITY };
  }

  first(
    nodes: readonly PooledNode<Reported>[],
    schedule: Schedule,
    call: SelectOptions | undefined,
    options: PoolOptions,
  ): number {
    // Nodes that pass the filters of one call have no turns.
    if (call?.filters && call.filters.length > 0) return this.next(nodes, call, options);
    const changes = this.#hasReports || options.slowStartMs > 0;
    if (schedule.nodes !== nodes || !schedule.scheduler || (changes && this.#clock.monotonicMs() >= schedule.dueMs)) {
      const nowMs = this.#clock.monotonicMs();
      schedule.nodes = nodes;
      schedule.dueMs = nowMs + this.options.weightUpdateMs;
      schedule.scheduler = new EdfScheduler(this.#weightsOf(nodes, nowMs, options), () => this.#random.next());
    }
    return schedule.scheduler.next();
  }

  next(untried: readonly PooledNode<Reported>[], _call: SelectOptions | undefined, options: PoolOptions): number {
    const weights = this.#weightsOf(untried, this.#clock.monotonicMs(), options);
    let left = this.#random.next() * weights.reduce((sum, weight) => sum + weight, 0);
    return Math.max(
      0,
      weights.findIndex((weight) => (left -= weight) < 0),
    );
  }

  onEnd(
    { state }: PooledNode<Reported>,
    nowMs: number,
    _error: TenonError | undefined,
    _latencyMs: number | undefined,
    call: EndedCall | undefined,
  ): void {
    if (!call || call.hasTrailers === false) return;
    const report = loadReportOf(call.trailers);
    if (!report) return;
    const weight = loadWeight(report, this.options.errorUtilizationPenalty);
    if (!Number.isFinite(weight)) return;
    this.#hasReports = true;
    state.weight = weight;
    state.sinceMs ??= nowMs;
    state.lastMs = nowMs;
  }

  forget({ state }: PooledNode<Reported>): void {
    state.sinceMs = undefined;
  }

  #weightsOf(nodes: readonly PooledNode<Reported>[], nowMs: number, options: PoolOptions): number[] {
    const reported = this.#hasReports ? nodes.map(({ state }) => this.#reportedWeight(state, nowMs)) : [];
    const known = reported.filter((weight) => weight > 0);
    // The weights of reports cannot be compared with those of the metadata, and one alone with nothing.
    if (known.length < 2) return nodes.map((node) => node.weightAt(nowMs, options));
    const limit = limitOf(known);
    const mean = known.reduce((sum, weight) => sum + Math.min(weight, limit) / known.length, 0);
    return nodes.map((node, index) => {
      const weight = Math.min(reported[index] || mean, limit);
      return weight * (node.weightAt(nowMs, options) / node.weight);
    });
  }

  #reportedWeight(state: Reported, nowMs: number): number {
    if (state.sinceMs === undefined) return 0;
    if (nowMs - state.lastMs >= this.options.weightExpirationMs) {
      state.sinceMs = undefined;
      return 0;
    }
    return nowMs - state.sinceMs < this.options.blackoutMs ? 0 : state.weight;
  }
}

/**
 * Returns the largest weight that counts: ten times the median. A node that reports next to no load would get every
 * call.
 */
function limitOf(weights: readonly number[]): number {
  const limit = 10 * weights.reduce((least, weight) => Math.min(least, weight));
  if (weights.every((weight) => weight <= limit)) return limit;
  const sorted = weights.toSorted((a, b) => a - b);
  return 10 * (sorted[(sorted.length - 1) >> 1] as number);
}
