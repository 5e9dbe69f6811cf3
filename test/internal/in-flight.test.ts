import { getEventListeners } from 'node:events';

import { describe, expect, it } from '@jest/globals';

import { InFlight } from '../../src/internal/in-flight.ts';

const reason = new Error('enough');

describe('InFlight', () => {
  it('wakes all waiters when the last call leaves', async () => {
    const inFlight = new InFlight();
    inFlight.enter();
    inFlight.enter();
    const woken: number[] = [];
    const waiting = [1, 2].map((one) => inFlight.idle().then(() => woken.push(one)));
    inFlight.leave();
    await Promise.resolve();
    expect([inFlight.count, woken]).toEqual([1, []]);
    inFlight.leave();
    await Promise.all(waiting);
    expect(woken).toEqual([1, 2]);
  });

  it('is idle at once when nothing is in flight, even with a signal that has aborted', async () => {
    await new InFlight().idle(AbortSignal.abort(reason));
  });

  it('rejects with the reason of a signal that aborts first, and leaves other waiters alone', async () => {
    const inFlight = new InFlight();
    inFlight.enter();
    const controller = new AbortController();
    const aborted = inFlight.idle(controller.signal);
    const patient = inFlight.idle();
    controller.abort(reason);
    await expect(aborted).rejects.toBe(reason);
    await expect(inFlight.idle(controller.signal)).rejects.toBe(reason);
    inFlight.leave();
    await patient;
  });

  it('leaves no listener on a signal that outlives the wait', async () => {
    const inFlight = new InFlight();
    const { signal } = new AbortController();
    inFlight.enter();
    const idle = inFlight.idle(signal);
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    inFlight.leave();
    await idle;
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('counts again after it was idle', async () => {
    const inFlight = new InFlight();
    for (let round = 0; round < 3; round += 1) {
      inFlight.enter();
      const idle = inFlight.idle();
      inFlight.leave();
      await idle;
    }
    expect(inFlight.count).toBe(0);
  });
});
