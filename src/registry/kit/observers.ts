import { type EventOf, notify } from '../../internal/observers.ts';
import type { Logger } from '../../logger/logger.ts';
import type { RegistryObserver } from '../registry.ts';

/** The observers of one registry. The first error that one of them throws is logged. */
export class RegistryObservers {
  readonly #logger: Logger;
  readonly #observers = new Set<RegistryObserver>();
  #hasFailed = false;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  get isEmpty(): boolean {
    return this.#observers.size === 0;
  }

  add(observer: RegistryObserver): void {
    this.#observers.add(observer);
  }

  /** Tells all observers. */
  tell<M extends keyof RegistryObserver>(method: M, event: EventOf<RegistryObserver, M>): void {
    for (const observer of this.#observers) notify(observer, method, event, (error) => this.#noteError(error));
  }

  #noteError(error: unknown): void {
    if (!this.#hasFailed) this.#logger.warn('an observer of the registry failed; it goes on being told', { error });
    this.#hasFailed = true;
  }
}
