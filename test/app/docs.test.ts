import { readdirSync, readFileSync } from 'node:fs';

import { expect, test } from '@jest/globals';

import { profileNames, type ProfileName, variables } from '../../src/app/internal/variable-list.ts';
import type { Variable } from '../../src/app/internal/variables.ts';

const page = readFileSync(new URL('../../docs/app.md', import.meta.url), 'utf8');
const all: readonly Variable[] = variables;

/** The cells of the rows below a heading. */
function rowsBelow(heading: string): string[][] {
  const section = page.split(/^## /m).find((one) => one.startsWith(heading)) ?? '';
  const rows = section.split('\n').filter((line) => line.startsWith('| `'));
  return rows.map((row) => row.slice(2, -2).split(' | '));
}

test('docs/app.md lists the defaults of each profile', () => {
  const expected = all.flatMap(({ name, fallback }) =>
    typeof fallback === 'object'
      ? [[`\`${name}\``, ...profileNames.map((profile: ProfileName) => `\`${fallback[profile]}\``)]]
      : [],
  );
  expect(rowsBelow('Profiles')).toEqual(expected);
});

test('docs/app.md lists every variable', () => {
  const expected = all.map(({ name, describes, fallback }) => {
    const plain = typeof fallback === 'string' ? `\`${fallback}\`` : '–';
    return [
      `\`${name}\``,
      describes.replaceAll('<', '&lt;').replaceAll('>', '&gt;'),
      typeof fallback === 'object' ? 'by profile' : plain,
    ];
  });
  expect(rowsBelow('Variables')).toEqual(expected);
});

test('docs/app.md lists every kind of problem, and a test asserts the message of each', () => {
  const folder = new URL('../../src/app/', import.meta.url);
  const files = [
    'describe.ts',
    'verify.ts',
    'internal/check-options.ts',
    'internal/check-services.ts',
    'internal/check-enhancers.ts',
    'internal/check-wiring.ts',
  ];
  const sources = files.map((file) => readFileSync(new URL(file, folder), 'utf8')).join('\n');
  const found = [
    ...sources.matchAll(/\bkind: '([a-z-]+-[a-z-]+|configuration|thenable)'/g),
    ...sources.matchAll(/\bproblem\(\s*'([a-z-]+)'/g),
    ...sources.matchAll(/#report\(\s*'([a-z-]+)'/g),
    ...sources.matchAll(/\? '([a-z-]+)' : 'invalid-proto'/g),
  ].map((match) => match[1] as string);
  const documented = rowsBelow('Verify').map(([kind]) => kind?.replaceAll('`', ''));
  expect(new Set(documented)).toEqual(new Set([...found, 'invalid-proto']));
  const tests = readdirSync(new URL('.', import.meta.url)).filter((file) => file.startsWith('verify'));
  const golden = tests.map((file) => readFileSync(new URL(file, import.meta.url), 'utf8')).join('\n');
  expect(documented.filter((kind) => !golden.includes(kind ?? ''))).toEqual([]);
});

test('docs/app.md lists every kind of note, and its level', () => {
  const folder = new URL('../../src/app/', import.meta.url);
  const read = (file: string): string => readFileSync(new URL(file, folder), 'utf8');
  const found = [
    ...read('internal/check-options.ts').matchAll(/\bnote\(\s*'([a-z-]+)'/g),
    ...read('internal/misspelt-variables.ts').matchAll(/\bkind: '([a-z-]+)'/g),
    ...read('internal/check-services.ts').matchAll(/\['(unexpected-service-name)'/g),
  ].map((match) => match[1] as string);
  const documented = rowsBelow('Notes').map(([kind = '', level = '']) =>
    [kind, level].map((one) => one.replaceAll('`', '')),
  );
  expect(new Set(documented.map(([kind]) => kind))).toEqual(new Set(found));
  const warnings = /const warnings[^;]*\[([^\]]*)\]/.exec(read('verify.ts'))?.[1] ?? '';
  for (const [kind = '', level] of documented)
    expect([kind, level]).toEqual([kind, warnings.includes(`'${kind}'`) ? 'warn' : 'info']);
});
