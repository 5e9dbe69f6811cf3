import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { beforeAll, describe, expect, test } from '@jest/globals';

import { readConfig } from '../../src/app/config.ts';
import { backendRows } from '../../src/app/internal/backend-table.ts';
import { CachedRegistry } from '../../src/registry/cache.ts';
import { type Block, blocksOf, root, text, tsc } from './support.ts';

/** What an application's own configuration would be. */
const applicationOptions = {
  target: 'es2022',
  module: 'nodenext',
  types: ['node'],
  strict: true,
  experimentalDecorators: true,
  skipLibCheck: true,
};

let page: string;
let blocks: Block[];

beforeAll(async () => {
  page = await text('README.md');
  blocks = blocksOf('README.md', page);
});

describe('README.md', () => {
  test('has a program that compiles against the built package, runs, and prints what the page shows', async () => {
    const at = blocks.findIndex(({ info }) => info === 'ts');
    const output = blocks.slice(at).find(({ info }) => info === 'text');
    const code = blocks[at]?.code ?? '';
    expect(code.split('\n').filter((line) => line.trim() !== '').length).toBeLessThanOrEqual(30);
    expect(await compileAndRun(code)).toMatchObject({ complaints: '', code: 0, printed: `${output?.code}\n` });
  }, 120_000);

  test('has the table of profiles of the configuration', () => {
    const profiles = ['test', 'local', 'dev', 'prod'] as const;
    const config = Object.fromEntries(profiles.map((profile) => [profile, readConfig({}, profile)]));
    const rows = {
      TENON_TRANSPORT: profiles.map((profile) => config[profile]?.transport),
      TENON_REGISTRY: profiles.map((profile) => config[profile]?.registry.name),
      TENON_BROKER: profiles.map((profile) => config[profile]?.broker.name),
      TENON_SELECTOR: profiles.map((profile) => config[profile]?.selector),
      TENON_CODEC: profiles.map((profile) => config[profile]?.codec),
    };
    const written = Object.fromEntries(Object.keys(rows).map((name) => [name, rowOf(name)]));
    expect(written).toEqual(rows);
    expect(rowOf('', 0)).toEqual(['`test`', '`local`', '`dev` (the default)', '`prod`']);
  });

  test('has the tables of implementations of the table of backends', async () => {
    for (const [room, rows] of Object.entries(backendRows)) {
      const names = rows.map(({ name }) => `\`${name}\``).join(', ');
      expect(page).toContain(`| ${capitalized(room)} | ${names} | [docs/${room}.md](docs/${room}.md) |`);
    }
    const expected: string[][] = [];
    for (const rows of Object.values(backendRows))
      for (const { load, summary } of rows) {
        const { name, capabilities } = (await load({})).implementation as Described;
        const sentence = summary.replace(/docs\/\w+\.md/, '[$&]($&)');
        expected.push([name, sentence, capabilities === undefined ? '–' : shownCapabilities(capabilities)]);
      }
    expect(expected.map(([name = '']) => [name, ...rowOf(name)])).toEqual(expected);
    // What stands in front of a backend is chosen by nobody.
    const others = [...page.matchAll(/^\| `(\w+(?:Transport|Marshaler|Registry|Selector|Broker))` \|/gm)]
      .map((match) => match[1] ?? '')
      .filter((name) => expected.every(([known]) => known !== name));
    expect(others).toEqual([CachedRegistry.name]);
  });

  test('has only npm commands that the package has, and names the tarball of its version', async () => {
    const { scripts, version } = JSON.parse(await text('package.json')) as {
      scripts: Record<string, string>;
      version: string;
    };
    const commands = blocks
      .filter(({ info }) => info === 'sh')
      .flatMap(({ code }) => [...code.matchAll(/npm (?:run )?(\w+)/g)].map((match) => match[1] as string));
    expect(commands).toContain('start');
    for (const one of ['npm ci && npm start', 'npm ci && npm test']) expect(page.split('\n')).toContain(one);
    const ofNpm = ['ci', 'install', 'pack'];
    expect(commands.filter((command) => !ofNpm.includes(command) && !(command in scripts))).toEqual([]);
    expect(page).toContain(`tenon-${version}.tgz`);
  });
});

interface Described {
  readonly name: string;
  readonly capabilities?: object | ((options: object) => object);
}

function capitalized(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
}

function shownCapabilities(stated: object | ((options: object) => object)): string {
  const capabilities: object = typeof stated === 'function' ? stated({}) : stated;
  const able = Object.entries(capabilities as Readonly<Record<string, unknown>>).filter(([, is]) => is);
  if (able.length === 0) return 'none';
  return able.map(([capability, is]) => (is === true ? capability : `${capability}: ${shownValue(is)}`)).join(', ');
}

/** Parts that are not there are named. */
function shownValue(value: unknown): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return String(value);
  const parts = Object.entries(value as Readonly<Record<string, unknown>>);
  return parts.flatMap(([part, is]) => (is === false ? `no ${part}` : [])).join(', ');
}

/** The cells behind the first one of a table's row. */
function rowOf(first: string, occurrence = 0): string[] {
  const rows = page
    .split('\n')
    .filter((line) => /^\s*\|/.test(line))
    .map((line) =>
      line
        .trim()
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    );
  return rows.filter(([cell = '']) => cell === (first === '' ? '' : `\`${first}\``))[occurrence]?.slice(1) ?? [];
}

/** As an application does it: a project of its own, its compiler, Node. */
async function compileAndRun(
  code: string,
): Promise<{ complaints: string; code: number | null; printed: string; logged: string }> {
  await mkdir(join(root, 'node_modules/.cache'), { recursive: true });
  const folder = await mkdtemp(join(root, 'node_modules/.cache/tenon-readme-'));
  try {
    await writeFile(join(folder, 'package.json'), JSON.stringify({ type: 'module' }));
    await writeFile(
      join(folder, 'tsconfig.json'),
      JSON.stringify({ compilerOptions: applicationOptions, files: ['program.ts'] }),
    );
    await writeFile(join(folder, 'program.ts'), code);
    const complaints = await tsc(['-p', folder], folder);
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TENON_')));
    const program = spawn(process.execPath, ['program.js'], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let [printed, logged] = ['', ''];
    program.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()));
    program.stderr.on('data', (chunk: Buffer) => (logged += chunk.toString()));
    const exit = await new Promise<number | null>((resolve, reject) => {
      program.on('close', resolve);
      program.on('error', reject);
    });
    return { complaints, code: exit, printed, logged };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
