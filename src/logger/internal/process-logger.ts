import { type LogFields, type Logger, silentLogger } from '../logger.ts';

/** What the lines of a whole process name, once it is known. */
export interface ProcessIdentity {
  fields: LogFields | undefined;
}

/**
 * A logger whose lines have the fields of `identity` from the moment these are known: loggers are made long before.
 * Those of its children do as well.
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
