import { readFileSync, writeFileSync } from 'node:fs';

import { afterAll, describe, expect, it } from '@jest/globals';

import { System } from '../../src/index.ts';
import { cases, type Column, columns, type ParityCase } from './cases.ts';
import { Parity, ParityHandler } from './service.ts';

const page = 'docs/parity.md';

async function tried(one: ParityCase, column: Column): Promise<string> {
  const system = await System.start([Parity], {
    profile: 'local',
    env: {
      TENON_TRANSPORT: column === 'in process' ? 'grpc' : column,
      TENON_IN_PROCESS: String(column === 'in process'),
      TENON_SUGGEST: 'true',
      TENON_LOG_LEVEL: 'silent',
      TENON_LAME_DUCK_MS: '0',
      TENON_DRAIN: 'false',
    },
  });
  try {
    const address = system.services[0]?.server().address ?? '';
    await one.run({ system, client: system.client(ParityHandler), handler: system.get(ParityHandler), address });
    return 'yes';
  } catch (error) {
    const why = one.except?.[column];
    if (why === undefined) throw error;
    return why;
  } finally {
    await system.stop();
  }
}

function pageOf(cells: ReadonlyMap<ParityCase, ReadonlyMap<Column, string>>): string {
  const row = (texts: readonly string[]): string => `| ${texts.join(' | ')} |`;
  const parts = [...new Set(cases.map(({ group }) => group))].map((group) => {
    const rows = cases
      .filter((one) => one.group === group)
      .map((one) => row([one.name, ...columns.map((column) => cells.get(one)?.get(column) ?? '')]));
    return [`## ${group}\n`, row(['', ...columns]), row(columns.map(() => '---').concat('---')), ...rows, ''].join(
      '\n',
    );
  });
  return `${intro}\n${parts.join('\n')}`;
}

const intro = `# Parity

What a service is to its callers on every transport, and *in process*, where \`TENON_IN_PROCESS\` spares them the socket:
the same service, the same client, the same cases. Written by the tests (\`npm run parity\`), which fail when this page
is not what they found; a cell that is not *yes* says why, and the tests see to it that it is still so.
`;

describe('every transport does the same', () => {
  const cells = new Map<ParityCase, Map<Column, string>>(cases.map((one) => [one, new Map()]));

  describe.each(cases.map((one) => [`${one.group}: ${one.name}`, one] as const))('%s', (_name, one) => {
    it.each(columns)('over %s', async (column) => {
      const cell = await tried(one, column);
      // A reason is not an excuse for what works.
      expect(cell).toBe(one.except?.[column] ?? 'yes');
      cells.get(one)?.set(column, cell);
    });
  });

  it('docs/parity.md says what the cases found', () => {
    const found = pageOf(cells);
    if (process.env['TENON_TEST_WRITE'] === 'parity') writeFileSync(page, found);
    expect(readFileSync(page, 'utf8')).toBe(found);
  });

  afterAll(() => cells.clear());
});
