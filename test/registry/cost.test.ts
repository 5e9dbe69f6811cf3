import { describe, expect, it } from '@jest/globals';

import { AsyncQueue } from '../../src/internal/async-queue.ts';
import { CachedRegistry } from '../../src/registry/cache.ts';
import type { Change } from '../../src/registry/kit/driver.ts';
import { RegistryWatch } from '../../src/registry/kit/registry-watch.ts';
import type { NodeRecord, Registry, RegistryEvent, ServiceRecord } from '../../src/registry/registry.ts';
import { WatchRecorder } from '../../src/testing/recorders.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';
import { serviceOf } from './support.ts';

const sizes = [100, 10_000] as const;

/** Counts how often a node of its making is looked at. */
class Looks {
  count = 0;

  node(id: string): NodeRecord {
    const look = <T>(value: T): T => {
      this.count += 1;
      return value;
    };
    return {
      get id() {
        return look(id);
      },
      get address() {
        return look('127.0.0.1:7000');
      },
      get metadata() {
        return look({});
      },
    };
  }

  service(id: string): ServiceRecord {
    return serviceOf('greeter', [this.node(id)]);
  }
}

/** The looks at nodes, and the reads, that ten changes cost. */
interface Cost {
  readonly looks: number;
  readonly reads: number;
}

async function costOfWatch(size: number): Promise<Cost> {
  const runtime = virtualRuntime();
  const looks = new Looks();
  let reads = 0;
  const read = async (): Promise<{ nodes: { service: ServiceRecord }[] }> => {
    reads += 1;
    return { nodes: Array.from({ length: size }, (_, at) => ({ service: looks.service(`n${at}`) })) };
  };
  const tools = { ...runtime, server: 'the server', minReadMs: 100, maxReadMs: 30_000, read };
  const watch = new RegistryWatch({ service: 'greeter' }, tools, () => {});
  const seen = new WatchRecorder(watch.watcher);
  await watch.start();
  const change = (action: Change['action'], id: string): void => watch.change({ action, service: looks.service(id) });
  const before = { looks: looks.count, reads };
  for (let at = 0; at < 5; at += 1) {
    change('create', `new${at}`);
    change('delete', `n${at}`);
    await runtime.timers.settle();
  }
  expect(seen.events).toHaveLength(10);
  watch.watcher.stop();
  return { looks: looks.count - before.looks, reads: reads - before.reads };
}

/** A watch of all services, each with one node. */
async function costOfWatchOfAll(size: number): Promise<Cost> {
  const runtime = virtualRuntime();
  let [looks, reads] = [0, 0];
  const all = Array.from({ length: size }, (_, at) => `s${at}`);
  const read = async (name?: string): Promise<{ nodes: { service: ServiceRecord }[] }> => {
    reads += 1;
    return { nodes: [{ service: serviceOf(name ?? '', ['n1']) }] };
  };
  const tools = { ...runtime, server: 'the server', minReadMs: 100, maxReadMs: 30_000, read, names: async () => all };
  // Each look at the due times of the views asks for the time.
  const clock = { ...runtime.clock, monotonicMs: () => ((looks += 1), runtime.clock.monotonicMs()) };
  const watch = new RegistryWatch({}, { ...tools, clock }, () => {});
  const seen = new WatchRecorder(watch.watcher);
  await watch.start();
  const before = { looks, reads };
  for (let at = 0; at < 10; at += 1) {
    watch.change({ action: 'update', service: serviceOf(`s${at}`, ['n2']) });
    await runtime.timers.settle();
  }
  expect(seen.events).toHaveLength(10);
  watch.watcher.stop();
  return { looks: looks - before.looks, reads: reads - before.reads };
}

async function costOfCache(size: number): Promise<Cost> {
  const runtime = virtualRuntime();
  const looks = new Looks();
  const events = new AsyncQueue<RegistryEvent>();
  let reads = 0;
  const inner = {
    options: {},
    getService: async () => {
      reads += 1;
      return [serviceOf('greeter', Array.from({ length: size }, (_, at) => looks.node(`n${at}`)))];
    },
    watch: async () => ({ stop: () => events.end(), [Symbol.asyncIterator]: () => events }),
    close: async () => {},
    toString: () => 'inner',
  };
  const cache = new CachedRegistry(inner as unknown as Registry, runtime);
  await cache.getService('greeter');
  await runtime.timers.settle();
  const before = { looks: looks.count, reads };
  for (let at = 0; at < 5; at += 1) {
    events.push({ action: 'create', service: looks.service(`new${at}`) });
    events.push({ action: 'delete', service: looks.service(`n${at}`) });
    await runtime.timers.settle();
  }
  const cost = { looks: looks.count - before.looks, reads: reads - before.reads };
  expect(cache.statistics[0]?.nodes).toBe(size);
  expect(cache.peek('greeter')?.[0]?.nodes.at(-1)?.id).toBe('new4');
  await cache.close();
  return cost;
}

describe('a change', () => {
  it.each([
    ['of a watch', costOfWatch],
    ['of a watch of all services', costOfWatchOfAll],
    ['in the cache', costOfCache],
  ])('%s costs the same at 100 and at 10,000 nodes', async (_name, costOf) => {
    const [few, many] = [await costOf(sizes[0]), await costOf(sizes[1])];
    expect(few.reads).toBe(0);
    expect(few.looks).toBeGreaterThan(0);
    expect(many).toEqual(few);
  });
});
