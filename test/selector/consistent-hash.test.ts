import { describe, expect, it } from '@jest/globals';

import { Metadata } from '../../src/context/metadata.ts';
import { ConsistentHashSelector, type ConsistentHashSelectorOptions } from '../../src/selector/consistent-hash.ts';
import { filterLabel } from '../../src/selector/selector.ts';
import { nodeOf, serviceOf } from '../registry/support.ts';
import { ids, lost, type Rig, rigOf, unreachable } from './support.ts';

const hashing = (
  nodes: Parameters<typeof rigOf>[0],
  options: ConsistentHashSelectorOptions = {},
): Rig<ConsistentHashSelector> =>
  rigOf(nodes, (registry, { clock }, random) => new ConsistentHashSelector(registry, options, clock, random));

const keys = (count: number): string[] => Array.from({ length: count }, (_, index) => `user-${index}`);

/** The nodes of so many keys. */
function placement(rig: Rig<ConsistentHashSelector>, count = 10_000): string[] {
  return keys(count).map((hashKey) => rig.pick({ hashKey }));
}

function countOf(values: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

describe('ConsistentHashSelector', () => {
  it('gives a key to one node, and keys to all nodes alike, within 5 sigma', () => {
    const rig = hashing(ids(10));
    const placed = placement(rig);
    expect(placement(rig)).toEqual(placed);
    expect(placement(hashing(ids(10)))).toEqual(placed);
    const counts = countOf(placed);
    expect(counts.size).toBe(10);
    for (const count of counts.values()) expect(Math.abs(count - 1_000)).toBeLessThan(5 * Math.sqrt(10_000 * 0.09));
  });

  it('moves the keys of a node that goes, to all others alike, and no other key; they come back with it', () => {
    const rig = hashing(ids(10));
    const before = placement(rig);
    rig.records.current = [
      serviceOf(
        'greeter',
        ids(10).filter((id) => id !== 'n04'),
      ),
    ];
    const without = placement(rig);
    const moved = before.flatMap((id, index) => (id === without[index] ? [] : [[id, without[index]!]]));
    expect(new Set(moved.map(([from]) => from))).toEqual(new Set(['n04']));
    expect(moved).toHaveLength(countOf(before).get('n04')!);
    const share = moved.length / 9;
    for (const count of countOf(moved.map(([, to]) => to!)).values())
      expect(Math.abs(count - share)).toBeLessThan(5 * Math.sqrt(share));
    rig.records.current = [serviceOf('greeter', ids(10))];
    expect(placement(rig)).toEqual(before);
  });

  it('moves no key when a node has a new address, or a new id with the same hash-key', () => {
    const rig = hashing(ids(10));
    const before = placement(rig);
    rig.records.current = [
      serviceOf(
        'greeter',
        ids(10).map((id) => nodeOf(id, { address: `10.0.0.9:${id.slice(1)}` })),
      ),
    ];
    expect(placement(rig)).toEqual(before);
    rig.records.current = [
      serviceOf(
        'greeter',
        ids(10).map((id) => nodeOf(`${id}-again`, { metadata: { 'hash-key': id } })),
      ),
    ];
    expect(placement(rig)).toEqual(before.map((id) => `${id}-again`));
  });

  it('gives keys in proportion to weights, and moves few when a weight changes', () => {
    const heavy = (weight: string): ReturnType<typeof nodeOf> => nodeOf('n01', { metadata: { weight } });
    const rig = hashing([heavy('3'), ...ids(10).slice(1)]);
    const before = placement(rig);
    const sigma = Math.sqrt(10_000 * 0.25 * 0.75);
    expect(Math.abs(countOf(before).get('n01')! - 2_500)).toBeLessThan(5 * sigma);
    rig.records.current = [serviceOf('greeter', [heavy('2'), ...ids(10).slice(1)])];
    const after = placement(rig);
    const from = before.filter((id, index) => id !== after[index]);
    expect(new Set(from)).toEqual(new Set(['n01']));
  });

  it('has nobody above 3 of 8 in flight on four nodes, even if all have one key', () => {
    const rig = hashing(['n1', 'n2', 'n3', 'n4']);
    const inFlight: string[] = [];
    for (let call = 0; call < 8; call += 1) {
      const id = rig.pick({ hashKey: 'hot' });
      rig.begin(id);
      inFlight.push(id);
    }
    expect(Math.max(...countOf(inFlight).values())).toBe(3);
    expect(countOf(inFlight).get(inFlight[0]!)).toBe(3);
    for (const id of inFlight) rig.end(id);
    expect(rig.pick({ hashKey: 'hot' })).toBe(inFlight[0]);
  });

  it('keeps a key on its node whatever its load without a bound', () => {
    const rig = hashing(['n1', 'n2', 'n3', 'n4'], { balanceFactor: Number.POSITIVE_INFINITY });
    const first = rig.pick({ hashKey: 'hot' });
    for (let call = 0; call < 100; call += 1) rig.begin(first);
    expect(rig.pick({ hashKey: 'hot' })).toBe(first);
    expect(() => hashing(['n1'], { balanceFactor: 0.9 })).toThrow('balanceFactor');
  });

  it('takes the key from the metadata that the option names, after that of the call', () => {
    const rig = hashing(ids(10), { hashHeader: 'x-user' });
    for (const hashKey of keys(50)) {
      const metadata = new Metadata({ 'x-user': hashKey });
      expect(rig.pick({ metadata })).toBe(rig.pick({ hashKey }));
      expect(rig.pick({ metadata, hashKey: 'other' })).toBe(rig.pick({ hashKey: 'other' }));
      const twice = new Metadata({ 'x-user': [hashKey, 'b'] });
      expect(rig.pick({ metadata: twice })).toBe(rig.pick({ hashKey: `${hashKey},b` }));
    }
  });

  it('selects any node for a call without a key', () => {
    const rig = hashing(ids(10), { hashHeader: 'x-user' });
    for (const options of [undefined, {}, { metadata: new Metadata({ 'x-other': 'a' }) }]) {
      const shares = rig.shares(10_000, options);
      for (const share of shares.values()) expect(Math.abs(share - 1_000)).toBeLessThan(5 * Math.sqrt(900));
    }
  });

  it('gives the keys of a node that is ejected to others until it returns, and keeps keys under a filter', () => {
    const rig = hashing(ids(10));
    const before = placement(rig, 1_000);
    rig.call('n04', 3, lost);
    const meanwhile = placement(rig, 1_000);
    expect(meanwhile.some((id) => id === 'n04')).toBe(false);
    expect(meanwhile.filter((id, index) => id !== before[index])).toHaveLength(countOf(before).get('n04')!);
    rig.timers.nowMs += 5_000;
    expect(placement(rig, 1_000)).toEqual(before);
    const zoned = hashing(ids(10).map((id) => nodeOf(id, { metadata: { zone: id < 'n06' ? 'a' : 'b' } })));
    const whole = placement(zoned, 1_000);
    const inZone = keys(1_000).map((hashKey) => zoned.pick({ hashKey, filters: [filterLabel('zone', 'a')] }));
    expect(inZone.every((id) => id < 'n06')).toBe(true);
    expect(inZone.filter((id, index) => whole[index]! < 'n06' && id !== whole[index])).toEqual([]);
  });

  it('tries a node that could not be reached with its own keys only', () => {
    const rig = hashing(ids(10));
    const before = placement(rig, 100);
    const own = before.indexOf('n04');
    const foreign = before.findIndex((id) => id !== 'n04');
    rig.call('n04', 1, unreachable);
    rig.timers.nowMs += 1_000;
    expect(rig.pick({ hashKey: `user-${foreign}` })).toBe(before[foreign]);
    expect(rig.pick({ hashKey: `user-${own}` })).toBe('n04');
    expect(rig.pick({ hashKey: `user-${own}` })).not.toBe('n04');
  });

  it('goes on to the next node of the key after a failed attempt, the same for everybody', () => {
    const orders = [hashing(ids(5)), hashing(ids(5))].map(({ selector }) => {
      const next = selector.select('greeter', { hashKey: 'a' }) as () => { id: string };
      return Array.from({ length: 5 }, () => next().id);
    });
    expect(orders[0]).toEqual(orders[1]);
    expect(new Set(orders[0]).size).toBe(5);
  });
});
