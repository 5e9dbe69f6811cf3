import { Code, type TenonError } from '../../errors/errors.ts';
import type { NodeRecord } from '../../registry/registry.ts';
import type { Clock } from '../../runtime/runtime.ts';

/** What the end of a call says of the node. */
type Verdict = 'well' | 'failed' | 'gone' | 'nothing';

/** How nodes that fail are left out. */
export interface HealthOptions {
  readonly ejectMs: number;
  readonly ejectAfter: number;
}

interface Mark {
  /** Failures in a row since the last ejection. */
  failures: number;
  /** Ejections in a row. */
  ejections: number;
  ejectedUntil: number;
}

// An ejection doubles with each in a row, up to this many times the first.
const maxEjectionFactor = 12;

/** What is known of the nodes of one service that did not do well. Nodes that do well cost nothing here. */
export class Health {
  readonly #clock: Clock;
  readonly #marks = new Map<string, Mark>();
  #changes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether nothing is held against any node. */
  get isSpotless(): boolean {
    return this.#marks.size === 0;
  }

  /** Grows whenever what `isEjected` answers may have changed other than by time. */
  get changes(): number {
    return this.#changes;
  }

  mark(id: string, error: TenonError | undefined, options: HealthOptions): void {
    const verdict = verdictOf(error);
    if (verdict === 'nothing') return;
    if (verdict === 'well') {
      if (this.#marks.delete(id)) this.#changes += 1;
      return;
    }
    let mark = this.#marks.get(id);
    if (!mark) this.#marks.set(id, (mark = { failures: 0, ejections: 0, ejectedUntil: 0 }));
    mark.failures += 1;
    const now = this.#clock.monotonicMs();
    // Calls that were under way when the node was left out say nothing new.
    if (mark.ejectedUntil > now) return;
    // A node that was left out and has not answered since is on trial: one failure is enough.
    if (verdict === 'failed' && mark.ejections === 0 && mark.failures < options.ejectAfter) return;
    mark.ejectedUntil = now + options.ejectMs * Math.min(2 ** mark.ejections, maxEjectionFactor);
    mark.ejections += 1;
    mark.failures = 0;
    this.#changes += 1;
  }

  /** The nodes that are not left out, and when the next one comes back. */
  split(nodes: readonly NodeRecord[]): { fit: NodeRecord[]; ejected: NodeRecord[]; nextBackMs: number } {
    const now = this.#clock.monotonicMs();
    const fit: NodeRecord[] = [];
    const ejected: NodeRecord[] = [];
    let nextBackMs = Number.POSITIVE_INFINITY;
    for (const node of nodes) {
      const until = this.#marks.get(node.id)?.ejectedUntil ?? 0;
      if (until <= now) fit.push(node);
      else {
        ejected.push(node);
        nextBackMs = Math.min(nextBackMs, until);
      }
    }
    return { fit, ejected, nextBackMs };
  }

  clear(): void {
    this.#marks.clear();
    this.#changes += 1;
  }

  /** Forgets nodes that are not there any more. */
  keepOnly(nodes: readonly NodeRecord[]): void {
    if (this.#marks.size === 0) return;
    const ids = new Set(nodes.map((node) => node.id));
    for (const id of this.#marks.keys()) if (!ids.has(id)) this.#marks.delete(id);
    this.#changes += 1;
  }
}

/**
 * Only what the node cannot help is held against it. Slowness is not: a deadline may be too short, and leaving out
 * whoever missed one would load the others more.
 */
function verdictOf(error: TenonError | undefined): Verdict {
  if (!error) return 'well';
  // It certainly takes no call now: more proof is not needed.
  if (error.reason === 'transport.unreachable' || error.reason === 'server.draining') return 'gone';
  // Of this side's own, UNAVAILABLE too: credentials that could not be had.
  if (error.reason?.startsWith('client.')) return 'nothing';
  if (error.code === Code.Unavailable || error.reason === 'transport.bad_reply') return 'failed';
  // Made on this side, it may be: nothing was heard of the node.
  if (error.code === Code.Cancelled || error.code === Code.DeadlineExceeded) return 'nothing';
  if (error.reason !== undefined && /^(?:transport|client|codec|call)\./.test(error.reason)) return 'nothing';
  // Any other answer is an answer.
  return 'well';
}
