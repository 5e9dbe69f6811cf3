import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import type { TenonError } from '../errors/errors.ts';
import { token } from '../internal/token.ts';
import { type NodeRecord, Registry } from '../registry/registry.ts';
import { Clock } from '../runtime/runtime.ts';
import { systemClock } from '../runtime/system.ts';
import { NodePool } from './internal/node-pool.ts';
import type { Next, SelectOptions, Selector, SelectorCapabilities, SelectorOptions } from './selector.ts';

/** Container key of the options of a {@link RoundRobinSelector}. */
export const RoundRobinSelectorOptions: ServiceIdentifier<SelectorOptions> = token('selector', 'RoundRobinSelectorOptions');

/** Each node in its turn. The position is kept per service, across calls. */
@injectable()
export class RoundRobinSelector implements Selector {
  static readonly capabilities: SelectorCapabilities = { marks: true };

  readonly #pool: NodePool;
  readonly #positions = new Map<string, number>();

  constructor(
    @inject(Registry) registry: Registry,
    @inject(Clock) @optional() clock: Clock = systemClock,
    @inject(RoundRobinSelectorOptions) @optional() options: SelectorOptions = {},
  ) {
    this.#pool = new NodePool(registry, clock, options);
  }

  get options(): SelectorOptions {
    return this.#pool.options;
  }

  init(options: SelectorOptions): void {
    this.#pool.init(options);
  }

  select(service: string, options?: SelectOptions): Next | Promise<Next> {
    return this.#pool.select(service, options, this.#advance);
  }

  mark(service: string, node: NodeRecord, error?: TenonError): void {
    this.#pool.mark(service, node, error);
  }

  reset(service: string): void {
    this.#pool.reset(service);
    this.#positions.delete(service);
  }

  async close(): Promise<void> {
    this.#pool.close();
  }

  toString(): string {
    return 'round-robin';
  }

  readonly #advance = (service: string, count: number): number => {
    const position = ((this.#positions.get(service) ?? -1) + 1) % count;
    this.#positions.set(service, position);
    return position;
  };
}
