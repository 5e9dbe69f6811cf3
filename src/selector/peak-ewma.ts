import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { checkedOptions } from '../errors/checked-options.ts';
import { Code, type TenonError } from '../errors/errors.ts';
import { token } from '../internal/token.ts';
import { Registry } from '../registry/registry.ts';
import { Clock, Random } from '../runtime/runtime.ts';
import { systemClock, systemRandom } from '../runtime/system.ts';
import { LeastLoaded } from './internal/least-loaded.ts';
import { NodePool } from './internal/node-pool.ts';
import { PeakEwma } from './internal/peak-ewma.ts';
import type { PooledNode } from './internal/pooled-node.ts';
import { CountingSelector } from './internal/pooled-selector.ts';
import { isServerFailure } from './internal/server-failure.ts';
import { type EndedCall, type Selector, SelectorObserver, type SelectorOptions } from './selector.ts';

/** Options of a {@link PeakEwmaSelector}. */
export interface PeakEwmaSelectorOptions extends SelectorOptions {
  /**
   * The time in which what was observed loses all but 1/e of its weight, in milliseconds: Finagle's `decayTime`. It
   * applies to nodes that are seen from then on.
   * @default 10_000
   */
  readonly decayMs?: number | undefined;
}

/** Container key of the options of a {@link PeakEwmaSelector}. */
export const PeakEwmaSelectorOptions: ServiceIdentifier<PeakEwmaSelectorOptions> = token(
  'selector',
  'PeakEwmaSelectorOptions',
);

/**
 * Selects the node with the least load of two that are drawn at random: its calls in flight and one, times the peak
 * EWMA of its latency (Finagle). The latency of a stream is the time until its first reply. A call that fails counts as
 * if it had taken until its deadline, so that a node that fails quickly does not attract calls.
 */
@injectable()
export class PeakEwmaSelector extends CountingSelector implements Selector {
  readonly #strategy: PeakEwmaLoad;

  constructor(
    @inject(Registry) registry: Registry,
    @inject(PeakEwmaSelectorOptions) @optional() options: PeakEwmaSelectorOptions = {},
    @inject(Clock) @optional() clock: Clock = systemClock,
    @inject(Random) @optional() random: Random = systemRandom,
    @inject(SelectorObserver) @optional() observer?: SelectorObserver,
  ) {
    const strategy = new PeakEwmaLoad(clock, random);
    strategy.decayMs = decayOf(options) ?? strategy.decayMs;
    super(new NodePool(registry, clock, random, strategy, options, observer));
    this.#strategy = strategy;
  }

  override get options(): PeakEwmaSelectorOptions {
    return { ...super.options, decayMs: this.#strategy.decayMs };
  }

  override init(options: PeakEwmaSelectorOptions): void {
    const decayMs = decayOf(options);
    super.init(options);
    if (decayMs !== undefined) this.#strategy.decayMs = decayMs;
  }

  override toString(): string {
    return 'peak-ewma';
  }
}

class PeakEwmaLoad extends LeastLoaded<PeakEwma> {
  decayMs = 10_000;

  override stateOf(): PeakEwma {
    return new PeakEwma(this.clock.monotonicMs(), this.decayMs);
  }

  onBegin({ state }: PooledNode<PeakEwma>): void {
    if (!state.hasHistory) state.begin(this.clock.monotonicMs());
  }

  onReply({ state }: PooledNode<PeakEwma>, nowMs: number, latencyMs: number): void {
    state.observe(nowMs, latencyMs);
  }

  onEnd(
    { state }: PooledNode<PeakEwma>,
    nowMs: number,
    error: TenonError | undefined,
    latencyMs: number | undefined,
    call: EndedCall | undefined,
  ): void {
    const what = error ? whatItShows(error) : isServerFailure(call?.answer) ? 'failure' : 'answer';
    if (what === 'failure') {
      const allowedMs = call?.deadline === undefined ? this.decayMs : call.deadline - nowMs + (latencyMs ?? 0);
      if (latencyMs !== undefined && latencyMs > state.costMs) state.observe(nowMs, latencyMs);
      state.observeFailure(nowMs, allowedMs);
    } else if (latencyMs !== undefined && (what === 'answer' || (what === 'waited' && latencyMs > state.costMs))) {
      state.observe(nowMs, latencyMs);
    }
  }

  forget({ state }: PooledNode<PeakEwma>): void {
    state.forget(this.clock.monotonicMs());
  }

  protected override now(): number {
    return this.clock.monotonicMs();
  }

  protected override load({ state, inFlight }: PooledNode<PeakEwma>, nowMs: number): number {
    return state.load(nowMs, inFlight);
  }
}

/** Tells what an error shows of the node: a failure, that its latency is at least so long, or nothing. */
function whatItShows({ code, reason }: TenonError): 'failure' | 'waited' | 'nothing' {
  // Its caller has waited for so long, and in vain.
  if (code === Code.Cancelled) return 'waited';
  if (code === Code.DeadlineExceeded || reason === 'transport.bad_reply') return 'failure';
  // A connection that is lost or cannot be had is no answer: such nodes are left out until they are back.
  return 'nothing';
}

function decayOf(options: PeakEwmaSelectorOptions): number | undefined {
  const rule = { min: 1, max: Number.MAX_SAFE_INTEGER };
  return checkedOptions('PeakEwmaSelectorOptions', options, { decayMs: rule }).decayMs;
}
