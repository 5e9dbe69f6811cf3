import { codeName, TenonError } from '../errors/errors.ts';
import type { Clock } from '../runtime/runtime.ts';
import { systemClock } from '../runtime/system.ts';
import { type LogFields, type Logger, type LogLevel, logLevels } from './logger.ts';

/** How a {@link ConsoleLogger} writes. */
export interface ConsoleLoggerOptions {
  /**
   * Messages below it are not written.
   * @default 'info'
   */
  readonly level?: LogLevel;
  /**
   * `json`: one object a line, for machines. `text`: for people.
   * @default 'text'
   */
  readonly format?: 'json' | 'text';
  /**
   * Takes each finished line, without its line break.
   * @default standard error: standard output belongs to the program
   */
  readonly write?: (line: string) => void;
  readonly clock?: Clock;
  readonly fields?: LogFields;
}

/** A {@link Logger} of one line a message, on standard error. */
export class ConsoleLogger implements Logger {
  readonly #options: Required<ConsoleLoggerOptions>;
  readonly #threshold: number;

  constructor(options: ConsoleLoggerOptions = {}) {
    this.#options = {
      level: 'info',
      format: 'text',
      write: (line) => void process.stderr.write(`${line}\n`),
      clock: systemClock,
      fields: {},
      ...options,
    };
    this.#threshold = logLevels.indexOf(this.#options.level);
  }

  debug(message: string, fields?: LogFields): void {
    this.#write('debug', message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.#write('info', message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.#write('warn', message, fields);
  }

  error(message: string, fields?: LogFields): void {
    this.#write('error', message, fields);
  }

  child(fields: LogFields): Logger {
    return new ConsoleLogger({ ...this.#options, fields: { ...this.#options.fields, ...fields } });
  }

  #write(level: LogLevel, message: string, fields: LogFields = {}): void {
    if (logLevels.indexOf(level) < this.#threshold) return;
    const time = new Date(this.#options.clock.now()).toISOString();
    const all = { ...this.#options.fields, ...fields };
    try {
      this.#options.write(
        this.#options.format === 'json'
          ? JSON.stringify({ time, level, message, ...all }, plain)
          : `${time} ${level.padEnd(5)} ${message}${pairs(all)}`,
      );
    } catch {
      // A field that cannot be written (a cycle, a throwing getter) must not take the caller down.
      this.#options.write(`${time} ${level.padEnd(5)} ${message}`);
    }
  }
}

function pairs(fields: LogFields): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(
      ([key, value]) =>
        ` ${key}=${typeof value === 'string' && /^[^\s"]+$/.test(value) ? value : JSON.stringify(value, plain)}`,
    )
    .join('');
}

function plain(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (TenonError.is(value)) {
    return { code: codeName(value.code), reason: value.reason, message: value.message, cause: value.cause };
  }
  if (value instanceof Error)
    return { name: value.name, message: value.message, stack: value.stack, cause: value.cause };
  return value;
}
