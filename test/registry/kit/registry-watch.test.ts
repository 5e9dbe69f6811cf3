import { describe, expect, it } from '@jest/globals';

import type { Change, Snapshot } from '../../../src/registry/kit/driver.ts';
import { RegistryWatch, type RegistryWatchTools } from '../../../src/registry/kit/registry-watch.ts';
import { WatchRecorder } from '../../../src/testing/recorders.ts';
import { gate } from '../../../src/testing/waiting.ts';
import { VirtualTimers } from '../../../src/testing/virtual-time.ts';
import { nodeOf, serviceOf } from '../support.ts';

const leaseMs = 10_000;

function node(id: string, round = 0): { service: ReturnType<typeof serviceOf>; leaseMs: number } {
  return { service: serviceOf('greeter', [nodeOf(id, { metadata: { round: String(round) } })]), leaseMs };
}

function change(revision: number, action: Change['action'], id: string, round = 0): Change {
  return { revision, action, ...node(id, round) };
}

/** A watch of one service over answers that the test gives. */
function scene(
  answers: readonly (() => Promise<Snapshot> | Snapshot)[],
  service: 'greeter' | 'all' = 'greeter',
  more: Partial<RegistryWatchTools> = {},
) {
  const timers = new VirtualTimers();
  const clock = { now: () => timers.nowMs, monotonicMs: () => timers.nowMs };
  let reads = 0;
  const watch = new RegistryWatch(
    { service: service === 'all' ? undefined : service },
    {
      clock,
      timers,
      server: 'the server',
      minReadMs: 100,
      maxReadMs: 30_000,
      names: async () => ['greeter'],
      read: async () => {
        const answer = answers[Math.min(reads, answers.length - 1)];
        reads += 1;
        return answer!();
      },
      ...more,
    },
    () => {},
  );
  return { watch, timers, reads: () => reads, seen: new WatchRecorder(watch.watcher) };
}

