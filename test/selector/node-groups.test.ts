import { describe, expect, it } from '@jest/globals';

import { Metadata } from '../../src/context/metadata.ts';
import type { NodeRecord, Registry } from '../../src/registry/registry.ts';
import { subsetByIndex, subsetBySeed } from '../../src/selector/internal/subset.ts';
import { zoneShares } from '../../src/selector/internal/zone-shares.ts';
import { LeastRequestSelector } from '../../src/selector/least-request.ts';
import { RandomSelector } from '../../src/selector/random.ts';
import { RoundRobinSelector } from '../../src/selector/round-robin.ts';
import type { NextNode, SelectorOptions } from '../../src/selector/selector.ts';
import { nodeOf, serviceOf } from '../registry/support.ts';
import { eventually } from '../support/waiting.ts';
import { ids, lost, type Rig, rigOf, seededRandom, unreachable } from './support.ts';

const random = (nodes: Parameters<typeof rigOf>[0], options: SelectorOptions): Rig<RandomSelector> =>
  rigOf(nodes, (registry, { clock }, chance) => new RandomSelector(registry, options, clock, chance));

/** Nodes by zone: `{ a: 2, b: 3 }` are a1, a2, b1, b2 and b3. */
function zoned(counts: Readonly<Record<string, number>>): NodeRecord[] {
  return Object.entries(counts).flatMap(([zone, count]) =>
    Array.from({ length: count }, (_, index) => nodeOf(`${zone}${index + 1}`, { metadata: { zone } })),
  );
}

function byZone(shares: ReadonlyMap<string, number>): Record<string, number> {
  const zones: Record<string, number> = {};
  for (const [id, share] of shares) zones[id[0]!] = (zones[id[0]!] ?? 0) + share;
  return zones;
}

const map = (counts: Readonly<Record<string, number>>): Map<string, number> => new Map(Object.entries(counts));

describe('zoneShares', () => {
  it('keeps all calls in a zone that has its part of the nodes', () => {
    expect(zoneShares('a', map({ a: 4, b: 3, c: 3 }), undefined)).toEqual({ local: 1, others: [] });
    expect(zoneShares('a', map({ a: 3, b: 3 }), map({ a: 5, b: 5 }))).toEqual({ local: 1, others: [] });
  });

  it('keeps what the nodes suffice for, and spreads the rest by what is left elsewhere', () => {
    const shares = zoneShares('a', map({ a: 2, b: 4, c: 6 }), undefined);
    expect(shares?.local).toBeCloseTo(0.5, 10);
    // b has a third of nodes and of callers, so that nothing is left there.
    expect(shares?.others.map(({ zone, share }) => [zone, Math.round(share * 1e9) / 1e9])).toEqual([
      ['b', 0],
      ['c', 1],
    ]);
    const known = zoneShares('a', map({ a: 2, b: 4, c: 4 }), map({ a: 8, b: 1, c: 1 }));
    expect(known?.local).toBeCloseTo(0.25, 10);
    expect(known?.others.map(({ share }) => share)).toEqual([0.5, 0.5]);
  });

  it.each([
    ['a zone without nodes', 'z', { a: 1, b: 1 }, undefined],
    ['one zone', 'a', { a: 7 }, undefined],
    ['callers in other zones', 'a', { a: 1, b: 1 }, { b: 1, c: 1 }],
    ['callers in fewer zones', 'a', { a: 1, b: 1 }, { a: 1 }],
  ])('is nothing for %s', (_what, zone, nodes, callers) => {
    expect(zoneShares(zone, map(nodes), callers && map(callers))).toBeUndefined();
  });
});

