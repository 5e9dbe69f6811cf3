import type { LogFields, Logger } from '../../logger/logger.ts';

/**
 * Logs the first of several failures in a row as a warning, and the others at debug, so that retries neither go unseen
 * nor flood the log.
 */
export class FailureLog {
  readonly #logger: Logger;
  readonly #fields: LogFields;
  #isFailing = false;

  constructor(logger: Logger, fields: LogFields) {
    this.#logger = logger;
    this.#fields = fields;
  }

  failed(message: string, error: unknown): void {
    this.#logger[this.#isFailing ? 'debug' : 'warn'](message, { ...this.#fields, error });
    this.#isFailing = true;
  }

  succeeded(): void {
    this.#isFailing = false;
  }
}
