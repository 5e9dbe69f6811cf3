import { describe, expect, it } from '@jest/globals';

import type { WatchFeed } from '../../../src/registry/kit/driver.ts';
import type { PolledRead } from '../../../src/registry/kit/long-poll.ts';
import { PolledServices } from '../../../src/registry/kit/polled-services.ts';
import { virtualRuntime } from '../../../src/testing/virtual-time.ts';

/** A server that has services, holds reads until they change, and fails when it is told to. */
function scene({ maxPolls = 8, maxFailures = 1 } = {}) {
  const runtime = virtualRuntime();
  const { timers } = runtime;
  let services: Readonly<Record<string, string>> = {};
  let index = 1;
  let failure: Error | undefined;
  const held = new Map<string, Set<() => void>>();
  const nameOf = (service: string | undefined): string => service ?? '*';
  const made = (service: string | undefined): PolledRead => {
    const { [service ?? '']: one } = services;
    const content = service === undefined ? Object.entries(services) : one === undefined ? [] : [['n1', one] as const];
    return { index, content: new Map(content) };
  };
  const read = async (service: string | undefined, from: number, signal: AbortSignal): Promise<PolledRead> => {
    if (failure) throw failure;
    if (from < index) return made(service);
    const name = nameOf(service);
    const waiting = held.get(name) ?? new Set();
    held.set(name, waiting);
    await new Promise<void>((resolve) => {
      waiting.add(resolve);
      signal.addEventListener('abort', () => resolve());
    }).finally(() => {
      waiting.clear();
      if (held.get(name) === waiting) held.delete(name);
    });
    signal.throwIfAborted();
    if (failure) throw failure;
    return made(service);
  };
  const wake = async (): Promise<void> => {
    const all = [...held.values()].flatMap((waiting) => [...waiting]);
    for (const one of all) one();
    await timers.advance(1_000);
  };
  const put = (now: Readonly<Record<string, string>>): Promise<void> => {
    services = now;
    index += 1;
    return wake();
  };
  const fail = (error: Error | undefined): Promise<void> => {
    failure = error;
    return wake();
  };
  const polled = new PolledServices({ ...runtime, server: 'the server', minReadMs: 1, maxFailures, maxPolls, read });
  /** Watches; what it is told is kept. */
  const watch = (service?: string) => {
    const told: string[] = [];
    const ended = new AbortController();
    const feed: WatchFeed = {
      service,
      change: () => {},
      refresh: (name) => told.push(`refresh ${name}`),
      resumed: () => told.push('resumed'),
      fail: (why) => told.push(why),
    };
    return { told, started: polled.follow(feed, ended.signal), stop: () => ended.abort() };
  };
  const asked = (): string[] => [...held.keys()].sort();
  return { timers, polled, put, fail, watch, asked };
}

describe('services that are followed by long polls', () => {
  it('are read once for all watches of the same, which are told of its changes alone', async () => {
    const { put, watch, asked, timers } = scene();
    await put({ one: '1', two: '1' });
    const [a, b, c] = [watch('one'), watch('one'), watch('two')];
    await Promise.all([a.started, b.started, c.started]);
    await timers.settle();
    expect(asked()).toEqual(['one', 'two']);
    await put({ one: '2', two: '1' });
    expect([a.told, b.told, c.told]).toEqual([['refresh one'], ['refresh one'], []]);
    a.stop();
    await timers.settle();
    expect(asked()).toEqual(['one', 'two']);
    b.stop();
    c.stop();
    await timers.settle();
    expect(asked()).toEqual([]);
    expect(timers.pending).toBe(0);
  });

  it('are those of which a watch of all hears, as long as there is room for them', async () => {
    const { put, watch, asked, polled, timers } = scene({ maxPolls: 3 });
    await put({ one: '1' });
    const all = watch();
    await all.started;
    await timers.settle();
    expect(asked()).toEqual(['*', 'one']);
    await put({ one: '1', two: '1', three: '1' });
    expect(asked()).toHaveLength(3);
    expect(polled.size).toBe(3);
    // One without a poll of its own is told by the names.
    expect(all.told.sort()).toEqual(['refresh three', 'refresh two']);
    await put({ three: '1' });
    expect(asked()).toContain('*');
    expect(asked()).not.toContain('one');
    await put({ three: '1', four: '1' });
    expect(asked()).toEqual(expect.arrayContaining(['*', 'four']));
    all.stop();
    await timers.settle();
    expect(polled.size).toBe(0);
    expect(timers.pending).toBe(0);
  });

  it('stay followed for a watch of their own when they are gone, and when the watch of all ends', async () => {
    const { put, watch, asked, timers } = scene();
    await put({ one: '1', two: '1' });
    const [all, own] = [watch(), watch('one')];
    await Promise.all([all.started, own.started]);
    await put({ two: '1' });
    expect(asked()).toEqual(['*', 'one', 'two']);
    all.stop();
    await timers.settle();
    expect(asked()).toEqual(['one']);
    own.told.length = 0;
    await put({ one: '2' });
    expect(new Set(own.told)).toEqual(new Set(['refresh one']));
    own.stop();
  });

  it('are not followed for a watch that ended while it began', async () => {
    const { put, watch, asked, polled, timers } = scene();
    await put({ one: '1', two: '1' });
    const [all, own] = [watch(), watch('one')];
    all.stop();
    own.stop();
    await Promise.allSettled([all.started, own.started]);
    await timers.advance(10_000);
    expect(asked()).toEqual([]);
    expect(polled.size).toBe(0);
    expect(timers.pending).toBe(0);
  });

  it('end the watches that follow them when a read fails, and may be followed anew', async () => {
    const { put, fail, watch, polled } = scene();
    await put({ one: '1', two: '1' });
    const [all, own] = [watch(), watch('one')];
    await Promise.all([all.started, own.started]);
    await fail(new Error('away'));
    expect(own.told).toEqual(['the server was lost: away']);
    expect(new Set(all.told)).toEqual(new Set(['the server was lost: away']));
    expect(polled.size).toBe(0);
    await expect(watch('one').started).rejects.toThrow('away');
    expect(polled.size).toBe(0);
  });

  it('tell their watches that they go on after failures, before what has changed meanwhile', async () => {
    const { put, fail, watch, timers } = scene({ maxFailures: 10_000 });
    await put({ one: '1', two: '1' });
    const own = watch('one');
    await own.started;
    await fail(new Error('away'));
    expect(own.told).toEqual([]);
    void fail(undefined);
    await put({ one: '2', two: '1' });
    await timers.settle();
    expect(own.told).toEqual(['resumed', 'refresh one']);
    own.stop();
  });

  it('are no longer read when it is closed', async () => {
    const { put, watch, polled, asked, timers } = scene();
    await put({ one: '1' });
    const all = watch();
    await all.started;
    polled.close();
    await timers.advance(10_000);
    expect(asked()).toEqual([]);
    expect(timers.pending).toBe(0);
    all.stop();
  });
});
