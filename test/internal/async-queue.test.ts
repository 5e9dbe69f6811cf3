import { describe, expect, it } from '@jest/globals';

import { AsyncQueue } from '../../src/internal/async-queue.ts';
import { over } from '../../src/internal/iterators.ts';

const yielded = (value: unknown): IteratorResult<unknown, undefined> => ({ done: false, value });
const error = new Error('it broke');

async function rest<T>(queue: AsyncQueue<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const value of queue) all.push(value);
  return all;
}

describe('AsyncQueue', () => {
  it('serves many pending next() in order, and ends those left without a value', async () => {
    const queue = new AsyncQueue<number>();
    const pending = [queue.next(), queue.next(), queue.next()];
    expect(queue.demand).toBe(3);
    queue.push(1);
    queue.push(2);
    expect(queue.demand).toBe(1);
    queue.end();
    expect(await Promise.all(pending)).toEqual([yielded(1), yielded(2), over]);
    expect(queue.push(3)).toBe(false);
  });

  it('delivers what was pushed before the error, then the error once', async () => {
    const queue = new AsyncQueue<number>();
    queue.push(1);
    queue.fail(error);
    queue.fail(new Error('too late'));
    expect(await queue.next()).toEqual(yielded(1));
    await expect(queue.next()).rejects.toBe(error);
    expect(await queue.next()).toEqual(over);
  });

  it('rejects one of many pending next() with the error', async () => {
    const queue = new AsyncQueue<number>();
    const pending = Promise.allSettled([queue.next(), queue.next()]);
    queue.fail(error);
    expect(await pending).toEqual([
      { status: 'rejected', reason: error },
      { status: 'fulfilled', value: over },
    ]);
  });

  it('discards queued values and ends pending reads on return()', async () => {
    const queue = new AsyncQueue<number>();
    queue.push(1);
    await queue.return();
    expect(await queue.next()).toEqual(over);
    const waiting = new AsyncQueue<number>();
    const pending = waiting.next();
    await waiting.return();
    expect(await pending).toEqual(over);
  });

  it('drops the oldest value on overflow with drop-oldest, never one that a reader waits for', async () => {
    const queue = new AsyncQueue<number>({ limit: 2, overflow: 'drop-oldest' });
    const pending = queue.next();
    for (let value = 1; value <= 100; value += 1) expect(queue.push(value)).toBe(true);
    expect(queue.size).toBe(2);
    queue.end();
    expect([await pending, ...(await rest(queue))]).toEqual([yielded(1), 99, 100]);
  });

  it('fails on overflow with the error of the function, after the values that were queued in time', async () => {
    const queue = new AsyncQueue<number>({ limit: 2, overflow: () => error });
    expect([queue.push(1), queue.push(2), queue.push(3)]).toEqual([true, true, false]);
    expect(queue.isEnded).toBe(true);
    expect([await queue.next(), await queue.next()]).toEqual([yielded(1), yielded(2)]);
    await expect(queue.next()).rejects.toBe(error);
  });

  it('lets a writer wait for room', async () => {
    const queue = new AsyncQueue<number>({ limit: 1 });
    queue.push(1);
    expect(queue.hasRoom).toBe(false);
    const room = queue.room();
    await queue.next();
    await room;
    queue.push(2);
    const ended = queue.room();
    queue.end();
    await ended;
  });

  it('calls onEnd once, in whichever way it ends', async () => {
    const ways: ((queue: AsyncQueue<number>, controller: AbortController) => unknown)[] = [
      (queue) => queue.end(),
      (queue) => queue.fail(error),
      (queue) => queue.return(),
      (_, controller) => controller.abort(),
      (queue) => [queue.push(1), queue.push(2)],
    ];
    for (const end of ways) {
      let told = 0;
      const controller = new AbortController();
      const queue = new AsyncQueue<number>({
        limit: 1,
        overflow: () => error,
        signal: controller.signal,
        onEnd: () => (told += 1),
      });
      end(queue, controller);
      for (const again of ways) again(queue, controller);
      await queue.next().catch(() => {});
      expect(told).toBe(1);
    }
  });

  it('ends as on return() when its signal aborts, and takes nothing if the signal has aborted', async () => {
    const controller = new AbortController();
    const queue = new AsyncQueue<number>({ signal: controller.signal });
    queue.push(1);
    controller.abort();
    expect(await queue.next()).toEqual(over);
    const ended = new AsyncQueue<number>({ signal: controller.signal });
    expect([ended.push(1), ended.isEnded]).toEqual([false, true]);
  });

  it('keeps the order of more values than its buffer holds', async () => {
    const queue = new AsyncQueue<number>();
    const read: unknown[] = [];
    for (let value = 0; value < 200; value += 1) {
      queue.push(value);
      if (value % 3 !== 0) read.push((await queue.next()).value);
    }
    queue.end();
    expect([...read, ...(await rest(queue))]).toEqual(Array.from({ length: 200 }, (_, value) => value));
  });
});
