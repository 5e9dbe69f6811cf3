import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { nodeBinary, otherNodes, describeWithOtherNodes } from '../support/node-versions.ts';
import { run, startNode } from '../support/process.ts';

const folder = mkdtempSync(join(tmpdir(), 'tenon-packed-'));
const compiler = resolve('node_modules/typescript/bin/tsc');
const kinds = ['module', 'commonjs'] as const;

beforeAll(async () => {
  const quiet = ['--no-audit', '--no-fund', '--loglevel', 'error'];
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', folder, ...quiet]);
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  const packages = [join(folder, `tenon-${version}.tgz`), '@types/node@20'];
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true }));
  await run('npm', ['install', '--prefer-offline', ...quiet, ...packages], { cwd: folder });
  // Both projects see the one install above them, as two packages of a workspace would.
  await Promise.all(kinds.map((kind) => compileHello(kind)));
}, 180_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The sample hello as a project of its own, compiled to ECMAScript modules or to CommonJS. */
async function compileHello(kind: (typeof kinds)[number]): Promise<void> {
  const project = join(folder, kind);
  mkdirSync(join(project, 'src'), { recursive: true });
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: kind, private: true, type: kind }));
  const { compilerOptions } = JSON.parse(readFileSync('samples/hello/tsconfig.json', 'utf8')) as {
    compilerOptions: object;
  };
  const options = { ...compilerOptions, verbatimModuleSyntax: kind === 'module', skipLibCheck: false };
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, include: ['src'] }));
  writeFileSync(join(project, 'src', 'hello.ts'), readFileSync('samples/hello/src/hello.ts'));
  const main = readFileSync('samples/hello/src/main.ts', 'utf8');
  writeFileSync(join(project, 'src', 'main.ts'), kind === 'module' ? main : inFunction(main));
  await run(process.execPath, [compiler, '-p', project]);
}

/** CommonJS has no await at the top level. */
function inFunction(text: string): string {
  const imports = text.match(/^import .*$/gm) ?? [];
  return `${imports.join('\n')}\nvoid (async () => {\n${text.replace(/^import .*$/gm, '')}\n})();\n`;
}

async function hello(kind: (typeof kinds)[number], command: string): Promise<string> {
  const project = join(folder, kind);
  const child = startNode(join(project, 'dist', 'main.js'), { cwd: project, command });
  const { code } = await child.waitForExit(20_000);
  return `${child.stdout}${child.stderr}; ${code}`;
}

describe('the packed tarball', () => {
  test.each(kinds)('runs hello in a fresh %s project', async (kind) => {
    expect(await hello(kind, process.execPath)).toBe('Hello, Ada!\n; 0');
  });

  test('installs one copy of tenon and of inversify', async () => {
    const { stdout } = await run('npm', ['ls', '--all', '--parseable', 'inversify', '@inversifyjs/core', 'tenon'], {
      cwd: folder,
    });
    const names = stdout
      .trim()
      .split('\n')
      .map((path) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length));
    expect(names.sort()).toEqual(['@inversifyjs/core', 'inversify', 'tenon']);
  });
});

describeWithOtherNodes('the packed tarball on other Nodes', () => {
  const binaries = new Map<string, string>();
  beforeAll(async () => {
    for (const major of Object.keys(otherNodes)) binaries.set(major, await nodeBinary(major));
  }, 180_000);

  test.each(Object.keys(otherNodes).flatMap((major) => kinds.map((kind) => [major, kind] as const)))(
    'Node %s runs hello in a fresh %s project',
    async (major, kind) => {
      expect(await hello(kind, binaries.get(major)!)).toBe('Hello, Ada!\n; 0');
    },
  );
});
