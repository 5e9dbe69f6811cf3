import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { checkedOptions } from '../errors/checked-options.ts';
import { token } from '../internal/token.ts';
import { type NodeRecord, Registry } from '../registry/registry.ts';
import { Clock, Random } from '../runtime/runtime.ts';
import { systemClock, systemRandom } from '../runtime/system.ts';
import { NodePool } from './internal/node-pool.ts';
import type { PooledNode } from './internal/pooled-node.ts';
import { CountingSelector } from './internal/pooled-selector.ts';
import { hashText, scoreOf, weightedScore } from './internal/rendezvous.ts';
import type { SelectionStrategy } from './internal/strategy.ts';
import {
  type SelectOptions,
  type Selector,
  type SelectorCapabilities,
  SelectorObserver,
  type SelectorOptions,
} from './selector.ts';

/** Options of a {@link ConsistentHashSelector}. */
export interface ConsistentHashSelectorOptions extends SelectorOptions {
  /**
   * Key of the request's metadata that holds the key of a call without a `hashKey`: gRFC A76's `request_hash_header`.
   * @default none
   */
  readonly hashHeader?: string | undefined;
  /**
   * The most calls in flight on a node, as a multiple of the mean; others of its keys go to their next node meanwhile.
   * `Infinity` for no bound.
   * @default 1.25
   */
  readonly balanceFactor?: number | undefined;
}

/** Container key of the options of a {@link ConsistentHashSelector}. */
export const ConsistentHashSelectorOptions: ServiceIdentifier<ConsistentHashSelectorOptions> = token(
  'selector',
  'ConsistentHashSelectorOptions',
);

/** Key of the node's metadata whose value takes the place of its id in the hash: gRFC A76's `hash_key`. */
export const hashKeyKey = 'hash-key';

/**
 * Selects the same node for calls with the same key, by rendezvous hashing of key and node id, with bounded loads. A
 * node that comes or goes moves its own keys and no others. Calls without a key go to any node.
 */
@injectable()
export class ConsistentHashSelector extends CountingSelector implements Selector {
  /** Calls in flight count only for calls with a key. */
  static override readonly capabilities: SelectorCapabilities = { marks: true };

  readonly #strategy: Rendezvous;

  constructor(
    @inject(Registry) registry: Registry,
    @inject(ConsistentHashSelectorOptions) @optional() options: ConsistentHashSelectorOptions = {},
    @inject(Clock) @optional() clock: Clock = systemClock,
    @inject(Random) @optional() random: Random = systemRandom,
    @inject(SelectorObserver) @optional() observer?: SelectorObserver,
  ) {
    const strategy = new Rendezvous(random);
    strategy.take(checked(options));
    super(new NodePool(registry, clock, random, strategy, options, observer));
    this.#strategy = strategy;
  }

  override get options(): ConsistentHashSelectorOptions {
    const { hashHeader, balanceFactor } = this.#strategy;
    return { ...super.options, hashHeader, balanceFactor };
  }

  override init(options: ConsistentHashSelectorOptions): void {
    checked(options);
    super.init(options);
    this.#strategy.take(options);
  }

  override toString(): string {
    return 'consistent-hash';
  }
}

function checked(options: ConsistentHashSelectorOptions): ConsistentHashSelectorOptions {
  return checkedOptions('ConsistentHashSelectorOptions', options, { balanceFactor: { min: 1 } });
}

/** The hashes of the nodes of one service, or of a part of them. */
interface Hashes {
  nodes: readonly PooledNode<number>[] | undefined;
  ofNodes: Int32Array;
  areWeighted: boolean;
  /** The sum of the weights. */
  weights: number;
}

class Rendezvous implements SelectionStrategy<number, Hashes> {
  hashHeader: string | undefined;
  balanceFactor = 1.25;
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  take({ hashHeader = this.hashHeader, balanceFactor = this.balanceFactor }: ConsistentHashSelectorOptions): void {
    this.hashHeader = hashHeader;
    this.balanceFactor = balanceFactor;
  }

  stateOf({ id, metadata }: NodeRecord): number {
    return hashText(metadata[hashKeyKey] ?? id);
  }

  memoryOf(): Hashes {
    return { nodes: undefined, ofNodes: new Int32Array(0), areWeighted: false, weights: 0 };
  }

  first(nodes: readonly PooledNode<number>[], memory: Hashes | undefined, call: SelectOptions | undefined): number {
    const key = this.#keyOf(call);
    if (key === undefined) return this.#any(nodes);
    const isPart = memory === undefined || (call?.filters !== undefined && call.filters.length > 0);
    const hashes = isPart ? this.memoryOf() : memory;
    if (hashes.nodes !== nodes) {
      hashes.nodes = nodes;
      hashes.ofNodes = Int32Array.from(nodes, ({ state }) => state);
      hashes.areWeighted = nodes.some(({ weight }) => weight !== 1);
      hashes.weights = nodes.reduce((sum, { weight }) => sum + weight, 0);
    }
    const calls = isPart ? nodes.reduce((sum, { inFlight }) => sum + inFlight, 0) : nodes[0]?.service.inFlight;
    return this.#best(nodes, hashes, hashText(key), calls ?? 0);
  }

  next(untried: readonly PooledNode<number>[], call: SelectOptions | undefined): number {
    return this.first(untried, undefined, call);
  }

  mayProbe(
    nodes: readonly PooledNode<number>[],
    memory: Hashes,
    call: SelectOptions | undefined,
  ): ((node: PooledNode<number>) => boolean) | undefined {
    const key = this.#keyOf(call);
    if (key === undefined) return undefined;
    const keyHash = hashText(key);
    const scoreOfNode = ({ state, weight }: PooledNode<number>): number =>
      weightedScore(scoreOf(keyHash, state), weight);
    const best = scoreOfNode(nodes[this.first(nodes, memory, call)] as PooledNode<number>);
    // Few come before the best of the others, and only of these all is computed.
    return (node) => scoreOfNode(node) > best && this.next([...nodes, node], call) === nodes.length;
  }

  #keyOf(call: SelectOptions | undefined): string | undefined {
    if (call?.hashKey !== undefined) return call.hashKey;
    if (this.hashHeader === undefined || !call?.metadata) return undefined;
    const values = call.metadata.getAll(this.hashHeader);
    // A key that repeats counts with all its values, as A76 has it.
    return values.length === 0 ? undefined : values.length === 1 ? String(values[0]) : values.join(',');
  }

  #any(nodes: readonly unknown[]): number {
    return Math.floor(this.#random.next() * nodes.length);
  }

  /** Returns the index of the node with the highest score among those that have room. `calls` are those in flight. */
  #best(
    nodes: readonly PooledNode<number>[],
    { ofNodes, areWeighted, weights }: Hashes,
    keyHash: number,
    calls: number,
  ): number {
    const mean = (this.balanceFactor * (calls + 1)) / weights;
    let best = 0;
    let bestScore = -1;
    for (let index = 0; index < ofNodes.length; index += 1) {
      let score = scoreOf(keyHash, ofNodes[index] as number);
      if (areWeighted) score = weightedScore(score, (nodes[index] as PooledNode<number>).weight);
      if (score <= bestScore) continue;
      const { inFlight, weight } = nodes[index] as PooledNode<number>;
      if (inFlight > 0 && inFlight >= Math.ceil(mean * weight)) continue;
      best = index;
      bestScore = score;
    }
    return best;
  }
}
