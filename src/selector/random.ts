import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';
import { Registry } from '../registry/registry.ts';
import { Clock, Random } from '../runtime/runtime.ts';
import { systemClock, systemRandom } from '../runtime/system.ts';
import { NodePool } from './internal/node-pool.ts';
import { PooledSelector } from './internal/pooled-selector.ts';
import { type Selector, SelectorObserver, type SelectorOptions } from './selector.ts';

/** Container key of the options of a {@link RandomSelector}. */
export const RandomSelectorOptions: ServiceIdentifier<SelectorOptions> = token('selector', 'RandomSelectorOptions');

/** Selects nodes at random, each as likely as the others: Go Micro's default. */
@injectable()
export class RandomSelector extends PooledSelector implements Selector {
  constructor(
    @inject(Registry) registry: Registry,
    @inject(RandomSelectorOptions) @optional() options: SelectorOptions = {},
    @inject(Clock) @optional() clock: Clock = systemClock,
    @inject(Random) @optional() random: Random = systemRandom,
    @inject(SelectorObserver) @optional() observer?: SelectorObserver,
  ) {
    const any = (nodes: readonly unknown[]): number => Math.floor(random.next() * nodes.length);
    const strategy = { stateOf: () => undefined, memoryOf: () => undefined, first: any, next: any };
    super(new NodePool(registry, clock, random, strategy, options, observer));
  }

  override toString(): string {
    return 'random';
  }
}
