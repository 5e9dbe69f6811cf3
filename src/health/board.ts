import { injectable } from 'inversify';

import type { Health, ServingStatus } from './health.ts';

/** The {@link Health}, kept in memory. */
@injectable()
export class HealthBoard implements Health {
  readonly #said = new Map<string, ServingStatus>();
  readonly #listeners = new Set<() => void>();

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
    // Wrapped, so that one function may listen twice.
    const own = (): void => listener();
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
