import type { ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';

/** From the most to the least talkative; `silent` writes nothing. */
export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;
/** One of {@link logLevels}. */
export type LogLevel = (typeof logLevels)[number];

/** Values that go with a message, by name. Errors are written with their code, reason and causes. */
export type LogFields = Readonly<Record<string, unknown>>;

/**
 * Where tenon and its users write what happened. Writing never throws and never blocks the caller.
 */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds `fields` to everything it writes. Cheap: made per call when a handler asks. */
  child(fields: LogFields): Logger;
}
/** Container key of the {@link Logger}. */
export const Logger: ServiceIdentifier<Logger> = token('logger', 'Logger');

/** Writes nothing. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLogger,
};
