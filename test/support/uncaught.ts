import { afterAll, beforeAll, expect } from '@jest/globals';

import { type UncaughtErrors, watchUncaught } from '../../src/testing/failures.ts';

/** Fails the file for what nobody caught while it ran: that would end a process which is not a test's. */
export function expectNothingUncaught(): void {
  let uncaught: UncaughtErrors;
  beforeAll(() => {
    uncaught = watchUncaught();
  });
  afterAll(() => {
    uncaught.stop();
    expect(uncaught.errors).toEqual([]);
  });
}
