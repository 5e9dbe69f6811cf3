import { describe, expect, it } from '@jest/globals';

import { Metadata } from '../../src/context/metadata.ts';
import { Code } from '../../src/errors/errors.ts';
import type { NextNode, SelectOptions } from '../../src/selector/selector.ts';
import { nodeOf } from '../registry/support.ts';
import { errorOf, ids, lost, rigFor, selectorNames, unreachable } from './support.ts';

const three = ['n1', 'n2', 'n3'];

/** The options of the call of a number: keys for the selector that needs one. */
const optionsOf = (call: number): SelectOptions => ({ hashKey: `user-${call % 500}` });

/** Calls every 5 ms of virtual time of a fleet in which one node is down for a while. */
function fleet(name: string, count = 3) {
  const rig = rigFor(name, ids(count));
  const { selector, timers } = rig;
  const victim = 'n2';
  let calls = 0;
  let isDown = false;
  let hops = 0;
  let failures = 0;
  let lastMs = Number.NEGATIVE_INFINITY;
  const call = (): string => {
    const next = selector.select('greeter', optionsOf((calls += 1))) as NextNode;
    for (let tried = 1; tried <= 3; tried += 1) {
      const node = next();
      selector.begin?.('greeter', node);
      if (isDown && node.id === victim) {
        hops += 1;
        selector.mark('greeter', node, unreachable, 1);
        continue;
      }
      selector.mark('greeter', node, undefined, 10);
      if (node.id === victim) lastMs = timers.nowMs;
      return node.id;
    }
    failures += 1;
    return '';
  };
  const run = (forMs: number, until = (_id: string): boolean => false): void => {
    for (const endMs = timers.nowMs + forMs; timers.nowMs < endMs; timers.nowMs += 5) if (until(call())) return;
  };
  return {
    rig,
    run,
    victim,
    kill(inFlight: number) {
      for (let one = 0; one < inFlight; one += 1) selector.begin?.('greeter', nodeOf(victim));
      isDown = true;
      for (let one = 0; one < inFlight; one += 1) selector.mark('greeter', nodeOf(victim), lost, 5);
    },
    revive() {
      isDown = false;
    },
    seen: () => ({ hops, failures, lastMs }),
  };
}

