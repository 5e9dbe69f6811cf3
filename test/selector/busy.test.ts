import { describe, expect, it } from '@jest/globals';

import { backendRows } from '../../src/app/internal/backend-table.ts';
import { busyKey, type NodeRecord, type Registry, type ServiceRecord } from '../../src/registry/registry.ts';
import type { NextNode, Selector, SelectorOptions } from '../../src/selector/selector.ts';
import { nodeOf, serviceOf } from '../registry/support.ts';
import { lost, unreachable } from './support.ts';

const calls = 300;

const node = (id: string, isBusy: boolean): NodeRecord => nodeOf(id, isBusy ? { metadata: { [busyKey]: 'true' } } : {});
/** The nodes n1, n2 and so on, those busy that are listed. */
const greeter = (count: number, ...busy: number[]): readonly ServiceRecord[] => [
  serviceOf(
    'greeter',
    Array.from({ length: count }, (_, index) => node(`n${index + 1}`, busy.includes(index + 1))),
  ),
];

describe.each(backendRows.selector.map(({ name }) => name))('the selector %s, of nodes that are busy,', (name) => {
  const scene = async (records: readonly ServiceRecord[], options?: SelectorOptions) => {
    const row = backendRows.selector.find((one) => one.name === name);
    const { implementation } = (await row?.load({})) ?? {};
    const known = { records };
    const registry = { peek: () => known.records } as unknown as Registry;
    const selector = new (implementation as new (registry: Registry, options?: SelectorOptions) => Selector)(
      registry,
      options,
    );
    const select = (): NextNode => selector.select('greeter') as NextNode;
    /** The nodes that get a call of many. */
    const called = (): string[] => [...new Set(Array.from({ length: calls }, () => select()().id))].sort();
    return { known, selector, select, called };
  };

  it('calls none while there are others', async () => {
    expect((await scene(greeter(3, 2))).called()).toEqual(['n1', 'n3']);
    expect((await scene(greeter(2, 1))).called()).toEqual(['n2']);
  });

  it('calls them where the others are too few, or none', async () => {
    expect((await scene(greeter(3, 1, 2))).called()).toEqual(['n1', 'n2', 'n3']);
    expect((await scene(greeter(2, 1, 2))).called()).toEqual(['n1', 'n2']);
    expect((await scene(greeter(1, 1))).called()).toEqual(['n1']);
  });

  it('calls one rather than none if ejected nodes are never to be used early', async () => {
    expect((await scene(greeter(1, 1), { panicPercent: 0 })).called()).toEqual(['n1']);
    const { selector, called } = await scene(greeter(2), { panicPercent: 0, ejectMs: 60_000, ejectAfter: 1 });
    called();
    selector.mark('greeter', node('n1', false), lost);
    expect(called()).toEqual(['n2']);
    selector.mark('greeter', node('n2', false), unreachable);
    expect(called()).toContain('n1');
  });

  it('goes on to them when the others have failed', async () => {
    const next = (await scene(greeter(3, 2))).select();
    expect([next().id, next().id].sort()).toEqual(['n1', 'n3']);
    expect(next().id).toBe('n2');
  });

  it('calls one again as soon as it announces that it is no longer busy', async () => {
    const { known, called } = await scene(greeter(3, 2));
    expect(called()).not.toContain('n2');
    known.records = greeter(3);
    expect(called()).toEqual(['n1', 'n2', 'n3']);
  });
});
