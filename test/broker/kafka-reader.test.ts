import { describe, expect, test } from '@jest/globals';

import { GroupReader } from '../../src/broker/kafka/group-reader.ts';
import { type KafkaEvent, PartitionReader, type ReaderSetup } from '../../src/broker/kafka/partition-reader.ts';
import type { ReceiveRequest } from '../../src/broker/kit/driver.ts';
import { decodeSubscription, encodeAssignment } from '../../src/kafka/assignment.ts';
import { type CommittedOffset, faults, type FetchRequest, KafkaFault } from '../../src/kafka/kafka.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import type { ConnectionSecurity } from '../../src/tls/connection.ts';
import { fakeCluster, type FakeCalls } from '../kafka/fake.ts';
import { gate, settled } from '../support/waiting.ts';
import { eventually, RecordingLogger, text } from './support.ts';

interface Stage {
  /** The values of each partition. */
  readonly log: readonly (readonly string[])[];
  readonly committed?: Readonly<Record<number, CommittedOffset>>;
  readonly mode?: ReceiveRequest['mode'];
  readonly calls?: FakeCalls;
}

/** A reader of a topic that the test plays. */
function stage({ log, committed = {}, mode = 'consume', calls = {} }: Stage) {
  const at = { host: 'one', port: 1 };
  const commits: Record<number, CommittedOffset>[] = [];
  const all = log.map((_, partition) => partition);
  const fetch = async ({ positions }: FetchRequest) => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    return Array.from(positions, ([partition, from]) => {
      const values = log[partition] ?? [];
      const records = values.map((value, offset) => ({ offset, key: null, value: Buffer.from(value), headers: [] }));
      return { partition, records: records.filter(({ offset }) => offset >= from), next: values.length };
    });
  };
  const cluster = () =>
    fakeCluster(() => ({
      fetch,
      offsets: async (_, partitions, end) =>
        new Map(partitions.map((one) => [one, end === 'start' ? 0 : (log[one]?.length ?? 0)])),
      coordinator: async () => at,
      leaders: async () => new Map(all.map((partition) => [partition, at])),
      join: async () => ({ memberId: 'm', generation: 1, members: [] }),
      sync: async () => encodeAssignment(new Map([['t', all]])),
      heartbeat: async () => undefined,
      leave: async () => undefined,
      committed: async () => new Map(all.map((one) => [one, committed[one] ?? { offset: -1, metadata: '' }])),
      commit: async (_, _topic, offsets) => void commits.push(Object.fromEntries(offsets)),
      ...calls,
    }));
  const logger = new RecordingLogger();
  const woken: string[] = [];
  const setup: ReaderSetup = {
    address: undefined,
    timeoutMs: 1_000,
    runtime: systemRuntime,
    logger,
    security: undefined as unknown as ConnectionSecurity,
    request: { topic: 't', queue: 'q', mode, maxInFlight: 10, maxWaiting: 10, doing: 'test' },
    sink: {
      demand: 10,
      isStopped: false,
      deliver: () => undefined,
      wake: () => void woken.push('woken'),
      fail: () => undefined,
      unsettled: () => [],
      settling: () => [],
      resetSession: () => undefined,
    },
    from: 'start',
    sessionTimeoutMs: 6_000,
    revokeWaitMs: 1_000,
    reads: cluster(),
    control: cluster(),
    leaders: async () => new Map(all.map((partition) => [partition, at])),
  };
  const take = async (reader: PartitionReader, count = 10, fresh = count): Promise<readonly KafkaEvent[]> => {
    for (;;) {
      const events = await reader.poll({ count, fresh, mayLag: false });
      if (events.length > 0) return events;
    }
  };
  return { setup, take, commits, logger, woken };
}
const shown = (events: readonly KafkaEvent[]): string[] => events.map((event) => `${text(event)} ${event.attempt}`);

