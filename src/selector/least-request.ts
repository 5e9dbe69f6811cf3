import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { checkedOptions } from '../errors/checked-options.ts';
import { token } from '../internal/token.ts';
import { Registry } from '../registry/registry.ts';
import { Clock, Random } from '../runtime/runtime.ts';
import { systemClock, systemRandom } from '../runtime/system.ts';
import { LeastLoaded } from './internal/least-loaded.ts';
import { NodePool } from './internal/node-pool.ts';
import type { PoolOptions } from './internal/pool-options.ts';
import type { PooledNode } from './internal/pooled-node.ts';
import { CountingSelector } from './internal/pooled-selector.ts';
import { type Selector, SelectorObserver, type SelectorOptions } from './selector.ts';

/** Options of a {@link LeastRequestSelector}. */
export interface LeastRequestSelectorOptions extends SelectorOptions {
  /**
   * The number of nodes that are drawn for a call, of which the one with the fewest calls in flight gets it: gRFC A48's
   * `choice_count`. At least 2; more than 10 count as 10.
   * @default 2
   */
  readonly choiceCount?: number | undefined;
}

/** Container key of the options of a {@link LeastRequestSelector}. */
export const LeastRequestSelectorOptions: ServiceIdentifier<LeastRequestSelectorOptions> = token(
  'selector',
  'LeastRequestSelectorOptions',
);

/**
 * Selects the node with the fewest calls in flight of two that are drawn at random (gRFC A48), in relation to their
 * weights.
 */
@injectable()
export class LeastRequestSelector extends CountingSelector implements Selector {
  readonly #strategy: LeastRequest;

  constructor(
    @inject(Registry) registry: Registry,
    @inject(LeastRequestSelectorOptions) @optional() options: LeastRequestSelectorOptions = {},
    @inject(Clock) @optional() clock: Clock = systemClock,
    @inject(Random) @optional() random: Random = systemRandom,
    @inject(SelectorObserver) @optional() observer?: SelectorObserver,
  ) {
    const strategy = new LeastRequest(clock, random);
    strategy.choiceCount = choiceCountOf(options) ?? strategy.choiceCount;
    super(new NodePool(registry, clock, random, strategy, options, observer));
    this.#strategy = strategy;
  }

  override get options(): LeastRequestSelectorOptions {
    return { ...super.options, choiceCount: this.#strategy.choiceCount };
  }

  override init(options: LeastRequestSelectorOptions): void {
    const choiceCount = choiceCountOf(options);
    super.init(options);
    if (choiceCount !== undefined) this.#strategy.choiceCount = choiceCount;
  }

  override toString(): string {
    return 'least-request';
  }
}

class LeastRequest extends LeastLoaded<undefined> {
  override stateOf(): undefined {}

  protected override now({ slowStartMs }: PoolOptions): number {
    return slowStartMs > 0 ? this.clock.monotonicMs() : 0;
  }

  protected override load({ inFlight }: PooledNode<undefined>): number {
    return inFlight + 1;
  }
}

const mostChoices = 10;

function choiceCountOf(options: LeastRequestSelectorOptions): number | undefined {
  const rule = { min: 2, max: Number.MAX_SAFE_INTEGER, isWhole: true };
  const { choiceCount } = checkedOptions('LeastRequestSelectorOptions', options, { choiceCount: rule });
  return choiceCount === undefined ? undefined : Math.min(choiceCount, mostChoices);
}
