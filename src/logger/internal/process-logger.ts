import { type LogFields, type Logger, silentLogger } from '../logger.ts';

/** The fields that every line of a process names, once they are known. */
export interface ProcessIdentity {
  fields: LogFields | undefined;
}

/**
 * Makes a logger that adds the fields of `identity` to its lines, and to those of its children, from the moment that
 * they are known. Loggers are made long before.
 */
export function processLogger(logger: Logger, identity: ProcessIdentity): Logger {
  return logger === silentLogger ? logger : new ProcessLogger(logger, identity);
}

class ProcessLogger implements Logger {
  readonly #identity: ProcessIdentity;
  readonly #logger: Logger;
  #identified: Logger | undefined;

  constructor(logger: Logger, identity: ProcessIdentity) {
    this.#logger = logger;
    this.#identity = identity;
  }

  debug(message: string, fields?: LogFields): void {
    this.#current.debug(message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.#current.info(message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.#current.warn(message, fields);
  }

  error(message: string, fields?: LogFields): void {
    this.#current.error(message, fields);
  }

  child(fields: LogFields): Logger {
    const current = this.#current;
    const child = current.child(fields);
    return current === this.#logger ? new ProcessLogger(child, this.#identity) : child;
  }

  get #current(): Logger {
    const { fields } = this.#identity;
    if (this.#identified || fields === undefined) return this.#identified ?? this.#logger;
    return (this.#identified = this.#logger.child(fields));
  }
}
