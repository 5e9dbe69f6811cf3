import { expect, test } from '@jest/globals';

import { AckBatch } from '../../../src/broker/kit/ack-batch.ts';
import { virtualRuntime } from '../support.ts';

function stage(isRefusal: boolean) {
  const runtime = virtualRuntime();
  const sentAtMs: number[] = [];
  const refusals: boolean[] = [];
  const state = { fails: true };
  const acks = new AckBatch<string>({
    runtime,
    send: () => {
      sentAtMs.push(runtime.timers.nowMs);
      return state.fails ? Promise.reject(new Error('no')) : Promise.resolve();
    },
    isRefusal: () => isRefusal,
    onRefusal: (_error, _events, isLast) => void refusals.push(isLast),
  });
  return { timers: runtime.timers, acks, sentAtMs, refusals, state };
}

test('AckBatch sends a refused acknowledgement five times, each time after twice the delay', async () => {
  const { timers, acks, sentAtMs, refusals } = stage(true);
  const refused = expect(acks.add('1-0')).rejects.toThrow('no');
  await timers.advance(60_000);
  await refused;
  expect(sentAtMs).toEqual([0, 20, 60, 140, 300]);
  expect(refusals).toEqual([false, false, false, false, true]);
  expect(acks.events.includes('1-0')).toBe(false);
});

test('AckBatch keeps sending while the broker is away, at most once a second', async () => {
  const { timers, acks, sentAtMs, refusals, state } = stage(false);
  const done = acks.add('1-0');
  await timers.advance(10_000);
  expect(sentAtMs.slice(0, 9)).toEqual([0, 20, 60, 140, 300, 620, 1_260, 2_260, 3_260]);
  expect(acks.events.includes('1-0')).toBe(true);
  state.fails = false;
  await timers.advance(1_000);
  await done;
  expect([acks.events.includes('1-0'), refusals]).toEqual([false, []]);
});
