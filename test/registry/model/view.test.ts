import { describe, it } from '@jest/globals';
import fc from 'fast-check';

import { kinds, runSteps, steps } from './view-model.ts';

/** `TENON_TEST_SEED` repeats a run that failed: its message has the seed. */
const seed = process.env['TENON_TEST_SEED'];

describe.each(kinds)('the view of a registry whose server %s', (_name, kind) => {
  it('is what is so, after any sequence of changes and faults, and its events are true', async () => {
    await fc.assert(
      fc.asyncProperty(steps, (all) => runSteps(kind, all)),
      { numRuns: 20, ...(seed !== undefined && { seed: Number(seed) }) },
    );
  });
});
