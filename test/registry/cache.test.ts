import { setMaxListeners } from 'node:events';

import { describe, expect, it } from '@jest/globals';

import { Code, TenonError } from '../../src/errors/errors.ts';
import { AsyncQueue } from '../../src/internal/async-queue.ts';
import { CachedRegistry, type CachedRegistryOptions } from '../../src/registry/cache.ts';
import {
  isRegistryCache,
  type Registry,
  type RegistryEvent,
  type RegistryObserver,
  serviceNotFound,
  type ServiceRecord,
  type Watcher,
} from '../../src/registry/registry.ts';
import { RecordingLogger } from '../../src/testing/recorders.ts';
import { eventually } from '../support/waiting.ts';
import { VirtualTimers } from '../../src/testing/virtual-time.ts';
import { idsOf, nodeOf, serviceOf } from './support.ts';

const away = new TenonError({ code: Code.Unavailable, reason: 'registry.unreachable', message: 'away' });
const lost = new TenonError({ code: Code.Unavailable, reason: 'registry.watch_lost', message: 'lost' });

/** A registry whose answers and changes the test decides. */
class Inner {
  records: readonly ServiceRecord[] = [serviceOf('greeter', ['n1', 'n2'])];
  failure: TenonError | undefined;
  watchFailure: TenonError | undefined;
  /** While set, reads wait for it. */
  held: Promise<void> | undefined;
  reads = 0;
  readonly observers: RegistryObserver[] = [];
  readonly watches: { readonly service: string | undefined; readonly events: AsyncQueue<RegistryEvent> }[] = [];

  registry(): Registry {
    const getService = async (name: string): Promise<readonly ServiceRecord[]> => {
      this.reads += 1;
      const found = this.records.filter((record) => record.name === name);
      await this.held;
      if (this.failure) throw this.failure;
      if (found.length === 0) throw serviceNotFound('inner', name);
      return found;
    };
    const watch = async ({ service, signal }: { service?: string; signal?: AbortSignal } = {}): Promise<Watcher> => {
      if (this.watchFailure) throw this.watchFailure;
      const events = new AsyncQueue<RegistryEvent>();
      this.watches.push({ service, events });
      // One of each watch of a cache.
      if (signal) setMaxListeners(0, signal);
      signal?.addEventListener('abort', () => events.end());
      return { stop: () => events.end(), [Symbol.asyncIterator]: () => events };
    };
    const deregister = async (): Promise<void> => {};
    return {
      getService,
      deregister,
      watch,
      observe: (observer: RegistryObserver) => void this.observers.push(observer),
      close: async () => {},
      toString: () => 'inner',
      options: {},
    } as unknown as Registry;
  }

  tell(action: RegistryEvent['action'], service: ServiceRecord): void {
    for (const watch of this.watches) if (watch.service === service.name) watch.events.push({ action, service });
  }

  get standing(): number {
    return this.watches.filter(({ events }) => !events.isEnded).length;
  }
}

function scene(options: CachedRegistryOptions = {}) {
  const [inner, timers, logger] = [new Inner(), new VirtualTimers(), new RecordingLogger()];
  const clock = { now: () => timers.nowMs, monotonicMs: () => timers.nowMs };
  const random = { next: () => 0.5, uuid: () => 'x' };
  const cache = new CachedRegistry(inner.registry(), { clock, timers, random, logger, ...options });
  const known = (): string[] => (cache.peek('greeter') ?? []).flatMap(({ nodes }) => nodes.map(({ id }) => id));
  return { inner, timers, logger, cache, known };
}