describe.each(selectorNames)('a node that is away, with the selector %s,', (name) => {
  it.each([0, 1, 3, 20])(
    'gets calls again within a second of listening, however long it was away, and costs no call: %d lost at its end',
    (inFlight) => {
      for (const awayMs of [50, 400, 990, 1_005, 1_500, 3_000, 4_990, 5_005, 7_777, 20_000, 100_000]) {
        const { rig, run, victim, kill, revive, seen } = fleet(name);
        run(1_000);
        kill(inFlight);
        run(awayMs);
        revive();
        const sinceMs = rig.timers.nowMs;
        run(60_000, (id) => id === victim);
        // Until the second is over, and a call comes that may go there.
        expect(rig.timers.nowMs - sinceMs).toBeLessThanOrEqual(1_100);
        expect(seen().failures).toBe(0);
        // After 0.1, 0.3, 0.7, 1.5 seconds and every second, beside the first that found it away.
        expect(seen().hops).toBeLessThanOrEqual(6 + awayMs / 1_000);
        // And from then on its share.
        run(2_000);
        expect(rig.timers.nowMs - seen().lastMs).toBeLessThan(500);
      }
    },
  );

  it('is left to the next call by a caller that passes over it, as one whose circuit breaker is open', () => {
    const { selector, timers, call } = rigFor(name, three);
    (selector.select('greeter') as NextNode)();
    call('n2', 1, unreachable);
    timers.nowMs += 100;
    for (let time = 0; time < 5; time += 1) {
      const next = selector.select('greeter') as NextNode;
      expect(next().id).toBe('n2');
      expect(next().id).not.toBe('n2');
      timers.nowMs += 1;
    }
    const next = selector.select('greeter') as NextNode;
    expect(next().id).toBe('n2');
    selector.begin?.('greeter', nodeOf('n2'));
    next();
    expect((selector.select('greeter') as NextNode)().id).not.toBe('n2');
  });

  it('is left to the next call by one that could not be sent for want of credentials', () => {
    const { selector, timers, call } = rigFor(name, three);
    (selector.select('greeter') as NextNode)();
    call('n2', 1, unreachable);
    timers.nowMs += 100;
    const pick = (): string => (selector.select('greeter') as NextNode)().id;
    expect(pick()).toBe('n2');
    call('n2', 1, errorOf('client.no_credentials'));
    expect(pick()).toBe('n2');
    for (const reason of ['transport.message_too_large', 'codec.encode']) {
      call('n2', 1, errorOf(reason, Code.ResourceExhausted));
      expect(pick()).toBe('n2');
    }
    call('n2', 1, errorOf('client.closed', Code.Cancelled));
    expect(pick()).not.toBe('n2');
  });

  it('is tried again soon after a call that its caller left at once, and late after one that got no answer', () => {
    const { selector, timers, call, begin, end } = rigFor(name, three);
    const pick = (): string => (selector.select('greeter') as NextNode)().id;
    const cancelled = errorOf('call.cancelled', Code.Cancelled);
    pick();
    call('n2', 1, unreachable);
    timers.nowMs += 100;
    for (const waitMs of [100, 200, 400, 800, 1_000, 1_000]) {
      expect(pick()).toBe('n2');
      begin('n2');
      timers.nowMs += 3;
      end('n2', cancelled, 3);
      timers.nowMs += waitMs - 1;
      expect(pick()).not.toBe('n2');
      timers.nowMs += 1;
    }
    for (const waitMs of [1_000, 2_000, 4_000]) {
      expect(pick()).toBe('n2');
      begin('n2');
      timers.nowMs += 1_000;
      end('n2', cancelled);
      timers.nowMs += waitMs - 1_001;
      expect(pick()).not.toBe('n2');
      timers.nowMs += 1;
    }
  });

  it('is not taken back by calls that were sent before it was lost, but by one that was sent since', () => {
    const { selector, timers, call, begin } = rigFor(name, three);
    const pick = (): string => (selector.select('greeter') as NextNode)().id;
    pick();
    for (const id of ['n1', 'n3']) call(id, 1, undefined, 10);
    const startMs = timers.nowMs;
    for (let made = 0; made < 3; made += 1) begin('n2');
    timers.nowMs += 10;
    call('n2', 1, errorOf('server.draining'));
    timers.nowMs += 10;
    selector.firstReply?.('greeter', nodeOf('n2'), undefined, startMs);
    selector.mark('greeter', nodeOf('n2'), undefined, undefined, { answer: Code.Ok, startMs });
    selector.mark('greeter', nodeOf('n2'), undefined, 20, { answer: Code.Ok });
    for (let made = 0; made < 50; made += 1) expect(pick()).not.toBe('n2');
    timers.nowMs += 100;
    expect(pick()).toBe('n2');
    begin('n2');
    selector.mark('greeter', nodeOf('n2'), errorOf('call.cancelled', Code.Cancelled), undefined, { startMs });
    expect(pick()).not.toBe('n2');
    selector.mark('greeter', nodeOf('n2'), undefined, 1, { answer: Code.Ok, startMs: timers.nowMs });
    expect(Array.from({ length: 100 }, pick)).toContain('n2');
  });

  it('is returned once by each call, also by the one that tries it', () => {
    const { selector, timers, call } = rigFor(name, ids(5));
    (selector.select('greeter') as NextNode)();
    call('n2', 1, unreachable);
    call('n4', 3, lost);
    timers.nowMs += 100;
    const next = selector.select('greeter') as NextNode;
    const order = Array.from({ length: 5 }, () => next().id);
    expect(order[0]).toBe('n2');
    expect([...order].sort()).toEqual(ids(5));
    expect(ids(5)).toContain(next().id);
  });

  it('is back with the first sign of an answer, even if how long it took says nothing', () => {
    const { selector, timers, call, begin, end } = rigFor(name, three);
    (selector.select('greeter') as NextNode)();
    call('n2', 1, unreachable);
    timers.nowMs += 100;
    const pick = (): string => (selector.select('greeter') as NextNode)().id;
    expect(pick()).toBe('n2');
    begin('n2');
    expect(Array.from({ length: 100 }, pick)).not.toContain('n2');
    selector.firstReply?.('greeter', nodeOf('n2'));
    end('n2', errorOf('call.cancelled', Code.Cancelled));
    expect(Array.from({ length: 100 }, pick)).toContain('n2');
  });
});

