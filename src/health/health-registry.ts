import { inject, injectable, optional } from 'inversify';

import { quietly } from '../internal/quietly.ts';
import { Logger, silentLogger } from '../logger/logger.ts';
import type { Health, ServingStatus } from './health.ts';

/** Implements {@link Health}, in memory. */
@injectable()
export class HealthRegistry implements Health {
  readonly #said = new Map<string, ServingStatus>();
  readonly #listeners = new Set<() => unknown>();
  readonly #logger: Logger;

  constructor(@inject(Logger) @optional() logger: Logger = silentLogger) {
    this.#logger = logger;
  }

  set(service: string, status: ServingStatus): void {
    if (this.#said.get(service) === status) return;
    this.#said.set(service, status);
    this.#tell();
  }

  clear(service: string): void {
    if (this.#said.delete(service)) this.#tell();
  }

  get(service: string): ServingStatus | undefined {
    return this.#said.get(service);
  }

  names(): readonly string[] {
    return [...this.#said.keys()];
  }

  onChange(listener: () => void): () => void {
    // A new function each time, so that one listener may be added twice.
    const own = (): unknown => listener();
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  #tell(): void {
    const failed = (error: unknown): void => this.#logger.warn('a listener to changes of health failed', { error });
    for (const listener of this.#listeners) quietly(listener, undefined, failed);
  }
}