describe('GroupReader', () => {
  test('commits which events are begun before they are delivered', async () => {
    const { setup, take, commits } = stage({ log: [['a', 'b']] });
    const reader = new GroupReader(setup, 'q');
    await reader.open();
    expect(commits.at(-1)).toEqual({ 0: { offset: 0, metadata: '' } });
    expect(shown(await take(reader, 1))).toEqual(['a 1']);
    expect(commits.at(-1)).toEqual({ 0: { offset: 0, metadata: 'tenon1:3' } });
    const [b] = await take(reader, 1);
    expect(commits.at(-1)).toEqual({ 0: { offset: 0, metadata: 'tenon1:33' } });
    await reader.ack([b as KafkaEvent]);
    expect(commits.at(-1)).toEqual({ 0: { offset: 0, metadata: 'tenon1:3-' } });
    await reader.close();
  });

  test('delivers nothing that it could not commit, and counts no attempt', async () => {
    let refused = 0;
    const commit = async (): Promise<void> => {
      // The first commit is that of where the group begins.
      if ((refused += 1) === 2) throw new KafkaFault(faults.coordinatorNotAvailable, 'no');
    };
    const { setup, take } = stage({ log: [['a']], calls: { commit } });
    const reader = new GroupReader(setup, 'q');
    await reader.open();
    await expect(take(reader)).rejects.toThrow('no');
    expect(shown(await take(reader))).toEqual(['a 1']);
    await reader.close();
  });

  test('goes on where the last owner stopped: what is settled is left out, attempts go on', async () => {
    // In hand at the first attempt, settled, waiting after two, never begun.
    const { setup, take } = stage({
      log: [['a', 'b', 'c', 'd']],
      committed: { 0: { offset: 0, metadata: 'tenon1:3-4' } },
    });
    const reader = new GroupReader(setup, 'q');
    await reader.open();
    expect(shown(await take(reader))).toEqual(['a 2', 'c 3', 'd 1']);
    await reader.close();
  });

  test('delivers an event that was in hand at two deaths alone, of all partitions', async () => {
    const committed = { 0: { offset: 0, metadata: 'tenon1:5' } };
    const { setup, take } = stage({
      log: [
        ['poison', 'a'],
        ['b', 'c'],
      ],
      committed,
    });
    const reader = new GroupReader(setup, 'q');
    await reader.open();
    const first = await take(reader);
    // Where something is in hand already it waits for that.
    const poison = text(first[0] as KafkaEvent) === 'poison' ? first : undefined;
    if (!poison) await reader.ack(first);
    const alone = poison ?? (await take(reader));
    expect(shown(alone)).toEqual(['poison 3']);
    expect(await reader.poll({ count: 10, fresh: 10, mayLag: false })).toEqual([]);
    await reader.ack(alone);
    const rest = await take(reader);
    expect(shown([...(poison ? [] : first), ...rest]).sort()).toEqual(['a 1', 'b 1', 'c 1']);
    await reader.close();
  }, 20_000);

  test('begins an event that was in hand at two deaths once nothing else is in hand', async () => {
    const committed = { 1: { offset: 0, metadata: 'tenon1:5' } };
    const { setup, take } = stage({ log: [['a'], ['poison']], committed });
    const reader = new GroupReader(setup, 'q');
    await reader.open();
    const first = await take(reader);
    expect(shown(first)).toEqual(['a 1']);
    await reader.ack(first);
    expect(shown(await take(reader))).toEqual(['poison 3']);
    await reader.close();
  });

  test('delivers nothing of a partition that was lost while it was written down', async () => {
    const held = gate();
    let commits = 0;
    const commit = async (): Promise<void> => {
      if ((commits += 1) === 2) await held.opened;
    };
    const heartbeat = async (): Promise<void> => {
      if (commits === 2) throw new KafkaFault(faults.unknownMember, 'unknown');
    };
    const { setup } = stage({ log: [['a']], calls: { commit, heartbeat } });
    const reader = new GroupReader(setup, 'q');
    await reader.open();
    const polled = reader.poll({ count: 10, fresh: 10, mayLag: false });
    await eventually('the commit', () => commits === 2);
    await expect(reader.keepAlive()).rejects.toThrow('unknown');
    held.open();
    expect(await polled).toEqual([]);
    await reader.close();
  });

  test('begins no new events where only those that wait may be delivered', async () => {
    const { setup, take } = stage({ log: [['a', 'b', 'c']] });
    const reader = new GroupReader(setup, 'q');
    await reader.open();
    const [a] = await take(reader, 1);
    reader.nack(a as KafkaEvent, 0);
    expect(reader.waiting).toBe(1);
    expect(shown(await take(reader, 10, 0))).toEqual(['a 2']);
    expect(shown(await take(reader, 10, 1))).toEqual(['b 1']);
    await reader.close();
  });

  test('a body that its receiver has changed comes again as it was', async () => {
    const { setup, take } = stage({ log: [['body']] });
    const reader = new GroupReader(setup, 'q');
    await reader.open();
    const [first] = await take(reader);
    first?.body.fill(0);
    reader.nack(first as KafkaEvent, 0);
    expect(shown(await take(reader))).toEqual(['body 2']);
    await reader.close();
  });

  test('keeps what is in hand while a server does not know a topic that stands', async () => {
    let fetches = 0;
    const fetch: FakeCalls['fetch'] = async ({ positions }) => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      if ((fetches += 1) === 2) throw new KafkaFault(faults.unknownTopic, 'not here');
      if (positions.get(0) !== 0) return [];
      return [{ partition: 0, records: [{ offset: 0, key: null, value: null, headers: [] }], next: 1 }];
    };
    const { setup, take, commits } = stage({
      log: [['']],
      committed: { 0: { offset: 0, metadata: '' } },
      calls: { fetch },
    });
    const reader = new GroupReader(setup, 'q');
    await reader.open();
    const events = await take(reader);
    await expect(take(reader)).rejects.toThrow('not here');
    await reader.recover();
    await reader.ack(events);
    expect(commits.at(-1)).toEqual({ 0: { offset: 1, metadata: '' } });
    await reader.close();
  });

  test('wakes its subscription when an event is due again, and at once for those that waited for it', async () => {
    const { setup, take, woken } = stage({ log: [['a']] });
    const reader = new GroupReader(setup, 'q');
    await reader.open();
    const [a] = await take(reader);
    reader.nack(a as KafkaEvent, 20);
    await eventually('it is woken', () => woken.length === 1);
    expect(shown(await take(reader))).toEqual(['a 2']);
    await reader.close();
  });

  test('gives up at its end what nobody has in hand, and the rest as it is settled: others wait for it', async () => {
    const said: string[] = [];
    let topics: readonly string[] = [];
    const join: FakeCalls['join'] = async ({ metadata }) => {
      const own = decodeSubscription(metadata);
      topics = own.topics;
      said.push(`takes ${topics.join()} has ${(own.owned.get('t') ?? []).join()}`);
      return { memberId: 'm', generation: 1, members: [] };
    };
    const sync: FakeCalls['sync'] = async () =>
      encodeAssignment(new Map(topics.map((topic) => [topic, [0, 1, 2]] as const)));
    const { setup, take, commits } = stage({ log: [['a'], ['b'], []], calls: { join, sync } });
    const reader = new GroupReader(setup, 'q');
    await reader.open();
    const events: KafkaEvent[] = [];
    while (events.length < 2) events.push(...(await take(reader)));
    const [a, b] = events.toSorted((one, other) => one.window.partition - other.window.partition);
    reader.stop();
    await eventually('the idle one is given up', () => said.at(-1) === 'takes  has 0,1');
    await reader.ack([b as KafkaEvent]);
    await eventually('the second as well', () => said.at(-1) === 'takes  has 0');
    expect(commits.some((one) => one[1]?.offset === 1)).toBe(true);
    expect(a?.window.isLost).toBe(false);
    await reader.ack([a as KafkaEvent]);
    await eventually('the last one', () => said.at(-1) === 'takes  has ');
    expect(commits.some((one) => one[0]?.offset === 1)).toBe(true);
    await reader.close();
  });

  test('leaves at once if its handlers end soon: no rebalance holds it up', async () => {
    let joins = 0;
    const join: FakeCalls['join'] = async () => {
      joins += 1;
      return { memberId: 'm', generation: 1, members: [] };
    };
    const { setup } = stage({ log: [['a']], calls: { join } });
    const reader = new GroupReader(setup, 'q');
    await reader.open();
    reader.stop();
    await reader.close();
    expect(joins).toBe(1);
  });

  test('sends heartbeats while the leaders are not found', async () => {
    const { setup } = stage({ log: [['a']] });
    let [asked, now] = [0, 0];
    const leaders: ReaderSetup['leaders'] = () => ((asked += 1) === 1 ? setup.leaders() : new Promise(() => undefined));
    const clock = { ...setup.runtime.clock, monotonicMs: () => now };
    const reader = new GroupReader({ ...setup, leaders, runtime: { ...setup.runtime, clock } }, 'q');
    await reader.open();
    now += 60_000;
    await reader.keepAlive();
    await reader.keepAlive();
    expect(asked).toBe(2);
    await reader.close();
  });
});

