import type { Logger } from '../../logger/logger.ts';
import { BrokenRecord } from './records.ts';

// A registry full of broken records must not fill the memory of its readers.
const maxRemembered = 1_024;

/** Skips records that are broken, and logs each once, by the place where it is stored. */
export class BrokenRecords {
  readonly #logger: Logger;
  readonly #logged = new Set<string>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Returns the result of `read`; `undefined` if it throws {@link BrokenRecord} for the record at `place`. */
  read<T>(place: string, read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof BrokenRecord)) throw error;
      this.#log(place, error.message);
      return undefined;
    }
  }

  #log(place: string, why: string): void {
    if (this.#logged.has(place) || this.#logged.size >= maxRemembered) return;
    this.#logged.add(place);
    const last = this.#logged.size === maxRemembered ? '. Further broken records are not logged' : '';
    this.#logger.warn(`the record at ${place} is skipped: it ${why}${last}`);
  }
}
