import { existsSync, readdirSync, readFileSync } from 'node:fs';

import { describe, expect, test } from '@jest/globals';

import { backendRows } from '../../src/app/internal/backend-table.ts';
import {
  blank,
  filesBelow,
  manifest,
  type Manifest,
  page,
  roomOf,
  type SourceFile,
  sourceFile,
  sourcesBelow,
} from './source.ts';

type Exports = Manifest['exports'];

/** Rooms whose contract is no entry of `exports`, and why. */
const closed: Readonly<Record<string, string>> = {
  internal: 'its helpers know no room, and change as tenon needs it',
  etcd: 'its wire serves the registry of that name alone',
  dns: 'its wire serves the registry of that name alone',
  mdns: 'its wire serves the registry of that name alone',
  consul: 'its wire serves the registry of that name alone',
  zookeeper: 'its wire serves the registry of that name alone',
  nats: 'its wire serves the backends of that name alone',
  rabbitmq: 'its wire serves the broker of that name alone',
  kafka: 'its wire serves the broker of that name alone',
  kubernetes: 'its wire serves the registry of that name alone',
  mqtt: 'its wire serves the broker of that name alone',
  cli: 'the command is run, not imported',
  decorators: 'applications have them from tenon; what reads them is its own business',
};

/** Files that hold nothing but names of other files, for one import path. */
const givingOut = [
  'src/index.ts',
  'src/app/app.ts',
  'src/broker/kit/kit.ts',
  'src/decorators/decorators.ts',
  'src/interceptors/interceptors.ts',
  'src/registry/kit/kit.ts',
  'src/testing/testing.ts',
];

/** The pages that a newcomer reads first: an application has all that they import from `tenon`. */
const firstPages = [
  'README.md',
  'docs/decorators.md',
  'docs/client.md',
  'docs/context.md',
  'docs/app.md',
  'docs/service.md',
];

