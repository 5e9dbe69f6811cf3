import type { Store } from '../../store/store.ts';
import type { Event } from '../broker.ts';

/** Attempts of events that are not handled for so long are forgotten. */
const keepMs = 7 * 24 * 3_600_000;

/**
 * Counts the attempts of events in a store, for brokers that do not count. An attempt is counted before its handler
 * starts, so that one that kills the process counts.
 */
export class StoredAttempts {
  readonly #store: Store;
  readonly #scope: string;

  /** @param scope begins each key: what shares the events */
  constructor(store: Store, scope: string) {
    this.#store = store;
    this.#scope = scope;
  }

  /** Counts an attempt. Resolves with its number. */
  begin(event: Event): Promise<number> {
    return this.#store.increment(this.#keyOf(event), keepMs);
  }

  /** Forgets an event that is settled. */
  forget(event: Event): Promise<void> {
    return this.#store.delete(this.#keyOf(event));
  }

  #keyOf({ topic, id }: Event): string {
    return `${this.#scope}${topic} ${id}`;
  }
}
