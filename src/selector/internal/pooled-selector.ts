import type { TenonError } from '../../errors/errors.ts';
import type { NodeRecord } from '../../registry/registry.ts';
import type {
  EndedCall,
  NextNode,
  SelectOptions,
  Selector,
  SelectorCapabilities,
  SelectorOptions,
} from '../selector.ts';
import type { NodePool } from './node-pool.ts';

/** The operations of a node pool that do not depend on its strategy. */
type AnyPool = Pick<NodePool, 'options' | 'init' | 'select' | 'begin' | 'firstReply' | 'mark' | 'reset' | 'close'>;

/** A selector over a {@link NodePool}; a subclass gives the pool its strategy. */
export abstract class PooledSelector implements Selector {
  static readonly capabilities: SelectorCapabilities = { marks: true };

  readonly #pool: AnyPool;

  constructor(pool: AnyPool) {
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

  begin(service: string, node: NodeRecord): void {
    this.#pool.begin(service, node);
  }

  firstReply(service: string, node: NodeRecord, latencyMs?: number, startMs?: number): void {
    this.#pool.firstReply(service, node, latencyMs, startMs);
  }

  mark(service: string, node: NodeRecord, error?: TenonError, latencyMs?: number, call?: EndedCall): void {
    this.#pool.mark(service, node, error, latencyMs, call);
  }

  reset(service: string): void {
    this.#pool.reset(service);
  }

  async close(): Promise<void> {
    this.#pool.close();
  }

  abstract toString(): string;
}

/** A {@link PooledSelector} whose choice depends on the calls in flight on each node. */
export abstract class CountingSelector extends PooledSelector {
  static override readonly capabilities: SelectorCapabilities = { marks: true, counts: true };
}
