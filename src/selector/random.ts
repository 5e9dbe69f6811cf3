import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import type { TenonError } from '../errors/errors.ts';
import { token } from '../internal/token.ts';
import { type NodeRecord, Registry } from '../registry/registry.ts';
import { Clock, Random } from '../runtime/runtime.ts';
import { systemClock, systemRandom } from '../runtime/system.ts';
import { NodePool } from './internal/node-pool.ts';
import type { Next, SelectOptions, Selector, SelectorCapabilities, SelectorOptions } from './selector.ts';

/** Container key of the options of a {@link RandomSelector}. */
export const RandomSelectorOptions: ServiceIdentifier<SelectorOptions> = token('selector', 'RandomSelectorOptions');

/** Any node, each as likely as the others: Go Micro's default. */
@injectable()
export class RandomSelector implements Selector {
  static readonly capabilities: SelectorCapabilities = { marks: true };

  readonly #pool: NodePool;

  constructor(
    @inject(Registry) registry: Registry,
    @inject(RandomSelectorOptions) @optional() options: SelectorOptions = {},
    @inject(Clock) @optional() clock: Clock = systemClock,
    @inject(Random) @optional() random: Random = systemRandom,
  ) {
    const any = (nodes: readonly NodeRecord[]): number => Math.floor(random.next() * nodes.length);
    this.#pool = new NodePool(registry, clock, { first: (_cursor, nodes) => any(nodes), other: any }, options);
  }

  get options(): SelectorOptions {
    return this.#pool.options;
  }

  init(options: SelectorOptions): void {
    this.#pool.init(options);
  }

  select(service: string, options?: SelectOptions): Next | Promise<Next> {
    return this.#pool.select(service, options);
  }

  mark(service: string, node: NodeRecord, error?: TenonError): void {
    this.#pool.mark(service, node, error);
  }

  reset(service: string): void {
    this.#pool.reset(service);
  }

  async close(): Promise<void> {
    this.#pool.close();
  }

  toString(): string {
    return 'random';
  }
}
