import { describe, expect, test } from '@jest/globals';

import { backendRows } from '../../src/app/internal/backend-table.ts';
import { filesBelow, page, roomOf, type SourceFile, sourceFile, sourcesBelow } from './source.ts';

const sources = sourcesBelow('src');

/** What a reason may begin with, beside the names of rooms. */
const otherAreas = ['call', 'metadata', 'config'];

/** Names of OpenTelemetry that look like reasons. */
const foreignNames = ['service.name', 'service.version'];

/** Every reason that the code gives, with one place where it does. */
function reasonsIn(files: readonly SourceFile[]): Map<string, string> {
  const areas = new Set([...files.map((file) => roomOf(file.path)), ...otherAreas]);
  const reasons = new Map<string, string>();
  for (const file of files) {
    // Any literal of the form counts: helpers pass reasons on.
    for (const match of file.code.matchAll(/(['"`])([a-z]+)\.([a-z]+(?:_[a-z]+)*)\1/g)) {
      const isReason = /\breason\??:\s*$/.test(file.code.slice(0, match.index));
      if (foreignNames.includes(`${match[2]}.${match[3]}`)) continue;
      if (isReason || areas.has(match[2] ?? '')) reasons.set(`${match[2]}.${match[3]}`, file.path);
    }
  }
  return reasons;
}

/** A reason that is put together cannot be found by reading, neither by this rule nor by a user. */
function computedReasons(file: SourceFile): string[] {
  return [...file.code.matchAll(/\breason:\s*`[^`]*\$\{[^`]*`/g)].map((match) => `${file.path}: ${match[0]}`);
}

function reasonProblems(files: readonly SourceFile[], text: string): string[] {
  const used = reasonsIn(files);
  const areas = new Set([...used.keys()].map((reason) => reason.split('.')[0]));
  const listed = [...text.matchAll(/`([a-z]+)\.([a-z]+(?:_[a-z]+)*)`/g)]
    .filter((match) => areas.has(match[1]))
    .map((match) => `${match[1]}.${match[2]}`);
  return [
    ...[...used]
      .filter(([reason]) => !listed.includes(reason))
      .map(([reason, where]) => `docs/errors.md does not list ${reason} (${where})`),
    ...[...new Set(listed)]
      .filter((reason) => !used.has(reason))
      .map((reason) => `docs/errors.md lists ${reason}, which no code gives`),
  ];
}

describe('docs/errors.md', () => {
  test('lists the reasons that the code gives, and no others', () => {
    expect(reasonProblems(sources, page('docs/errors.md'))).toEqual([]);
  });

  test('no reason is put together at run time', () => {
    expect(sources.flatMap(computedReasons)).toEqual([]);
    expect(computedReasons(sourceFile('src/app/x.ts', 'reason: `app.${what}`'))).toHaveLength(1);
  });

  test('a reason that is missing on either side is named', () => {
    const files = [
      sourceFile(
        'src/registry/x.ts',
        "f({ reason: 'registry.closed' }); fail('registry.not_found'); // 'registry.old'\nread('package.json');",
      ),
    ];
    const text = '| `registry.closed` | … |\n| `registry.gone` | … |\nsee `package.json`';
    expect(reasonProblems(files, text)).toEqual([
      'docs/errors.md does not list registry.not_found (src/registry/x.ts)',
      'docs/errors.md lists registry.gone, which no code gives',
    ]);
  });
});

/** Relative links of a page to files that are not there. */
function deadLinks(path: string, text: string, exists: (path: string) => boolean): string[] {
  const folder = path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '.';
  return [...text.matchAll(/\]\((?!\w+:|#)([^)\s#]+)[^)]*\)/g)]
    .map((match) => match[1] ?? '')
    .filter((target) => !exists(new URL(target, `file:///${folder}/`).pathname.slice(1)))
    .map((target) => `${path}: ${target} does not exist`);
}

describe('pages', () => {
  const pages = ['docs', 'samples', 'bench', '.'].flatMap(filesBelow).filter((path) => path.endsWith('.md'));
  const all = filesBelow('.');
  const exists = (path: string): boolean => {
    const plain = path.replace(/^\.\//, '').replace(/\/$/, '');
    return all.some((file) => file === plain || file.startsWith(`${plain}/`));
  };

  test('link to files that exist', () => {
    expect([...new Set(pages)].flatMap((path) => deadLinks(path, page(path), exists))).toEqual([]);
  });

  test('a link to nothing is named', () => {
    const text = '[a](architecture.md#x) [b](../README.md) [c](gone.md) [d](https://x.org/y.md) [e](#f)';
    const there = (path: string): boolean => ['docs/architecture.md', 'README.md'].includes(path);
    expect(deadLinks('docs/x.md', text, there)).toEqual(['docs/x.md: gone.md does not exist']);
  });

  test('the page of every room exists', () => {
    const rooms = [...Object.keys(backendRows), 'client', 'server', 'service'];
    const missing = [...rooms, 'architecture', 'design', 'errors', 'writing-a-backend']
      .map((name) => `docs/${name}.md`)
      .filter((path) => !exists(path));
    expect(missing).toEqual([]);
  });
});
