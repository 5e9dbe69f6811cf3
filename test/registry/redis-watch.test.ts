import { describe, expect, it } from '@jest/globals';

import { type RedisChange, type RedisSnapshot, RedisWatch } from '../../src/registry/internal/redis-watch.ts';
import { gate } from '../../src/testing/waiting.ts';
import { VirtualTimers } from '../../src/testing/virtual-time.ts';
import { nodeOf, Seen, serviceOf } from './support.ts';

const leaseMs = 10_000;

function node(id: string, round = 0): { service: ReturnType<typeof serviceOf>; leaseMs: number } {
  return { service: serviceOf('greeter', [nodeOf(id, { metadata: { round: String(round) } })]), leaseMs };
}

function change(revision: number, action: RedisChange['action'], id: string, round = 0): RedisChange {
  return { revision, action, ...node(id, round) };
}

/** A watch of one service over answers that the test gives. */
function scene(
  answers: readonly (() => Promise<RedisSnapshot> | RedisSnapshot)[],
  service: string | undefined = 'greeter',
) {
  const timers = new VirtualTimers();
  const clock = { now: () => timers.nowMs, monotonicMs: () => timers.nowMs };
  let reads = 0;
  const watch = new RedisWatch(
    { service },
    {
      clock,
      timers,
      minReadMs: 100,
      maxReadMs: 30_000,
      names: async () => ['greeter'],
      read: async () => {
        const answer = answers[Math.min(reads, answers.length - 1)];
        reads += 1;
        return answer!();
      },
    },
    () => {},
  );
  return { watch, timers, reads: () => reads, seen: new Seen(watch.watcher) };
}

describe('a watch of Redis', () => {
  it('knows the changes that came between its subscription and its first read', async () => {
    const asked = gate();
    const { watch, seen, timers } = scene([
      async () => {
        await asked.opened;
        return { revision: 1, nodes: [node('n1')] };
      },
    ]);
    const starting = watch.start();
    watch.hear(change(2, 'create', 'n2'));
    watch.hear(change(3, 'delete', 'n1'));
    asked.open();
    await starting;
    // What came before the watch stood is not told: its end is, and not what is told of what went.
    watch.hear(change(4, 'delete', 'n2'));
    watch.hear(change(5, 'create', 'n1'));
    await timers.settle();
    expect(seen.texts).toEqual(['delete n2', 'create n1']);
  });

  it('changes that an answer knows of are not told again', async () => {
    const { watch, seen, timers } = scene([() => ({ revision: 7, nodes: [node('n1', 3)] })]);
    const starting = watch.start();
    watch.hear(change(6, 'delete', 'n1'));
    watch.hear(change(7, 'create', 'n1', 3));
    await starting;
    watch.hear(change(8, 'delete', 'n1'));
    await timers.settle();
    expect(seen.texts).toEqual(['delete n1']);
  });

  it('changes that come while an answer is on its way are newer than it', async () => {
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
    watch.hear(change(3, 'delete', 'n1'));
    watch.hear(change(4, 'create', 'n4'));
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
  ])('reads once in 100 ms at the most, over %s', async (_what, answer) => {
    for (const service of ['greeter', undefined]) {
      const { watch, timers, reads, seen } = scene([answer], service);
      await watch.start();
      for (let step = 0; step < 100; step += 1) {
        await timers.advance(10);
        watch.hear({ ...change(1, 'update', 'n1'), leaseMs: 0 });
      }
      expect(reads()).toBeLessThanOrEqual(12);
      watch.watcher.stop();
      expect(await seen.ended).toBeUndefined();
    }
  });

  it('numbers that began anew are told, whoever gives them', async () => {
    let answer: RedisSnapshot = { revision: 5_000, nodes: [node('n1')] };
    const { watch, seen, timers } = scene([() => answer]);
    await watch.start();
    // All is lost; another node is the first to come back.
    answer = { revision: 1, nodes: [node('n2')] };
    watch.hear(change(1, 'create', 'n2'));
    await timers.advance(200);
    expect([...seen.texts].sort()).toEqual(['create n2', 'delete n1']);
    watch.hear(change(2, 'create', 'n3'));
    await timers.settle();
    expect(seen.texts.slice(2)).toEqual(['create n3']);
  });

  it.each(['the names', 'a node', 'the next look'])('stopped while it reads %s: reads no more', async (when) => {
    const asked = gate();
    let isSlow = when !== 'the next look';
    const { watch, timers, reads, seen } = scene(
      [
        async () => {
          if (isSlow) await asked.opened;
          return { revision: 1, nodes: [{ ...node('n1'), leaseMs: 100 }] };
        },
      ],
      when === 'the names' ? undefined : 'greeter',
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
});
