import type { ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';

/** The log levels, from the most verbose to `silent`, which writes nothing. */
export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;
/** One of {@link logLevels}. */
export type LogLevel = (typeof logLevels)[number];

/** Values that are logged with a message, by name. Errors are written with their code, reason and causes. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Writes log messages with fields. Writing never throws and never blocks the caller. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** Makes a logger that adds `fields` to every message. It has to be cheap: a handler that logs makes one per call. */
  child(fields: LogFields): Logger;
}
/** Container key of the {@link Logger}. */
export const Logger: ServiceIdentifier<Logger> = token('logger', 'Logger');

/** A logger that writes nothing. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLogger,
};
