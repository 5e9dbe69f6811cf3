import type { Class } from '../decorators/decorators.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { Logger } from '../logger/logger.ts';
import type { AppOptions } from './options.ts';
import { System } from './system.ts';

const signals = ['SIGTERM', 'SIGINT'] as const;

/** What {@link run} may be told. */
export interface RunOptions extends AppOptions {
  /** Called once every service is served, to say where for instance. What it throws stops them again, and `run` rejects with it. */
  readonly onStarted?: ((system: System) => void | Promise<void>) | undefined;
}

/**
 * Runs a service (or several) as this process: starts it, waits for SIGTERM or SIGINT (or for `options.signal`), drains, and exits with 0. A second signal stops at once,
 * with exit code 1. What no one caught (a promise that was left alone, a callback that threw after its reply) is logged, and the process lives on.
 *
 * Rejects when the wiring is wrong (FAILED_PRECONDITION `app.verify_failed`, every error at once) or the start fails.
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
  const stops = new StopSignals();
  const signal = options.signal ? AbortSignal.any([options.signal, stops.first]) : stops.first;
  let system: System;
  // Something may hang before there is anything to stop.
  const force = (): never => process.exit(1);
  stops.second.addEventListener('abort', force);
  try {
    system = await System.start(Array.isArray(services) ? (services as Class[]) : [services as Class], {
      ...options,
      signal,
    });
  } catch (error) {
    // Told to stop before it had started: that is no failure.
    if (stops.first.aborted) process.exit(0);
    stops.ignore();
    throw error;
  }
  stops.second.removeEventListener('abort', force);
  const logger = system.get(Logger);
  const log = (error: unknown): void => logger.error('an error that no one caught', { error });
  process.on('unhandledRejection', log);
  process.on('uncaughtException', log);
  try {
    // It may take as long as the program: a signal does not wait for it.
    await Promise.race([options.onStarted?.(system), aborted(signal)]);
  } catch (error) {
    await system.stop();
    stops.ignore();
    // Else the rejection of a program that does not catch it would be logged, and the program seem to have ended well.
    process.off('unhandledRejection', log);
    process.off('uncaughtException', log);
    throw error;
  }
  await aborted(signal);
  logger.info('draining', { signal: stops.name });
  const isForced = await Promise.race([system.stop().then(() => false), aborted(stops.second).then(() => true)]);
  if (isForced) {
    logger.warn('stopping now', { signal: stops.name });
    await system.stop({ signal: stops.second });
  }
  process.exit(isForced ? 1 : 0);
}

/** The signals that ask a process to stop, heard from the first moment to the last: in a gap the default would kill it. */
class StopSignals {
  readonly #controllers = [new AbortController(), new AbortController()] as const;
  /** The last one that came. */
  name: NodeJS.Signals | undefined;

  constructor() {
    for (const name of signals) process.on(name, this.#hear);
  }

  /** Aborts with the first signal. */
  get first(): AbortSignal {
    return this.#controllers[0].signal;
  }

  /** Aborts with the second. */
  get second(): AbortSignal {
    return this.#controllers[1].signal;
  }

  /** Leaves signals to whoever else wants them. */
  ignore(): void {
    for (const name of signals) process.off(name, this.#hear);
  }

  readonly #hear = (name: NodeJS.Signals): void => {
    this.name = name;
    const [first, second] = this.#controllers;
    const reason = new TenonError({
      code: Code.Unavailable,
      reason: 'app.forced',
      message: `the process was told to stop by ${name}`,
    });
    (first.signal.aborted ? second : first).abort(reason);
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
