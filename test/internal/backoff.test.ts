import { describe, expect, it } from '@jest/globals';

import { Backoff, backoffMs, type BackoffSchedule } from '../../src/internal/backoff.ts';

const waits = (schedule: BackoffSchedule, chance: number, count = 6): number[] =>
  Array.from({ length: count }, (_, at) => backoffMs(at + 1, () => chance, schedule));

describe('backoffMs', () => {
  it('grows by its factor up to maxMs', () => {
    expect(waits({ initialMs: 100, maxMs: 1_000, factor: 2 }, 0.5)).toEqual([100, 200, 400, 800, 1_000, 1_000]);
  });

  it('subtracts or adds up to its jitter', () => {
    expect(waits({ initialMs: 100, jitter: 0.2 }, 0, 1)).toEqual([80]);
    expect(waits({ initialMs: 100, jitter: 0.2 }, 1, 1)).toEqual([120]);
    expect(waits({ initialMs: 100, jitter: 0 }, 1, 1)).toEqual([100]);
  });

  it('draws from zero to its bound with full jitter, and never less than minMs', () => {
    const schedule = { initialMs: 1_000, maxMs: 30_000, factor: 2, jitter: 'full', minMs: 100 } as const;
    expect(waits(schedule, 0.25)).toEqual([250, 500, 1_000, 2_000, 4_000, 7_500]);
    expect(waits(schedule, 0, 2)).toEqual([100, 100]);
    expect(waits({ ...schedule, maxMs: 50 }, 0, 1)).toEqual([50]);
  });

  it('has defaults for options that are absent', () => {
    expect(waits({ initialMs: undefined }, 0.5, 8)).toEqual([100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000]);
  });
});

describe('Backoff', () => {
  it('waits longer after each failure in a row, and starts over after a success', () => {
    const backoff = new Backoff({ next: () => 0.5 }, { initialMs: 10 });
    expect([backoff.failed(), backoff.failed(), backoff.failed()]).toEqual([10, 20, 40]);
    expect(backoff.failures).toBe(3);
    backoff.succeeded();
    expect([backoff.failures, backoff.failed()]).toEqual([0, 10]);
  });
});
