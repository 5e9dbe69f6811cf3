import { existsSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

import { beforeAll, describe, expect, test } from '@jest/globals';

import { filesBelow, pages, root, text } from './support.ts';

const markdown = new Map<string, string>();

beforeAll(async () => {
  for (const file of await pages()) markdown.set(file, await text(file));
});

describe('links and names in pages', () => {
  test('lead to existing files', () => {
    expect(
      [...markdown]
        .flatMap(([file, page]) => linksOf(file, page).filter(({ path }) => !existsSync(join(root, path))))
        .map(said),
    ).toEqual([]);
  });

  test('lead to existing headings', () => {
    const links = [...markdown]
      .flatMap(([file, page]) => linksOf(file, page))
      .filter(({ path, anchor }) => anchor !== '' && path.endsWith('.md'));
    expect(links.filter(({ path, anchor }) => !anchorsOf(markdown.get(path) ?? '').has(anchor)).map(said)).toEqual([]);
  });

  test('stay within the project, or go to the web', () => {
    const outside = [...markdown]
      .flatMap(([file, page]) => linksOf(file, page))
      .filter(({ path }) => path.startsWith('..') || path.startsWith('/'));
    expect(outside.map(said)).toEqual([]);
  });

  test('reach every page of docs from its index', () => {
    const listed = new Set(linksOf('docs/README.md', markdown.get('docs/README.md') ?? '').map(({ path }) => path));
    const there = [...markdown.keys()].filter((file) => /^docs\/[^/]+\.md$/.test(file) && file !== 'docs/README.md');
    expect(there.filter((file) => !listed.has(file))).toEqual([]);
  });

  test('name existing files', () => {
    const named = [...markdown].flatMap(([file, page]) => namedIn(page).map((path) => ({ file, path })));
    expect(named.filter(({ path }) => !isThere(path)).map(({ file, path }) => `${file}: ${path}`)).toEqual([]);
  });

  test('name classes and types of the sources', async () => {
    const sources = (await Promise.all((await filesBelow('src', '.ts')).map(text))).join('\n');
    const words = new Set(sources.match(/\b[A-Z]\w+/g));
    const named = [...markdown]
      .filter(([file]) => file !== 'CHANGELOG.md' && !file.startsWith('samples/'))
      .flatMap(([file, page]) => typesIn(page).map((name) => ({ file, name })));
    expect(named.length).toBeGreaterThan(100);
    expect(named.filter(({ name }) => !words.has(name)).map(({ file, name }) => `${file}: ${name}`)).toEqual([]);
    expect(typesIn('`PushBuffer`, `fooBar`, `Code` and `JSON`\n```ts\n`FooBar`\n```\n')).toEqual(['PushBuffer']);
  });

  test('name the file of each step of a path in docs/architecture.md', () => {
    const page = markdown.get('docs/architecture.md') ?? '';
    const ways = page.slice(page.indexOf('\n## Ways\n'), page.indexOf('\n## Where things are decided\n'));
    const steps = ways.split(/^(?=\d+\. )/m).slice(1);
    expect(steps.length).toBeGreaterThan(20);
    expect(steps.filter((step) => namedIn(step).length === 0)).toEqual([]);
  });

  test('are reported if they name a file that does not exist', () => {
    const page = 'in `app/run.ts`, `src/app/gone.ts` and `transport/gone/`, of `a/b/` and `registry/<name>.ts`\n';
    expect(namedIn(page)).toEqual(['app/run.ts', 'src/app/gone.ts', 'transport/gone/']);
    expect(namedIn(page).map(isThere)).toEqual([true, false, false]);
  });

  test('are reported if they lead nowhere', () => {
    const page =
      '# Ein Titel: `x`\n\n[a](gone.md) [b](#ein-titel-x) [c](#other) [d](https://example.org)\n```md\n[e](code.md)\n```\n';
    const links = linksOf('docs/page.md', page);
    expect(links.map(({ path, anchor }) => [path, anchor])).toEqual([
      ['docs/gone.md', ''],
      ['docs/page.md', 'ein-titel-x'],
      ['docs/page.md', 'other'],
    ]);
    expect([...anchorsOf(page)]).toEqual(['ein-titel-x']);
  });
});

interface Link {
  readonly file: string;
  /** From the root of the project. */
  readonly path: string;
  readonly anchor: string;
}

/** Rooms, whose files pages name without `src/`. */
const rooms = readdirSync(join(root, 'src'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);
const folders = ['src', 'test', 'docs', 'samples', 'bench', 'scripts', ...rooms].join('|');

/** Files and folders of the project that a page names as code. */
function namedIn(page: string): string[] {
  const names = new RegExp(`\`((?:${folders})/(?:[\\w./-]*\\.\\w+|(?:[\\w.-]+/)*))\``, 'g');
  return [...withoutCode(page).matchAll(names)].map((match) => match[1] as string);
}

/** Names of classes and types that a page names as code: at least two words. */
function typesIn(page: string): string[] {
  return [...withoutCode(page).matchAll(/`([A-Z][a-z]+[A-Z][A-Za-z]+)`/g)].map((match) => match[1] as string);
}

function isThere(path: string): boolean {
  return existsSync(join(root, path)) || existsSync(join(root, 'src', path));
}

/** The links of a page that lead to files. */
function linksOf(file: string, page: string): Link[] {
  return [...withoutCode(page).matchAll(/\]\(([^)\s]+)\)/g)]
    .map((match) => match[1] as string)
    .filter((target) => !/^\w+:/.test(target))
    .map((target) => {
      const [path = '', anchor = ''] = target.split('#');
      return { file, path: path === '' ? file : relative(root, join(root, dirname(file), path)), anchor };
    });
}

/** The anchors that GitHub gives to the headings of a page. */
function anchorsOf(page: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading = ''] of withoutCode(page).matchAll(/^#{1,6} (.+)$/gm)) {
    const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').replace(/[`*]/g, '');
    const anchor = plain
      .trim()
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_ -]/gu, '')
      .replace(/ /g, '-');
    let unique = anchor;
    for (let count = 1; anchors.has(unique); count += 1) unique = `${anchor}-${count}`;
    anchors.add(unique);
  }
  return anchors;
}

function withoutCode(page: string): string {
  return page.replace(/^\s*(`{3,})[^\n]*\n[\s\S]*?^\s*\1\s*$/gm, '');
}

function said({ file, path, anchor }: Link): string {
  return `${file}: ${path}${anchor === '' ? '' : `#${anchor}`}`;
}
