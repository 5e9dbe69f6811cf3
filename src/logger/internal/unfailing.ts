import { quietly } from '../../internal/quietly.ts';
import { ConsoleLogger } from '../console.ts';
import { type LogFields, type Logger, silentLogger } from '../logger.ts';

/**
 * Wraps a logger of the application so that its errors are caught: the message is lost, and the caller goes on. Loggers
 * of tenon are returned unchanged.
 */
export function unfailing(logger: Logger): Logger {
  const isOurs = logger === silentLogger || logger instanceof ConsoleLogger || logger instanceof UnfailingLogger;
  return isOurs ? logger : new UnfailingLogger(logger);
}

class UnfailingLogger implements Logger {
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  debug(message: string, fields?: LogFields): void {
    quietly(() => this.#logger.debug(message, fields), undefined, forget);
  }

  info(message: string, fields?: LogFields): void {
    quietly(() => this.#logger.info(message, fields), undefined, forget);
  }

  warn(message: string, fields?: LogFields): void {
    quietly(() => this.#logger.warn(message, fields), undefined, forget);
  }

  error(message: string, fields?: LogFields): void {
    quietly(() => this.#logger.error(message, fields), undefined, forget);
  }

  child(fields: LogFields): Logger {
    let child: Logger | undefined;
    try {
      child = this.#logger.child(fields);
      if (typeof child.info === 'function') return unfailing(child);
    } catch {
      // Messages are then logged without these fields.
    }
    return this;
  }
}

function forget(): void {}
