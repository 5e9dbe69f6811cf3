import { afterEach, expect, it, jest } from '@jest/globals';

import { systemTimers } from '../../src/runtime/system.ts';
import { eventually } from '../../src/testing/testing.ts';

/** The time that Jest, Vitest and others give a test by themselves. */
const usualTestTimeoutMs = 5_000;

afterEach(() => {
  jest.restoreAllMocks();
});

it('eventually() names what it waited for before the usual time-out of a test is over', async () => {
  let sleptMs = 0;
  jest.spyOn(systemTimers, 'sleep').mockImplementation((delayMs) => {
    sleptMs += delayMs;
    return Promise.resolve();
  });
  await expect(eventually('the moon turns green', () => false)).rejects.toThrow('the moon turns green: not within');
  expect(sleptMs).toBeLessThan(usualTestTimeoutMs);
});

it('eventually() waits as long as it is told', async () => {
  jest.spyOn(systemTimers, 'sleep').mockResolvedValue();
  let looks = 0;
  await eventually('many looks', () => (looks += 1) === 4_000, 60_000);
  expect(looks).toBe(4_000);
});
