import assert from 'node:assert/strict';

import { TenonError } from '../errors/errors.ts';
import { systemTimers } from '../runtime/system.ts';
import type { Case } from './api.ts';

/** The `TenonError` that `call` rejects with. Fails if it resolves, or rejects with anything else. */
export async function failureOf(call: PromiseLike<unknown>): Promise<TenonError> {
  let value: unknown;
  try {
    value = await call;
  } catch (error) {
    assert.ok(TenonError.is(error), `rejected with ${String(error)}, which is no TenonError`);
    return error;
  }
  return assert.fail(`resolved to ${JSON.stringify(value)}, and should have rejected`);
}

/** The `TenonError` that `work` throws. Fails if it returns, or throws anything else. */
export function thrownBy(work: () => unknown): TenonError {
  try {
    work();
  } catch (error) {
    assert.ok(TenonError.is(error), `threw ${String(error)}, which is no TenonError`);
    return error;
  }
  return assert.fail('returned, and should have thrown');
}

/** Errors that nobody caught, since {@link watchUncaught}. */
export interface UncaughtErrors {
  readonly errors: readonly unknown[];
  /** Stops watching: later ones end the process again. */
  stop(): void;
}

/** Keeps what nobody catches, rejections too, and keeps it from ending the process. */
export function watchUncaught(): UncaughtErrors {
  const errors: unknown[] = [];
  const onError = (error: unknown): void => void errors.push(error);
  process.on('unhandledRejection', onError);
  process.on('uncaughtException', onError);
  return {
    errors,
    stop() {
      process.off('unhandledRejection', onError);
      process.off('uncaughtException', onError);
    },
  };
}

/** How {@link failingCases} tries the cases. */
export interface FailingCasesOptions {
  /**
   * How long a case may take before it counts as failed: broken implementations often never answer.
   * @default 1_000
   */
  readonly limitMs?: number | undefined;
  /**
   * How many cases run at the same time.
   * @default all
   */
  readonly atOnce?: number | undefined;
}

const tickMs = 10;

/**
 * The names of the cases that an implementation fails: what proves a suite, by implementations that are broken in one
 * way each.
 *
 * @param harness makes what one case needs
 */
export async function failingCases<Harness>(
  cases: readonly Case<Harness>[],
  harness: () => Harness | Promise<Harness>,
  options: FailingCasesOptions = {},
): Promise<string[]> {
  const { limitMs = 1_000, atOnce = cases.length } = options;
  const failed = new Set<string>();
  const waiting = [...cases];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const one = next;
      const run = async (): Promise<void> => one.run(await harness());
      await endsWithin(run(), limitMs).catch(() => failed.add(one.name));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return cases.map(({ name }) => name).filter((name) => failed.has(name));
}

/** Ticks are counted and not time: a busy machine slows them as it slows the case. */
function endsWithin(run: Promise<void>, limitMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let ticksLeft = limitMs / tickMs;
    const timer = systemTimers.every(
      tickMs,
      () => {
        ticksLeft -= 1;
        if (ticksLeft > 0) return;
        timer.cancel();
        reject(new Error(`it takes longer than ${limitMs} ms`));
      },
      { keepAlive: true },
    );
    run.then(resolve, reject).finally(() => timer.cancel());
  });
}