describe.each(selectorNames)('of many nodes that are away, with the selector %s,', (name) => {
  it('the one that is due longest is tried, however few calls there are', () => {
    for (const [index, back] of ids(20).slice(0, 10).entries()) {
      const rig = rigFor(name, ids(20));
      const { selector, timers } = rig;
      const down = new Set(ids(20).slice(0, 10));
      let calls = index * 10_000;
      const call = (): string => {
        const next = selector.select('greeter', { hashKey: `user-${(calls += 1)}` }) as NextNode;
        for (;;) {
          const node = next();
          selector.begin?.('greeter', node);
          selector.mark('greeter', node, down.has(node.id) ? unreachable : undefined, 1);
          if (!down.has(node.id)) return node.id;
        }
      };
      for (let made = 0; made < 5_000; made += 1, timers.nowMs += 1) call();
      down.delete(back);
      const sinceMs = timers.nowMs;
      do timers.nowMs += 500;
      while (call() !== back && timers.nowMs - sinceMs < 600_000);
      // Ten calls at most, and with keys until one comes that is its own.
      expect(timers.nowMs - sinceMs).toBeLessThanOrEqual(name === 'consistent-hash' ? 120_000 : 6_000);
    }
  });

  it('one that callers pass over keeps no other from being tried', () => {
    const { selector, timers, call } = rigFor(name, ids(5));
    (selector.select('greeter') as NextNode)();
    call('n2', 1, unreachable);
    call('n4', 1, unreachable);
    timers.nowMs += 101;
    const first: string[] = [];
    for (let made = 0; made < 4; made += 1, timers.nowMs += 1) {
      const next = selector.select('greeter') as NextNode;
      first.push(next().id);
      next();
    }
    expect(first).toEqual(['n2', 'n4', 'n2', 'n4']);
  });
});

describe('a key whose node is away with another', () => {
  it('has its node tried by the next call, or the one after it', () => {
    const rig = rigFor('consistent-hash', ids(20));
    for (let key = 0; key < 20; key += 1) {
      const own = { hashKey: `tenant-${key}` };
      rig.selector.reset('greeter');
      const owner = rig.pick(own);
      for (const other of ids(20).filter((id) => id !== owner)) {
        rig.selector.reset('greeter');
        rig.call(owner, 1, unreachable);
        rig.call(other, 1, unreachable);
        rig.timers.nowMs += 1_000;
        // If the other is the second of the key, it is tried as well.
        const seen = [rig.pick(own), rig.pick(own)];
        expect(seen).toContain(owner);
      }
    }
  });
});

describe.each(selectorNames)('a call that cannot go on to another node, with the selector %s,', (name) => {
  it.each([1, 3])('does not try one that is away, and leaves it to others: after %d failures', (count) => {
    const { selector, timers, call, pick } = rigFor(name, three);
    pick();
    call('n2', count, count === 1 ? unreachable : lost);
    for (let second = 0; second < 4; second += 1) {
      timers.nowMs += 1_000;
      for (let made = 0; made < 20; made += 1) {
        const once = { isSentOnce: true, hashKey: `user-${made}` };
        expect(pick(once)).not.toBe('n2');
        expect(pick({ ...once, filters: [(records) => records] })).not.toBe('n2');
      }
    }
    expect((selector.select('greeter') as NextNode)().id).toBe('n2');
  });

  it('tries it where no other call has done so for the time of the longest ejection', () => {
    const { timers, call, pick } = rigFor(name, three, { maxEjectMs: 20_000 });
    const once = { isSentOnce: true };
    pick();
    call('n2', 1, unreachable);
    timers.nowMs += 20_099;
    expect(pick(once)).not.toBe('n2');
    timers.nowMs += 1;
    expect(pick(once)).toBe('n2');
    call('n2', 1, unreachable);
    timers.nowMs += 20_000;
    expect(pick(once)).not.toBe('n2');
  });
});

