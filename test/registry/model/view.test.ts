import { describe, it } from '@jest/globals';
import fc from 'fast-check';

import { kinds, runSteps, type Step, steps } from './view-model.ts';

/** `TENON_TEST_SEED` repeats a run that failed: its message has the seed. */
const seed = process.env['TENON_TEST_SEED'];

/** A server that is gone for long before its watches notice, a second time. */
const lateBreak = [
  { do: 'away', ms: 21_000, how: 'broken' },
  { do: 'register', node: 0, version: 0, round: 0 },
  { do: 'wait', ms: 7_826 },
  { do: 'away', ms: 22_234, how: 'bridged' },
] satisfies readonly Step[];

describe.each(kinds)('the view of a registry whose server %s', (_name, kind) => {
  it('has nodes that live after an outage that was noticed late', () => runSteps(kind, lateBreak));

  it('is what is so, after any sequence of changes and faults, and its events are true', async () => {
    await fc.assert(
      fc.asyncProperty(steps, (all) => runSteps(kind, all)),
      { numRuns: 20, ...(seed !== undefined && { seed: Number(seed) }) },
    );
  });
});
