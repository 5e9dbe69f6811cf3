import { describe, expect, it } from '@jest/globals';

import { NodeTable } from '../../../src/registry/kit/node-table.ts';
import { nodeOf, serviceOf } from '../support.ts';

function tableOf(...ids: readonly string[]): NodeTable {
  const table = new NodeTable();
  for (const id of ids) table.put(serviceOf('greeter', [id]));
  return table;
}

describe('NodeTable', () => {
  it('reports nodes that came, changed and went, and no unchanged ones', () => {
    const table = new NodeTable();
    const [one, changed] = [
      serviceOf('greeter', ['n1']),
      serviceOf('greeter', [nodeOf('n1', { metadata: { a: 'b' } })]),
    ];
    expect(table.put(one, 10)).toEqual({ action: 'create', service: one });
    expect(table.put(structuredClone(one), 20)).toBeUndefined();
    expect(table.get(one)?.expiresAtMs).toBe(20);
    expect(table.put(changed)).toEqual({ action: 'update', service: changed });
    expect(table.remove('greeter', 'n2')).toBeUndefined();
    expect(table.remove('greeter', 'n1')).toEqual({ action: 'delete', service: changed });
    expect(table.size).toBe(0);
  });

  it('keeps equal node ids of two services apart', () => {
    const table = tableOf('n1');
    table.put(serviceOf('other', ['n1']));
    expect(table.size).toBe(2);
    table.remove('other', 'n1');
    expect([...table.nodes()].map(({ service }) => service.name)).toEqual(['greeter']);
    expect([...table.nodes('other')]).toEqual([]);
  });

  it('reports the changes from one state to another', () => {
    const table = tableOf('n1', 'n2', 'n3');
    const next = tableOf('n3', 'n4');
    next.put(serviceOf('greeter', ['n2'], { version: '2.0.0' }));
    const told = table.replaceWith(next).map(({ action, service }) => `${action} ${service.nodes[0]?.id}`);
    expect(told).toEqual(['create n4', 'update n2', 'delete n1']);
    expect([...table.nodes()].map(({ service }) => service.nodes[0]?.id)).toEqual(['n3', 'n4', 'n2']);
    expect(table.size).toBe(3);
    expect(table.replaceWith(next)).toEqual([]);
  });

  it('takes names of prototypes as ordinary names', () => {
    const table = new NodeTable();
    for (const name of ['__proto__', 'constructor']) table.put(serviceOf(name, [name]));
    expect([...table.nodes('__proto__')]).toHaveLength(1);
    expect(table.size).toBe(2);
  });
});
