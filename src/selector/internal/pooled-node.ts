import { isBusy, type NodeRecord } from '../../registry/registry.ts';
import { NodeHealth } from './outlier-detection.ts';
import { slowStartFactor, type SlowStartOptions } from './slow-start.ts';

/** Key of the node's metadata that holds its weight: a number above 0. */
export const weightKey = 'weight';

/** A node of a {@link NodePool}, from its first record until some time after its last. */
export class PooledNode<State = unknown> {
  record: NodeRecord;
  health = new NodeHealth();
  /** The number of calls that have begun and not ended; 0 with a strategy that does not count them. */
  inFlight = 0;
  /** The calls in flight on all nodes of its service. */
  readonly service: { inFlight: number };
  /** The share of the calls that it is to get, in relation to others. */
  weight: number;
  /** True if its process is late with its work. */
  isBusy: boolean;
  /** The time since which it serves; `-Infinity` for a node that was there before the process looked. */
  sinceMs: number;
  /** The time since which no record names it as serving. */
  goneMs: number | undefined;
  /** The strategy's own memory of it. */
  readonly state: State;
  /** Returns its record: the selection of a service that has no other node. */
  readonly alone = (): NodeRecord => this.record;

  constructor(record: NodeRecord, service: { inFlight: number }, sinceMs: number, state: State) {
    this.service = service;
    this.record = record;
    this.weight = weightOf(record);
    this.isBusy = isBusy(record);
    this.sinceMs = sinceMs;
    this.state = state;
  }

  /** Takes the node's new record. */
  update(record: NodeRecord): void {
    if (record === this.record) return;
    this.record = record;
    this.weight = weightOf(record);
    this.isBusy = isBusy(record);
  }

  /** Returns its weight at a time: that of a new node grows. */
  weightAt(nowMs: number, options: SlowStartOptions): number {
    if (options.slowStartMs <= 0 || this.sinceMs === Number.NEGATIVE_INFINITY) return this.weight;
    return this.weight * slowStartFactor(nowMs - this.sinceMs, options);
  }
}

function weightOf({ metadata }: NodeRecord): number {
  const weight = Number(metadata[weightKey] ?? 1);
  return weight > 0 && Number.isFinite(weight) ? weight : 1;
}
