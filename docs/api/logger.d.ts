// Written by `npm run api`; a test says when it is not current.

// tenon/logger

import type { ServiceIdentifier } from 'inversify';
export declare const logLevels: readonly ['debug', 'info', 'warn', 'error', 'silent'];
export type LogLevel = (typeof logLevels)[number];
export type LogFields = Readonly<Record<string, unknown>>;
export interface Logger {
    debug(message: string, fields?: LogFields): void;
    info(message: string, fields?: LogFields): void;
    warn(message: string, fields?: LogFields): void;
    error(message: string, fields?: LogFields): void;
    child(fields: LogFields): Logger;
}
export declare const Logger: ServiceIdentifier<Logger>;
export declare const silentLogger: Logger;

// tenon/logger/console

import type { Clock } from '../runtime/runtime.ts';
import { type LogFields, type Logger, type LogLevel } from './logger.ts';
export interface ConsoleLoggerOptions {
    readonly level?: LogLevel;
    readonly format?: 'json' | 'text';
    readonly write?: (line: string) => void;
    readonly clock?: Clock;
    readonly maxDepth?: number;
    readonly maxEntries?: number;
    readonly maxTextLength?: number;
    readonly fields?: LogFields;
}
export declare class ConsoleLogger implements Logger {
    #private;
    constructor(options?: ConsoleLoggerOptions);
    debug(message: string, fields?: LogFields): void;
    info(message: string, fields?: LogFields): void;
    warn(message: string, fields?: LogFields): void;
    error(message: string, fields?: LogFields): void;
    child(fields: LogFields): Logger;
}