describe('RegistryCache', () => {
  it('reads once for concurrent callers, and answers from memory from then on', async () => {
    const { inner, cache, timers } = scene();
    expect(isRegistryCache(cache)).toBe(true);
    expect(cache.peek('greeter')).toBeUndefined();
    const all = await Promise.all(Array.from({ length: 50 }, () => cache.getService('greeter')));
    expect(new Set(all).size).toBe(1);
    await timers.settle();
    // One for all, and one more, as changes before the watch stood were seen by nobody.
    expect(inner.reads).toBe(2);
    expect(cache.peek('greeter')).toBe(all[0]);
    expect(await cache.getService('greeter')).toBe(all[0]);
    expect(inner.reads).toBe(2);
    await cache.close();
  });

  it('says how many nodes it knows of each service, how old that is, and whether the registry was away since', async () => {
    const { inner, cache, timers } = scene({ ttlMs: 10_000 });
    expect(cache.statistics).toEqual([]);
    await cache.getService('greeter');
    await timers.settle();
    const [service, nodes] = ['greeter', cache.peek('greeter')?.flatMap((record) => record.nodes).length];
    await timers.advance(3_000);
    expect(cache.statistics).toEqual([{ service, nodes, ageMs: 3_000, isStale: false }]);
    inner.failure = away;
    await timers.advance(7_000);
    cache.peek('greeter');
    await timers.settle();
    expect(cache.statistics).toEqual([{ service, nodes, ageMs: 10_000, isStale: true }]);
    inner.failure = undefined;
    await timers.advance(10_000);
    cache.peek('greeter');
    await timers.settle();
    expect(cache.statistics).toEqual([{ service, nodes, ageMs: 0, isStale: false }]);
    await cache.close();
  });

  it('fails all waiting callers when the first read fails, and reads again for the next', async () => {
    const { inner, cache } = scene();
    inner.failure = away;
    const asked = [cache.getService('greeter'), cache.getService('greeter')];
    for (const one of asked) await expect(one).rejects.toBe(away);
    expect(inner.reads).toBe(1);
    inner.failure = undefined;
    expect(await idsOf(cache, 'greeter')).toEqual(['n1', 'n2']);
    await cache.close();
  });

  it('keeps nothing of names that are not registered', async () => {
    const { inner, cache, timers } = scene();
    for (let index = 0; index < 3; index += 1)
      await expect(cache.getService('nobody')).rejects.toMatchObject({ code: Code.NotFound });
    await timers.settle();
    expect([inner.reads, inner.watches.length]).toEqual([3, 0]);
    inner.records = [serviceOf('nobody', ['n9'])];
    expect(await idsOf(cache, 'nobody')).toEqual(['n9']);
    await cache.close();
  });

  it('follows the events of its watch: nodes come, change their state and version, and go', async () => {
    const { inner, cache, timers, known } = scene();
    await cache.getService('greeter');
    await timers.settle();
    inner.tell('create', serviceOf('greeter', ['n3']));
    await timers.settle();
    expect(known()).toEqual(['n1', 'n2', 'n3']);
    inner.tell('update', serviceOf('greeter', [nodeOf('n2', { metadata: { 'tenon-state': 'draining' } })]));
    await timers.settle();
    expect(known()).toEqual(['n1', 'n2', 'n3']);
    expect(cache.peek('greeter')?.[0]?.nodes[1]?.metadata).toEqual({ 'tenon-state': 'draining' });
    inner.tell('update', serviceOf('greeter', ['n1'], { version: '2.0.0' }));
    await timers.settle();
    expect(cache.peek('greeter')?.map(({ version, nodes }) => [version, nodes.map(({ id }) => id)])).toEqual([
      ['1.0.0', ['n2', 'n3']],
      ['2.0.0', ['n1']],
    ]);
    for (const id of ['n1', 'n2', 'n3']) inner.tell('delete', serviceOf('greeter', [id]));
    await timers.settle();
    expect(cache.peek('greeter')).toBeUndefined();
    inner.tell('create', serviceOf('greeter', ['n4']));
    await timers.settle();
    expect(known()).toEqual(['n4']);
    await cache.close();
  });

  it('keeps a change that arrives during a read, even if the answer is older', async () => {
    const { inner, cache, timers, known } = scene();
    await cache.getService('greeter');
    await timers.settle();
    let answer = (): void => {};
    inner.held = new Promise((resolve) => (answer = resolve));
    await timers.advance(60_000);
    cache.peek('greeter');
    await timers.settle();
    inner.tell('delete', serviceOf('greeter', ['n1']));
    inner.tell('create', serviceOf('greeter', ['n3']));
    await timers.settle();
    expect(known()).toEqual(['n2', 'n3']);
    answer();
    await timers.settle();
    expect(known()).toEqual(['n2', 'n3']);
    await cache.close();
  });

  it('serves the last known nodes while the registry is away, logs it once, and recovers', async () => {
    const { inner, cache, timers, logger, known } = scene();
    await cache.getService('greeter');
    await timers.settle();
    inner.failure = inner.watchFailure = away;
    inner.watches[0]?.events.fail(lost);
    await timers.advance(200_000);
    expect(known()).toEqual(['n1', 'n2']);
    expect(await idsOf(cache, 'greeter')).toEqual(['n1', 'n2']);
    await timers.settle();
    expect(logger.texts).toEqual(['warn the inner registry is away; the last known nodes are used']);
    inner.failure = inner.watchFailure = undefined;
    inner.records = [serviceOf('greeter', ['n1', 'n2', 'n3'])];
    await timers.advance(6_000);
    expect(inner.standing).toBe(1);
    expect(known()).toEqual(['n1', 'n2', 'n3']);
    expect(logger.texts.slice(1)).toEqual(['info the inner registry is back']);
    // Until then a removal may be that of a lease which could not be renewed.
    await timers.advance(30_000);
    inner.tell('delete', serviceOf('greeter', ['n2']));
    await timers.settle();
    expect(known()).toEqual(['n1', 'n3']);
    await cache.close();
  });

  it('keeps nodes for graceMs when a registry comes back empty', async () => {
    const { inner, cache, timers, known } = scene({ graceMs: 30_000 });
    await cache.getService('greeter');
    await timers.settle();
    inner.failure = inner.watchFailure = away;
    inner.watches[0]?.events.fail(lost);
    await timers.advance(10_000);
    inner.failure = inner.watchFailure = undefined;
    inner.records = [];
    await timers.advance(10_000);
    expect(known()).toEqual(['n1', 'n2']);
    inner.records = [serviceOf('greeter', ['n2'])];
    inner.tell('create', serviceOf('greeter', ['n2']));
    await timers.advance(15_000);
    expect(known()).toEqual(['n1', 'n2']);
    await timers.advance(10_000);
    // The other never came back.
    expect(known()).toEqual(['n2']);
    await cache.close();
  });

  it('keeps nodes whose removal is reported soon after an outage, and drops those that are not back in time', async () => {
    const { inner, cache, timers, known } = scene({ graceMs: 30_000 });
    await cache.getService('greeter');
    await timers.settle();
    inner.watches[0]?.events.fail(lost);
    await timers.advance(6_000);
    for (const id of ['n1', 'n2']) inner.tell('delete', serviceOf('greeter', [id]));
    inner.records = [];
    await timers.advance(20_000);
    expect(known()).toEqual(['n1', 'n2']);
    const [changed] = [nodeOf('n1', { address: '127.0.0.1:7001' })];
    inner.records = [serviceOf('greeter', [changed])];
    inner.tell('create', serviceOf('greeter', [changed]));
    await timers.settle();
    expect(cache.peek('greeter')?.[0]?.nodes[0]?.address).toBe('127.0.0.1:7001');
    await timers.advance(6_000);
    expect(known()).toEqual(['n1']);
    inner.tell('delete', serviceOf('greeter', ['n1']));
    await timers.settle();
    expect(known()).toEqual([]);
    await cache.close();
  });

  it('keeps nodes whose removal is reported while the registry is away', async () => {
    const { inner, cache, timers, known } = scene({ graceMs: 30_000, ttlMs: 5_000 });
    await cache.getService('greeter');
    await timers.settle();
    inner.failure = away;
    await timers.advance(5_000);
    known();
    await timers.settle();
    inner.tell('delete', serviceOf('greeter', ['n1']));
    await timers.settle();
    expect(known()).toEqual(['n1', 'n2']);
    inner.failure = undefined;
    inner.records = [serviceOf('greeter', ['n2'])];
    await timers.advance(5_000);
    expect(known()).toEqual(['n1', 'n2']);
    await timers.advance(31_000);
    expect(known()).toEqual(['n2']);
    await cache.close();
  });

  it('keeps nodes whose removal is reported after a watch was resumed', async () => {
    const { inner, cache, timers, known } = scene({ graceMs: 30_000 });
    await cache.getService('greeter');
    await timers.settle();
    for (const observer of inner.observers) observer.onWatchResumed?.({ registry: 'inner', service: 'greeter' });
    inner.tell('delete', serviceOf('greeter', ['n1']));
    await timers.settle();
    expect(known()).toEqual(['n1', 'n2']);
    inner.records = [serviceOf('greeter', ['n2'])];
    await timers.advance(31_000);
    expect(known()).toEqual(['n2']);
    await cache.close();
  });

  it('drops a node that died, though its watch breaks again and again', async () => {
    const { inner, cache, timers, known } = scene({ graceMs: 30_000 });
    await cache.getService('greeter');
    await timers.settle();
    inner.records = [serviceOf('greeter', ['n2'])];
    for (let passedMs = 0; passedMs < 120_000; passedMs += 2_000) {
      inner.watches.at(-1)?.events.fail(lost);
      await timers.advance(2_000);
      if (passedMs < 20_000) expect(known().sort()).toEqual(['n1', 'n2']);
    }
    expect(known().sort()).toEqual(['n2']);
    await cache.close();
  });

  it('keeps a node that could not register again, as the registry was away', async () => {
    const { inner, cache, timers, known } = scene({ graceMs: 30_000 });
    await cache.getService('greeter');
    await timers.settle();
    const breakFor = async (awayMs: number): Promise<void> => {
      inner.failure = inner.watchFailure = away;
      inner.watches.at(-1)?.events.fail(lost);
      await timers.advance(awayMs);
      inner.failure = inner.watchFailure = undefined;
      await timers.advance(6_000);
    };
    inner.records = [serviceOf('greeter', ['n2'])];
    await breakFor(1_000);
    await breakFor(60_000);
    expect(known().sort()).toEqual(['n1', 'n2']);
    await timers.advance(30_000);
    expect(known().sort()).toEqual(['n2']);
    await cache.close();
  });

  it('drops a node after the grace, though the timer is early by a fraction of a millisecond', async () => {
    const timers = new VirtualTimers();
    const inner = new Inner();
    // Timers of Node fire up to a millisecond before the monotonic clock says so.
    const clock = { now: () => timers.nowMs, monotonicMs: () => timers.nowMs - (timers.nowMs % 2 === 0 ? 0 : 0.5) };
    const early = {
      after: (ms: number, work: () => void) => timers.after(Math.max(0, ms - 1), work),
      every: (ms: number, work: () => void) => timers.every(ms, work),
    };
    const cache = new CachedRegistry(inner.registry(), {
      clock,
      timers: Object.assign(Object.create(timers) as VirtualTimers, early),
      graceMs: 30_000,
    });
    const known = (): string[] => (cache.peek('greeter') ?? []).flatMap(({ nodes }) => nodes.map(({ id }) => id));
    await cache.getService('greeter');
    await timers.settle();
    for (const observer of inner.observers) observer.onWatchResumed?.({ registry: 'inner', service: 'greeter' });
    inner.records = [serviceOf('greeter', ['n2'])];
    inner.tell('delete', serviceOf('greeter', ['n1']));
    await timers.advance(29_000);
    expect(known().sort()).toEqual(['n1', 'n2']);
    await timers.advance(2_000);
    expect(known().sort()).toEqual(['n2']);
    await cache.close();
  });

  it('drops a node at once, even after an outage, that drained or that this process has deregistered', async () => {
    const { inner, cache, timers, known } = scene({ graceMs: 30_000 });
    await cache.getService('greeter');
    await timers.settle();
    inner.watches[0]?.events.fail(lost);
    await timers.advance(6_000);
    inner.tell('update', serviceOf('greeter', [nodeOf('n1', { metadata: { 'tenon-state': 'draining' } })]));
    inner.tell('delete', serviceOf('greeter', ['n1', 'n2']));
    await timers.settle();
    expect(known()).toEqual(['n2']);
    await cache.deregister(serviceOf('greeter', ['n2']));
    expect(known()).toEqual([]);
    await cache.close();
  });

  it('returns the same array after an event that changes nothing', async () => {
    const { inner, cache, timers } = scene();
    await cache.getService('greeter');
    await timers.settle();
    const before = cache.peek('greeter');
    inner.tell('update', serviceOf('greeter', ['n1']));
    inner.tell('delete', serviceOf('greeter', ['n9']));
    inner.tell('update', serviceOf('greeter', []));
    await timers.settle();
    expect(cache.peek('greeter')).toBe(before);
    await cache.close();
  });

  it('tells observers of changes, of lost watches, and of services that it drops', async () => {
    const { inner, cache, timers, logger } = scene({ idleMs: 100_000 });
    const seen: string[] = [];
    cache.observe({
      onViewChanged: () => {
        seen.push('failing');
        throw new Error('an observer fails');
      },
    });
    cache.observe({
      onViewChanged: ({ registry, service, nodes, isStale }) =>
        void seen.push(`${registry} ${service} ${nodes}${isStale ? ' stale' : ''}`),
      onWatchLost: ({ registry, service, error }) => void seen.push(`${registry} ${service} lost ${error.message}`),
    });
    await cache.getService('greeter');
    await timers.settle();
    inner.tell('create', serviceOf('greeter', ['n3']));
    inner.records = [serviceOf('greeter', ['n1', 'n2', 'n3'])];
    await timers.settle();
    inner.tell('create', serviceOf('greeter', ['n3']));
    inner.failure = inner.watchFailure = away;
    inner.watches[0]?.events.fail(lost);
    await timers.advance(20_000);
    inner.failure = inner.watchFailure = undefined;
    await timers.advance(10_000);
    await timers.advance(200_000);
    expect(seen.filter((text) => text !== 'failing')).toEqual([
      'inner greeter 2',
      'inner greeter 3',
      'inner greeter lost lost',
      'inner greeter 3 stale',
      'inner greeter 3',
      'inner greeter 0',
    ]);
    expect(seen.filter((text) => text === 'failing')).toHaveLength(5);
    expect(logger.texts.filter((text) => text.includes('observer'))).toHaveLength(1);
    await cache.close();
  });

  it('reads again before it drops a node that one answer lacks', async () => {
    const { inner, cache, timers, known } = scene();
    await cache.getService('greeter');
    await timers.settle();
    inner.records = [serviceOf('greeter', ['n1'])];
    await timers.advance(60_000);
    cache.peek('greeter');
    await timers.settle();
    expect(known()).toEqual(['n1', 'n2']);
    inner.records = [serviceOf('greeter', ['n1', 'n2'])];
    await timers.advance(2_000);
    expect(known()).toEqual(['n1', 'n2']);
    inner.records = [serviceOf('greeter', ['n1'])];
    await timers.advance(60_000);
    cache.peek('greeter');
    await timers.advance(2_000);
    expect(known()).toEqual(['n1']);
    await cache.close();
  });

  it('reads again after ttlMs, and finds what its watch missed', async () => {
    const { inner, cache, timers, known } = scene({ ttlMs: 5_000 });
    await cache.getService('greeter');
    await timers.settle();
    inner.records = [serviceOf('greeter', ['n1', 'n2', 'n3'])];
    await timers.advance(4_999);
    known();
    await timers.settle();
    expect(known()).toEqual(['n1', 'n2']);
    await timers.advance(1);
    known();
    await timers.settle();
    expect(known()).toEqual(['n1', 'n2', 'n3']);
    await cache.close();
  });

  it('polls a registry that cannot be watched', async () => {
    const { inner, cache, timers, known, logger } = scene({ pollMs: 1_000 });
    inner.watchFailure = new TenonError({ code: Code.Unimplemented, reason: 'registry.watch_lost', message: 'cannot' });
    await cache.getService('greeter');
    await timers.settle();
    inner.records = [serviceOf('greeter', ['n2', 'n3'])];
    await timers.advance(1_000);
    expect(known()).toEqual(['n2', 'n3']);
    expect(logger.texts).toEqual([]);
    await cache.close();
  });

  it('returns the same array as long as nothing changes', async () => {
    const { inner, cache, timers } = scene({ ttlMs: 1_000 });
    const first = await cache.getService('greeter');
    await timers.settle();
    inner.records = structuredClone(inner.records);
    await timers.advance(2_000);
    cache.peek('greeter');
    await timers.settle();
    expect(inner.reads).toBe(3);
    expect(cache.peek('greeter')).toBe(first);
    await cache.close();
  });

  it('forgets services that are not used for idleMs, and ends their watches', async () => {
    const { inner, cache, timers } = scene({ idleMs: 1_000 });
    await cache.getService('greeter');
    await timers.advance(1_500);
    cache.peek('greeter');
    await timers.advance(1_000);
    expect(inner.standing).toBe(1);
    await timers.advance(2_000);
    expect(inner.standing).toBe(0);
    expect(cache.peek('greeter')).toBeUndefined();
    expect(await idsOf(cache, 'greeter')).toEqual(['n1', 'n2']);
    await cache.close();
  });

  it('continues a read for other callers when one caller aborts', async () => {
    const { inner, cache } = scene();
    let answer = (): void => {};
    inner.held = new Promise((resolve) => (answer = resolve));
    const controller = new AbortController();
    const [impatient, patient] = [
      cache.getService('greeter', { signal: controller.signal }),
      cache.getService('greeter'),
    ];
    controller.abort();
    await expect(impatient).rejects.toMatchObject({ code: Code.Cancelled, reason: 'call.cancelled' });
    expect(inner.reads).toBe(1);
    answer();
    expect(await patient).toEqual(inner.records);
    await cache.close();
  });

  it('drops a node that is deregistered through it at once, before the watch reports it', async () => {
    const { inner, cache, timers, known } = scene();
    await cache.getService('greeter');
    await timers.settle();
    await cache.deregister(serviceOf('greeter', ['n1']));
    expect(known()).toEqual(['n2']);
    await cache.deregister(serviceOf('nobody', ['n1']));
    inner.tell('delete', serviceOf('greeter', ['n1']));
    await timers.settle();
    expect(known()).toEqual(['n2']);
    await cache.close();
  });

  it('ends its watches and timers on close', async () => {
    const { inner, cache, timers } = scene();
    await cache.getService('greeter');
    await timers.settle();
    expect(inner.standing).toBe(1);
    await cache.close();
    await eventually('the watches end', () => inner.standing === 0);
    expect(cache.peek('greeter')).toBeUndefined();
    const { reads } = inner;
    await timers.advance(600_000);
    expect([inner.reads, inner.watches.length]).toEqual([reads, 1]);
  });

  it('backs off when watches break at once, and warns once a minute', async () => {
    const { inner, cache, timers, logger } = scene();
    await cache.getService('greeter');
    let watches = 0;
    for (let passedMs = 0; passedMs < 60_000; passedMs += 10) {
      watches = inner.watches.length;
      for (const { events } of inner.watches) if (!events.isEnded) events.fail(lost);
      await timers.advance(10);
    }
    // 100 ms, doubled up to five seconds.
    expect(watches).toBeLessThan(22);
    expect(inner.reads).toBeLessThan(50);
    expect(logger.texts.filter((line) => line.startsWith('warn'))).toHaveLength(1);
    await cache.close();
  }, 60_000);

  it('limits the rate of reads of a registry without watches, even with pollMs 0', async () => {
    const { inner, cache, timers } = scene({ pollMs: 0 });
    inner.watchFailure = new TenonError({ code: Code.Unimplemented, reason: 'suite', message: 'no watches' });
    await cache.getService('greeter');
    await timers.advance(1_000);
    expect(inner.reads).toBeLessThan(25);
    await cache.close();
  });

  it('keeps records that are not JSON as they are', async () => {
    const { inner, cache, timers, known } = scene({ ttlMs: 100 });
    await cache.getService('greeter');
    const [record] = inner.records;
    const odd = { ...record, metadata: { n: 1n as unknown as string } } as ServiceRecord;
    inner.records = [{ ...odd, nodes: [nodeOf('n3'), ...odd.nodes] }];
    await timers.advance(1_000);
    known();
    await timers.advance(1_000);
    expect(known()).toContain('n3');
    await cache.close();
  });
});
