import { readFileSync } from 'node:fs';

import { describe, expect, test } from '@jest/globals';

import { filesBelow, lineAt, type SourceFile, sourceFile, sourcesBelow } from './source.ts';

const files = sourcesBelow('test');

const isLong = ({ path }: SourceFile): boolean => path.endsWith('.long.test.ts');

/** What a fresh checkout on a machine with Node and npm does not have, servers apart. */
const needsMore = /\bdescribeWith(?:Tools|OtherNodes)\b|\bnpm\b[^;]*'install'/;

function shouldBeLong(file: SourceFile): boolean {
  const needs = file.path.startsWith('test/hostile/') || needsMore.test(file.code);
  return file.path.endsWith('.test.ts') && !file.path.startsWith('test/house/') && needs && !isLong(file);
}

describe('test files that npm test leaves out', () => {
  test('are named .long.test.ts: peers that misbehave, programs of others, other Nodes, the npm registry', () => {
    expect(files.filter(shouldBeLong).map(({ path }) => path)).toEqual([]);
    const text = "describeWithTools('x', ['grpcurl'], () => {});";
    expect(shouldBeLong(sourceFile('test/interop/x.test.ts', text))).toBe(true);
    expect(shouldBeLong(sourceFile('test/interop/x.long.test.ts', text))).toBe(false);
    expect(shouldBeLong(sourceFile('test/hostile/x.test.ts', ''))).toBe(true);
  });

  test('are those of npm run test:long; npm run test:all runs every file', () => {
    const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };
    expect(scripts['test']).toContain('--testPathIgnorePatterns=.long.test.ts ');
    expect(scripts['test:long']).toMatch(/ \.long\.test\.ts$/);
    expect(scripts['test:all']).toMatch(/test:only --$/);
    expect(filesBelow('test').filter((path) => path.endsWith('.long.test.ts')).length).toBeGreaterThan(0);
  });
});

/** What `tenon/testing` publishes, written again. */
const copies =
  /\b(?:function|const|let)\s+(?:failureOf|thrownBy|eventually|until|waitFor|gate|settled|virtualRuntime)\b|\bclass\s+(?:Virtual|Manual|Fake)\w*|\bclass\s+\w+[^{]*\bimplements\s+(?:Timers|Clock|Logger)\b/g;

function copiesIn(file: SourceFile): string[] {
  return [...file.bare.matchAll(copies)].map(
    (match) => `${file.path}:${lineAt(file.bare, match.index)}: ${match[0]}: take it from src/testing`,
  );
}

test('time, waiting, recorders and failures are those of tenon/testing', () => {
  expect(files.flatMap(copiesIn)).toEqual([]);
  const text = 'async function until() {}\nconst gate = () => {};\nclass Kept implements Logger {}\nuntil();\n';
  expect(copiesIn(sourceFile('test/app/x.test.ts', text))).toHaveLength(3);
});
