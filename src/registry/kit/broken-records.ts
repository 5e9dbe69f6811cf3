import type { Logger } from '../../logger/logger.ts';
import { BrokenRecord } from './records.ts';

// Who floods a registry with broken records must not fill the memory of its readers.
const maxRemembered = 1_024;

/** Passes over records that are broken, and says so once for each place where one lies. */
export class BrokenRecords {
  readonly #logger: Logger;
  readonly #told = new Set<string>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** What `read` gives; `undefined` if the record at `place` is broken. */
  read<T>(place: string, read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof BrokenRecord)) throw error;
      this.#tell(place, error.message);
      return undefined;
    }
  }

  #tell(place: string, why: string): void {
    if (this.#told.has(place) || this.#told.size >= maxRemembered) return;
    this.#told.add(place);
    const last = this.#told.size === maxRemembered ? '. No more of them are told' : '';
    this.#logger.warn(`the record at ${place} is passed over: it ${why}${last}`);
  }
}
