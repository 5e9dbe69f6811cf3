import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { ServiceView } from '../../src/registry/cache/service-view.ts';
import type { RegistryEvent, ServiceRecord } from '../../src/registry/registry.ts';
import { nodeOf, serviceOf } from './support.ts';

function idsIn(records: readonly ServiceRecord[]): string[] {
  return records.map(({ version, nodes }) => `${version}: ${nodes.map(({ id }) => id).join(' ')}`);
}

const events: fc.Arbitrary<RegistryEvent> = fc
  .record({
    action: fc.constantFrom('create', 'update', 'delete'),
    ids: fc.uniqueArray(fc.constantFrom('n1', 'n2', 'n3', 'n4'), { maxLength: 3 }),
    version: fc.constantFrom('1', '2'),
    round: fc.nat(2),
  })
  .map(({ action, ids, version, round }) => ({
    action,
    service: serviceOf(
      'greeter',
      ids.map((id) => nodeOf(id, { metadata: { round: String(round) } })),
      { version },
    ),
  }));

describe('ServiceView', () => {
  it('has a node once, in the version that named it last', () => {
    const view = new ServiceView([serviceOf('greeter', ['n1', 'n2']), serviceOf('greeter', ['n2'], { version: '2' })]);
    expect([view.size, idsIn(view.records)]).toEqual([2, ['1.0.0: n1', '2: n2']]);
    view.apply({ action: 'update', service: serviceOf('greeter', ['n1'], { version: '2' }) });
    expect([view.size, idsIn(view.records)]).toEqual([2, ['2: n2 n1']]);
  });

  it('keeps nodes of another view beside its own records', () => {
    const before = new ServiceView([serviceOf('greeter', ['n1', 'n2', 'n3'], { metadata: { of: 'before' } })]);
    const now = new ServiceView([serviceOf('greeter', ['n2'], { metadata: { of: 'now' } })]);
    now.keep(before, ({ id }) => id !== 'n3');
    expect(now.records).toEqual([serviceOf('greeter', ['n2', 'n1'], { metadata: { of: 'now' } })]);
  });

  it('is what its events say, and has the same array exactly as long as nothing changes', () => {
    fc.assert(
      fc.property(fc.array(events, { maxLength: 30 }), (all) => {
        const view = new ServiceView();
        const nodes = new Map<string, string>();
        for (const event of all) {
          const [before, text] = [view.records, JSON.stringify(view.records)];
          const isChanged = view.apply(event);
          for (const { id, metadata } of event.service.nodes) {
            if (event.action === 'delete') nodes.delete(id);
            else nodes.set(id, `${event.service.version} ${metadata['round']}`);
          }
          const found = view.records.flatMap((record) =>
            record.nodes.map(({ id, metadata }) => [id, `${record.version} ${metadata['round']}`] as const),
          );
          expect(found.length).toBe(view.size);
          expect(Object.fromEntries(found)).toEqual(Object.fromEntries(nodes));
          expect([view.records === before, isChanged]).toEqual([!isChanged, JSON.stringify(view.records) !== text]);
          for (const id of ['n1', 'n4']) expect(view.node(id) !== undefined).toBe(nodes.has(id));
        }
      }),
    );
  });
});
