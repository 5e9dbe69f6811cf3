import type { Clock, Random } from '../../runtime/runtime.ts';
import type { SelectOptions } from '../selector.ts';
import type { PoolOptions } from './pool-options.ts';
import type { PooledNode } from './pooled-node.ts';
import type { SelectionStrategy } from './strategy.ts';

/**
 * Selects the node with the least load among some that are drawn at random: of two, the power of two choices. No node
 * is drawn twice, as a node that hangs would win against itself in one of n² draws.
 */
export abstract class LeastLoaded<State> implements SelectionStrategy<State> {
  readonly startsSlowly = true;
  protected readonly clock: Clock;
  readonly #random: Random;
  /** The number of nodes that are drawn. */
  choiceCount = 2;

  constructor(clock: Clock, random: Random) {
    this.clock = clock;
    this.#random = random;
  }

  abstract stateOf(): State;

  memoryOf(): undefined {}

  first(
    nodes: readonly PooledNode<State>[],
    _memory: undefined,
    _call: SelectOptions | undefined,
    options: PoolOptions,
  ): number {
    const { length } = nodes;
    if (length === 1) return 0;
    const nowMs = this.now(options);
    if (this.choiceCount > 2) return this.#leastOf(nodes, nowMs, options);
    // One number draws both: an ordered pair out of n · (n − 1).
    const pair = Math.floor(this.#random.next() * length * (length - 1));
    const one = Math.floor(pair / (length - 1));
    const rest = pair % (length - 1);
    const other = rest < one ? rest : rest + 1;
    return this.#loadOf(nodes[other], nowMs, options) < this.#loadOf(nodes[one], nowMs, options) ? other : one;
  }

  next(untried: readonly PooledNode<State>[], call: SelectOptions | undefined, options: PoolOptions): number {
    return this.first(untried, undefined, call, options);
  }

  /** Returns the time, or 0 if no load depends on it. */
  protected abstract now(options: PoolOptions): number;

  /** Returns the load of a node. Loads are compared, and their unit does not matter. */
  protected abstract load(node: PooledNode<State>, nowMs: number): number;

  /** Draws by Floyd's algorithm: each set of nodes is as likely as the others. */
  #leastOf(nodes: readonly PooledNode<State>[], nowMs: number, options: PoolOptions): number {
    const count = Math.min(this.choiceCount, nodes.length);
    const drawn: number[] = [];
    let least = 0;
    let leastLoad = Number.POSITIVE_INFINITY;
    for (let limit = nodes.length - count; limit < nodes.length; limit += 1) {
      const one = Math.floor(this.#random.next() * (limit + 1));
      const index = drawn.includes(one) ? limit : one;
      drawn.push(index);
    }
    // The order of the draws is not random, and decides between equals.
    const start = Math.floor(this.#random.next() * count);
    for (let step = 0; step < count; step += 1) {
      const index = drawn[(start + step) % count] as number;
      const load = this.#loadOf(nodes[index], nowMs, options);
      if (load >= leastLoad) continue;
      least = index;
      leastLoad = load;
    }
    return least;
  }

  #loadOf(node: PooledNode<State> | undefined, nowMs: number, options: PoolOptions): number {
    if (!node) return Number.POSITIVE_INFINITY;
    return this.load(node, nowMs) / node.weightAt(nowMs, options);
  }
}