describe('a selector with a zone', () => {
  it('selects in the zone, all nodes of it alike, and goes to others after those have failed', () => {
    const rig = random(zoned({ a: 3, b: 3 }), { zone: 'a' });
    const shares = rig.shares(3_000);
    expect(byZone(shares)).toEqual({ a: 3_000 });
    for (const share of shares.values()) expect(Math.abs(share - 1_000)).toBeLessThan(5 * Math.sqrt(3_000 * (2 / 9)));
    const next = rig.selector.select('greeter') as NextNode;
    const order = Array.from({ length: 6 }, () => next().id[0]).join('');
    expect(order).toBe('aaabbb');
  });

  it('lets the part go that its nodes do not suffice for', () => {
    const { a = 0, b = 0, c = 0 } = byZone(random(zoned({ a: 1, b: 1, c: 4 }), { zone: 'a' }).shares(10_000));
    // A sixth of the nodes for a third of the callers: half stays.
    expect(Math.abs(a - 5_000)).toBeLessThan(5 * 50);
    expect([b, c]).toEqual([0, 10_000 - a]);
  });

  it.each([
    ['fewer than six nodes', { a: 2, b: 3 }, {}],
    ['nodes of other zones alone', { b: 3, c: 3 }, {}],
    ['a higher zoneMinNodes', { a: 3, b: 3 }, { zoneMinNodes: 7 }],
  ])('makes no difference with %s', (_what, counts: Record<string, number>, more) => {
    const nodes = zoned(counts);
    const shares = random(nodes, { zone: 'a', ...more }).shares(6_000);
    expect(shares.size).toBe(nodes.length);
    for (const share of shares.values())
      expect(Math.abs(share - 6_000 / nodes.length)).toBeLessThan(5 * Math.sqrt(6_000 / nodes.length));
  });

  it('counts nodes that are well: a zone that loses some sends more away', () => {
    const rig = random(zoned({ a: 4, b: 4 }), { zone: 'a' });
    expect(byZone(rig.shares(100))).toEqual({ a: 100 });
    for (const id of ['a1', 'a2']) rig.call(id, 1, unreachable);
    const { a = 0, b = 0 } = byZone(rig.shares(6_000));
    // Two of six nodes for half of the callers.
    expect(Math.abs(a - 4_000)).toBeLessThan(5 * Math.sqrt(6_000 * (2 / 9)));
    expect(b).toBe(6_000 - a);
  });

  it('makes no difference while so many are ejected that all are used', () => {
    const rig = random(zoned({ a: 5, b: 5 }), { zone: 'a', maxEjectedPercent: 100, panicPercent: 80 });
    rig.pick();
    for (const id of ['b1', 'b2', 'b3']) rig.call(id, 3, lost);
    expect(rig.shares(1_000).size).toBe(10);
  });

  it('knows the callers of each zone from the registry, if it is told their service', async () => {
    const runtime = { now: () => 0, monotonicMs: () => 0 };
    const targets = [serviceOf('greeter', zoned({ a: 3, b: 3 }))];
    const callers = [serviceOf('shop', zoned({ a: 3, b: 1 }))];
    let isRead = false;
    const registry = {
      peek: (name: string) => (name === 'greeter' ? targets : isRead ? callers : undefined),
      getService: async () => {
        isRead = true;
        return callers;
      },
    } as unknown as Registry;
    const selector = new RandomSelector(registry, { zone: 'a', zoneCallers: 'shop' }, runtime, seededRandom());
    const pick = (): string => (selector.select('greeter') as NextNode)().id[0]!;
    pick();
    await eventually('the callers are known', () => isRead);
    const picked = Array.from({ length: 9_000 }, pick).filter((zone) => zone === 'a').length;
    // Half of the nodes for three quarters of the callers.
    expect(Math.abs(picked - 6_000)).toBeLessThan(5 * Math.sqrt(2_000));
  });

  it('is a layer below every strategy: round-robin takes turns within the zone', () => {
    const rig = rigOf(zoned({ a: 3, b: 3 }), (registry, { clock }, chance) => {
      return new RoundRobinSelector(registry, { zone: 'a' }, clock, chance);
    });
    const shares = rig.shares(300);
    expect([...shares.values()]).toEqual([100, 100, 100]);
  });
});

describe('subsetByIndex', () => {
  const pick = (nodes: readonly string[], size: number, index: number): readonly string[] =>
    subsetByIndex(nodes, size, index, (id) => id);

  it.each([
    [100, 1_000, 20, 1],
    [300, 300, 10, 1],
    [97, 1_003, 20, 1.2],
  ])(
    'gives %d clients of %d nodes %d each, and the fullest node %d times the mean at most',
    (clients, count, size, most) => {
      const nodes = ids(count);
      const used = new Map<string, number>();
      for (let index = 0; index < clients; index += 1) {
        const subset = pick(nodes, size, index);
        expect(new Set(subset).size).toBe(size);
        for (const id of subset) used.set(id, (used.get(id) ?? 0) + 1);
      }
      const mean = (clients * size) / count;
      expect(Math.max(...used.values()) / mean).toBeLessThanOrEqual(most + 0.2 * Number(most > 1));
    },
  );

  it('changes a node or two of each subset when one node goes', () => {
    const nodes = ids(1_010);
    const fewer = nodes.filter((id) => id !== 'n0500');
    for (let index = 0; index < 100; index += 1) {
      const before = new Set(pick(nodes, 20, index));
      const kept = pick(fewer, 20, index).filter((id) => before.has(id)).length;
      expect(kept).toBeGreaterThanOrEqual(18);
    }
  });

  it('is all nodes if there are no more', () => {
    expect(pick(ids(20), 20, 7)).toEqual(ids(20));
  });
});

