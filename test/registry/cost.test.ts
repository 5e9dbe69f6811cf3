import { describe, expect, it } from '@jest/globals';

import { AsyncQueue } from '../../src/internal/async-queue.ts';
import { CachedRegistry } from '../../src/registry/cache.ts';
import type { Change, Snapshot } from '../../src/registry/kit/driver.ts';
import { RegistryWatch } from '../../src/registry/kit/registry-watch.ts';
import { WatchFeeds } from '../../src/registry/kit/watch-feeds.ts';
import type { Registry, RegistryEvent, ServiceRecord } from '../../src/registry/registry.ts';
import { WatchRecorder } from '../../src/testing/recorders.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';
import { serviceOf } from './support.ts';

const arrayMethods = [
  'concat',
  'every',
  'filter',
  'find',
  'flatMap',
  'forEach',
  'includes',
  'indexOf',
  'map',
  'reduce',
  'slice',
  'some',
  'sort',
  'toSorted',
] as const;

type Method = (this: unknown, ...args: unknown[]) => unknown;

/** Counts the elements of lists, maps and sets that `work` goes through, and the characters of JSON that it makes. */
async function stepsOf(work: () => Promise<void>): Promise<number> {
  let steps = 0;
  const undo: (() => void)[] = [];
  const patch = (owner: object, name: PropertyKey, wrap: (original: Method) => Method): void => {
    const original = Object.getOwnPropertyDescriptor(owner, name) as PropertyDescriptor;
    Object.defineProperty(owner, name, { ...original, value: wrap(original.value as Method) });
    undo.push(() => Object.defineProperty(owner, name, original));
  };
  const counted = (original: Method): Method =>
    function (this: unknown, ...args) {
      const iterator = original.apply(this, args) as Iterator<unknown>;
      const next = iterator.next.bind(iterator);
      return Object.assign(iterator, {
        next: () => {
          steps += 1;
          return next();
        },
      });
    };
  const ofLength = (original: Method): Method =>
    function (this: unknown, ...args) {
      steps += (this as unknown[]).length;
      return original.apply(this, args);
    };
  for (const owner of [Map.prototype, Set.prototype])
    for (const name of ['values', 'keys', 'entries', Symbol.iterator]) patch(owner, name, counted);
  patch(Array.prototype, Symbol.iterator, counted);
  for (const name of arrayMethods) patch(Array.prototype, name, ofLength);
  patch(JSON, 'stringify', (original) => (...args) => {
    const text = original.apply(JSON, args) as string | undefined;
    steps += text?.length ?? 0;
    return text;
  });
  try {
    await work();
  } finally {
    for (const one of undo.reverse()) one();
  }
  return steps;
}

interface Cost {
  readonly steps: number;
  readonly reads: number;
}

function idsOfSize(size: number): string[] {
  return Array.from({ length: size }, (_, at) => `n${String(at).padStart(5, '0')}`);
}

function oneNode(id: string, service = 'greeter'): ServiceRecord {
  return serviceOf(service, [id]);
}

/** Ten changes of a watch of one service with so many nodes. */
async function costOfWatch(size: number): Promise<Cost> {
  const runtime = virtualRuntime();
  let reads = 0;
  const read = async (): Promise<Snapshot> => {
    reads += 1;
    return { nodes: idsOfSize(size).map((id) => ({ service: oneNode(id), leaseMs: 60_000 })) };
  };
  const tools = { ...runtime, server: 'the server', minReadMs: 100, maxReadMs: 30_000, read };
  const watch = new RegistryWatch({ service: 'greeter' }, tools, () => {});
  const seen = new WatchRecorder(watch.watcher);
  await watch.start();
  const readsBefore = reads;
  const change = (action: Change['action'], id: string): void =>
    watch.change({ action, service: oneNode(id), leaseMs: 60_000 });
  const steps = await stepsOf(async () => {
    for (let at = 0; at < 5; at += 1) {
      change('create', `new0${at}`);
      change('delete', `n0000${at}`);
    }
  });
  await runtime.timers.settle();
  expect(seen.events).toHaveLength(10);
  watch.watcher.stop();
  return { steps, reads: reads - readsBefore };
}

/** Ten changes of a watch of so many services, of which a driver with a list of names tells. */
async function costOfWatchOfAll(size: number): Promise<Cost> {
  const runtime = virtualRuntime();
  let reads = 0;
  const read = async (name = ''): Promise<Snapshot> => {
    reads += 1;
    return { nodes: [{ service: oneNode('n1', name) }] };
  };
  const names = async (): Promise<string[]> => idsOfSize(size);
  const tools = { ...runtime, server: 'the server', minReadMs: 100, maxReadMs: 30_000, read, names };
  const watch = new RegistryWatch({}, tools, () => {});
  const seen = new WatchRecorder(watch.watcher);
  await watch.start();
  const readsBefore = reads;
  const steps = await stepsOf(async () => {
    for (let at = 0; at < 10; at += 1) watch.change({ action: 'create', service: oneNode('n2', `n0000${at}`) });
  });
  await runtime.timers.settle();
  expect(seen.events).toHaveLength(10);
  watch.watcher.stop();
  return { steps, reads: reads - readsBefore };
}

/** Ten changes of one service, where so many services are watched. */
async function costOfFeeds(size: number): Promise<Cost> {
  const feeds = new WatchFeeds();
  let changes = 0;
  const none = (): void => {};
  for (const service of idsOfSize(size)) {
    const change = (): void => void (changes += 1);
    feeds.join({ service, change, refresh: none, resumed: none, fail: none }, new AbortController().signal);
  }
  const steps = await stepsOf(async () => {
    for (let at = 0; at < 10; at += 1)
      feeds.change({ action: 'update', service: oneNode('n1', `n0000${at}`) }, 'service');
  });
  expect(changes).toBe(10);
  return { steps, reads: 0 };
}

/** Ten changes of a cached service with so many nodes, before somebody asks for it. */
async function costOfCache(size: number): Promise<Cost> {
  const runtime = virtualRuntime();
  const events = new AsyncQueue<RegistryEvent>();
  let reads = 0;
  const inner = {
    options: {},
    getService: async () => {
      reads += 1;
      return [serviceOf('greeter', idsOfSize(size))];
    },
    watch: async () => ({ stop: () => events.end(), [Symbol.asyncIterator]: () => events }),
    close: async () => {},
    toString: () => 'inner',
  };
  const cache = new CachedRegistry(inner as unknown as Registry, runtime);
  await cache.getService('greeter');
  await runtime.timers.settle();
  const readsBefore = reads;
  const steps = await stepsOf(async () => {
    for (let at = 0; at < 5; at += 1) {
      events.push({ action: 'create', service: oneNode(`new0${at}`) });
      events.push({ action: 'delete', service: oneNode(`n0000${at}`) });
    }
    await runtime.timers.settle();
  });
  const cost = { steps, reads: reads - readsBefore };
  expect(cache.statistics[0]?.nodes).toBe(size);
  expect(cache.peek('greeter')?.[0]?.nodes.at(-1)?.id).toBe('new04');
  await cache.close();
  return cost;
}

describe('a change', () => {
  it.each([
    ['of a service that is watched', costOfWatch],
    ['where all services are watched', costOfWatchOfAll],
    ['where each service is watched', costOfFeeds],
    ['in the cache', costOfCache],
  ])('%s costs the same at 100 and at 10,000 nodes', async (_name, costOf) => {
    const [few, many] = [await costOf(100), await costOf(10_000)];
    expect(few.reads).toBe(0);
    expect(few.steps).toBeGreaterThan(0);
    expect(many).toEqual(few);
  });
});
