import assert from 'node:assert/strict';

import { TenonError } from '../errors/errors.ts';
import type { Case } from './api.ts';
import { within } from './waiting.ts';

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

/** The uncaught errors since {@link watchUncaught} was called. */
export interface UncaughtErrors {
  readonly errors: readonly unknown[];
  /** Stops collecting: later uncaught errors end the process again. */
  stop(): void;
}

/** Collects uncaught exceptions and unhandled rejections, which then do not end the process. */
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

/** Options of {@link failingCases}. */
export interface FailingCasesOptions {
  /**
   * Time that a case may take before it counts as failed: broken implementations often never answer.
   * @default 1_000
   */
  readonly limitMs?: number | undefined;
  /**
   * The number of cases that run at the same time.
   * @default all
   */
  readonly atOnce?: number | undefined;
}

/**
 * Runs cases and resolves with the names of those that fail. It proves a suite with implementations that are broken in
 * one way each.
 *
 * @param harness makes the harness of one case
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
      await within(one.name, run(), { limitMs, keepAlive: true }).catch(() => failed.add(one.name));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return cases.map(({ name }) => name).filter((name) => failed.has(name));
}
