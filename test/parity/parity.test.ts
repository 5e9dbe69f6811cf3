import { afterAll, describe, expect, it } from '@jest/globals';

import { cases, type Column, columns, type ParityCase } from './cases.ts';
import { comparePage, tried } from './page.ts';

/** Those without a server. */
const own = columns.filter((column) => column !== 'nats');

describe('every transport does the same', () => {
  const cells = new Map<ParityCase, Map<Column, string>>(cases.map((one) => [one, new Map()]));

  describe.each(cases.map((one) => [`${one.group}: ${one.name}`, one] as const))('%s', (_name, one) => {
    it.each(own)('over %s', async (column) => {
      const cell = await tried(one, column);
      // A reason is not an excuse for what works.
      expect(cell).toBe(one.except?.[column] ?? 'yes');
      cells.get(one)?.set(column, cell);
    });
  });

  it('docs/parity.md says what the cases found', () => comparePage(cells));

  afterAll(() => cells.clear());
});
