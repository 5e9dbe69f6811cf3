import { setTimeout as sleep } from 'node:timers/promises';

import { afterAll } from '@jest/globals';

import type { Case } from '../../src/testing/api.ts';

const tickMs = 10;

/** Cases that have not ended. Most that were given up end soon after, by waits of their own, and are waited for when the file ends; some never do. */
const unsettled = new Set<Promise<void>>();
const longestWaitMs = 4_000;

afterAll(async () => {
  for (let ticksLeft = longestWaitMs / tickMs; unsettled.size > 0 && ticksLeft > 0; ticksLeft -= 1) await sleep(tickMs);
});

function running<Harness>(one: Case<Harness>, harness: Harness): Promise<void> {
  const run = (async () => one.run(harness))();
  const ended = run.then(
    () => void unsettled.delete(ended),
    () => void unsettled.delete(ended),
  );
  unsettled.add(ended);
  return run;
}

/** How long a case may take that nothing is wrong with. */
export const saneLimitMs = 15_000;

/**
 * The names of the cases that a harness fails. One that hangs fails: broken implementations often never answer. Ticks are counted and not
 * time: a busy machine slows them as it slows the case.
 */
export async function failing<Harness>(
  cases: readonly Case<Harness>[],
  harness: () => Harness,
  limitMs = 1_000,
): Promise<string[]> {
  const names: string[] = [];
  for (const one of cases) {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      let ticksLeft = limitMs / tickMs;
      timer = setInterval(() => {
        ticksLeft -= 1;
        if (ticksLeft <= 0) reject(new Error('it takes too long'));
      }, tickMs);
    });
    try {
      await Promise.race([running(one, harness()), late]);
    } catch {
      names.push(one.name);
    } finally {
      clearInterval(timer);
    }
  }
  return names;
}
