import type { Container } from 'inversify';

import type { Class } from '../decorators/decorators.ts';
import { Code, nameOfError, TenonError, textOf } from '../errors/errors.ts';
import { isError } from '../internal/is-error.ts';
import { ConsoleLogger } from '../logger/console.ts';
import { type LogFields, Logger } from '../logger/logger.ts';
import { endsWithin } from '../runtime/bounded.ts';
import { systemTimers } from '../runtime/system.ts';
import { readConfig } from './config.ts';
import { type AppOptions, environmentOf } from './options.ts';
import { System } from './system.ts';

const signals = ['SIGTERM', 'SIGINT'] as const;

// Time limit of a forced stop, which lets aborted calls send their status.
const forcedStopMs = 2_000;
// Time limit of a start after a signal to stop.
const abandonedStartMs = 10_000;

/** Options of {@link run}. */
export interface RunOptions extends AppOptions {
  /**
   * Called once all services serve, for example to print their addresses. If it throws, the services are stopped again
   * and the process exits with code 1.
   */
  readonly onStarted?: ((system: System) => void | Promise<void>) | undefined;
  /**
   * True if an uncaught exception or unhandled rejection ends the process: it is logged, calls in flight are finished
   * within their limits, and the exit code is 1. `false` only logs it; the process goes on, in an unknown state.
   * @default true
   */
  readonly exitOnUncaught?: boolean | undefined;
}

/**
 * Runs one or several services as this process: starts them, waits for SIGTERM or SIGINT (or for `options.signal`),
 * drains, and exits with 0. A second signal stops at once, with exit code 1. An uncaught error (an
 * unhandled rejection, a callback that throws after its reply) drains, and exits with 1.
 *
 * A start that fails is logged as one message (its stack at the level `debug`), and exits with 1.
 *
 * @example
 * ```ts
 * @Service({ name: 'greeter', handlers: [] })
 * class Greeter {}
 *
 * await run(Greeter);
 * ```
 */
export async function run(services: Class | readonly Class[], options: RunOptions = {}): Promise<never> {
  const stops = new StopSignals(options.exitOnUncaught ?? true);
  const signal = options.signal ? AbortSignal.any([options.signal, stops.first]) : stops.first;
  let container: Container | undefined;
  stops.log = (level, message, fields) => loggerOf(container, options)[level](message, fields);
  const starting = System.start(Array.isArray(services) ? (services as Class[]) : [services as Class], {
    ...options,
    signal,
    bind: (composed) => {
      container = composed;
      options.bind?.(composed);
    },
  });
  let system: System;
  try {
    system = await Promise.race([starting, abandoned(starting, stops)]);
  } catch (error) {
    // A start that a signal ended has not failed.
    if (!stops.first.aborted) failed(stops, error);
    process.exit(stops.exitCode);
  }
  try {
    // A signal does not wait for onStarted, which may run as long as the program.
    await Promise.race([options.onStarted?.(system), aborted(signal)]);
    await aborted(signal);
  } catch (error) {
    failed(stops, error);
  }
  stops.log('info', 'draining', { signal: stops.name });
  const isForced = await Promise.race([system.stop().then(() => false), aborted(stops.second).then(() => true)]);
  if (isForced) {
    stops.exitCode = 1;
    stops.log('warn', 'stopping now', { signal: stops.name });
    await endsWithin(system.stop({ signal: stops.second }), { timers: systemTimers, timeoutMs: forcedStopMs });
  }
  process.exit(stops.exitCode);
}

/**
 * Listens to what stops the process: signals and uncaught errors. It listens from the start to the exit, as Node kills
 * a process without listeners by default.
 */
class StopSignals {
  readonly #controllers = [new AbortController(), new AbortController()] as const;
  readonly #exitOnUncaught: boolean;
  /** The last signal that came. */
  name: NodeJS.Signals | undefined;
  exitCode = 0;
  log: (level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: LogFields) => void = () => {};
  #isLogging = false;

  constructor(exitOnUncaught: boolean) {
    this.#exitOnUncaught = exitOnUncaught;
    for (const name of signals) process.on(name, this.#hear);
    process.on('unhandledRejection', this.#uncaught);
    process.on('uncaughtException', this.#uncaught);
  }

  /** Aborts with the first signal or uncaught error. */
  get first(): AbortSignal {
    return this.#controllers[0].signal;
  }

  /** Aborts with the second signal. */
  get second(): AbortSignal {
    return this.#controllers[1].signal;
  }

  readonly #hear = (name: NodeJS.Signals): void => {
    // A third signal exits at once, whatever a forced stop waits for.
    if (this.second.aborted) process.exit(1);
    this.name = name;
    (this.first.aborted ? this.#controllers[1] : this.#controllers[0]).abort(told(`by ${name}`));
  };

  readonly #uncaught = (error: unknown): void => {
    // An error thrown by the logger itself must not be logged again.
    if (this.#isLogging) return;
    this.#isLogging = true;
    try {
      this.log('error', 'uncaught error', { error });
    } finally {
      this.#isLogging = false;
    }
    if (!this.#exitOnUncaught) return;
    this.exitCode = 1;
    if (!this.first.aborted) this.#controllers[0].abort(told('by an uncaught error'));
  };
}

function told(by: string): TenonError {
  return new TenonError({
    code: Code.Unavailable,
    reason: 'app.forced',
    message: `the process was told to stop ${by}`,
  });
}

/** Rejects when a start does not end after a signal: at once with the second signal, else after a time limit. */
async function abandoned(starting: Promise<unknown>, stops: StopSignals): Promise<never> {
  await aborted(stops.first);
  const hasEnded = await endsWithin(
    starting.catch(() => {}),
    { timers: systemTimers, timeoutMs: abandonedStartMs, signal: stops.second },
  );
  if (!hasEnded || stops.second.aborted) stops.exitCode = 1;
  throw stops.first.reason;
}

/** Logs a failed start: one message for people, and its stack at the level `debug`. */
function failed(stops: StopSignals, error: unknown): void {
  stops.exitCode = 1;
  const [head = '', ...lines] = textOf(error).split('\n');
  const reason = TenonError.is(error) ? error.reason : undefined;
  const what = reason === undefined ? (nameOfError(error) ?? 'thrown') : reason;
  stops.log('error', `the start failed: ${what}: ${head}`, lines.length > 0 ? { problems: lines } : {});
  const stack = isError(error) ? error.stack?.split('\n') : undefined;
  stops.log('debug', 'stack of the failed start', { stack });
}

/** The application's own logger if it can be made yet, else one as the environment configures it. */
function loggerOf(container: Container | undefined, options: AppOptions): Logger {
  try {
    if (container) return container.get(Logger);
  } catch {
    // The logger itself may be what could not be made.
  }
  const { profile, backends } = options;
  const env = environmentOf(options);
  try {
    return new ConsoleLogger(readConfig(env, typeof profile === 'string' ? profile : undefined, backends).log);
  } catch {
    const isJson = env['TENON_LOG_FORMAT'] === 'json' || (profile ?? env['TENON_PROFILE']) === 'prod';
    return new ConsoleLogger({ format: isJson ? 'json' : 'text' });
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
