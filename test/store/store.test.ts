import { afterEach, describe, expect, test } from '@jest/globals';

import { Code } from '../../src/errors/errors.ts';
import { silentLogger } from '../../src/logger/logger.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import { RedisStore } from '../../src/store/redis.ts';
import type { Store } from '../../src/store/store.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';
import { describeWithRedis } from '../support/servers.ts';
import { eventually } from '../support/waiting.ts';

const stores: Store[] = [];
afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.close()));
});

function kept<S extends Store>(store: S): S {
  stores.push(store);
  return store;
}

/** The promises of every store. */
function behaves(make: () => Store): void {
  const long = 60_000;

  test('sets a value only if the key has the expected one', async () => {
    const store = kept(make());
    const key = systemRuntime.random.uuid();
    expect(await store.compareAndSet(key, 'other', 'a', long)).toEqual({ isSet: false, value: undefined });
    expect(await store.compareAndSet(key, undefined, 'a', long)).toEqual({ isSet: true, value: 'a' });
    expect(await store.compareAndSet(key, undefined, 'b', long)).toEqual({ isSet: false, value: 'a' });
    expect(await store.compareAndSet(key, 'a', '', long)).toEqual({ isSet: true, value: '' });
    expect(await store.compareAndSet(key, undefined, 'b', long)).toEqual({ isSet: false, value: '' });
    expect(await store.compareAndSet(key, '', undefined, long)).toEqual({ isSet: true, value: undefined });
    expect(await store.compareAndSet(key, undefined, 'c', long)).toEqual({ isSet: true, value: 'c' });
    await store.delete(key);
    expect(await store.compareAndSet(key, undefined, 'größer 🦊', long)).toMatchObject({ isSet: true });
    expect(await store.compareAndSet(key, 'x', 'y', long)).toEqual({ isSet: false, value: 'größer 🦊' });
  });

  test('lets one of many callers win', async () => {
    const store = kept(make());
    const key = systemRuntime.random.uuid();
    const tries = Array.from({ length: 20 }, (_, one) => store.compareAndSet(key, undefined, String(one), long));
    const won = (await Promise.all(tries)).filter(({ isSet }) => isSet);
    expect(won).toHaveLength(1);
  });

  test('counts', async () => {
    const store = kept(make());
    const key = systemRuntime.random.uuid();
    const sums = await Promise.all(Array.from({ length: 20 }, () => store.increment(key, long)));
    expect(sums.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, one) => one + 1));
    await store.delete(key);
    await store.delete(key);
    expect(await store.increment(key, long)).toBe(1);
  });

  test('refuses calls after close, which may be repeated', async () => {
    const store = make();
    await store.increment(systemRuntime.random.uuid(), long);
    await store.close();
    await store.close();
    const closed = { code: Code.FailedPrecondition, reason: 'store.closed' };
    await expect(store.compareAndSet('k', undefined, 'a', long)).rejects.toMatchObject(closed);
    await expect(store.increment('k', long)).rejects.toMatchObject(closed);
    await expect(store.delete('k')).rejects.toMatchObject(closed);
  });
}

describe('the store in memory', () => {
  behaves(() => new MemoryStore());

  test('forgets values after their time', async () => {
    const { clock, timers } = virtualRuntime();
    const store = new MemoryStore({}, clock);
    await store.compareAndSet('k', undefined, 'a', 100);
    await store.increment('n', 100);
    await timers.advance(99);
    expect(await store.increment('n', 100)).toBe(2);
    expect((await store.compareAndSet('k', undefined, 'b', 100)).isSet).toBe(false);
    await timers.advance(1);
    expect((await store.compareAndSet('k', undefined, 'b', 100)).isSet).toBe(true);
    await timers.advance(98);
    expect(await store.increment('n', 100)).toBe(3);
    await timers.advance(100);
    expect(await store.increment('n', 100)).toBe(1);
  });

  test('keeps maxKeys keys, and drops those that were written first', async () => {
    const store = new MemoryStore({ maxKeys: 2 });
    for (const key of ['a', 'b']) await store.increment(key, 1_000);
    await store.increment('a', 1_000);
    await store.increment('c', 1_000);
    expect(await store.increment('a', 1_000)).toBe(3);
    expect(await store.increment('b', 1_000)).toBe(1);
  });
});

describeWithRedis('the store in Redis', (redis) => {
  behaves(() => new RedisStore({ address: redis.address }));

  test('forgets values after their time', async () => {
    const store = kept(new RedisStore({ address: redis.address }));
    const key = systemRuntime.random.uuid();
    await store.compareAndSet(key, undefined, 'a', 50);
    await eventually('the end of the value', async () => (await store.compareAndSet(key, undefined, 'b', 50)).isSet);
  });

  test('begins its keys with keyPrefix', async () => {
    const one = kept(new RedisStore({ address: redis.address, keyPrefix: 'one:' }));
    const two = kept(new RedisStore({ address: redis.address, keyPrefix: 'two:' }));
    const key = systemRuntime.random.uuid();
    expect([await one.increment(key, 1_000), await two.increment(key, 1_000)]).toEqual([1, 1]);
  });

  test('takes credentials', async () => {
    const credentials = { username: 'nobody', password: 'very-secret' };
    const store = kept(new RedisStore({ address: redis.address, credentials }));
    await expect(store.increment('k', 1_000)).rejects.toMatchObject({
      code: Code.Unauthenticated,
      reason: 'store.refused',
      message: expect.not.stringContaining('very-secret'),
    });
  });
});

describe('a store in a Redis that is away', () => {
  test('rejects at once, naming the address, and works when the Redis is there', async () => {
    const { clock, random, timers } = systemRuntime;
    const store = kept(new RedisStore({ address: '127.0.0.1:1' }, clock, random, timers, silentLogger));
    for (let tried = 0; tried < 2; tried += 1)
      await expect(store.increment('k', 1_000)).rejects.toMatchObject({
        code: Code.Unavailable,
        reason: 'store.unreachable',
        message: expect.stringContaining('127.0.0.1:1'),
      });
  });

  test('refuses an address that is none', () => {
    expect(() => new RedisStore({ address: 'http://x' })).toThrow(/"http:\/\/x" is no address of the store "redis"/);
  });
});
