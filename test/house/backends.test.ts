import { existsSync, readFileSync } from 'node:fs';

import { describe, expect, test } from '@jest/globals';

import type { BackendRoom, BackendRow } from '../../src/app/internal/backend-row.ts';
import { backendRows } from '../../src/app/internal/backend-table.ts';
import { serverNames } from '../support/servers.ts';
import { filesBelow, manifest, roomOf, type SourceFile, sourcesBelow } from './source.ts';

/** Classes of these are what a row stands for. */
const contracts: Readonly<Record<BackendRoom, RegExp>> = {
  transport: /\bimplements\s+[^{]*\bTransport\b/,
  codec: /\bimplements\s+[^{]*\bMarshaler\b/,
  registry: /\bimplements\s+[^{]*\bRegistry\b/,
  selector: /\bimplements\s+[^{]*\bSelector\b/,
  broker: /\bimplements\s+[^{]*\bBroker\b/,
};

type Row = Pick<BackendRow, 'name' | 'package' | 'optionalPackage' | 'server'>;

/** The tree, as far as it says something of backends. */
interface Tree {
  readonly exists: (path: string) => boolean;
  readonly read: (path: string) => string;
  readonly testsOf: (room: string) => string;
}

const tree: Tree = {
  exists: existsSync,
  read: (path) => (existsSync(path) ? readFileSync(path, 'utf8') : ''),
  testsOf: (room) =>
    filesBelow(`test/${room}`)
      .filter((path) => path.endsWith('.test.ts'))
      .map((path) => readFileSync(path, 'utf8'))
      .join('\n'),
};

/** What a backend of the table still lacks. */
function missingOf(room: string, row: Row, { exists, read, testsOf }: Tree): string[] {
  const { name } = row;
  const path = `src/${room}/${name}.ts`;
  if (!exists(path)) return [`${room} "${name}" has no implementation: ${path} is not there`];
  const [, className = name] = /\bexport class (\w+)[^{]*\bimplements\b/.exec(read(path)) ?? [];
  const isNamed = new RegExp(`\\b${className}\\b`);
  const { dependencies, peerDependencies } = manifest();
  const packages = [row.package, row.optionalPackage].filter((one) => one !== undefined);
  const suite = `test/conformance/${room}*.test.ts`;
  const lacks = [
    [
      testsOf('conformance').includes(`${room}Conformance(api, '${name}'`),
      `no line of conformance: ${room}Conformance(api, '${name}', …) in ${suite}`,
    ],
    [isNamed.test(testsOf(room)), `no tests of its own: test/${room} does not name ${className}`],
    [
      isNamed.test(read(`docs/${room}.md`)) || read(`docs/${room}.md`).includes(`\`${name}\``),
      `no paragraph: docs/${room}.md does not name ${className}`,
    ],
    ...packages.map((one) => [
      one in { ...dependencies, ...peerDependencies },
      `no package ${one} among those of package.json`,
    ]),
    [
      row.server === undefined || serverNames.includes(row.server),
      `no server for tests: scripts/backends/definitions.js has no ${row.server}`,
    ],
  ] as const;
  return lacks.filter(([isThere]) => !isThere).map(([, what]) => `${room} "${name}" has ${what}`);
}

/** Implementations in the tree that can be chosen, as `room/name`. */
function implementationsIn(files: readonly SourceFile[]): string[] {
  return files
    .filter(({ path, bare }) => path.split('/').length === 3 && contracts[roomOf(path) as BackendRoom]?.test(bare))
    .map(({ path }) => path.slice('src/'.length, -'.ts'.length));
}

const rows = Object.entries(backendRows).flatMap(([room, all]) => all.map((row) => [room, row] as const));

describe('every backend', () => {
  test('has its implementation, its line of conformance, its tests, its paragraph, its packages and its server', () => {
    expect(rows.flatMap(([room, row]) => missingOf(room, row, tree))).toEqual([]);
  });

  test('that is in the tree has a row of the table', () => {
    const named = rows.map(([room, { name }]) => `${room}/${name}`);
    expect(implementationsIn(sourcesBelow('src')).filter((one) => !named.includes(one))).toEqual([]);
  });

  test('that lacks something is told of all of it', () => {
    const bare: Tree = {
      exists: () => true,
      read: (path) => (path.startsWith('src/') ? 'export class EurekaRegistry implements Registry {' : ''),
      testsOf: () => '',
    };
    const row = { name: 'eureka', package: 'eureka-client', server: 'eureka' };
    expect(missingOf('registry', row, bare)).toEqual([
      'registry "eureka" has no line of conformance: registryConformance(api, \'eureka\', …) in test/conformance/registry*.test.ts',
      'registry "eureka" has no tests of its own: test/registry does not name EurekaRegistry',
      'registry "eureka" has no paragraph: docs/registry.md does not name EurekaRegistry',
      'registry "eureka" has no package eureka-client among those of package.json',
      'registry "eureka" has no server for tests: scripts/backends/definitions.js has no eureka',
    ]);
    expect(missingOf('registry', row, { ...bare, exists: () => false })).toEqual([
      'registry "eureka" has no implementation: src/registry/eureka.ts is not there',
    ]);
  });
});
