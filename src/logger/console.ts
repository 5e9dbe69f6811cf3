import { nameOfError, TenonError, textOf } from '../errors/errors.ts';
import type { Clock } from '../runtime/runtime.ts';
import { systemClock } from '../runtime/system.ts';
import { processFields } from './internal/fields.ts';
import { plainOf, type PlainLimits, shortened } from './internal/plain.ts';
import { escaped, textLine } from './internal/text.ts';
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
  /**
   * How many objects, one in the other, a field is written with.
   * @default 8
   */
  readonly maxDepth?: number;
  /**
   * How many values a message is written with, those within its fields included.
   * @default 1_000
   */
  readonly maxEntries?: number;
  /**
   * Longer texts are cut, in UTF-16 units.
   * @default 16_384
   */
  readonly maxTextLength?: number;
  readonly fields?: LogFields;
}

/**
 * A {@link Logger} on standard error, with one line a message; of an error that nobody made to be shown, text has its
 * stack below, indented. A message that cannot be written is lost, and nothing else.
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
      // There is nobody left to say it to, and the caller has other things to do.
    }
  }
}

/** Those of the message over those of the logger. A getter that throws takes none of the others along. */
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

/** What the line itself says is not overwritten by a field of the same name. */
function jsonLine(head: Record<string, string>, fields: LogFields, limits: PlainLimits): string {
  const named = { ...processFields(), ...exceptionOf(fields), ...fields };
  return escaped(JSON.stringify({ ...head, ...(plainOf(named, limits) as object), ...head }));
}

/** OpenTelemetry's names for the error of a message. */
function exceptionOf({ error }: LogFields): LogFields | undefined {
  const name = nameOfError(error);
  if (name === undefined && !TenonError.is(error)) return undefined;
  const reason = TenonError.is(error) ? error.reason : undefined;
  return { 'error.type': reason ?? name, 'exception.type': name, 'exception.message': textOf(error) };
}

const survived = new WeakSet<NodeJS.WritableStream>();

/**
 * Writes to standard error as long as somebody reads it: whoever did may end before this process does, and nothing is
 * gained by ending with them.
 */
function writeError(line: string): void {
  const { stderr } = process;
  if (!survived.has(stderr)) {
    survived.add(stderr);
    stderr.on('error', () => {});
  }
  stderr.write(`${line}\n`);
}
