import { nameOfError, TenonError, textOf } from '../errors/errors.ts';
import type { Clock } from '../runtime/runtime.ts';
import { systemClock } from '../runtime/system.ts';
import { processFields } from './internal/fields.ts';
import { plainOf, type PlainLimits, shortened } from './internal/plain.ts';
import { escaped, textLine } from './internal/text.ts';
import { type LogFields, type Logger, type LogLevel, logLevels } from './logger.ts';

/** Options of a {@link ConsoleLogger}. */
export interface ConsoleLoggerOptions {
  /**
   * The lowest level that is written.
   * @default 'info'
   */
  readonly level?: LogLevel;
  /**
   * The format of a line: `json` for machines, one object a line; `text` for people.
   * @default 'text'
   */
  readonly format?: 'json' | 'text';
  /**
   * Takes each finished line, without its line break.
   * @default standard error: standard output belongs to the program
   */
  readonly write?: (line: string) => void;
  readonly clock?: Clock;
  /**
   * The most levels of nested objects that are written of a field.
   * @default 8
   */
  readonly maxDepth?: number;
  /**
   * The most values that are written with a message, those within its fields included.
   * @default 1_000
   */
  readonly maxEntries?: number;
  /**
   * The length, in UTF-16 units, at which strings are cut.
   * @default 16_384
   */
  readonly maxTextLength?: number;
  readonly fields?: LogFields;
}

/**
 * A {@link Logger} that writes to standard error, one line a message. In the text format the stack of an unexpected
 * error follows below the line, indented. A message that cannot be written is dropped, without an error.
 */
export class ConsoleLogger implements Logger {
  readonly #options: Required<ConsoleLoggerOptions>;
  readonly #threshold: number;

  constructor(options: ConsoleLoggerOptions = {}) {
    this.#options = {
      level: 'info',
      format: 'text',
      write: writeError,
      clock: systemClock,
      fields: {},
      maxDepth: 8,
      maxEntries: 1_000,
      maxTextLength: 16_384,
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
    try {
      const time = new Date(this.#options.clock.now()).toISOString();
      const all = merged(this.#options.fields, fields);
      const line =
        this.#options.format === 'json'
          ? jsonLine({ time, level, message: shortened(String(message), this.#options) }, all, this.#options)
          : textLine(`${time} ${level.padEnd(5)}`, String(message), all, this.#options);
      this.#options.write(line);
    } catch {
      // A failure to log has nowhere to be logged, and must not disturb the caller.
    }
  }
}

/** Merges the fields of the logger and of the message, which win. A getter that throws costs its own field alone. */
function merged(fields: LogFields, more: LogFields): LogFields {
  const all = Object.create(null) as Record<string, unknown>;
  for (const source of [fields, more]) {
    for (const key of Object.keys(source)) {
      try {
        all[key] = source[key];
      } catch (error) {
        all[key] = `[cannot be read: ${textOf(error)}]`;
      }
    }
  }
  return all;
}

/** Formats a line of JSON. Fields do not overwrite time, level and message. */
function jsonLine(head: Record<string, string>, fields: LogFields, limits: PlainLimits): string {
  const named = { ...processFields(), ...exceptionOf(fields), ...fields };
  return escaped(JSON.stringify({ ...head, ...(plainOf(named, limits) as object), ...head }));
}

/** Gives the fields for an error of a message, in OpenTelemetry's names. */
function exceptionOf({ error }: LogFields): LogFields | undefined {
  const name = nameOfError(error);
  if (name === undefined && !TenonError.is(error)) return undefined;
  const reason = TenonError.is(error) ? error.reason : undefined;
  return { 'error.type': reason ?? name, 'exception.type': name, 'exception.message': textOf(error) };
}

const guarded = new WeakSet<NodeJS.WritableStream>();

/**
 * Writes to standard error. Its errors are ignored: the process that reads it may end first, and an EPIPE must not end
 * this one.
 */
function writeError(line: string): void {
  const { stderr } = process;
  if (!guarded.has(stderr)) {
    guarded.add(stderr);
    stderr.on('error', () => {});
  }
  stderr.write(`${line}\n`);
}
