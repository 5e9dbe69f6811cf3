import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, it } from '@jest/globals';

import { run, startNode } from '../support/process.ts';
import { fencedBlocks, promisedOutput, sampleFolder, sampleMain } from './support.ts';

const names = ['hello', 'places', 'environments', 'interop'];

describe.each(names)('the sample %s', (name) => {
  const readme = readFileSync(join(sampleFolder(name), 'README.md'), 'utf8');

  it('prints what its README says, and exits with 0', async () => {
    const child = startNode(sampleMain(name), { cwd: sampleFolder(name), env: { TENON_PROFILE: undefined } });
    expect(await child.waitForExit()).toEqual({ code: 0, signal: null });
    expect(child.stdout).toBe(promisedOutput(name));
    expect(child.stderr).toBe('');
  });

  it('passes its own tests', async () => {
    const { scripts } = JSON.parse(readFileSync(join(sampleFolder(name), 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    const [command, ...args] = (scripts['test'] as string).split(' ');
    expect(command).toBe('node');
    const child = await run(process.execPath, args, { cwd: sampleFolder(name), env: { NODE_TEST_CONTEXT: undefined } });
    expect(child.stdout).toMatch(/^# pass [1-9]|^ℹ pass [1-9]/m);
  });

  it('shows only code that is compiled', () => {
    const sources = readdirSync(join(sampleFolder(name), 'src')).map((file) =>
      readFileSync(join(sampleFolder(name), 'src', file), 'utf8'),
    );
    const missing = fencedBlocks(readme, 'ts').filter(
      (block) => !sources.some((source) => source.includes(block.trim())),
    );
    expect(missing).toEqual([]);
  });

  it('stands in the index with its command and its output', () => {
    const index = readFileSync(join(sampleFolder('.'), 'README.md'), 'utf8');
    const section = index.split(/^## /m).find((part) => part.startsWith(`[${name}](${name}/README.md)`));
    expect(section).toBeDefined();
    expect(fencedBlocks(section as string, 'sh')).toEqual([`npm start -w ${name}\n`]);
    expect(fencedBlocks(section as string, 'text')).toEqual([promisedOutput(name)]);
  });
});

it('there are no samples but these', () => {
  const folders = readdirSync(sampleFolder('.'), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect(folders.map((entry) => entry.name).sort()).toEqual([...names].sort());
});
