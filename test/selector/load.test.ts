import { describe, expect, it } from '@jest/globals';

import { Code } from '../../src/errors/errors.ts';
import { PeakEwma } from '../../src/selector/internal/peak-ewma.ts';
import { slowStartFactor } from '../../src/selector/internal/slow-start.ts';
import { LeastRequestSelector, type LeastRequestSelectorOptions } from '../../src/selector/least-request.ts';
import { PeakEwmaSelector, type PeakEwmaSelectorOptions } from '../../src/selector/peak-ewma.ts';
import { nodeOf, serviceOf } from '../registry/support.ts';
import { errorOf, ids, lost, type Rig, rigOf, unreachable } from './support.ts';

type Nodes = Parameters<typeof rigOf>[0];

const leastRequest = (nodes: Nodes, options: LeastRequestSelectorOptions = {}): Rig<LeastRequestSelector> =>
  rigOf(nodes, (registry, { clock }, random) => new LeastRequestSelector(registry, options, clock, random));
const peakEwma = (nodes: Nodes, options: PeakEwmaSelectorOptions = {}): Rig<PeakEwmaSelector> =>
  rigOf(nodes, (registry, { clock }, random) => new PeakEwmaSelector(registry, options, clock, random));

describe('PeakEwma', () => {
  it('has the numbers of Finagle: 100 ms is 36.79 after 10 s, and 68.39 with 50 ms then, and 500 with 500', () => {
    const idle = new PeakEwma(0, 10_000);
    idle.observe(0, 100);
    expect(idle.load(10_000, 0)).toBeCloseTo(36.79, 2);
    expect(idle.load(10_000, 4)).toBeCloseTo(5 * 36.79, 1);
    const less = new PeakEwma(0, 10_000);
    less.observe(0, 100);
    less.observe(10_000, 50);
    expect(less.costMs).toBeCloseTo(68.39, 2);
    less.observe(10_000, 500);
    expect(less.costMs).toBe(500);
  });

  it('takes a failure into the average, and does not let it replace it', () => {
    const failing = new PeakEwma(0, 10_000);
    failing.observe(0, 100);
    failing.observeFailure(10, 30_000);
    expect(failing.costMs).toBeCloseTo(100 * Math.exp(-0.001) + 30_000 * (1 - Math.exp(-0.001)), 6);
    for (let ms = 20; ms <= 10_000; ms += 10) failing.observeFailure(ms, 30_000);
    expect(failing.costMs).toBeCloseTo(30_000 - 29_900 / Math.E, 0);
    failing.observe(10_000, 40_000);
    failing.observeFailure(20_000, 30_000);
    expect(failing.costMs).toBe(40_000);
  });

  it('holds back further calls of a node of which nothing is known, until one is answered or the decay time is over', () => {
    const unknown = new PeakEwma(0, 10_000);
    expect(unknown.load(0, 0)).toBe(0);
    expect(unknown.load(9_999, 2)).toBe(2 ** 47 + 2);
    expect(unknown.load(10_000, 2)).toBe(0);
    unknown.observe(10_000, 3);
    expect(unknown.load(10_000, 2)).toBe(9);
  });
});

describe('slowStartFactor', () => {
  it.each([
    [15_000, 1, 0.25],
    [15_000, 2, 0.5],
    [0, 1, 0.1],
    [30_000, 1, 0.5],
    [60_000, 1, 1],
    [Number.POSITIVE_INFINITY, 1, 1],
  ])('is that of Envoy: %d ms of a minute, aggression %d', (ageMs, slowStartAggression, factor) => {
    expect(slowStartFactor(ageMs, { slowStartMs: 60_000, slowStartAggression })).toBeCloseTo(factor, 10);
  });
});

