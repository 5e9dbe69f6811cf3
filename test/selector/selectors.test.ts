import { describe, expect, it } from '@jest/globals';

import { Code, TenonError } from '../../src/errors/errors.ts';
import { CachedRegistry } from '../../src/registry/cache.ts';
import { MemoryRegistry } from '../../src/registry/memory.ts';
import type { NodeRecord, Registry, ServiceRecord } from '../../src/registry/registry.ts';
import { RandomSelector } from '../../src/selector/random.ts';
import { RoundRobinSelector } from '../../src/selector/round-robin.ts';
import { filterVersion, type Next } from '../../src/selector/selector.ts';
import { eventually } from '../../src/testing/waiting.ts';
import { nodeOf, serviceOf } from '../registry/support.ts';

/** A registry that knows what `records` holds, and answers at once. */
function registryOf(records: { current: readonly ServiceRecord[] }): Registry {
  return { peek: () => records.current } as unknown as Registry;
}

function roundRobin(records: { current: readonly ServiceRecord[] }, random = 0): RoundRobinSelector {
  const clock = { now: () => 0, monotonicMs: () => 0 };
  return new RoundRobinSelector(registryOf(records), {}, clock, { next: () => random, uuid: () => '' });
}

function pick(selector: RoundRobinSelector, count: number, options?: Parameters<typeof selector.select>[1]): string[] {
  return Array.from({ length: count }, () => (selector.select('greeter', options) as Next)().id);
}

const failure = (reason: string, code: Code = Code.Unavailable): TenonError =>
  new TenonError({ code, reason, message: 'x' });

describe('round robin', () => {
  it('gives each node its turn, from call to call, in the order of their ids', () => {
    const selector = roundRobin({
      current: [serviceOf('greeter', ['n3', 'n1']), serviceOf('greeter', ['n2'], { version: '2' })],
    });
    expect(pick(selector, 7)).toEqual(['n1', 'n2', 'n3', 'n1', 'n2', 'n3', 'n1']);
  });

  it('begins anywhere, so that processes that start together do not call the same node', () => {
    expect(pick(roundRobin({ current: [serviceOf('greeter', ['n1', 'n2', 'n3'])] }, 0.9), 2)).toEqual(['n3', 'n1']);
  });

  it('goes on where it was when nodes come and go', () => {
    const records = { current: [serviceOf('greeter', ['n1', 'n3', 'n5'])] };
    const selector = roundRobin(records);
    expect(pick(selector, 2)).toEqual(['n1', 'n3']);
    records.current = [serviceOf('greeter', ['n1', 'n3', 'n4', 'n5'])];
    expect(pick(selector, 2)).toEqual(['n4', 'n5']);
    records.current = [serviceOf('greeter', ['n1', 'n2', 'n4'])];
    expect(pick(selector, 1)).toEqual(['n1']);
    records.current = [serviceOf('greeter', ['n2', 'n4'])];
    expect(pick(selector, 3)).toEqual(['n2', 'n4', 'n2']);
  });

  it('is fair among those that are left when one is left out', () => {
    const selector = roundRobin({ current: [serviceOf('greeter', ['n1', 'n2', 'n3'])] });
    expect(pick(selector, 1)).toEqual(['n1']);
    selector.mark('greeter', nodeOf('n2'), failure('transport.unreachable'));
    expect(pick(selector, 4)).toEqual(['n3', 'n1', 'n3', 'n1']);
  });

  it('keeps its order among those that a filter leaves', () => {
    const selector = roundRobin({
      current: [serviceOf('greeter', ['n1', 'n3']), serviceOf('greeter', ['n2'], { version: '2' })],
    });
    expect(pick(selector, 3, { filters: [filterVersion('1.0.0')] })).toEqual(['n1', 'n3', 'n1']);
    expect(pick(selector, 2)).toEqual(['n2', 'n3']);
  });
});

describe('what is held against a node', () => {
  it.each<[string, TenonError, number]>([
    ['that nobody listens there', failure('transport.unreachable'), 1],
    ['that it drains', failure('server.draining'), 1],
    ['that the connection broke, three times', failure('transport.connection_lost'), 3],
    ['that it says UNAVAILABLE, three times', failure('mine.unavailable'), 3],
    ['that it speaks no gRPC, three times', failure('transport.bad_reply', Code.Internal), 3],
  ])('%s', (_what, error, times) => {
    const selector = roundRobin({ current: [serviceOf('greeter', ['n1', 'n2'])] });
    pick(selector, 2);
    for (let time = 1; time < times; time += 1) selector.mark('greeter', nodeOf('n2'), error);
    expect(new Set(pick(selector, 4)).size).toBe(2);
    selector.mark('greeter', nodeOf('n2'), error);
    expect(new Set(pick(selector, 4))).toEqual(new Set(['n1']));
  });

  it.each<[string, TenonError]>([
    ['that a call took too long', failure('call.deadline_exceeded', Code.DeadlineExceeded)],
    ['that the caller gave up', failure('call.cancelled', Code.Cancelled)],
    ['that there were no credentials for the call', failure('client.no_credentials', Code.Unavailable)],
    ['that the request does not encode', failure('codec.encode', Code.InvalidArgument)],
  ])('not %s; it does not wipe out failures either', (_what, error) => {
    const selector = roundRobin({ current: [serviceOf('greeter', ['n1', 'n2'])] });
    pick(selector, 2);
    for (let time = 0; time < 5; time += 1) selector.mark('greeter', nodeOf('n2'), error);
    expect(new Set(pick(selector, 4)).size).toBe(2);
    const lost = failure('transport.connection_lost');
    for (const one of [lost, lost, error, lost]) selector.mark('greeter', nodeOf('n2'), one);
    expect(new Set(pick(selector, 4))).toEqual(new Set(['n1']));
  });

  it('an answer, be it an error, wipes out failures', () => {
    const selector = roundRobin({ current: [serviceOf('greeter', ['n1', 'n2'])] });
    pick(selector, 2);
    const lost = failure('transport.connection_lost');
    for (const one of [lost, lost, failure('greeter.unknown', Code.NotFound), lost])
      selector.mark('greeter', nodeOf('n2'), one);
    expect(new Set(pick(selector, 4)).size).toBe(2);
  });
});

describe('selectors over a cached registry', () => {
  it('a node that says it drains is left out as soon as the watch tells', async () => {
    const registry = new CachedRegistry(new MemoryRegistry());
    const selector = new RandomSelector(registry);
    const announce = (id: string, state: string): Promise<void> =>
      registry.register(serviceOf('greeter', [nodeOf(id, { metadata: { 'tenon-state': state } })]));
    await announce('n1', 'serving');
    await announce('n2', 'serving');
    await selector.select('greeter');
    await announce('n1', 'draining');
    await eventually('it is left out', () => {
      const picked = Array.from({ length: 50 }, () => (selector.select('greeter') as Next)().id);
      return picked.every((id) => id === 'n2');
    });
    await registry.close();
  });

  it('a message about many nodes stays short', () => {
    const nodes = Array.from({ length: 40 }, (_, index): NodeRecord =>
      nodeOf(`n${index}`, { metadata: { 'tenon-state': 'draining' } }),
    );
    const selector = roundRobin({ current: [serviceOf('greeter', nodes)] });
    expect(() => selector.select('greeter')).toThrow(
      'none of the 40 nodes of service "greeter" may be used: n0 (version 1.0.0) is draining, n1 (version 1.0.0) is draining, n2 (version 1.0.0) is draining, n3 (version 1.0.0) is draining, n4 (version 1.0.0) is draining, and 35 more. Wait for one that serves, or widen the filters',
    );
  });
});
