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
 * Runs a service (or several) as this process: starts it, waits for SIGTERM or SIGINT, drains, and exits with 0. A second signal stops at once,
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
  const system = await System.start(Array.isArray(services) ? (services as Class[]) : [services as Class], options);
  try {
    await options.onStarted?.(system);
  } catch (error) {
    await system.stop();
    throw error;
  }
  const logger = system.get(Logger);
  const log = (error: unknown): void => logger.error('an error that no one caught', { error });
  process.on('unhandledRejection', log);
  process.on('uncaughtException', log);
  await nextSignal((signal) => logger.info(`${signal}: draining`));
  const stopped = system.stop();
  const isForced = await Promise.race([
    stopped.then(() => false),
    nextSignal((signal) => logger.warn(`${signal} again: stopping now`)).then(() => true),
  ]);
  if (isForced) {
    const reason = new TenonError({ code: Code.Unavailable, reason: 'app.forced', message: 'the process was told to stop at once' });
    await system.stop({ signal: AbortSignal.abort(reason) });
  }
  process.exit(isForced ? 1 : 0);
}

function nextSignal(onSignal: (signal: NodeJS.Signals) => void): Promise<void> {
  return new Promise((resolve) => {
    const listener = (signal: NodeJS.Signals): void => {
      for (const name of signals) process.off(name, listener);
      onSignal(signal);
      resolve();
    };
    for (const name of signals) process.on(name, listener);
  });
}
