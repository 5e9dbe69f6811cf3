import type { LogFields, Logger } from '../../logger/logger.ts';

/**
 * Says once that something fails, until it succeeds again: what is tried over and over must be neither silent nor a
 * flood.
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