const rooms = readdirSync('src', { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && filesBelow(`src/${entry.name}`).length > 0)
  .map((entry) => entry.name);
const rows = Object.entries(backendRows).flatMap(([room, all]) => all.map(({ name }) => `./${room}/${name}`));
const contracts = rooms.filter((room) => !Object.hasOwn(closed, room)).map((room) => `./${room}`);

/** The file of a door below `src/` or `dist/`, without its ending. */
function pathOf(key: string): string {
  if (key === '.') return 'index';
  const [room = '', part, partOfKit] = key.slice(2).split('/');
  if (part === undefined) return `${room}/${room}`;
  if (partOfKit !== undefined) return `${room}/${part}/${partOfKit}`;
  return part === 'kit' ? `${room}/kit/kit` : `${room}/${part}`;
}

function exportProblems(exports: Exports, exists: (path: string) => boolean): string[] {
  const { './package.json': _, ...doors } = exports;
  return Object.entries(doors).flatMap(([key, target]) => {
    if (!/^\.(?:\/[a-z0-9-]+(?:\/kit)?(?:\/[a-z0-9-]+)?)?$/.test(key))
      return [`${key}: a pattern, or not the path of one module`];
    const path = pathOf(key);
    const expected = { types: `./dist/${path}.d.ts`, default: `./dist/${path}.js` };
    if (JSON.stringify(target) !== JSON.stringify(expected)) return [`${key}: should be ${JSON.stringify(expected)}`];
    return [`src/${path}.ts`, expected.types, expected.default]
      .filter((file) => !exists(file))
      .map((file) => `${key}: ${file} is not there`);
  });
}

function missingDoors(exports: Exports): string[] {
  return ['.', ...contracts, ...rows].filter((key) => !Object.hasOwn(exports, key));
}

/** Doors that docs/api does not declare, or that no page tells of and every reader has to guess. */
function unknownDoors(exports: Exports, api: string, pages: string): string[] {
  const told = (name: string): boolean => new RegExp(`${name}(?![\\w/-])`).test(pages);
  return Object.keys(exports)
    .filter((key) => key !== './package.json')
    .flatMap((key) => {
      const name = `tenon${key.slice(1)}`;
      if (!api.includes(`// ${name}\n`)) return [`${name} is not in docs/api: npm run api`];
      return told(name) || contracts.includes(key) ? [] : [`${name} is on no page of docs/`];
    });
}

/** A file declares, or it gives out what other files declare. */
function givingProblems(file: SourceFile): string[] {
  const isDoor = givingOut.includes(file.path);
  const own = file.bare.replace(/^(?:import|export)\b[^;]*\bfrom\b[^;]*;$/gm, '').trim();
  const given = [...file.bare.matchAll(/^export\b[^;=(]*\bfrom\b/gm)].length > 0;
  if (isDoor) return own === '' ? [] : [`${file.path} gives out names of other files, and has code of its own`];
  return given ? [`${file.path} gives out what another file declares: import it from there`] : [];
}

/** What the code of a page imports of the package by another path than `tenon`, implementations excepted. */
function otherPaths(path: string, text: string): string[] {
  return [...text.matchAll(/\bfrom '(tenon\/[^']+)'/g)]
    .map((match) => match[1]!)
    .filter((name) => !rows.includes(name.replace('tenon', '.')))
    .map((name) => `${path}: ${name}: an application needs it from tenon`);
}

/** Texts that declarations have as types, of more than three words. */
function prose(path: string, text: string): string[] {
  const { code } = blank(text);
  return [...code.matchAll(/'([^'\n]*)'|"((?:\\.|[^"\\\n])*)"|`([^`]*)`/g)]
    .map((match) => match[1] ?? match[2] ?? match[3] ?? '')
    .filter((literal) => literal.trim().split(/\s+|\\n/).length > 3)
    .map((literal) => `${path}: a sentence is a type: ${literal.slice(0, 60)}`);
}

const existing = (path: string): boolean => existsSync(path);
const pages = [...filesBelow('docs').filter((path) => path.endsWith('.md')), 'README.md'];
const declarations = filesBelow('docs/api');

describe('the exports of the package', () => {
  const { exports } = manifest();

  test('are modules by their names, each with its files', () => {
    expect(exportProblems(exports, existing)).toEqual([]);
    expect(exports['./package.json']).toBe('./package.json');
  });

  test('have the contract of every room and every backend of the table', () => {
    expect(missingDoors(exports)).toEqual([]);
    expect(Object.keys(closed).filter((room) => !rooms.includes(room))).toEqual([]);
    expect(Object.keys(closed).filter((room) => Object.hasOwn(exports, `./${room}`))).toEqual([]);
  });

  test('are declared in docs/api, and those that are no contract are told of on a page', () => {
    const api = declarations.map((path) => readFileSync(path, 'utf8')).join('\n');
    expect(unknownDoors(exports, api, pages.map(page).join('\n'))).toEqual([]);
  });

  test('that are patterns, wrong, missing or unheard of are named', () => {
    const door = (path: string): Exports[string] => ({ types: `./dist/${path}.d.ts`, default: `./dist/${path}.js` });
    const made: Exports = {
      './broker/*': door('broker/*'),
      './broker/redis': door('broker/redis-streams'),
      './broker/nats': door('broker/nats'),
      './broker/redis/names': door('broker/redis/names'),
    };
    expect(exportProblems(made, (path) => !path.startsWith('./dist/broker/nats'))).toEqual([
      './broker/*: a pattern, or not the path of one module',
      './broker/redis: should be {"types":"./dist/broker/redis.d.ts","default":"./dist/broker/redis.js"}',
      './broker/nats: ./dist/broker/nats.d.ts is not there',
      './broker/nats: ./dist/broker/nats.js is not there',
      './broker/redis/names: a pattern, or not the path of one module',
    ]);
    const { './broker': _, './registry/file': __, ...fewer } = exports;
    expect(missingDoors(fewer)).toEqual(['./broker', './registry/file']);
    expect(unknownDoors(made, '// tenon/broker/redis\n// tenon/broker/nats\n', '`tenon/broker/redis-streams`')).toEqual(
      [
        'tenon/broker/* is not in docs/api: npm run api',
        'tenon/broker/redis is on no page of docs/',
        'tenon/broker/nats is on no page of docs/',
        'tenon/broker/redis/names is not in docs/api: npm run api',
      ],
    );
  });
});

describe('names of other files', () => {
  test('are given out by the files that are made for it', () => {
    const sources = sourcesBelow('src');
    expect(sources.flatMap(givingProblems)).toEqual([]);
    expect(givingOut.filter((path) => !sources.some((file) => file.path === path))).toEqual([]);
  });

  test.each([
    ['src/broker/broker.ts', "export { deliver } from './delivery.ts';"],
    ['src/codec/codec.ts', "export * from './content-type.ts';"],
    ['src/client/client.ts', "export type { ClientOf } from './client-of.ts';"],
    ['src/testing/testing.ts', "export { x } from './x.ts';\nexport const y = 1;"],
  ])('are refused in %s: %s', (path, text) => {
    expect(givingProblems(sourceFile(path, text))).toHaveLength(1);
  });

  test('an application has from tenon what the first pages import, but for implementations', () => {
    expect(firstPages.flatMap((path) => otherPaths(path, page(path)))).toEqual([]);
    expect(otherPaths('x.md', "import { ClientOptions } from 'tenon/client';")).toHaveLength(1);
    expect(otherPaths('x.md', "import { RoundRobinSelector } from 'tenon/selector/round-robin';")).toEqual([]);
  });
});

describe('declarations', () => {
  test('hold no sentences as types', () => {
    // What is in the sources counts; dist/ may hold files of earlier builds.
    const built = sourcesBelow('src').map(({ path }) => path.replace(/^src(.*)\.ts$/, 'dist$1.d.ts'));
    expect([...declarations, ...built].flatMap((path) => prose(path, readFileSync(path, 'utf8')))).toEqual([]);
    expect(prose('x.d.ts', "readonly describes: 'The profile that fills in what is not said.';")).toHaveLength(1);
    expect(prose('x.d.ts', 'type Told = `the broker ${string} is not there`;')).toHaveLength(1);
    expect(prose('x.d.ts', "// It doesn't do what others don't\ntype Level = 'debug' | 'a label';")).toEqual([]);
  });
});

test('the room of every door is in the tree', () => {
  expect(Object.keys(manifest().exports).map((key) => roomOf(`src/${pathOf(key)}.ts`))).toEqual(
    expect.arrayContaining(rooms.filter((room) => !Object.hasOwn(closed, room))),
  );
});