describe('PartitionReader', () => {
  const body = Buffer.alloc(1_024 * 1_024);
  const bodies = (partition: number, from: number, count: number) => {
    const records = Array.from({ length: count }, (_, index) => ({
      offset: from + index,
      key: null,
      value: body,
      headers: [],
    }));
    return { partition, records, next: from + count };
  };
  const soon = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

  test('large events of many partitions do not fill the memory: some are read ahead of all together', async () => {
    let read = 0;
    const fetch: FakeCalls['fetch'] = async ({ positions }) => {
      await soon();
      read += positions.size;
      return Array.from(positions, ([partition, from]) => bodies(partition, from, 1));
    };
    const { setup, take } = stage({ log: Array.from({ length: 8 }, () => []), calls: { fetch } });
    const reader = new PartitionReader(setup);
    await reader.open();
    expect(await settled(() => read)).toBe(32);
    let taken = 0;
    while (taken < 100) {
      const events = await take(reader);
      await reader.ack(events);
      taken += events.length;
    }
    expect(read - taken).toBeLessThanOrEqual(40);
    await reader.close();
  });

  test('with room for one event each partition has its turn', async () => {
    const { setup, take } = stage({ log: [Array.from({ length: 20 }, () => 'a'), ['b', 'b', 'b']] });
    const reader = new PartitionReader(setup);
    await reader.open();
    await soon();
    const order: string[] = [];
    for (let taken = 0; taken < 6; taken += 1) {
      const events = await take(reader, 1);
      order.push(...events.map((event) => text(event)));
      await reader.ack(events);
    }
    expect(order).toEqual(['a', 'b', 'a', 'b', 'a', 'b']);
    await reader.close();
  });

  test('a partition whose large events are not begun does not keep others from being read', async () => {
    let fetches = 0;
    const fetch: FakeCalls['fetch'] = async ({ positions }) => {
      await soon();
      fetches += 1;
      return Array.from(positions, ([partition, from]) => {
        if (partition === 0) return bodies(0, from, 40);
        return fetches > 1 ? bodies(1, from, 1) : { partition, records: [], next: undefined };
      });
    };
    const { setup, take } = stage({ log: [[], []], calls: { fetch } });
    const reader = new PartitionReader(setup);
    await reader.open();
    const seen = new Set<number>();
    for (let polls = 0; seen.size < 2 && polls < 20; polls += 1) {
      for (const { window } of await take(reader, 1)) seen.add(window.partition);
      await soon();
    }
    expect([...seen].sort((a, b) => a - b)).toEqual([0, 1]);
    await reader.close();
  });

  test('reads all partitions, and settles at once what is only watched', async () => {
    const values = Array.from({ length: 2_500 }, (_, index) => String(index));
    const { setup, take } = stage({ log: [values], mode: 'watch' });
    const reader = new PartitionReader(setup);
    await reader.open();
    const seen: string[] = [];
    while (seen.length < 2_500) seen.push(...(await take(reader)).map(text));
    expect(seen).toEqual(values);
    await reader.close();
  });

  test('says in its next poll that reading has failed, and reads on once it was recovered', async () => {
    let failures = 1;
    const { setup, take } = stage({ log: [['a']] });
    const broken = fakeCluster(() => ({
      offsets: async () => new Map([[0, 0]]),
      fetch: async () => {
        if ((failures -= 1) >= 0) throw new KafkaFault(faults.notLeader, 'moved');
        return [{ partition: 0, records: [{ offset: 0, key: null, value: null, headers: [] }], next: 1 }];
      },
    }));
    const reader = new PartitionReader({ ...setup, reads: broken });
    await reader.open();
    await expect(take(reader)).rejects.toThrow('moved');
    await expect(take(reader)).rejects.toThrow('moved');
    await reader.recover();
    expect(shown(await take(reader))).toEqual([' 1']);
    await reader.close();
  });
});
