import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, it } from '@jest/globals';

import { clientFrom } from '../../src/app/clients.ts';
import { describeClient } from '../../src/app/describe.ts';
import { contract } from '../../src/client/client-of.ts';
import type { Client } from '../../src/client/client.ts';
import { loadProto } from '../../src/codec/proto.ts';

it('a client of a .proto with a method named Then can be awaited, and is not taken for a promise', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenon-then-'));
  const proto = join(folder, 'later.proto');
  writeFileSync(
    proto,
    'syntax = "proto3"; package later; message M {} service Later { rpc Then(M) returns (M); rpc Now(M) returns (M); }',
  );
  const { methods, problems } = describeClient({ proto, name: 'later.Later' }, (source) => loadProto(source));
  rmSync(folder, { recursive: true });
  expect([...methods.keys()]).toEqual(['Then', 'now']);
  expect(problems).toEqual([]);
});

it('a contract with a method named then is refused, with the remedy', () => {
  interface Later {
    then(request: object): Promise<object>;
  }
  // oxlint-disable-next-line unicorn/no-thenable
  const source = contract<Later>('later.Later', { then: {} });
  const { problems } = describeClient(source, (given) => loadProto(given));
  expect(problems).toMatchObject([{ kind: 'thenable-method', where: 'contract(later.Later).then' }]);
});

it.each<[string, string | undefined, readonly string[], string]>([
  ['that has its handler', undefined, ['orders'], 'orders'],
  ['that is named like the package, of several that have its handler', undefined, ['orders', 'shop'], 'shop'],
  ['that comes first, of several of other names', undefined, ['orders', 'archive'], 'orders'],
  ['that it was told, whoever has its handler', 'elsewhere', ['orders'], 'elsewhere'],
  ['that is named like the package, where none has its handler', undefined, [], 'shop'],
])('a typed client looks for the service %s', (_which, service, named, expected) => {
  const source = contract<{ place(request: object): Promise<object> }>('shop.Orders', { place: {} });
  const told = service === undefined ? source : { ...source, service };
  const asked: unknown[] = [];
  const client = { method: (_method: unknown, name: unknown) => asked.push(name) } as unknown as Client;
  clientFrom(client, told, (given) => loadProto(given), new Map(named.length > 0 ? [['shop.Orders', named]] : []));
  expect(asked).toEqual([expected]);
});