describe('a node whose connections broke three times in a row', () => {
  const pick = (rig: ReturnType<typeof rigFor>): string => (rig.selector.select('greeter') as NextNode)().id;
  const lose = (error = lost): ReturnType<typeof rigFor> => {
    const rig = rigFor('round-robin', three);
    pick(rig);
    rig.call('n2', 3, error);
    return rig;
  };
  const isUsed = (rig: ReturnType<typeof rigFor>): boolean => rig.shares(12).has('n2');

  it('is tried once after a second, and is back if it answers', () => {
    const rig = lose();
    rig.timers.nowMs += 999;
    expect(isUsed(rig)).toBe(false);
    rig.timers.nowMs += 1;
    expect(pick(rig)).toBe('n2');
    expect(isUsed(rig)).toBe(false);
    rig.call('n2');
    expect(rig.shares(300).get('n2')).toBe(100);
  });

  it.each([lost, errorOf('call.deadline_exceeded', Code.DeadlineExceeded), errorOf(undefined)])(
    'is out until its time is over if the call that tries it fails: %s',
    (failure) => {
      const rig = lose();
      rig.timers.nowMs += 1_000;
      expect(pick(rig)).toBe('n2');
      rig.call('n2', 1, failure);
      for (let ms = 1_000; ms < 5_000; ms += 100) {
        expect(isUsed(rig)).toBe(false);
        rig.timers.nowMs += 100;
      }
      expect(isUsed(rig)).toBe(true);
      // On probation it costs one call, and none between.
      rig.call('n2', 1, lost);
      for (let ms = 0; ms < 10_000; ms += 100) {
        expect(isUsed(rig)).toBe(false);
        rig.timers.nowMs += 100;
      }
      expect(isUsed(rig)).toBe(true);
    },
  );

  it('is tried as one that cannot be reached from the first refusal on', () => {
    const rig = lose();
    rig.timers.nowMs += 1_000;
    for (const waitMs of [100, 200, 400, 800, 1_000, 1_000]) {
      expect(pick(rig)).toBe('n2');
      rig.call('n2', 1, unreachable);
      rig.timers.nowMs += waitMs - 1;
      expect(isUsed(rig)).toBe(false);
      rig.timers.nowMs += 1;
    }
    expect(pick(rig)).toBe('n2');
    rig.call('n2');
    expect(rig.shares(300).get('n2')).toBe(100);
  });

  it.each([errorOf(undefined), errorOf('transport.bad_reply', Code.Internal)])(
    'is not tried if it was its server that failed: %s',
    (failure) => {
      const rig = lose(failure);
      for (let ms = 0; ms < 5_000; ms += 100) {
        expect(isUsed(rig)).toBe(false);
        rig.timers.nowMs += 100;
      }
      expect(isUsed(rig)).toBe(true);
    },
  );
});

describe('a call with a route', () => {
  it('tries no node that is away and has not its label', () => {
    const colours = { n1: 'blue', n2: 'green', n3: 'blue' };
    const nodes = Object.entries(colours).map(([id, version]) => nodeOf(id, { metadata: { version } }));
    const blue = { metadata: new Metadata({ 'x-route': 'version=blue' }) };
    const rig = rigFor('random', nodes, { routeKey: 'x-route' });
    rig.pick(blue);
    rig.call('n2', 1, unreachable);
    rig.timers.nowMs += 1_000;
    for (let call = 0; call < 20; call += 1) expect(rig.pick(blue)).not.toBe('n2');
    expect(rig.pick()).toBe('n2');
    rig.call('n2', 1, unreachable);
    rig.call('n3', 1, unreachable);
    rig.timers.nowMs += 1_000;
    expect(rig.pick(blue)).toBe('n3');
  });
});