describe('subsetBySeed', () => {
  it('is the same for the same seed, and one node that goes changes one', () => {
    const nodes = ids(1_000);
    const before = subsetBySeed(nodes, 20, 0.5, (id) => id);
    expect(subsetBySeed([...nodes].reverse(), 20, 0.5, (id) => id)).toEqual(before);
    expect(subsetBySeed(nodes, 20, 0.6, (id) => id)).not.toEqual(before);
    const after = subsetBySeed(
      nodes.filter((id) => id !== before[3]),
      20,
      0.5,
      (id) => id,
    );
    expect(after.filter((id) => before.includes(id))).toHaveLength(19);
  });
});

describe('a selector with subsetSize', () => {
  it('uses so many nodes, alike, and others while none of them can be reached', () => {
    const rig = random(ids(100), { subsetSize: 5, subsetIndex: 3 });
    const shares = rig.shares(5_000);
    expect(shares.size).toBe(5);
    for (const share of shares.values()) expect(Math.abs(share - 1_000)).toBeLessThan(5 * Math.sqrt(800));
    for (const id of shares.keys()) rig.call(id, 1, unreachable);
    const others = rig.shares(1_000);
    for (const id of shares.keys()) expect(others.get(id)).toBeUndefined();
    rig.call([...shares.keys()][0]!);
    expect([...rig.shares(100).keys()]).toEqual([[...shares.keys()][0]]);
  });

  it('has a subset of its own without an index', () => {
    const rig = random(ids(100), { subsetSize: 5 });
    expect(rig.shares(1_000).size).toBe(5);
    expect(() => random(ids(3), { subsetSize: 0 })).toThrow('subsetSize');
  });
});

describe('canaries', () => {
  const canary = nodeOf('c', { metadata: { canary: 'true' } });

  it('get the share that they are given, and none that others need', () => {
    const shares = random([canary, 'n1', 'n2'], { canaryPercent: 5 }).shares(10_000);
    expect(Math.abs((shares.get('c') ?? 0) - 500)).toBeLessThan(5 * Math.sqrt(10_000 * 0.05 * 0.95));
    expect(random([canary, 'n1'], { canaryPercent: 0 }).shares(100)).toEqual(new Map([['n1', 100]]));
    expect(random([canary], { canaryPercent: 0 }).pick()).toBe('c');
  });

  it('are nodes like others unless a share is given', () => {
    const shares = random([canary, 'n1'], {}).shares(1_000);
    expect(Math.abs((shares.get('c') ?? 0) - 500)).toBeLessThan(5 * Math.sqrt(250));
  });

  it('get their share beside zones', () => {
    const rig = random([canary, ...zoned({ a: 3, b: 3 })], { canaryPercent: 10, zone: 'a' });
    const { a = 0, b = 0, c = 0 } = byZone(rig.shares(10_000));
    expect(Math.abs(c - 1_000)).toBeLessThan(5 * 30);
    expect([a + c, b]).toEqual([10_000, 0]);
  });
});

describe('routes by a label of the call', () => {
  const nodes = [
    nodeOf('n1', { metadata: { version: 'blue' } }),
    nodeOf('n2', { metadata: { version: 'green' } }),
    'n3',
  ];
  const blue = { metadata: new Metadata({ 'x-route': 'version=blue' }) };

  it('go to the nodes that have it, and then to others', () => {
    const rig = random(nodes, { routeKey: 'x-route' });
    expect(rig.shares(100, blue)).toEqual(new Map([['n1', 100]]));
    const next = rig.selector.select('greeter', blue) as NextNode;
    expect([next().id, new Set([next().id, next().id])]).toEqual(['n1', new Set(['n2', 'n3'])]);
    expect(rig.shares(300).size).toBe(3);
  });

  it('are off unless a key is named', () => {
    expect(random(nodes, {}).shares(300, blue).size).toBe(3);
  });

  it.each(['version=red', 'version', '=blue', '', 'zone=a'])('go anywhere with "%s", which no node has', (route) => {
    const rig = random(nodes, { routeKey: 'x-route' });
    expect(rig.shares(300, { metadata: new Metadata({ 'x-route': route }) }).size).toBe(3);
  });

  it('keep no more of the values that callers make up than there is use for', () => {
    const rig = random(nodes, { routeKey: 'x-route' });
    for (let value = 0; value < 1_000; value += 1)
      rig.pick({ metadata: new Metadata({ 'x-route': `version=${value}` }) });
    expect(rig.shares(10, blue)).toEqual(new Map([['n1', 10]]));
  });

  it('leave out a node that fails', () => {
    const more = [...nodes, nodeOf('n4', { metadata: { version: 'blue' } })];
    const rig = rigOf(more, (registry, { clock }, chance) => {
      return new LeastRequestSelector(registry, { routeKey: 'x-route' }, clock, chance);
    });
    rig.pick();
    rig.call('n4', 3, lost);
    expect(rig.shares(100, blue)).toEqual(new Map([['n1', 100]]));
  });
});