describe('LeastRequestSelector', () => {
  it('compares both of two nodes, always', () => {
    const rig = leastRequest(['n1', 'n2']);
    rig.pick();
    rig.begin('n1');
    expect(rig.shares(1_000)).toEqual(new Map([['n2', 1_000]]));
  });

  it('never selects the busiest of ten, as it draws without replacement', () => {
    for (const choiceCount of [2, 3, 10]) {
      const rig = leastRequest(ids(10), { choiceCount });
      rig.pick();
      for (let call = 0; call < 5; call += 1) rig.begin('n07');
      expect(rig.shares(5_000).get('n07')).toBeUndefined();
    }
  });

  it.each([2, 3, 10])('selects nodes that are alike equally often, within 5 sigma, of %d choices', (choiceCount) => {
    const rig = leastRequest(ids(10), { choiceCount });
    const sigma = Math.sqrt(20_000 * 0.1 * 0.9);
    for (const share of rig.shares(20_000).values()) expect(Math.abs(share - 2_000)).toBeLessThan(5 * sigma);
  });

  it('has 2 to 10 choices: fewer are refused, more count as 10 (gRFC A48)', () => {
    expect(leastRequest(['n1']).selector.options.choiceCount).toBe(2);
    expect(leastRequest(['n1'], { choiceCount: 11 }).selector.options.choiceCount).toBe(10);
    expect(() => leastRequest(['n1'], { choiceCount: 1 })).toThrow('LeastRequestSelectorOptions.choiceCount is 1');
    const { selector } = leastRequest(['n1']);
    selector.init({ choiceCount: 5, ejectAfter: 7 });
    expect([selector.options.choiceCount, selector.options.ejectAfter]).toEqual([5, 7]);
    expect(() => selector.init({ choiceCount: 2.5 })).toThrow('choiceCount');
  });

  it('takes calls in flight in relation to weights', () => {
    const rig = leastRequest([nodeOf('n1', { metadata: { weight: '4' } }), nodeOf('n2')]);
    rig.pick();
    for (let call = 0; call < 2; call += 1) rig.begin('n1');
    expect(rig.pick()).toBe('n1');
    for (let call = 0; call < 2; call += 1) rig.begin('n1');
    expect(rig.pick()).toBe('n2');
  });

  it('gives a new node a growing share, one that was there before a whole one, and does not begin anew after a flap', () => {
    const rig = leastRequest(['n1'], { slowStartMs: 60_000 });
    const both = [serviceOf('greeter', ['n1', 'n2'])];
    rig.pick();
    rig.records.current = both;
    rig.pick();
    // n2 is worth a tenth: with one call in flight on n1 and none on n2, n1 still gets the next.
    rig.begin('n1');
    expect(rig.pick()).toBe('n1');
    rig.timers.nowMs += 29_000;
    rig.records.current = [serviceOf('greeter', ['n1'])];
    rig.pick();
    rig.timers.nowMs += 2_000;
    rig.records.current = [serviceOf('greeter', ['n1', 'n2'])];
    rig.pick();
    // After 31 seconds it is worth more than half.
    expect(rig.pick()).toBe('n2');
  });

  it('counts calls of a node that is away for long, and gives one that is announced anew a chance', () => {
    const rig = leastRequest(['n1', 'n2']);
    rig.pick();
    rig.begin('n1');
    rig.call('n2', 1, unreachable);
    rig.records.current = [serviceOf('greeter', ['n3'])];
    rig.pick();
    rig.timers.nowMs += 120_000;
    rig.records.current = [serviceOf('greeter', ['n4'])];
    rig.pick();
    rig.records.current = [serviceOf('greeter', ['n1', 'n2'])];
    expect(rig.shares(10)).toEqual(new Map([['n2', 10]]));
    rig.end('n1');
    expect(rig.shares(100).size).toBe(2);
    rig.call('n2', 1, unreachable);
    expect(rig.shares(10)).toEqual(new Map([['n1', 10]]));
    rig.records.current = [serviceOf('greeter', ['n1'])];
    rig.pick();
    rig.records.current = [serviceOf('greeter', ['n1', 'n2'])];
    expect(rig.shares(100).size).toBe(2);
  });
});

