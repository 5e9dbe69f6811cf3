import { setTimeout as sleep } from 'node:timers/promises';

import { afterAll } from '@jest/globals';

import type { Timers } from '../../src/runtime/runtime.ts';
import type { Case } from '../../src/testing/api.ts';
import { failingCases } from '../../src/testing/failures.ts';

const tickMs = 10;

/**
 * Cases that have not ended. Most that were given up end soon after, by waits of their own, and are waited for when the
 * file ends; some never do.
 */
const unsettled = new Set<Promise<void>>();
const longestWaitMs = 5_000;

afterAll(async () => {
  for (let ticksLeft = longestWaitMs / tickMs; unsettled.size > 0 && ticksLeft > 0; ticksLeft -= 1) await sleep(tickMs);
});

/** The same case, which is waited for when the file ends. */
function keptInMind<Harness>(one: Case<Harness>): Case<Harness> {
  return {
    ...one,
    run(harness) {
      const run = (async () => one.run(harness))();
      const ended = run.then(
        () => void unsettled.delete(ended),
        () => void unsettled.delete(ended),
      );
      unsettled.add(ended);
      return run;
    },
  };
}

/** How long a case may take that nothing is wrong with. */
export const saneLimitMs = 15_000;

/** The names of the cases that a harness fails: one after another, as most of them measure time. */
export function failing<Harness>(
  cases: readonly Case<Harness>[],
  harness: () => Harness,
  limitMs = 1_000,
  atOnce = 1,
): Promise<string[]> {
  return failingCases(cases.map(keptInMind), harness, { limitMs, atOnce });
}

/** The same timers, none of which keeps the process alive: for implementations that never end what they have begun. */
export function unkept(timers: Timers): Timers {
  return {
    after: (delayMs, callback) => timers.after(delayMs, callback),
    every: (periodMs, callback) => timers.every(periodMs, callback),
    soon: (callback) => timers.soon(callback),
    sleep: (delayMs, signal) =>
      new Promise((resolve, reject) => {
        const timer = timers.after(delayMs, resolve);
        const onAbort = (): void => {
          timer.cancel();
          reject(signal?.reason);
        };
        if (signal?.aborted) onAbort();
        else signal?.addEventListener('abort', onAbort, { once: true });
      }),
  };
}
