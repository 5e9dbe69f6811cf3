import { describe, expect, it } from '@jest/globals';

import { Code } from '../../src/errors/errors.ts';
import { filterLabel, filterVersion, type NextNode } from '../../src/selector/selector.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { nodeOf, serviceOf } from '../registry/support.ts';
import { ids, lost, rigFor, selectorNames, unreachable } from './support.ts';

const keyed = (call: number) => ({ hashKey: `user-${call}` });

describe.each(selectorNames)('the selector %s, over an awkward registry,', (name) => {
  it('says that a service has no nodes, and finds those that come', async () => {
    const rig = rigFor(name, []);
    for (const records of [[serviceOf('greeter', [])], []]) {
      rig.records.current = records;
      expect(await failureOf((async () => rig.pick())())).toMatchObject({
        code: Code.Unavailable,
        reason: 'selector.none_available',
        message: expect.stringContaining('none of the 0 nodes of service "greeter"'),
      });
    }
    rig.records.current = [serviceOf('greeter', ['n1'])];
    expect(rig.pick()).toBe('n1');
    rig.records.current = [];
    expect((await failureOf((async () => rig.pick())())).reason).toBe('selector.none_available');
  });

  it('counts a node that is there twice once, in one version or in two', () => {
    const rig = rigFor(name, ['n1', 'n2', 'n1']);
    rig.records.current = [
      serviceOf('greeter', ['n1', 'n2', 'n1']),
      serviceOf('greeter', ['n1', nodeOf('n2')], { version: '2' }),
    ];
    const shares = new Map<string, number>();
    for (let call = 0; call < 1_000; call += 1) {
      const id = rig.pick(keyed(call));
      shares.set(id, (shares.get(id) ?? 0) + 1);
    }
    // Half each, within 8 sigma.
    expect(Math.abs((shares.get('n1') ?? 0) - 500)).toBeLessThan(8 * 16);
    const next = rig.selector.select('greeter', keyed(0)) as NextNode;
    expect([next().id, next().id].sort()).toEqual(['n1', 'n2']);
    rig.call('n1', 1, unreachable);
    expect(rig.shares(50)).toEqual(new Map([['n2', 50]]));
  });

  it('calls one of two addresses under one id, and forgets failures of the other', () => {
    const rig = rigFor(name, []);
    rig.records.current = [
      serviceOf('greeter', [nodeOf('n1', { address: '127.0.0.1:1' }), 'n2']),
      serviceOf('greeter', [nodeOf('n1', { address: '127.0.0.1:2' })], { version: '2' }),
    ];
    const addresses = new Set(
      Array.from({ length: 100 }, (_, call) => (rig.selector.select('greeter', keyed(call)) as NextNode)().address),
    );
    expect(addresses).toEqual(new Set(['127.0.0.1:2', '127.0.0.1:7000']));
    rig.call('n1', 1, unreachable);
    expect(rig.shares(50)).toEqual(new Map([['n2', 50]]));
  });

  it('selects among ten thousand nodes, half of which are away, and keeps no node that has gone', () => {
    const all = ids(10_000);
    const rig = rigFor(name, all);
    rig.pick(keyed(0));
    for (let index = 0; index < all.length; index += 2) rig.call(all[index]!, 1, unreachable);
    const away = new Set(all.filter((_, index) => index % 2 === 0));
    for (let call = 0; call < 200; call += 1) expect(away.has(rig.pick(keyed(call)))).toBe(false);
    const next = rig.selector.select('greeter', keyed(0)) as NextNode;
    const order = Array.from({ length: 50 }, () => next().id);
    expect(new Set(order).size).toBe(50);
    expect(order.some((id) => away.has(id))).toBe(false);
    rig.records.current = [serviceOf('greeter', ['n00002'])];
    expect(rig.shares(20)).toEqual(new Map([['n00002', 20]]));
  });

  it('names the service, the number and the reasons where filters leave nothing', async () => {
    const rig = rigFor(name, ids(10_000));
    const error = await failureOf(
      (async () => rig.pick({ filters: [filterVersion('1.0.0'), filterLabel('zone', 'nowhere')] }))(),
    );
    expect(error).toMatchObject({ code: Code.Unavailable, reason: 'selector.none_available' });
    expect(error.message).toContain('none of the 10000 nodes of service "greeter"');
    expect(error.message).toContain('n00001 (version 1.0.0) is excluded by a filter');
    expect(error.message).toContain('and 9995 more');
    expect(error.message.length).toBeLessThan(600);
  });

  it('is told of calls of nodes and services that it does not know, and of ends without a begin', () => {
    const rig = rigFor(name, ['n1', 'n2']);
    const { selector } = rig;
    for (const [service, id] of [
      ['greeter', 'n1'],
      ['greeter', 'stranger'],
      ['nobody', 'n1'],
    ] as const) {
      selector.mark(service, nodeOf(id), lost, 1);
      selector.begin?.(service, nodeOf(id));
      selector.firstReply?.(service, nodeOf(id), 1);
      selector.mark(service, nodeOf(id), undefined, 1);
      selector.mark(service, nodeOf(id), undefined, 1);
      selector.reset(service);
    }
    expect(rig.shares(200).size).toBe(2);
  });
});
