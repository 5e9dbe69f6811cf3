import type { Case } from '../../src/testing/api.ts';

/** The names of the cases that a harness fails. One that hangs fails: broken implementations often never answer. */
export async function failing<Harness>(
  cases: readonly Case<Harness>[],
  harness: () => Harness,
  limitMs = 1_000,
): Promise<string[]> {
  const names: string[] = [];
  for (const one of cases) {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error('it takes too long')), limitMs);
    });
    try {
      await Promise.race([one.run(harness()), late]);
    } catch {
      names.push(one.name);
    } finally {
      clearTimeout(timer);
    }
  }
  return names;
}
