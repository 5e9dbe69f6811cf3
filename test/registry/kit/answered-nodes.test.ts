import { describe, expect, it } from '@jest/globals';

import { AnsweredNodes, type ClaimedNode, ClaimedNodes } from '../../../src/registry/kit/answered-nodes.ts';
import { silentLogger } from '../../../src/logger/logger.ts';
import type { Random } from '../../../src/runtime/runtime.ts';
import { virtualRuntime } from '../../../src/testing/virtual-time.ts';
import { nodeOf, serviceOf } from '../support.ts';

const { signal } = new AbortController();
const ttlMs = 10_000;

/** Processes that hear each other, in virtual time. */
function scene() {
  const runtime = virtualRuntime(1_000_000);
  const told: string[] = [];
  const all: AnsweredNodes[] = [];
  const announce = (by: string, action: 'create' | 'delete', node: ClaimedNode): void => {
    const [{ id, address } = { id: '', address: '' }] = node.service.nodes;
    told.push(`${by}: ${action} ${id} at ${address}`);
    for (const one of all) one.compare(action, node);
  };
  const process = (name: string): AnsweredNodes => {
    const random: Random = { ...runtime.random, uuid: () => name };
    const own = new AnsweredNodes({
      ...runtime,
      random,
      logger: silentLogger,
      registry: 'scripted',
      hear: async () => {},
      deliver: async (action, node) => announce(name, action, node),
      tell: (node) => announce(name, 'create', node),
    });
    all.push(own);
    return own;
  };
  const take = (): string[] => told.splice(0);
  return { process, take, timers: runtime.timers };
}

const registrationAt = (address: string) => {
  const node = nodeOf('n1', { address });
  return { service: serviceOf('greeter', [node]), node, ttlMs };
};
const here = registrationAt('127.0.0.1:1');
const elsewhere = registrationAt('127.0.0.1:2');

describe('the nodes that a process answers for', () => {
  it('are those that it announces, each with the rest of its lease, until it withdraws them', async () => {
    const { process, take, timers } = scene();
    const one = process('one');
    expect(one.answers()).toEqual([]);
    await one.announce(here, signal);
    timers.nowMs += 4_000;
    expect(one.answers().map(({ leaseMs, claim }) => [leaseMs, claim.owner])).toEqual([[6_000, 'one']]);
    one.announceAll();
    await one.withdraw('greeter', 'n1', signal);
    await one.withdraw('greeter', 'n1', signal);
    expect(one.answers()).toEqual([]);
    expect(take()).toEqual([
      'one: create n1 at 127.0.0.1:1',
      'one: create n1 at 127.0.0.1:1',
      'one: delete n1 at 127.0.0.1:1',
    ]);
  });

  it('are answered for after their release until another instance announces them, or their lease ends', async () => {
    const { process, take, timers } = scene();
    const [first, second] = [process('first'), process('second')];
    await first.announce(here, signal);
    await first.release('greeter', 'n1');
    expect(first.answers()).toHaveLength(1);
    await second.announce(here, signal);
    expect([first.answers(), second.answers().length]).toEqual([[], 1]);
    await second.release('greeter', 'n1');
    expect(second.answers()).toHaveLength(1);
    timers.nowMs += ttlMs;
    expect(second.answers()).toEqual([]);
    expect(take()).toEqual(['first: create n1 at 127.0.0.1:1', 'second: create n1 at 127.0.0.1:1']);
  });

  it('are withdrawn after their release, whoever has announced them since at the same address', async () => {
    for (const isContinued of [false, true]) {
      const { process, take } = scene();
      const [first, second] = [process('first'), process('second')];
      await first.announce(here, signal);
      await first.release('greeter', 'n1');
      if (isContinued) {
        await second.announce(here, signal);
        second.close();
      }
      take();
      await first.withdraw('greeter', 'n1', signal);
      await first.withdraw('greeter', 'n1', signal);
      expect(take()).toEqual(['first: delete n1 at 127.0.0.1:1']);
      expect(first.answers()).toEqual([]);
    }
  });

  it('are not withdrawn after their release if somebody else has the id, or has withdrawn them already', async () => {
    const { process, take } = scene();
    const [first, second] = [process('first'), process('second')];
    await first.announce(here, signal);
    await first.release('greeter', 'n1');
    await second.announce(elsewhere, signal);
    take();
    await first.withdraw('greeter', 'n1', signal);
    expect(take()).toEqual([]);
    await second.withdraw('greeter', 'n1', signal);
    const [third, fourth] = [process('third'), process('fourth')];
    await third.announce(here, signal);
    await third.release('greeter', 'n1');
    await fourth.announce(here, signal);
    await fourth.withdraw('greeter', 'n1', signal);
    take();
    await third.withdraw('greeter', 'n1', signal);
    expect(take()).toEqual([]);
  });

  it('are withdrawn later if the withdrawal failed', async () => {
    const { timers, clock, random } = virtualRuntime(1_000_000);
    let isAway = false;
    const told: string[] = [];
    const own = new AnsweredNodes({
      timers,
      clock,
      random,
      logger: silentLogger,
      registry: 'scripted',
      hear: async () => {},
      deliver: async (action) => {
        if (isAway) throw new Error('away');
        told.push(action);
      },
      tell: () => {},
    });
    await own.announce(here, signal);
    await own.release('greeter', 'n1');
    isAway = true;
    await expect(own.withdraw('greeter', 'n1', signal)).rejects.toThrow('away');
    isAway = false;
    await own.withdraw('greeter', 'n1', signal);
    expect(told).toEqual(['create', 'delete']);
  });

  it('are left to the last of several processes that announce one id, and come back when it has left', async () => {
    const { process, take } = scene();
    const [first, second] = [process('first'), process('second')];
    await first.announce(here, signal);
    await second.announce(elsewhere, signal);
    expect([first.answers().length, second.answers().length]).toEqual([0, 1]);
    take();
    await first.announce(here, signal);
    expect(take()).toEqual([]);
    await second.withdraw('greeter', 'n1', signal);
    expect(take()).toEqual(['second: delete n1 at 127.0.0.1:2', 'first: create n1 at 127.0.0.1:1']);
    expect(first.answers()).toHaveLength(1);
  });
});

describe('answers of many', () => {
  const claimed = (address: string, owner: string, sinceMs: number): ClaimedNode => ({
    service: registrationAt(address).service,
    leaseMs: 1,
    claim: { owner, sinceMs },
  });

  it('hold one node for each id, that of the last who announced it, as far as there is room', () => {
    const found = new ClaimedNodes((count) => count < 1);
    for (const one of [claimed('a:1', 'x', 2), claimed('b:1', 'y', 1), claimed('c:1', 'y', 2), claimed('d:1', '', 0)])
      found.add(one);
    found.add({ ...claimed('e:1', 'x', 9), service: serviceOf('greeter', ['n2']) });
    expect(found.all.map(({ service }) => service.nodes[0]?.address)).toEqual(['c:1']);
  });
});
