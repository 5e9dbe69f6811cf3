import { afterAll, beforeAll, expect } from '@jest/globals';

/** Fails the file for what nobody caught while it ran: that would end a process which is not a test's. */
export function expectNothingUncaught(): void {
  const uncaught: unknown[] = [];
  const onUncaught = (error: unknown): void => void uncaught.push(error);
  beforeAll(() => {
    process.on('unhandledRejection', onUncaught);
    process.on('uncaughtException', onUncaught);
  });
  afterAll(() => {
    process.off('unhandledRejection', onUncaught);
    process.off('uncaughtException', onUncaught);
    expect(uncaught).toEqual([]);
  });
}