describe('RegistryWatch', () => {
  it('reports changes between its subscription and its first read', async () => {
    const asked = gate();
    const { watch, seen, timers } = scene([
      async () => {
        await asked.opened;
        return { revision: 1, nodes: [node('n1')] };
      },
    ]);
    const starting = watch.start();
    watch.change(change(2, 'create', 'n2'));
    watch.change(change(3, 'delete', 'n1'));
    asked.open();
    await starting;
    // What came before the watch stood is not told: its end is, and not what is told of what went.
    watch.change(change(4, 'delete', 'n2'));
    watch.change(change(5, 'create', 'n1'));
    await timers.settle();
    expect(seen.texts).toEqual(['delete n2', 'create n1']);
  });

  it('does not report a change again that an answer contains', async () => {
    const { watch, seen, timers } = scene([() => ({ revision: 7, nodes: [node('n1', 3)] })]);
    const starting = watch.start();
    watch.change(change(6, 'delete', 'n1'));
    watch.change(change(7, 'create', 'n1', 3));
    await starting;
    watch.change(change(8, 'delete', 'n1'));
    await timers.settle();
    expect(seen.texts).toEqual(['delete n1']);
  });

  it('reports all changes of one revision, without another read', async () => {
    const { watch, seen, timers, reads } = scene([() => ({ revision: 7, nodes: [node('n1'), node('n2')] })]);
    await watch.start();
    watch.change(change(8, 'delete', 'n1'));
    watch.change(change(8, 'delete', 'n2'));
    watch.change(change(8, 'create', 'n3'));
    await timers.advance(1_000);
    expect(seen.texts).toEqual(['delete n1', 'delete n2', 'create n3']);
    expect(reads()).toBe(1);
  });

  it('prefers changes that arrive during a read to the answer', async () => {
    const asked = gate();
    const { watch, seen, timers, reads } = scene([
      () => ({ revision: 1, nodes: [node('n1'), node('n2')] }),
      async () => {
        await asked.opened;
        return { revision: 2, nodes: [node('n1'), node('n3')] };
      },
    ]);
    await watch.start();
    await timers.advance(leaseMs + 1_000);
    expect(reads()).toBe(2);
    watch.change(change(3, 'delete', 'n1'));
    watch.change(change(4, 'create', 'n4'));
    asked.open();
    await timers.settle();
    expect([...seen.texts].sort()).toEqual(['create n3', 'create n4', 'delete n1', 'delete n2']);
    await timers.advance(1_000);
    expect(reads()).toBe(2);
  });

  it.each([
    ['leases that have ended', () => ({ revision: 1, nodes: [{ ...node('n1'), leaseMs: 0 }] })],
    ['leases that make no sense', () => ({ revision: 1, nodes: [{ ...node('n1'), leaseMs: Number.NaN }] })],
    ['numbers of changes that make no sense', () => ({ revision: Number.NaN, nodes: [{ ...node('n1'), leaseMs: 1 }] })],
    [
      'a number of changes that goes back',
      (() => {
        let revision = 1_000_000;
        return () => ({ revision: (revision -= 1), nodes: [{ ...node('n1'), leaseMs: 1 }] });
      })(),
    ],
  ])('reads at most once in 100 ms, over %s', async (_what, answer) => {
    for (const service of ['greeter', 'all'] as const) {
      const { watch, timers, reads, seen } = scene([answer], service);
      await watch.start();
      for (let step = 0; step < 100; step += 1) {
        await timers.advance(10);
        watch.change({ ...change(1, 'update', 'n1'), leaseMs: 0 });
      }
      expect(reads()).toBeLessThanOrEqual(12);
      watch.watcher.stop();
      expect(await seen.ended).toBeUndefined();
    }
  });

  it('keeps a node for a second whose lease has lapsed, as the server may have been busy', async () => {
    let hasLapsed = true;
    const lapsed = (id: string): { service: ReturnType<typeof serviceOf>; hasLapsed: boolean } => ({
      service: serviceOf('greeter', [nodeOf(id)]),
      hasLapsed,
    });
    let answer: Snapshot = { nodes: [{ service: serviceOf('greeter', [nodeOf('n1')]) }, lapsed('n2')] };
    const { watch, seen, timers } = scene([() => answer]);
    await watch.start();
    answer = { nodes: [lapsed('n1'), lapsed('n2')] };
    watch.refresh();
    await timers.advance(900);
    hasLapsed = false;
    answer = { nodes: [lapsed('n1')] };
    watch.refresh();
    await timers.advance(5_000);
    expect(seen.texts).toEqual([]);
    hasLapsed = true;
    answer = { nodes: [lapsed('n1')] };
    watch.refresh();
    await timers.advance(900);
    expect(seen.texts).toEqual([]);
    watch.refresh();
    await timers.advance(300);
    expect(seen.texts).toEqual(['delete n1']);
  });

  it('reports changes whose revisions started over', async () => {
    let answer: Snapshot = { revision: 5_000, nodes: [node('n1')] };
    const { watch, seen, timers } = scene([() => answer]);
    await watch.start();
    // All is lost; another node is the first to come back.
    answer = { revision: 1, nodes: [node('n2')] };
    watch.change(change(1, 'create', 'n2'));
    await timers.advance(200);
    expect([...seen.texts].sort()).toEqual(['create n2', 'delete n1']);
    watch.change(change(2, 'create', 'n3'));
    await timers.settle();
    expect(seen.texts.slice(2)).toEqual(['create n3']);
  });

  it.each(['the names', 'a node', 'the next look'])('reads no more after a stop while it reads %s', async (when) => {
    const asked = gate();
    let isSlow = when !== 'the next look';
    const { watch, timers, reads, seen } = scene(
      [
        async () => {
          if (isSlow) await asked.opened;
          return { revision: 1, nodes: [{ ...node('n1'), leaseMs: 100 }] };
        },
      ],
      when === 'the names' ? 'all' : 'greeter',
    );
    const starting = watch.start();
    if (when !== 'the next look') await timers.settle();
    else {
      await starting;
      isSlow = true;
      await timers.advance(500);
    }
    watch.watcher.stop();
    const before = reads();
    asked.open();
    await starting;
    await timers.advance(120_000);
    expect(reads()).toBe(before);
    expect(await seen.ended).toBeUndefined();
    expect(seen.texts).toEqual([]);
  });

  it('reads one service after another with a pause between rounds, however many changes arrive', async () => {
    let open = 0;
    let most = 0;
    let asked = 0;
    const { watch, timers, seen } = scene([], 'all', {
      maxReadMs: Number.POSITIVE_INFINITY,
      hasRoom: (count) => count < 1_000,
      names: async () => Array.from({ length: 500 }, (_, at) => `s${at}`),
      read: async () => {
        asked += 1;
        most = Math.max(most, (open += 1));
        await timers.sleep(50);
        open -= 1;
        return { nodes: [], isComplete: false };
      },
    });
    const starting = watch.start();
    await timers.advance(5_000);
    await starting;
    expect([asked, most]).toEqual([500, 64]);
    asked = 0;
    for (let step = 0; step < 100; step += 1) {
      // Believed for no time at all.
      watch.change({ action: 'update', service: serviceOf('greeter', [`n${step}`]), leaseMs: 1 });
      await timers.advance(10);
    }
    expect(asked).toBeLessThanOrEqual(11);
    for (let at = 0; at < 5_000; at += 1)
      watch.change({ action: 'update', service: serviceOf('flood', [`f${at}`]), leaseMs: 120_000 });
    watch.watcher.stop();
    await seen.ended;
    expect(seen.texts.filter((text) => text.startsWith('create f')).length).toBeLessThanOrEqual(1_000);
  });

  it('keeps a node that an answer lacks until its lease has ended, if answers may be incomplete', async () => {
    const { watch, timers, seen, reads } = scene(
      [
        () => ({ nodes: [node('n1'), { ...node('n2'), leaseMs: 30_000 }], isComplete: false }),
        () => ({ nodes: [], isComplete: false }),
      ],
      'greeter',
      { maxReadMs: Number.POSITIVE_INFINITY },
    );
    await watch.start();
    await timers.advance(leaseMs + 1_000);
    expect(reads()).toBe(2);
    expect(seen.texts).toEqual(['delete n1']);
    await timers.advance(30_000);
    expect(seen.texts).toEqual(['delete n1', 'delete n2']);
  });

  it('reads all services at once if the server can, and reports each change once', async () => {
    const other = { service: serviceOf('other', ['o1']) };
    const asked: (string | undefined)[] = [];
    let answer: Snapshot = { nodes: [{ service: node('n1').service }, other] };
    const { watch, timers, seen } = scene([], 'all', {
      maxReadMs: 1_000,
      names: undefined,
      read: async (service) => {
        asked.push(service);
        return answer;
      },
    });
    await watch.start();
    answer = { nodes: [{ service: node('n1', 1).service }, { service: node('n2').service }] };
    await timers.advance(5_000);
    expect(seen.texts).toEqual(['update n1', 'create n2', 'delete o1']);
    expect(new Set(asked)).toEqual(new Set([undefined]));
    expect(asked.length).toBeLessThanOrEqual(6);
  });

  it('reports only the nodes of its service from an answer with others', async () => {
    let answer: Snapshot = { nodes: [] };
    const { watch, timers, seen } = scene([() => answer], 'greeter', { maxReadMs: 1_000 });
    await watch.start();
    answer = { nodes: [{ service: serviceOf('other', ['o1']) }, node('n1')] };
    await timers.advance(1_000);
    expect(seen.texts).toEqual(['create n1']);
  });

  it('reads again after a notification that arrives during a read', async () => {
    const asked = gate();
    let answer: Snapshot = { nodes: [] };
    const { watch, timers, seen, reads } = scene([
      () => ({ nodes: [] }),
      async () => {
        const before = answer;
        await asked.opened;
        return before;
      },
      () => answer,
    ]);
    await watch.start();
    watch.refresh();
    await timers.advance(200);
    expect(reads()).toBe(2);
    answer = { nodes: [node('n1')] };
    watch.refresh('greeter');
    asked.open();
    await timers.advance(200);
    expect(seen.texts).toEqual(['create n1']);
  });

  it('reads a service that a notification names, when it watches all', async () => {
    let names = ['greeter'];
    const { watch, timers, seen } = scene([], 'all', {
      names: async () => names,
      read: async (service) => ({ nodes: [{ service: serviceOf(service ?? '', ['n1']) }] }),
    });
    await watch.start();
    names = ['greeter', 'other'];
    watch.refresh('other');
    await timers.advance(200);
    expect(seen.events.map(({ action, service }) => `${action} ${service.name}`)).toEqual(['create other']);
  });

  it('reads again when the answer asks for it', async () => {
    const { watch, timers, reads } = scene([() => ({ nodes: [], readAgainMs: 1_000 })]);
    await watch.start();
    await timers.advance(10_000);
    expect(reads()).toBe(11);
  });

  it('keeps one change per node in memory during a read, however many arrive', async () => {
    const asked = gate();
    const { watch, timers, seen } = scene([
      () => ({ revision: 1, nodes: [] }),
      async () => {
        await asked.opened;
        return { revision: 1, nodes: [] };
      },
    ]);
    await watch.start();
    await timers.advance(30_000);
    for (let round = 0; round < 500; round += 1) watch.change(change(2 + round, 'update', `n${round % 2}`, round));
    asked.open();
    await timers.settle();
    expect(seen.texts.length).toBe(500);
    watch.change(change(600, 'delete', 'n0'));
    await timers.settle();
    expect(seen.texts.at(-1)).toBe('delete n0');
  });

  it('ends with an error when the server does not answer any more', async () => {
    const { watch, timers, seen } = scene([
      () => ({ nodes: [] }),
      async () => {
        throw new Error('away');
      },
    ]);
    await watch.start();
    await timers.advance(30_000);
    expect(await seen.ended).toMatchObject({
      reason: 'registry.watch_lost',
      message: expect.stringContaining('the server does not answer'),
    });
  });
});
