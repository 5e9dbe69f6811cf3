import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import {
  assign,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
  type Subscription,
} from '../../src/kafka/assignment.ts';

const member = (owned: readonly number[] = [], topic = 'orders'): Subscription => ({
  topics: [topic],
  owned: new Map([[topic, owned]]),
});
const ofTopic = (assigned: ReturnType<typeof assign>, topic = 'orders'): Record<string, readonly number[]> =>
  Object.fromEntries(Array.from(assigned, ([id, partitions]) => [id, partitions.get(topic) ?? []]));

describe("what members say of themselves, in the form of Kafka's consumer protocol", () => {
  test('is read as it was written', () => {
    const subscription = { topics: ['orders', 'größe'], owned: new Map([['orders', [0, 7]]]) };
    expect(decodeSubscription(encodeSubscription(subscription))).toEqual(subscription);
    expect(decodeAssignment(encodeAssignment(new Map([['orders', [3]]])))).toEqual(new Map([['orders', [3]]]));
    expect(decodeAssignment(Buffer.alloc(0))).toEqual(new Map());
  });

  test('has these bytes in version 1', () => {
    const bytes = encodeSubscription({ topics: ['a'], owned: new Map([['a', [2]]]) });
    expect(bytes.toString('hex')).toBe(
      '0001' + '00000001' + '000161' + 'ffffffff' + '00000001' + '000161' + '00000001' + '00000002',
    );
  });

  test('owns nothing in version 0, whatever user data it has', () => {
    const bytes = Buffer.from('0000' + '00000001' + '000161' + '00000002' + 'beef', 'hex');
    expect(decodeSubscription(bytes)).toEqual({ topics: ['a'], owned: new Map() });
  });
});

describe('assign', () => {
  test('gives a single member all partitions', () => {
    expect(ofTopic(assign(new Map([['a', member()]]), new Map([['orders', 3]])))).toEqual({ a: [0, 1, 2] });
  });

  test('gives a partition that has an owner to nobody else before the owner has given it up', () => {
    const counts = new Map([['orders', 4]]);
    const first = assign(
      new Map([
        ['a', member([0, 1, 2, 3])],
        ['b', member()],
      ]),
      counts,
    );
    expect(ofTopic(first)).toEqual({ a: [0, 1], b: [] });
    const second = assign(
      new Map([
        ['a', member([0, 1])],
        ['b', member()],
      ]),
      counts,
    );
    expect(ofTopic(second)).toEqual({ a: [0, 1], b: [2, 3] });
  });

  test('gives the partitions of members that left to those that stay, who keep what they have', () => {
    const assigned = assign(
      new Map([
        ['b', member([2])],
        ['c', member([5])],
      ]),
      new Map([['orders', 6]]),
    );
    expect(ofTopic(assigned)['b']).toContain(2);
    expect(ofTopic(assigned)['c']).toContain(5);
    expect(
      Object.values(ofTopic(assigned))
        .flat()
        .toSorted((a, b) => a - b),
    ).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test('gives nobody a partition that two members claim', () => {
    const assigned = assign(
      new Map([
        ['a', member([0])],
        ['b', member([0])],
      ]),
      new Map([['orders', 1]]),
    );
    expect(ofTopic(assigned)).toEqual({ a: [], b: [] });
  });

  test('gives nobody what a member has in hand that takes no more, until it has given it up', () => {
    const counts = new Map([['orders', 3]]);
    const ending = (owned: readonly number[]): Subscription => ({ topics: [], owned: new Map([['orders', owned]]) });
    const rounds = [[0, 1, 2], [1], []].map((owned) =>
      ofTopic(
        assign(
          new Map([
            ['a', ending(owned)],
            ['b', member()],
          ]),
          counts,
        ),
      ),
    );
    expect(rounds).toEqual([
      { a: [], b: [] },
      { a: [], b: [0, 2] },
      { a: [], b: [0, 1, 2] },
    ]);
  });

  test('forgets partitions that are no more', () => {
    const assigned = assign(new Map([['a', member([0, 9])]]), new Map([['orders', 1]]));
    expect(ofTopic(assigned)).toEqual({ a: [0] });
  });

  test('settles, evenly and with each partition once, whoever had what before', () => {
    const owners = fc.array(fc.integer({ min: -1, max: 4 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(owners, fc.integer({ min: 1, max: 5 }), (had, count) => {
        const ids = Array.from({ length: count }, (_, index) => `member-${index}`);
        const counts = new Map([['orders', had.length]]);
        let owned = ids.map((_, index) => had.flatMap((owner, partition) => (owner === index ? [partition] : [])));
        for (let round = 0; round < 3; round += 1) {
          const members = new Map(ids.map((id, index) => [id, member(owned[index])]));
          const assigned = ofTopic(assign(members, counts));
          for (const [index, id] of ids.entries()) {
            for (const partition of assigned[id] ?? []) {
              const others = owned.filter((_, other) => other !== index).flat();
              expect(others).not.toContain(partition);
            }
          }
          owned = ids.map((id) => [...(assigned[id] ?? [])]);
        }
        expect(owned.flat().sort((a, b) => a - b)).toEqual(had.map((_, partition) => partition));
        const sizes = owned.map(({ length }) => length);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
      }),
    );
  });

  test('assigns the topics of a group to those that subscribe to them', () => {
    const members = new Map([
      ['a', member()],
      ['b', member([], 'payments')],
    ]);
    const assigned = assign(
      members,
      new Map([
        ['orders', 2],
        ['payments', 1],
      ]),
    );
    expect([ofTopic(assigned), ofTopic(assigned, 'payments')]).toEqual([
      { a: [0, 1], b: [] },
      { a: [], b: [0] },
    ]);
  });
});
