import { describe, expect, it } from '@jest/globals';

import { Deadlines, type Expiring } from '../../src/runtime/deadlines.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';

function entry(deadline: number, expired: number[] = []): Expiring {
  return { deadline, expire: () => void expired.push(deadline) };
}

describe('Deadlines', () => {
  it('keeps no entry of a far deadline that was deleted', () => {
    const { clock, timers } = virtualRuntime();
    const deadlines = new Deadlines(clock, timers);
    const dayMs = 86_400_000;
    for (let call = 0; call < 10_000; call += 1) {
      const late = entry(dayMs + call * 20);
      deadlines.add(late);
      deadlines.delete(late);
    }
    expect(deadlines.size).toBe(0);
  });

  it('expires due entries, and not a deleted one with the same deadline', async () => {
    const { clock, timers } = virtualRuntime();
    const deadlines = new Deadlines(clock, timers);
    const expired: number[] = [];
    const [one, other, later] = [entry(100, expired), entry(100, expired), entry(500, expired)];
    for (const each of [one, other, later]) deadlines.add(each);
    deadlines.delete(one);
    deadlines.delete(one);
    await timers.advance(200);
    expect(expired).toEqual([100]);
    // The set that was left empty serves the next time of expiry.
    deadlines.delete(later);
    deadlines.add(entry(700, expired));
    await timers.advance(600);
    expect(expired).toEqual([100, 700]);
    expect(deadlines.size).toBe(0);
  });
});
