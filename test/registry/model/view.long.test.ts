import { describe, it } from '@jest/globals';
import fc from 'fast-check';

import { kinds, runSteps, steps } from './view-model.ts';

describe.each(kinds)('the view of a registry whose server %s, many times', (_name, kind) => {
  it('is what is so, after any sequence of changes and faults, and its events are true', async () => {
    await fc.assert(
      fc.asyncProperty(steps, (all) => runSteps(kind, all)),
      { numRuns: 300 },
    );
  }, 600_000);
});
