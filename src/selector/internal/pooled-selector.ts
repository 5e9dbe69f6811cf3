import type { TenonError } from '../../errors/errors.ts';
import type { NodeRecord } from '../../registry/registry.ts';
import type { NextNode, SelectOptions, Selector, SelectorCapabilities, SelectorOptions } from '../selector.ts';
import type { NodePool } from './node-pool.ts';

/** A selector over a {@link NodePool}; a subclass gives the pool its strategy. */
export abstract class PooledSelector implements Selector {
  static readonly capabilities: SelectorCapabilities = { marks: true };

  readonly #pool: NodePool;

  constructor(pool: NodePool) {
    this.#pool = pool;
  }

  get options(): SelectorOptions {
    return this.#pool.options;
  }

  init(options: SelectorOptions): void {
    this.#pool.init(options);
  }

  select(service: string, options?: SelectOptions): NextNode | Promise<NextNode> {
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

  abstract toString(): string;
}
