import { describe, expect, test } from '@jest/globals';

import { type Import, resolveImport, type SourceFile, sourceFile, sourcesBelow } from './source.ts';

/** Files that need each other, and why. Every one of them imports types only. */
const honest: readonly { readonly files: readonly string[]; readonly why: string }[] = [
  {
    files: ['src/context/context.ts', 'src/context/outgoing.ts'],
    why: 'a context on the client leads to the attempts of its call, and each attempt is a context',
  },
  {
    files: ['src/transport/http2/client-session.ts', 'src/transport/http2/client-stream.ts'],
    why: 'a session makes its streams, and a stream tells its session what came and when it ends',
  },
  {
    files: ['src/transport/frames/connection.ts', 'src/transport/frames/frame-stream.ts'],
    why: 'a connection hands frames to its streams, and a stream writes through its connection',
  },
  {
    files: ['src/transport/memory/memory-call.ts', 'src/transport/memory/memory-network.ts'],
    why: 'the network has the list of calls, and a call leaves it at its end',
  },
];

/** Groups of files that reach each other along `edges`, and files that reach themselves. */
function circles(edges: ReadonlyMap<string, readonly string[]>): string[][] {
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const stack: string[] = [];
  const groups: string[][] = [];
  const visit = (node: string): void => {
    order.set(node, order.size);
    lowest.set(node, order.get(node)!);
    stack.push(node);
    for (const next of edges.get(node) ?? []) {
      if (!order.has(next)) visit(next);
      if (stack.includes(next)) lowest.set(node, Math.min(lowest.get(node)!, lowest.get(next)!));
    }
    if (lowest.get(node) !== order.get(node)) return;
    const group = stack.splice(stack.indexOf(node));
    if (group.length > 1 || edges.get(node)?.includes(node)) groups.push(group.sort());
  };
  for (const node of edges.keys()) if (!order.has(node)) visit(node);
  return groups;
}

type Edges = Map<string, readonly string[]>;

function edgesOf(files: readonly SourceFile[], isCounted: (found: Import) => boolean): Edges {
  const known = new Set(files.map((file) => file.path));
  return new Map(
    files.map((file) => [
      file.path,
      file.imports
        .filter(isCounted)
        .map((found) => resolveImport(file.path, found.specifier) ?? '')
        .filter((target) => known.has(target)),
    ]),
  );
}

/** Types and what is imported later count as well: a reader has to know both files to know one. */
function circleProblems(files: readonly SourceFile[], allowed = honest): string[] {
  const atRunTime = circles(edgesOf(files, ({ typeOnly, dynamic }) => !typeOnly && !dynamic));
  const all = circles(edgesOf(files, () => true)).map((group) => group.join(', '));
  const expected = allowed.map((pair) => pair.files.join(', '));
  return [
    ...atRunTime.map((group) => `these are loaded by each other: ${group.join(', ')}`),
    ...all.filter((group) => !expected.includes(group)).map((group) => `these import each other: ${group}`),
    ...expected.filter((group) => !all.includes(group)).map((group) => `these are no circle any more: ${group}`),
  ];
}

const sources = sourcesBelow('src');

describe('circles', () => {
  test('no files import each other, except pairs that have a reason', () => {
    expect(sources.length).toBeGreaterThan(0);
    expect(circleProblems(sources)).toEqual([]);
    expect(honest.filter(({ files }) => files.length !== 2)).toEqual([]);
  });

  test.each([
    ['types', "import type { B } from './b.ts';"],
    ['types among values', "import { type B } from './b.ts';"],
    ['a re-export', "export type { B } from './b.ts';"],
    ['an import that is reached later', "const load = () => import('./b.ts');"],
  ])('%s make a circle', (_what, text) => {
    const made = [
      sourceFile('src/client/a.ts', text),
      sourceFile('src/client/b.ts', "import type { A } from './a.ts';"),
    ];
    expect(circleProblems(made, [])).toContain('these import each other: src/client/a.ts, src/client/b.ts');
  });

  test('a pair with a reason may import types of each other', () => {
    const made = [
      sourceFile('src/client/a.ts', "import type { B } from './b.ts';"),
      sourceFile('src/client/b.ts', "import { a } from './a.ts';"),
    ];
    const pair = { files: ['src/client/a.ts', 'src/client/b.ts'], why: 'they are one' };
    expect(circleProblems(made, [pair])).toEqual([]);
  });

  test('a pair that needs each other at run time has no reason that counts', () => {
    const made = [
      sourceFile('src/client/a.ts', "import { b } from './b.ts';"),
      sourceFile('src/client/b.ts', "import { a } from './a.ts';"),
    ];
    const pair = { files: ['src/client/a.ts', 'src/client/b.ts'], why: 'they are one' };
    expect(circleProblems(made, [pair])).toEqual(['these are loaded by each other: src/client/a.ts, src/client/b.ts']);
  });

  test('a circle by way of other files and rooms is named whole', () => {
    const made = [
      sourceFile('src/client/a.ts', "import type { B } from '../server/b.ts';"),
      sourceFile('src/server/b.ts', "import type { C } from './c.ts';"),
      sourceFile('src/server/c.ts', "import type { A } from '../client/a.ts';"),
    ];
    expect(circleProblems(made, [])).toEqual([
      'these import each other: src/client/a.ts, src/server/b.ts, src/server/c.ts',
    ]);
  });

  test('a pair that is no circle any more is to be taken off the list', () => {
    const pair = { files: ['src/client/a.ts', 'src/client/b.ts'], why: 'they are one' };
    expect(circleProblems([sourceFile('src/client/a.ts', '')], [pair])).toEqual([
      'these are no circle any more: src/client/a.ts, src/client/b.ts',
    ]);
  });
});
