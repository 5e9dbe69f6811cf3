import { readFileSync, writeFileSync } from 'node:fs';

import { expect } from '@jest/globals';

import { System } from '../../src/index.ts';
import { cases, type Column, columns, type ParityCase } from './cases.ts';
import { Parity, ParityHandler } from './service.ts';

const page = 'docs/parity.md';

/** The cells of the page, by case and column. */
export type Cells = ReadonlyMap<ParityCase, Map<Column, string>>;

/** What a case found on one transport: `yes`, or why it is otherwise there. */
export async function tried(
  one: ParityCase,
  column: Column,
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const system = await System.start([Parity], {
    profile: 'local',
    env: {
      TENON_TRANSPORT: column === 'in process' ? 'grpc' : column,
      TENON_IN_PROCESS: String(column === 'in process'),
      TENON_SUGGEST: 'true',
      TENON_LOG_LEVEL: 'silent',
      TENON_LAME_DUCK_MS: '0',
      TENON_DRAIN: 'false',
      ...env,
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

/** Compares what was found with the page, whose other columns are left as they are; or writes it, if asked to. */
export function comparePage(found: Cells): void {
  const text = readFileSync(page, 'utf8');
  const known = cellsIn(text);
  for (const [one, cells] of known) for (const [column, cell] of found.get(one) ?? []) cells.set(column, cell);
  const now = pageOf(known);
  if (process.env['TENON_TEST_WRITE'] === 'parity') writeFileSync(page, now);
  expect(readFileSync(page, 'utf8')).toBe(now);
}

function cellsIn(text: string): Cells {
  const rows = text.split('\n').map((line) => line.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, '').trim()));
  const heads = rows.find((row) => row.includes('memory')) ?? [];
  return new Map(
    cases.map((one) => {
      const row = rows.find(([name]) => name === one.name) ?? [];
      return [one, new Map(columns.map((column) => [column, row[heads.indexOf(column)] ?? '']))];
    }),
  );
}

function pageOf(cells: Cells): string {
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
