import type { Container } from 'inversify';

import type { Class } from '../decorators/decorators.ts';
import { Code, nameOfError, TenonError, textOf } from '../errors/errors.ts';
import { ConsoleLogger } from '../logger/console.ts';
import { type LogFields, Logger } from '../logger/logger.ts';
import { endsWithin } from '../runtime/bounded.ts';
import { systemTimers } from '../runtime/system.ts';
import { readConfig } from './config.ts';
import { type AppOptions, environmentOf } from './options.ts';
import { System } from './system.ts';

const signals = ['SIGTERM', 'SIGINT'] as const;

// A stop that was told to make haste has so long to tell callers that their calls end.
const forcedStopMs = 2_000;
// A start that was told to stop, and does not heed it.
const abandonedStartMs = 10_000;

/** What {@link run} may be told. */
export interface RunOptions extends AppOptions {
  /**
   * Called once every service is served, to say where for instance. What it throws stops them again, and ends the
   * process with exit code 1.
   */
  readonly onStarted?: ((system: System) => void | Promise<void>) | undefined;
  /**
   * Whether an exception or a rejection that nobody caught ends the process: it is logged, what is in flight is
   * finished within its bounds, and the exit code is 1. `false` logs it, and the process lives on with whatever state
   * that left behind.
   * @default true
   */
  readonly exitOnUncaught?: boolean | undefined;
}

/**
 * Runs a service (or several) as this process: starts it, waits for SIGTERM or SIGINT (or for `options.signal`),
 * drains, and exits with 0. A second signal stops at once, with exit code 1, and so does, after a drain, what no one
 * caught (a promise that was left alone, a callback that threw after its reply).
 *
 * A start that fails is one message of the log (its stack at the level `debug`), and exit code 1.
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
    // Told to stop before it had started: that is no failure.
    if (!stops.first.aborted) failed(stops, error);
    process.exit(stops.exitCode);
  }
  try {
    // It may take as long as the program: a signal does not wait for it.
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

/** What asks a process to stop, heard from the first moment to the last: in a gap the default would kill it. */
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

  /** Aborts with the first signal. */
  get first(): AbortSignal {
    return this.#controllers[0].signal;
  }

  /** Aborts with the second. */
  get second(): AbortSignal {
    return this.#controllers[1].signal;
  }

  readonly #hear = (name: NodeJS.Signals): void => {
    // Whatever holds up a stop that was told to make haste, a third one is the last.
    if (this.second.aborted) process.exit(1);
    this.name = name;
    (this.first.aborted ? this.#controllers[1] : this.#controllers[0]).abort(told(`by ${name}`));
  };

  readonly #uncaught = (error: unknown): void => {
    // One that comes of logging would come again.
    if (this.#isLogging) return;
    this.#isLogging = true;
    try {
      this.log('error', 'an error that no one caught', { error });
    } finally {
      this.#isLogging = false;
    }
    if (!this.#exitOnUncaught) return;
    this.exitCode = 1;
    if (!this.first.aborted) this.#controllers[0].abort(told('by an error that no one caught'));
  };
}

function told(by: string): TenonError {
  return new TenonError({
    code: Code.Unavailable,
    reason: 'app.forced',
    message: `the process was told to stop ${by}`,
  });
}

/** Rejects when a start goes on though it was told to stop: at once with the second signal, else after a while. */
async function abandoned(starting: Promise<unknown>, stops: StopSignals): Promise<never> {
  await aborted(stops.first);
  const hasEnded = await endsWithin(
    starting.catch(() => {}),
    { timers: systemTimers, timeoutMs: abandonedStartMs, signal: stops.second },
  );
  if (!hasEnded || stops.second.aborted) stops.exitCode = 1;
  throw stops.first.reason;
}

/** One message, for people; where exactly it failed is for who looks for it. */
function failed(stops: StopSignals, error: unknown): void {
  stops.exitCode = 1;
  const [head = '', ...lines] = textOf(error).split('\n');
  const reason = TenonError.is(error) ? error.reason : undefined;
  const what = reason === undefined ? (nameOfError(error) ?? 'thrown') : reason;
  stops.log('error', `the start failed: ${what}: ${head}`, lines.length > 0 ? { problems: lines } : {});
  const stack = error instanceof Error ? error.stack?.split('\n') : undefined;
  stops.log('debug', 'the start failed here', { stack });
}

/** The application's own logger if there is one yet, else one as the environment asks for it. */
function loggerOf(container: Container | undefined, options: AppOptions): Logger {
  try {
    if (container) return container.get(Logger);
  } catch {
    // It may be what could not be made.
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
