import { inspect } from 'node:util';

import { TenonError } from '../../errors/errors.ts';
import { isError } from '../../internal/is-error.ts';
import type { LogFields, Logger } from '../../logger/logger.ts';
import type { LeaseReport } from '../../service/internal/lease-messages.ts';

/** Sends the lines of a log to the thread that writes them. */
export class ReportingLogger implements Logger {
  readonly #post: (report: LeaseReport) => void;
  readonly #fields: LogFields;

  constructor(post: (report: LeaseReport) => void, fields: LogFields = {}) {
    this.#post = post;
    this.#fields = fields;
  }

  debug(message: string, fields?: LogFields): void {
    this.#send('debug', message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.#send('info', message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.#send('warn', message, fields);
  }

  error(message: string, fields?: LogFields): void {
    this.#send('error', message, fields);
  }

  child(fields: LogFields): Logger {
    return new ReportingLogger(this.#post, { ...this.#fields, ...fields });
  }

  #send(level: 'debug' | 'info' | 'warn' | 'error', message: string, fields: LogFields = {}): void {
    const sent = Object.entries({ ...this.#fields, ...fields }).map(([name, value]) => [name, sendable(value)]);
    this.#post({ kind: 'log', level, message, fields: Object.fromEntries(sent) as LogFields });
  }
}

/** A value that crosses between threads: an error as its text, with its code and reason. */
function sendable(value: unknown): unknown {
  if (isError(value)) {
    const { code, reason, message } = TenonError.from(value);
    return { code, reason, message };
  }
  return typeof value === 'object' || typeof value === 'function' ? inspect(value) : value;
}
