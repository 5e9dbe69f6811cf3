import { describe, expect, it } from '@jest/globals';

import { Code, TenonError } from '../../src/errors/errors.ts';
import { CachedRegistry } from '../../src/registry/cache.ts';
import { MemoryRegistry } from '../../src/registry/memory.ts';
import type { NodeRecord, Registry, ServiceRecord } from '../../src/registry/registry.ts';
import { RandomSelector } from '../../src/selector/random.ts';
import { RoundRobinSelector } from '../../src/selector/round-robin.ts';
import { filterVersion, type NextNode } from '../../src/selector/selector.ts';
import { eventually } from '../support/waiting.ts';
import { nodeOf, serviceOf } from '../registry/support.ts';

/** A registry cache with the given records. */
function registryOf(records: { current: readonly ServiceRecord[] }): Registry {
  return { peek: () => records.current } as unknown as Registry;
}

function roundRobin(records: { current: readonly ServiceRecord[] }, random = 0): RoundRobinSelector {
  const clock = { now: () => 0, monotonicMs: () => 0 };
  return new RoundRobinSelector(registryOf(records), {}, clock, { next: () => random, uuid: () => '' });
}

function pick(selector: RoundRobinSelector, count: number, options?: Parameters<typeof selector.select>[1]): string[] {
  return Array.from({ length: count }, () => (selector.select('greeter', options) as NextNode)().id);
}

const failure = (reason: string, code: Code = Code.Unavailable): TenonError =>
  new TenonError({ code, reason, message: 'x' });

describe('RoundRobinSelector', () => {
  it('selects each node in turn, from call to call, in the order of their ids', () => {
    const selector = roundRobin({
      current: [serviceOf('greeter', ['n3', 'n1']), serviceOf('greeter', ['n2'], { version: '2' })],
    });
    expect(pick(selector, 7)).toEqual(['n1', 'n2', 'n3', 'n1', 'n2', 'n3', 'n1']);
  });

  it('begins at a random node, so that processes started together do not call the same one', () => {
    expect(pick(roundRobin({ current: [serviceOf('greeter', ['n1', 'n2', 'n3'])] }, 0.9), 2)).toEqual(['n3', 'n1']);
  });

  it('keeps its position when nodes come and go', () => {
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

  it('takes the others in turn while one node is ejected', () => {
    const selector = roundRobin({ current: [serviceOf('greeter', ['n1', 'n2', 'n3'])] });
    expect(pick(selector, 1)).toEqual(['n1']);
    selector.mark('greeter', nodeOf('n2'), failure('transport.unreachable'));
    expect(pick(selector, 4)).toEqual(['n3', 'n1', 'n3', 'n1']);
  });

  it('keeps its order among the nodes that pass a filter', () => {
    const selector = roundRobin({
      current: [serviceOf('greeter', ['n1', 'n3']), serviceOf('greeter', ['n2'], { version: '2' })],
    });
    expect(pick(selector, 3, { filters: [filterVersion('1.0.0')] })).toEqual(['n1', 'n3', 'n1']);
    expect(pick(selector, 2)).toEqual(['n2', 'n3']);
  });
});

describe('outlier detection of a selector', () => {
  it.each<[string, TenonError, number]>([
    ['one refused connection', failure('transport.unreachable'), 1],
    ['one answer that the node drains', failure('server.draining'), 1],
    ['three lost connections', failure('transport.connection_lost'), 3],
    ['three answers UNAVAILABLE', failure('mine.unavailable'), 3],
    ['three answers that are not gRPC', failure('transport.bad_reply', Code.Internal), 3],
  ])('ejects a node after %s', (_what, error, times) => {
    const selector = roundRobin({ current: [serviceOf('greeter', ['n1', 'n2'])] });
    pick(selector, 2);
    for (let time = 1; time < times; time += 1) selector.mark('greeter', nodeOf('n2'), error);
    expect(new Set(pick(selector, 4)).size).toBe(2);
    selector.mark('greeter', nodeOf('n2'), error);
    expect(new Set(pick(selector, 4))).toEqual(new Set(['n1']));
  });

  it.each<[string, TenonError]>([
    ['a call past its deadline', failure('call.deadline_exceeded', Code.DeadlineExceeded)],
    ['a cancelled call', failure('call.cancelled', Code.Cancelled)],
    ['a call without credentials', failure('client.no_credentials', Code.Unavailable)],
    ['a request that does not encode', failure('codec.encode', Code.InvalidArgument)],
  ])('neither counts %s as a failure nor clears earlier failures for it', (_what, error) => {
    const selector = roundRobin({ current: [serviceOf('greeter', ['n1', 'n2'])] });
    pick(selector, 2);
    for (let time = 0; time < 5; time += 1) selector.mark('greeter', nodeOf('n2'), error);
    expect(new Set(pick(selector, 4)).size).toBe(2);
    const lost = failure('transport.connection_lost');
    for (const one of [lost, lost, error, lost]) selector.mark('greeter', nodeOf('n2'), one);
    expect(new Set(pick(selector, 4))).toEqual(new Set(['n1']));
  });

  it('clears earlier failures after any answer of the handler, errors included', () => {
    const selector = roundRobin({ current: [serviceOf('greeter', ['n1', 'n2'])] });
    pick(selector, 2);
    const lost = failure('transport.connection_lost');
    for (const one of [lost, lost, failure('greeter.unknown', Code.NotFound), lost])
      selector.mark('greeter', nodeOf('n2'), one);
    expect(new Set(pick(selector, 4)).size).toBe(2);
  });
});

describe('a selector over a cached registry', () => {
  it('stops selecting a node when the watch reports that it drains', async () => {
    const registry = new CachedRegistry(new MemoryRegistry());
    const selector = new RandomSelector(registry);
    const announce = (id: string, state: string): Promise<void> =>
      registry.register(serviceOf('greeter', [nodeOf(id, { metadata: { 'tenon-state': state } })]));
    await announce('n1', 'serving');
    await announce('n2', 'serving');
    await selector.select('greeter');
    await announce('n1', 'draining');
    await eventually('it is no longer selected', () => {
      const picked = Array.from({ length: 50 }, () => (selector.select('greeter') as NextNode)().id);
      return picked.every((id) => id === 'n2');
    });
    await registry.close();
  });

  it('names at most five nodes in its error', () => {
    const nodes = Array.from({ length: 40 }, (_, index): NodeRecord =>
      nodeOf(`n${index}`, { metadata: { 'tenon-state': 'draining' } }),
    );
    const selector = roundRobin({ current: [serviceOf('greeter', nodes)] });
    expect(() => selector.select('greeter')).toThrow(
      'none of the 40 nodes of service "greeter" may be used: n0 (version 1.0.0) is draining, n1 (version 1.0.0) is draining, n2 (version 1.0.0) is draining, n3 (version 1.0.0) is draining, n4 (version 1.0.0) is draining, and 35 more. Wait for one that serves, or widen the filters',
    );
  });
});
