import type { TenonError } from '../../errors/errors.ts';
import type { NodeRecord } from '../../registry/registry.ts';
import type { EndedCall, SelectOptions } from '../selector.ts';
import type { PoolOptions } from './pool-options.ts';
import type { PooledNode } from './pooled-node.ts';

/** The order in which a selector tries nodes. */
export interface SelectionStrategy<State = undefined, Memory = undefined> {
  /** True if new nodes get a growing part of their share. @default false */
  readonly startsSlowly?: boolean | undefined;
  /** Makes what the strategy remembers of a node. */
  stateOf(record: NodeRecord): State;
  /** Makes what the strategy remembers of a service, or of a part of its nodes. */
  memoryOf(): Memory;
  /**
   * Returns the index of the node to try first. `nodes` has at least one node and is ordered by id; it is the same
   * array as long as nothing changed, except with filters.
   */
  first(
    nodes: readonly PooledNode<State>[],
    memory: Memory,
    call: SelectOptions | undefined,
    options: PoolOptions,
  ): number;
  /** Returns the index of the node to try after a failed attempt, among the nodes not tried yet. */
  next(untried: readonly PooledNode<State>[], call: SelectOptions | undefined, options: PoolOptions): number;
  /**
   * Returns a test of the nodes that have to be tried: true for one to which the call may go, in place of one of
   * `nodes`. Absent, or `undefined`, if it may go to any.
   */
  mayProbe?(
    nodes: readonly PooledNode<State>[],
    memory: Memory,
    call: SelectOptions | undefined,
  ): ((node: PooledNode<State>) => boolean) | undefined;
  /** Takes the beginning of a call. */
  onBegin?(node: PooledNode<State>): void;
  /** Takes the time until the first reply of a stream. */
  onReply?(node: PooledNode<State>, nowMs: number, latencyMs: number): void;
  /** Takes the outcome of a call, after the node's calls in flight were counted down. */
  onEnd?(
    node: PooledNode<State>,
    nowMs: number,
    error: TenonError | undefined,
    latencyMs: number | undefined,
    call: EndedCall | undefined,
  ): void;
  /** Forgets what is known of the node's calls: of a process that is new, or by `reset`. */
  forget?(node: PooledNode<State>): void;
}
