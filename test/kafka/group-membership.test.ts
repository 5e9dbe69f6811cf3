import { describe, expect, test } from '@jest/globals';

import { decodeAssignment, decodeSubscription, encodeAssignment } from '../../src/kafka/assignment.ts';
import { GroupMembership } from '../../src/kafka/group-membership.ts';
import { faults, type GroupMember, KafkaFault } from '../../src/kafka/kafka.ts';
import { systemTimers } from '../../src/runtime/system.ts';
import { fakeCluster } from './fake.ts';

const fault = (code: number): KafkaFault => new KafkaFault(code, `refused with ${code}`);

/** A member of a group whose coordinator the test plays: each call fails with the next of `errors` for it, if any. */
function joined(errors: Partial<Record<'join' | 'sync' | 'heartbeat' | 'commit' | 'coordinator', KafkaFault[]>> = {}) {
  const calls: string[] = [];
  const assigned: (readonly number[])[] = [];
  const committed: [GroupMember, number][] = [];
  let [generation, members, lost] = [0, 0, 0];
  let owned: readonly number[] = [];
  const ofOthers = new Set<number>();
  const answer = (call: keyof typeof errors): void => {
    calls.push(call);
    const error = errors[call]?.shift();
    if (error) throw error;
  };
  const cluster = fakeCluster(() => ({
    coordinator: async () => (answer('coordinator'), { host: 'one', port: 1 }),
    leaders: async () => new Map([0, 1].map((partition) => [partition, { host: 'one', port: 1 }])),
    join: async ({ memberId, metadata }) => {
      answer('join');
      calls.push(`owns ${(decodeSubscription(metadata).owned.get('t') ?? []).join(' ')}`);
      const id = memberId === '' ? `member-${(members += 1)}` : memberId;
      return { memberId: id, generation: (generation += 1), members: [{ memberId: id, metadata }] };
    },
    sync: async ({ memberId }, assignments) => {
      answer('sync');
      const own = decodeAssignment(assignments.get(memberId) ?? encodeAssignment(new Map())).get('t') ?? [];
      return encodeAssignment(new Map([['t', own.filter((partition) => !ofOthers.has(partition))]]));
    },
    heartbeat: async () => answer('heartbeat'),
    commit: async (member, _topic, offsets) => {
      answer('commit');
      committed.push([member, offsets.get(0)?.offset ?? -1]);
    },
    leave: async () => void calls.push('leave'),
  }));
  const giveUp = (partition: number): void => {
    ofOthers.add(partition);
    owned = owned.filter((one) => one !== partition);
  };
  const init = { cluster, timers: systemTimers, group: 'g', topic: 't', sessionTimeoutMs: 6_000 };
  const membership = new GroupMembership({
    ...init,
    owned: () => owned,
    onAssigned: async (partitions) => {
      assigned.push(partitions);
      owned = partitions;
    },
    onLost: () => {
      lost += 1;
      owned = [];
    },
  });
  const commit = (offset = 1): Promise<void> => membership.commit(() => new Map([[0, { offset, metadata: '' }]]));
  return { membership, commit, calls, assigned, committed, giveUp, lost: () => lost };
}

