import { Code, type TenonError } from '../../errors/errors.ts';
import type { NodeRecord } from '../../registry/registry.ts';
import type { Clock } from '../../runtime/runtime.ts';

/** The outcome of a call for the node. `unreachable` ejects it at once, `failed` after some in a row. */
type CallOutcome = 'ok' | 'failed' | 'unreachable' | 'unrelated';

/** Thresholds of an {@link OutlierDetection}. */
export interface EjectionOptions {
  readonly ejectMs: number;
  readonly ejectAfter: number;
}

interface NodeFailures {
  /** Failures in a row since the last ejection. */
  failures: number;
  /** Ejections in a row. */
  ejections: number;
  ejectedUntilMs: number;
}

// An ejection doubles with each in a row, up to this many times the first.
const maxEjectionFactor = 12;

/** Ejects nodes of one service that fail, for a time that grows. Nodes that never failed are not stored. */
export class OutlierDetection {
  readonly #clock: Clock;
  readonly #failing = new Map<string, NodeFailures>();
  #changes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True if no node has failures. */
  get isEmpty(): boolean {
    return this.#failing.size === 0;
  }

  /** Grows whenever the result of `partition` may have changed other than by time. */
  get changes(): number {
    return this.#changes;
  }

  /** Counts the outcome of a call; `error` is absent if it succeeded. */
  record(id: string, error: TenonError | undefined, options: EjectionOptions): void {
    const outcome = outcomeOf(error);
    if (outcome === 'unrelated') return;
    if (outcome === 'ok') {
      if (this.#failing.delete(id)) this.#changes += 1;
      return;
    }
    let node = this.#failing.get(id);
    if (!node) this.#failing.set(id, (node = { failures: 0, ejections: 0, ejectedUntilMs: 0 }));
    node.failures += 1;
    const now = this.#clock.monotonicMs();
    // Calls that were in progress when the node was ejected do not count again.
    if (node.ejectedUntilMs > now) return;
    // A node that was ejected and has not answered since is on probation: one failure is enough.
    if (outcome === 'failed' && node.ejections === 0 && node.failures < options.ejectAfter) return;
    node.ejectedUntilMs = now + options.ejectMs * Math.min(2 ** node.ejections, maxEjectionFactor);
    node.ejections += 1;
    node.failures = 0;
    this.#changes += 1;
  }

  /** Divides nodes into those that can be used and those that are ejected, with the end of the next ejection. */
  partition(nodes: readonly NodeRecord[]): { available: NodeRecord[]; ejected: NodeRecord[]; nextReturnMs: number } {
    const now = this.#clock.monotonicMs();
    const available: NodeRecord[] = [];
    const ejected: NodeRecord[] = [];
    let nextReturnMs = Number.POSITIVE_INFINITY;
    for (const node of nodes) {
      const untilMs = this.#failing.get(node.id)?.ejectedUntilMs ?? 0;
      if (untilMs <= now) available.push(node);
      else {
        ejected.push(node);
        nextReturnMs = Math.min(nextReturnMs, untilMs);
      }
    }
    return { available, ejected, nextReturnMs };
  }

  clear(): void {
    this.#failing.clear();
    this.#changes += 1;
  }

  /** Forgets every node that is not among `nodes`. */
  retain(nodes: readonly NodeRecord[]): void {
    if (this.#failing.size === 0) return;
    const ids = new Set(nodes.map((node) => node.id));
    for (const id of this.#failing.keys()) if (!ids.has(id)) this.#failing.delete(id);
    this.#changes += 1;
  }
}

/**
 * Classifies the end of a call. A missed deadline is no failure of the node: it may have been too short, and ejecting
 * nodes for it would load the others more.
 */
function outcomeOf(error: TenonError | undefined): CallOutcome {
  if (!error) return 'ok';
  // The node certainly takes no call now: one such answer is enough.
  if (error.reason === 'transport.unreachable' || error.reason === 'server.draining') return 'unreachable';
  // Made by this process, UNAVAILABLE too: credentials that could not be obtained.
  if (error.reason?.startsWith('client.')) return 'unrelated';
  if (error.code === Code.Unavailable || error.reason === 'transport.bad_reply') return 'failed';
  // Possibly made by this process: the node may not have answered at all.
  if (error.code === Code.Cancelled || error.code === Code.DeadlineExceeded) return 'unrelated';
  if (error.reason !== undefined && /^(?:transport|client|codec|call)\./.test(error.reason)) return 'unrelated';
  // Any other error is an answer of the handler.
  return 'ok';
}
