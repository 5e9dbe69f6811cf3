/** A time until which a node is kept that is missed now. */
export interface MissingBound {
  readonly untilMs: number;
  /** True if the registry may have lost the node, so that it has to register again. */
  readonly isGrace: boolean;
}

const maxExtensions = 3;

/** Nodes that are kept for a while though the registry does not have them, each until a time of its own. */
export class MissingNodes {
  readonly #nodes = new Map<string, MissingBound & { readonly sinceMs: number; readonly extensions: number }>();

  /** The time at which the first of them is given up; undefined without any. */
  get nextMs(): number | undefined {
    if (this.#nodes.size === 0) return undefined;
    let next = Number.POSITIVE_INFINITY;
    for (const { untilMs } of this.#nodes.values()) next = Math.min(next, untilMs);
    return next;
  }

  /**
   * Notes that a node is missing. Returns true while it is kept. The bound of the first time counts, however often it
   * is missed after that; a grace takes the place of another bound.
   */
  isKept(id: string, { untilMs, isGrace }: MissingBound, nowMs: number): boolean {
    let node = this.#nodes.get(id);
    if (!node || (isGrace && !node.isGrace)) {
      node = { sinceMs: nowMs, untilMs: Math.max(untilMs, node?.untilMs ?? 0), isGrace, extensions: 0 };
      this.#nodes.set(id, node);
    }
    if (nowMs < node.untilMs) return true;
    this.#nodes.delete(id);
    return false;
  }

  /** Notes that a node is no longer missing, or that it is gone. */
  forget(id: string): void {
    this.#nodes.delete(id);
  }

  clear(): void {
    this.#nodes.clear();
  }

  /**
   * Keeps the nodes until a time, after an outage of which only the end is known. Each a few times only: where watches
   * break again and again, one that has died is gone in the end.
   */
  extend(untilMs: number): void {
    for (const [id, node] of this.#nodes) {
      if (!node.isGrace || node.extensions === maxExtensions) continue;
      const extensions = node.extensions + 1;
      this.#nodes.set(id, { ...node, untilMs: Math.max(node.untilMs, untilMs), extensions });
    }
  }

  /** Leaves out the time for which the registry was away, as no node could register again. */
  wasAway(fromMs: number, nowMs: number): void {
    for (const [id, node] of this.#nodes) {
      const awayMs = nowMs - Math.max(fromMs, node.sinceMs);
      this.#nodes.set(id, { ...node, sinceMs: node.sinceMs + awayMs, untilMs: node.untilMs + awayMs });
    }
  }
}
