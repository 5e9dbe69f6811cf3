import { describe, expect, test } from '@jest/globals';

import { backendRows } from '../../src/app/internal/backend-table.ts';
import { text } from './support.ts';

const page = 'docs/broker-guarantees.md';

interface Section {
  readonly heading: string;
  /** First cells of its table. */
  readonly faults: readonly string[];
}

function sectionsOf(markdown: string): Section[] {
  return markdown
    .split(/^## /m)
    .slice(1)
    .map((section) => {
      const [heading = '', ...lines] = section.split('\n');
      const rows = lines.filter((line) => line.startsWith('| ')).slice(1);
      return { heading, faults: rows.map((row) => row.split(' | ')[0]?.replace('| ', '') ?? '') };
    });
}

describe(page, () => {
  test('has a section of every broker', async () => {
    const names = sectionsOf(await text(page)).map(({ heading }) => heading.split(',')[0]);
    const wanted = backendRows.broker.map(({ name }) => name);
    expect(new Set(names)).toEqual(new Set(wanted));
  });

  test('says in every section what a death costs', async () => {
    const sections = sectionsOf(await text(page));
    expect(sections.filter(({ faults }) => !faults.some((fault) => /is killed .*comes back$/.test(fault)))).toEqual([]);
  });

  test('is read by its headings and the rows of its tables', () => {
    const markdown =
      '# Page\n\n## a, with b\n\nText.\n\n| fault | lost |\n|---|---|\n| it is killed | none |\n\n## c\n';
    expect(sectionsOf(markdown)).toEqual([
      { heading: 'a, with b', faults: ['it is killed'] },
      { heading: 'c', faults: [] },
    ]);
  });
});
