import type { Logger } from '../../logger/logger.ts';

/** Limits the nodes that are accepted where anybody can announce some, and logs once that there are more. */
export class NodeLimit {
  readonly #mostNodes: number;
  readonly #announced: string;
  readonly #logger: Logger;
  #isFull = false;

  /** `announced` says in the log what there is too much of: `nodes are announced over NATS`. */
  constructor(mostNodes: number, announced: string, logger: Logger) {
    this.#mostNodes = mostNodes;
    this.#announced = announced;
    this.#logger = logger;
  }

  /** True if one more is accepted beside `count`. */
  hasRoom(count: number): boolean {
    if (count < this.#mostNodes) return true;
    if (!this.#isFull) this.#logger.warn(`more than ${this.#mostNodes} ${this.#announced}: further ones are skipped`);
    this.#isFull = true;
    return false;
  }
}