describe.each([
  ['least-request', leastRequest],
  ['peak-ewma', peakEwma],
])('the selector %s', (_name, make) => {
  it('takes back a node that could not be reached with the first reply of a stream, however that ends', () => {
    const rig = make(['n1', 'n2']);
    rig.pick();
    rig.call('n1', 1, undefined, 10);
    rig.call('n2', 1, unreachable);
    rig.timers.nowMs += 100;
    expect(rig.pick()).toBe('n2');
    rig.begin('n2');
    expect(rig.shares(100).get('n2')).toBeUndefined();
    rig.selector.firstReply('greeter', nodeOf('n2'), 5);
    rig.end('n2', errorOf('call.cancelled', Code.Cancelled));
    expect(rig.shares(100).get('n2')).toBeGreaterThan(0);
  });
});

describe('PeakEwmaSelector', () => {
  it('prefers the node that answers sooner, by its calls in flight', () => {
    const rig = peakEwma(['n1', 'n2']);
    rig.pick();
    rig.call('n1', 5, undefined, 10);
    rig.call('n2', 5, undefined, 25);
    expect(rig.pick()).toBe('n1');
    rig.begin('n1');
    expect(rig.pick()).toBe('n1');
    rig.begin('n1');
    expect(rig.pick()).toBe('n2');
  });

  it('tries a slow node again when the memory of it has faded', () => {
    const rig = peakEwma(['n1', 'n2']);
    rig.pick();
    rig.call('n2', 1, undefined, 1_000);
    for (let second = 0; second < 100; second += 1) {
      rig.timers.nowMs += 1_000;
      rig.call('n1', 1, undefined, 1);
      if (rig.pick() === 'n2') {
        // 1,000 ms fade to 1 ms in 69 seconds.
        expect(second).toBeGreaterThan(60);
        return;
      }
    }
    throw new Error('n2 was never tried again');
  });

  it.each([Code.Internal, Code.Unavailable, Code.ResourceExhausted, Code.Unimplemented, Code.Unknown])(
    'gives less than its share to a node that fails in a millisecond, by code %d',
    (answer) => {
      const rig = peakEwma(ids(10));
      rig.pick();
      const shares = new Map<string, number>();
      // A thousand calls in a second, one at a time; every other node takes 20 ms.
      for (let call = 0; call < 1_000; call += 1) {
        const id = rig.pick();
        shares.set(id, (shares.get(id) ?? 0) + 1);
        rig.begin(id);
        rig.timers.nowMs += 1;
        const deadline = rig.timers.nowMs + 30_000;
        if (id === 'n04') rig.end(id, undefined, 1, { answer, deadline });
        else rig.end(id, undefined, 20, { answer: Code.Ok, deadline });
      }
      // A tenth would be its share.
      expect(shares.get('n04') ?? 0).toBeLessThan(25);
    },
  );

  it('counts a failure as the time that the call had, and an answer of the handler as what it took', () => {
    const deadlineMs = 5_000;
    const afterwards = (end: (rig: Rig<PeakEwmaSelector>, deadline: number) => void): string => {
      const rig = peakEwma(['n1', 'n2']);
      rig.pick();
      rig.call('n1', 1, undefined, 10);
      rig.timers.nowMs += 10_000;
      // n1 keeps 3.7 ms of its 10, and two thirds of the deadline come to it.
      rig.call('n2', 1, undefined, 3_000);
      rig.begin('n1');
      end(rig, rig.timers.nowMs + deadlineMs - 1);
      return rig.pick();
    };
    const failed = { answer: Code.Internal };
    expect(afterwards((rig, deadline) => rig.end('n1', undefined, 1, { ...failed, deadline }))).toBe('n2');
    expect(afterwards((rig, deadline) => rig.end('n1', undefined, 1, { ...failed, deadline: deadline - 500 }))).toBe(
      'n1',
    );
    expect(afterwards((rig, deadline) => rig.end('n1', undefined, 1, { answer: Code.NotFound, deadline }))).toBe('n1');
    expect(afterwards((rig) => rig.end('n1', undefined, 1, failed))).toBe('n2');
    const late = errorOf('call.deadline_exceeded', Code.DeadlineExceeded);
    expect(afterwards((rig) => rig.end('n1', late, 6_000, { deadline: rig.timers.nowMs }))).toBe('n2');
    expect(afterwards((rig) => rig.end('n1', errorOf('transport.bad_reply', Code.Internal), 1))).toBe('n2');
  });

  it('takes the time of a failure too, if it was longer than the average', () => {
    const rig = peakEwma(['n1', 'n2']);
    rig.pick();
    rig.call('n2', 1, undefined, 1_000);
    rig.begin('n1');
    rig.end('n1', undefined, 2_000, { answer: Code.Internal, deadline: rig.timers.nowMs });
    expect(rig.pick()).toBe('n2');
  });

  it('learns from a cancelled call that its node takes longer, and nothing from one that is lost or refused', () => {
    const rig = peakEwma(['n1', 'n2']);
    rig.pick();
    const cancelled = errorOf('call.cancelled', Code.Cancelled);
    rig.call('n1', 1, undefined, 10);
    rig.call('n2', 1, undefined, 20);
    rig.call('n2', 1, cancelled, 1);
    expect(rig.pick()).toBe('n1');
    rig.call('n1', 1, cancelled, 50);
    expect(rig.pick()).toBe('n2');
    rig.call('n2', 1, lost, 10_000);
    expect(rig.pick()).toBe('n2');
  });

  it('gives a new node that never answers one call for each time of decay', () => {
    const rig = peakEwma(['n1', 'n2']);
    rig.pick();
    rig.call('n1', 1, undefined, 10);
    let hung = 0;
    // Ten times of decay, with a call every 100 ms.
    for (let call = 0; call < 1_000; call += 1) {
      const id = rig.pick();
      rig.begin(id);
      if (id === 'n1') rig.end(id, undefined, 10);
      else hung += 1;
      rig.timers.nowMs += 100;
    }
    expect(hung).toBe(10);
  });

  it('forgets a failure that has faded, where no other node reports latencies', () => {
    const rig = peakEwma(['n1', 'n2']);
    rig.pick();
    rig.begin('n1');
    rig.end('n1', undefined, undefined, { answer: Code.Internal, deadline: rig.timers.nowMs + 30_000 });
    rig.timers.nowMs += 10_000;
    rig.begin('n1');
    rig.end('n1', undefined, undefined, { answer: Code.Internal, deadline: rig.timers.nowMs + 30_000 });
    expect(rig.shares(100)).toEqual(new Map([['n2', 100]]));
    rig.timers.nowMs += 200_000;
    expect(rig.shares(100).size).toBe(2);
  });

  it('takes the first reply of a stream, and not its end', () => {
    const rig = peakEwma(['n1', 'n2']);
    rig.pick();
    rig.call('n1', 1, undefined, 20);
    rig.begin('n2');
    rig.selector.firstReply('greeter', nodeOf('n2'), 5);
    rig.timers.nowMs += 1;
    rig.end('n2', undefined, undefined, { answer: Code.Ok });
    expect(rig.pick()).toBe('n2');
  });

  it('knows nothing of a node that is back after it could not be reached', () => {
    const rig = peakEwma(['n1', 'n2']);
    rig.pick();
    rig.call('n1', 1, undefined, 10);
    rig.call('n2', 1, undefined, 9_000);
    rig.call('n2', 1, unreachable, 1);
    expect(rig.pick()).toBe('n1');
    rig.timers.nowMs += 100;
    expect(rig.pick()).toBe('n2');
    rig.begin('n2');
    rig.end('n2', undefined, 2);
    expect(rig.shares(10)).toEqual(new Map([['n2', 10]]));
  });
});
