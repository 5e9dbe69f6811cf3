import { readdirSync } from 'node:fs';

import { expect, test } from '@jest/globals';

import { backendRows } from '../../../src/app/internal/backend-table.ts';
import { capabilitiesOf } from '../support.ts';

test('a blocked process is tested with each registry whose leases a worker thread can renew', () => {
  const names = backendRows.registry.map(({ name }) => name);
  const transferable = names.filter((name) => capabilitiesOf(name)?.transferable === true);
  const files = readdirSync(new URL('.', import.meta.url)).filter((file) => file.endsWith('.long.test.ts'));
  expect(transferable).toEqual(expect.arrayContaining(['redis', 'mdns']));
  expect(new Set(files)).toEqual(new Set(transferable.map((name) => `${name}.long.test.ts`)));
});