describe('GroupMembership', () => {
  test('joins, and gets the partitions that it assigns to itself as the only member', async () => {
    const { membership, calls, assigned } = joined();
    await membership.join();
    expect([calls, assigned]).toEqual([['coordinator', 'join', 'owns ', 'sync'], [[0, 1]]]);
  });

  test('joins again with what it owns when a heartbeat says that the group does', async () => {
    const { membership, calls, lost } = joined({ heartbeat: [fault(faults.rebalanceInProgress)] });
    await membership.join();
    calls.length = 0;
    await membership.heartbeat();
    expect(calls).toEqual(['heartbeat', 'join', 'owns 0 1', 'sync', 'heartbeat']);
    expect(lost()).toBe(0);
  });

  test('commits in the generation that it is in after a rebalance', async () => {
    const { membership, commit, committed } = joined({ commit: [fault(faults.rebalanceInProgress)] });
    await membership.join();
    await commit(7);
    expect(committed).toEqual([[{ group: 'g', memberId: 'member-1', generation: 2 }, 7]]);
  });

  test.each([
    ['it is not known any more', faults.unknownMember],
    ['the group went on without it', faults.illegalGeneration],
  ])('drops what it has and joins anew when %s', async (_, code) => {
    for (const call of ['heartbeat', 'commit'] as const) {
      const { membership, commit, calls, committed, lost } = joined({ [call]: [fault(code)] });
      await membership.join();
      calls.length = 0;
      await expect(call === 'heartbeat' ? membership.heartbeat() : commit()).rejects.toThrow(`refused with ${code}`);
      expect(calls).toEqual([call, 'join', 'owns ', 'sync']);
      expect([lost(), committed]).toEqual([1, []]);
      await commit(3);
      expect(committed.map(([{ memberId }]) => memberId)).toEqual(['member-2']);
    }
  });

  test('waits for a rebalance before it commits', async () => {
    const { membership, commit, calls } = joined();
    await membership.join();
    calls.length = 0;
    const joining = membership.join();
    await commit();
    await joining;
    expect(calls).toEqual(['join', 'owns 0 1', 'sync', 'commit']);
  });

  test('joins once more if a partition was given up while it joined', async () => {
    const { membership, calls, giveUp } = joined();
    await membership.join();
    calls.length = 0;
    const joining = membership.join();
    giveUp(1);
    await joining;
    expect(calls.filter((call) => call.startsWith('owns'))).toEqual(['owns 0 1', 'owns 0']);
  });

  test('looks for another coordinator when the one that it has is none', async () => {
    const { membership, calls } = joined({ heartbeat: [fault(faults.notCoordinator)] });
    await membership.join();
    calls.length = 0;
    await expect(membership.heartbeat()).rejects.toThrow('refused with 16');
    await membership.heartbeat();
    expect(calls).toEqual(['heartbeat', 'coordinator', 'heartbeat']);
  });

  test('tries again while the coordinator loads its groups', async () => {
    const { membership, assigned } = joined({
      join: [fault(faults.coordinatorLoading)],
      sync: [fault(faults.rebalanceInProgress)],
    });
    await membership.join();
    expect(assigned).toEqual([[0, 1]]);
  });

  test('joins again if it has not heard which partitions it got', async () => {
    const { membership, calls, assigned } = joined({ sync: [fault(faults.topicDenied)] });
    await expect(membership.join()).rejects.toThrow('refused with 29');
    calls.length = 0;
    await membership.heartbeat();
    expect([calls, assigned]).toEqual([['join', 'owns ', 'sync', 'heartbeat'], [[0, 1]]]);
  });

  test('that takes no more partitions joins with those that it has, also after a join that asked for some', async () => {
    const { membership, calls, assigned } = joined();
    const joining = membership.join();
    await membership.drain();
    await joining;
    // What it had was given up meanwhile.
    expect(calls.filter((call) => call.startsWith('owns'))).toEqual(['owns ', 'owns 0 1', 'owns ']);
    expect(assigned).toEqual([[0, 1], [], []]);
  });

  test('joins no more once it has ended, and still commits', async () => {
    const { membership, commit, calls } = joined({ commit: [fault(faults.illegalGeneration)] });
    await membership.join();
    calls.length = 0;
    await membership.end();
    await expect(commit()).rejects.toThrow('refused with 22');
    await commit();
    await membership.leave();
    expect(calls).toEqual(['commit', 'commit', 'leave']);
  });

  test('reads an assignment of another leader', () => {
    expect(decodeAssignment(encodeAssignment(new Map([['t', [1]]]))).get('t')).toEqual([1]);
  });
});
