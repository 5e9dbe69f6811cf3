import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import { PartitionWindow } from '../../src/kafka/partition-window.ts';

const record = (offset: number) => ({ offset, key: null, value: Buffer.from(String(offset)), headers: [] });
const fetched = (...offsets: number[]) => {
  return { partition: 0, records: offsets.map(record), next: (offsets.at(-1) ?? -1) + 1 };
};
function windowOf(...offsets: number[]): PartitionWindow {
  const window = new PartitionWindow(0, offsets[0] ?? 0);
  window.add(fetched(...offsets));
  return window;
}
function begin(window: PartitionWindow, count = 1, now = 0): [offset: number, attempt: number][] {
  return Array.from({ length: count }).flatMap(() => {
    const ready = window.ready(now, true);
    return ready ? [[ready.record.offset, window.begin(ready.record.offset)] as [number, number]] : [];
  });
}
/** The window of the partition's next owner. */
function successor(window: PartitionWindow, ...offsets: number[]): PartitionWindow {
  const next = new PartitionWindow(0, 0, window.committable);
  next.add(fetched(...offsets));
  return next;
}

describe('PartitionWindow', () => {
  test('commits up to the first event that is not settled, in whatever order the others are', () => {
    const window = windowOf(10, 11, 12, 13);
    begin(window, 4);
    expect(window.committable.offset).toBe(10);
    window.settle(12);
    window.settle(11);
    expect(window.committable.offset).toBe(10);
    window.settle(10);
    expect(window.committable.offset).toBe(13);
    window.settle(13);
    expect(window.committable).toEqual({ offset: 14, metadata: '' });
  });

  test('skips offsets without a record', () => {
    const window = windowOf(3, 7, 20);
    begin(window, 3);
    window.settle(7);
    window.settle(3);
    expect(window.committable.offset).toBe(20);
  });

  test('tells the next owner which events were begun, how often, and which are settled', () => {
    const window = windowOf(0, 1, 2, 3);
    begin(window, 3);
    window.settle(1);
    window.again(2, 0);
    const next = successor(window, 0, 1, 2, 3);
    expect(begin(next, 4)).toEqual([
      [0, 2],
      [2, 2],
      [3, 1],
    ]);
  });

  test('keeps what is known of records that it has not read yet', () => {
    const window = windowOf(0, 1, 2);
    begin(window, 3);
    window.settle(2);
    const next = successor(window, 0);
    expect(begin(next)).toEqual([[0, 2]]);
    const third = successor(next, 0, 1, 2);
    expect(begin(third, 3)).toEqual([
      [0, 3],
      [1, 2],
    ]);
  });

  test('an event that was in hand at two ends of its owner is begun alone, and stands alone', () => {
    let window = windowOf(0, 1, 2);
    begin(window, 2);
    window = successor(window, 0, 1, 2);
    expect(window.ready(0, true)).toMatchObject({ isSuspect: false });
    begin(window, 2);
    window = successor(window, 0, 1, 2);
    expect(window.ready(0, true)).toMatchObject({ record: { offset: 0 }, isSuspect: true });
    window.begin(0);
    expect(window.runsAlone).toBe(true);
    window.settle(0);
    expect(window.runsAlone).toBe(false);
    // The one beside it was in hand at the same ends. What was not is no suspect.
    expect(window.ready(0, true)).toMatchObject({ record: { offset: 1 }, isSuspect: true });
    window.begin(1);
    window.settle(1);
    expect(window.ready(0, true)).toMatchObject({ record: { offset: 2 }, isSuspect: false });
  });

  test('an event that was returned, and is handed over, is no suspect', () => {
    let window = windowOf(0);
    for (let attempt = 1; attempt < 4; attempt += 1) {
      expect(begin(window)).toEqual([[0, attempt]]);
      window.again(0, 0);
      window = successor(window, 0);
      expect(window.ready(0, true)).toMatchObject({ isSuspect: false });
    }
  });

  test('delivers an event again when it is due, and others meanwhile', () => {
    const window = windowOf(0, 1);
    begin(window);
    window.again(0, 500);
    expect([window.waiting, window.nextDueMs]).toEqual([1, 500]);
    expect(begin(window, 2, 499)).toEqual([[1, 1]]);
    expect(begin(window, 2, 500)).toEqual([[0, 2]]);
    expect(window.nextDueMs).toBe(Number.POSITIVE_INFINITY);
  });

  test('begins nothing new where only what waits may be begun', () => {
    const window = windowOf(0, 1);
    begin(window);
    window.again(0, 0);
    expect(window.ready(0, false)).toMatchObject({ record: { offset: 0 }, isFresh: false });
    window.begin(0);
    expect(window.ready(0, false)).toBeUndefined();
  });

  test('counts the bytes of what was read and not begun, and of nothing else', () => {
    const window = new PartitionWindow(0, 0, { offset: 0, metadata: 'tenon1:4' });
    const headers = [['name', Buffer.from('value')]] as const;
    const records = [0, 1, 2].map((offset) => ({ offset, key: null, value: Buffer.alloc(100), headers }));
    window.add({ partition: 0, records, next: 3 });
    // The first one was begun by the last owner.
    expect(window.unreadBytes).toBe(218);
    begin(window, 2);
    expect(window.unreadBytes).toBe(109);
    window.again(1, 0);
    window.settle(0);
    window.begin(1);
    window.settle(1);
    expect([window.unread, window.unreadBytes]).toEqual([1, 109]);
    begin(window);
    expect([window.unread, window.unreadBytes]).toEqual([0, 0]);
  });

  test('of what its last owner has settled only the places are kept, and none counts as read ahead', () => {
    const last = windowOf(0, 1, 2);
    begin(last, 3);
    last.again(0, 0);
    last.settle(1);
    last.settle(2);
    const next = successor(last, 0, 1, 2, 3);
    expect([next.unread, next.unreadBytes]).toEqual([1, 1]);
    const begun = next.ready(0, false);
    next.begin(0);
    next.settle(0);
    expect(begun?.record.offset).toBe(0);
    expect(next.committable.offset).toBe(3);
  });

  test('an event that was not begun after all has no attempt more', () => {
    const window = windowOf(0);
    begin(window);
    window.cancel(0);
    expect(begin(window)).toEqual([[0, 1]]);
  });

  test('begins no event that is too far behind one that is not settled, until that is', () => {
    const offsets = Array.from({ length: 2_100 }, (_, offset) => offset);
    const window = windowOf(...offsets);
    expect(begin(window, 2_100)).toHaveLength(2_000);
    for (const offset of offsets.slice(1, 2_000)) window.settle(offset);
    expect(window.ready(0, true)).toBeUndefined();
    expect(window.committable.metadata.length).toBeLessThan(4_096);
    window.settle(0);
    expect(window.ready(0, true)).toMatchObject({ record: { offset: 2_000 } });
    expect(window.committable.offset).toBe(2_000);
  });

  test('what is settled after it was lost, or twice, counts for nothing', () => {
    const window = windowOf(0, 1);
    begin(window, 2);
    window.settle(0);
    window.settle(0);
    window.again(0, 0);
    expect([window.running, window.committable.offset]).toEqual([1, 1]);
    window.lose();
    expect([window.isLost, window.running]).toEqual([true, 0]);
  });

  test.each(['of another program', '1700000000', '1999-12-31'])(
    'takes metadata of other programs for none: %s',
    (text) => {
      const window = new PartitionWindow(0, 0, { offset: 5, metadata: text });
      window.add(fetched(5, 6));
      expect(begin(window, 2)).toEqual([
        [5, 1],
        [6, 1],
      ]);
    },
  );

  test('loses nothing and counts right, whatever happens to its owners', () => {
    const step = fc.oneof(
      fc.record({ does: fc.constant('begin' as const) }),
      fc.record({ does: fc.constantFrom('settle' as const, 'again' as const), which: fc.nat(9) }),
      fc.record({ does: fc.constant('dies' as const) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const offsets = Array.from({ length: 10 }, (_, offset) => offset);
        let window = windowOf(...offsets);
        const [attempts, settled] = [new Map<number, number>(), new Set<number>()];
        let inHand: number[] = [];
        for (const one of steps) {
          if (one.does === 'begin') {
            for (const [offset, attempt] of begin(window)) {
              expect(settled.has(offset)).toBe(false);
              expect(attempt).toBe((attempts.get(offset) ?? 0) + 1);
              attempts.set(offset, attempt);
              inHand.push(offset);
            }
          } else if (one.does === 'dies') {
            window = successor(window, ...offsets);
            inHand = [];
          } else {
            const offset = inHand[one.which % Math.max(1, inHand.length)];
            if (offset === undefined) continue;
            inHand = inHand.filter((other) => other !== offset);
            if (one.does === 'settle') window.settle(offset);
            else window.again(offset, 0);
            if (one.does === 'settle') settled.add(offset);
          }
          const first = offsets.find((offset) => !settled.has(offset)) ?? offsets.length;
          expect(window.committable.offset).toBe(first);
        }
      }),
    );
  });
});
