import { describe, expect, test } from '@jest/globals';

import { Code, codeName } from '../../src/errors/errors.ts';
import { filesBelow, text } from './support.ts';

describe('docs/errors.md', () => {
  test('lists each reason of the sources with its codes', async () => {
    const rows = new Map((await table()).map(([reason = '', ...cells]) => [reason, cells]));
    const given = await codesByReason();
    expect(given.size).toBeGreaterThan(40);
    const wrong = [...given].flatMap(([reason, codes]) => {
      const cell = rows.get(reason)?.[0] ?? '';
      return [...codes]
        .filter((code) => !cell.split(/[^A-Z_]+/).includes(code))
        .map((code) => `${reason} is ${code}, and the page says "${cell}"`);
    });
    expect(wrong).toEqual([]);
  });

  test('explains each reason, and what to do about it', async () => {
    const rows = await table();
    expect(
      rows.filter((cells) => cells.length !== 4 || cells.some((cell) => cell === '')).map(([reason]) => reason),
    ).toEqual([]);
    const reasons = rows.map(([reason]) => reason);
    expect(reasons.filter((reason, index) => reasons.indexOf(reason) !== index)).toEqual([]);
  });

  test('groups the reasons by room, each group under its heading', async () => {
    const page = await text('docs/errors.md');
    const areas = page
      .split(/^## /m)
      .slice(1)
      .map((section) => new Set([...section.matchAll(/^\| `(\w+)\./gm)].map((match) => match[1])));
    expect(areas.filter(({ size }) => size !== 1)).toEqual([]);
    expect(new Set(areas.flatMap((area) => [...area])).size).toBe(areas.length);
  });
});

/** The rows whose first cell is a reason. */
async function table(): Promise<string[][]> {
  const page = await text('docs/errors.md');
  const rows = page.split('\n').filter((line) => /^\| `[a-z]+\.[a-z_]+` \|/.test(line));
  return rows.map((line) =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim().replace(/^`([a-z_.]+)`$/, '$1')),
  );
}

/** The codes that stand beside a reason in the sources of the rooms. */
async function codesByReason(): Promise<Map<string, Set<string>>> {
  const found = new Map<string, Set<string>>();
  for (const file of await filesBelow('src', '.ts')) {
    if (file.startsWith('src/testing/')) continue;
    const code = (await text(file)).replace(/\/\*[\s\S]*?\*\//g, '');
    for (const [, name = '', reason = ''] of code.matchAll(/code: Code\.(\w+),\s*reason: '([a-z_.]+)'/g)) {
      const codes = found.get(reason) ?? new Set();
      found.set(reason, codes.add(codeName(Code[name as keyof typeof Code])));
    }
  }
  return found;
}
