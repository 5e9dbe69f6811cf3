import type { Case } from '../../src/testing/api.ts';

const tickMs = 10;

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
      await Promise.race([one.run(harness()), late]);
    } catch {
      names.push(one.name);
    } finally {
      clearInterval(timer);
    }
  }
  return names;
}
