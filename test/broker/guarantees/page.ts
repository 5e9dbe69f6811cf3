import { readFileSync, writeFileSync } from 'node:fs';

import { expect } from '@jest/globals';

/** A page of docs/ whose tables the runs write with `TENON_TEST_WRITE=guarantees`. What is said around them stays. */
export const page = 'docs/broker-guarantees.md';

const head = [
  '| fault | lost, with the subscriber there | lost, with the members away | handled again | not confirmed | nothing delivered for |',
  '|---|---|---|---|---|---|',
];

/**
 * Compares the table of a section with the rows of this run, or writes it. Figures differ from run to run: they are
 * compared with any other figure.
 */
export function comparePage(heading: string, rows: readonly string[]): void {
  const text = readFileSync(page, 'utf8');
  const start = text.indexOf(`\n## ${heading}\n`);
  if (start < 0) throw new Error(`${page} has no section "${heading}": write what a confirmation means there`);
  const next = text.indexOf('\n## ', start + 1);
  const end = next < 0 ? text.length : next;
  const lines = text.slice(start, end).split('\n');
  const table = [...head, ...rows];
  if (process.env['TENON_TEST_WRITE'] === 'guarantees') {
    const prose = lines.filter((line) => !line.startsWith('|')).join('\n');
    writeFileSync(page, `${text.slice(0, start)}${prose.trimEnd()}\n\n${table.join('\n')}\n${text.slice(end)}`);
  } else {
    const known = lines.filter((line) => line.startsWith('|'));
    expect(known.map(withoutFigures)).toEqual(table.map(withoutFigures));
  }
}

function withoutFigures(row: string): string {
  return row.replace(/\d+(?:\.\d+)?/g, 'n');
}
