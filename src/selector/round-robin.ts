import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';
import { Registry } from '../registry/registry.ts';
import { Clock, Random } from '../runtime/runtime.ts';
import { systemClock, systemRandom } from '../runtime/system.ts';
import { NodePool } from './internal/node-pool.ts';
import type { PooledNode } from './internal/pooled-node.ts';
import { PooledSelector } from './internal/pooled-selector.ts';
import { type Selector, SelectorObserver, type SelectorOptions } from './selector.ts';

/** Container key of the options of a {@link RoundRobinSelector}. */
export const RoundRobinSelectorOptions: ServiceIdentifier<SelectorOptions> = token(
  'selector',
  'RoundRobinSelectorOptions',
);

/**
 * Selects the nodes of a service in turn, ordered by id. The position is kept per service, across calls: a node that
 * comes or goes does not change the order of the others. The first position is random, so that processes started
 * together do not all call the same node.
 */
@injectable()
export class RoundRobinSelector extends PooledSelector implements Selector {
  constructor(
    @inject(Registry) registry: Registry,
    @inject(RoundRobinSelectorOptions) @optional() options: SelectorOptions = {},
    @inject(Clock) @optional() clock: Clock = systemClock,
    @inject(Random) @optional() random: Random = systemRandom,
    @inject(SelectorObserver) @optional() observer?: SelectorObserver,
  ) {
    const first = (nodes: readonly PooledNode<undefined>[], cursor: Cursor): number => {
      const index = cursor.nodes ? following(cursor, nodes) : Math.floor(random.next() * nodes.length);
      cursor.nodes = nodes;
      cursor.index = index;
      return index;
    };
    const memoryOf = (): Cursor => ({ nodes: undefined, index: 0 });
    const strategy = { stateOf: () => undefined, memoryOf, first, next: () => 0 };
    super(new NodePool(registry, clock, random, strategy, options, observer));
  }

  override toString(): string {
    return 'round-robin';
  }
}

/** The position within the nodes of one service. */
interface Cursor {
  /** The array that `index` refers to. */
  nodes: readonly PooledNode<undefined>[] | undefined;
  index: number;
}

/** Returns the index of the node after the cursor's, even if the cursor's node is gone. */
function following(cursor: Cursor, nodes: readonly PooledNode<undefined>[]): number {
  if (cursor.nodes === nodes) return (cursor.index + 1) % nodes.length;
  const last = cursor.nodes?.[cursor.index]?.record.id ?? '';
  return Math.max(
    0,
    nodes.findIndex(({ record }) => record.id > last),
  );
}
