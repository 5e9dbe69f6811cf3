import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from '@jest/globals';

import { run, TestProcess } from '../support/process.ts';

describe('package.json', () => {
  test('the lock file names no registry, and one copy of what must be one', () => {
    const lock = readFileSync('package-lock.json', 'utf8');
    expect(lock).not.toContain('"resolved": "http');
    const packages = Object.keys((JSON.parse(lock) as { packages: object }).packages);
    for (const name of ['inversify', 'reflect-metadata', 'protobufjs', '@grpc/grpc-js', '@inversifyjs/core']) {
      const copies = packages.filter((path) => path.endsWith(`node_modules/${name}`));
      // That of the Kafka client reads its own messages, and never meets ours.
      const ours = copies.filter((path) => path !== 'node_modules/@platformatic/kafka/node_modules/protobufjs');
      expect(ours).toEqual([`node_modules/${name}`]);
    }
  });
});

test('the lock file has the packages of every platform, so that npm ci takes it', async () => {
  await run(process.execPath, ['scripts/complete-lock.js', '--check']);
});

describe('docs/api', () => {
  test('is what the sources say', async () => {
    const check = new TestProcess(process.execPath, ['scripts/api-report.js', '--check']);
    const { code } = await check.exited;
    expect({ problems: check.stderr, code }).toEqual({ problems: '', code: 0 });
  });
});

describe('the count that CI prints', () => {
  const count = async (results: readonly object[], steps: number): Promise<string> => {
    const { mkdtemp, rm, writeFile } = await import('node:fs/promises');
    const { tmpdir } = await import('node:os');
    const folder = await mkdtemp(join(tmpdir(), 'tenon-summary-'));
    try {
      const files = results.map((_, index) => join(folder, `${index}.json`));
      await Promise.all(results.map((result, index) => writeFile(files[index] as string, JSON.stringify(result))));
      const summary = new TestProcess(process.execPath, ['scripts/test-summary.js', String(steps), ...files]);
      const { code } = await summary.exited;
      return `${summary.lines.at(-1)}; ${code}`;
    } finally {
      await rm(folder, { recursive: true });
    }
  };
  const result = (counts: object): object => ({
    numPassedTests: 5,
    numFailedTests: 0,
    numRuntimeErrorTestSuites: 0,
    numPendingTests: 0,
    numTodoTests: 0,
    success: true,
    ...counts,
  });
  const fine = result({});
  const oneFailed = result({ numFailedTests: 1, success: false });

  test.each([
    [[fine], 0, '5 passed, 0 failed, 0 skipped; 0'],
    [[fine, fine], 0, '10 passed, 0 failed, 0 skipped; 0'],
    [[result({ numPendingTests: 2 })], 0, '5 passed, 0 failed, 2 skipped; 1'],
    [[fine, result({ numPendingTests: 2 })], 0, '10 passed, 0 failed, 2 skipped; 1'],
    [[oneFailed], 1, '5 passed, 1 failed, 0 skipped; 1'],
    [[oneFailed], 2, '5 passed, 2 failed, 0 skipped; 1'],
    [[oneFailed, oneFailed], 2, '10 passed, 2 failed, 0 skipped; 1'],
    [[fine, oneFailed], 2, '10 passed, 2 failed, 0 skipped; 1'],
    [[result({ numRuntimeErrorTestSuites: 1, success: false })], 1, '5 passed, 1 failed, 0 skipped; 1'],
    [[fine], 1, '5 passed, 1 failed, 0 skipped; 1'],
    [[result({ numPassedTests: 0 })], 0, '0 passed, 0 failed, 0 skipped; 1'],
    [[{}], 1, '0 passed, 1 failed, 0 skipped; 1'],
    [[], 2, '0 passed, 2 failed, 0 skipped; 1'],
  ])('of %j after %i failed steps', async (results, steps, expected) => {
    expect(await count(results, steps)).toBe(expected);
  });
});

test('the expectations of the types hold', async () => {
  await run(process.execPath, ['node_modules/typescript/bin/tsc', '--noEmit', '-p', 'test/types']);
}, 120_000);
