import { afterAll, expect, it } from '@jest/globals';

import { BackendServer, describeWithServer } from '../support/servers.ts';
import { cases, type Column, type ParityCase } from './cases.ts';
import { comparePage, tried } from './page.ts';

describeWithServer('the transport over NATS does what every transport does', new BackendServer('nats'), (server) => {
  const cells = new Map<ParityCase, Map<Column, string>>(cases.map((one) => [one, new Map()]));

  it.each(cases.map((one) => [`${one.group}: ${one.name}`, one] as const))('%s', async (_name, one) => {
    const cell = await tried(one, 'nats', { TENON_TRANSPORT_ADDRESS: server.address });
    expect(cell).toBe(one.except?.nats ?? 'yes');
    cells.get(one)?.set('nats', cell);
  });

  it('docs/parity.md says what the cases found', () => comparePage(cells));

  afterAll(() => cells.clear());
});
