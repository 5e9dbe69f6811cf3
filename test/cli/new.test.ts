import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from '@jest/globals';

import { nameProblem, writeProject } from '../../src/cli/project.ts';
import { listSamples, packageVersion } from '../../src/cli/samples.ts';
import { cli, contentOf, inTemporaryFolder } from './support.ts';

describe('tenon new', () => {
  it('makes a project from a sample', () =>
    inTemporaryFolder(async (cwd) => {
      const result = await cli(['new', 'my-service', '--sample', 'places'], { cwd });
      expect(result).toMatchObject({ code: 0, stderr: '' });
      expect(result.stdout).toContain('my-service, from the sample "places", is in my-service');
      const files = await contentOf(cwd);
      expect(Object.keys(files).filter((path) => !path.startsWith('my-service'))).toEqual([]);
      expect(JSON.parse(files['my-service/package.json'] ?? '')).toMatchObject({
        name: 'my-service',
        version: '0.1.0',
        dependencies: { tenon: `^${await packageVersion()}` },
      });
      expect(files['my-service/.gitignore']).toBe('node_modules/\ndist/\n');
      expect(files['my-service/README.md']).toMatch(/^# my-service\n/);
      expect(files['my-service/proto/places.proto']).toBe(await readFile('samples/places/proto/places.proto', 'utf8'));
      expect(Object.keys(files).filter((path) => /node_modules|dist|package-lock/.test(path))).toEqual([]);
    }));

  it('writes where --dir says, with the tenon that --tenon says', () =>
    inTemporaryFolder(async (cwd) => {
      const result = await cli(
        ['new', '@team/greeter', '--sample', 'hello', '--dir', 'deep/down', '--tenon', 'file:../tenon.tgz'],
        { cwd },
      );
      expect(result).toMatchObject({ code: 0, stderr: '' });
      const manifest = JSON.parse(await readFile(join(cwd, 'deep/down/package.json'), 'utf8')) as unknown;
      expect(manifest).toMatchObject({ name: '@team/greeter', dependencies: { tenon: 'file:../tenon.tgz' } });
    }));

  it('takes the name without its scope for the folder', () =>
    inTemporaryFolder(async (cwd) => {
      await cli(['new', '@team/greeter', '--sample', 'hello'], { cwd });
      expect(await contentOf(cwd)).toHaveProperty(['greeter/package.json']);
    }));

  it('writes into an empty folder that is there, and keeps that folder', () =>
    inTemporaryFolder(async (cwd) => {
      const before = (await stat(cwd)).ino;
      expect(await cli(['new', 'here', '--sample', 'hello', '--dir', '.'], { cwd })).toMatchObject({
        code: 0,
        stderr: '',
      });
      expect((await stat(cwd)).ino).toBe(before);
      expect(Object.keys(await contentOf(cwd))).toEqual(
        expect.arrayContaining(['.gitignore', 'package.json', 'src/main.ts']),
      );
    }));

  it('gives the new folder the rights of any other', () =>
    inTemporaryFolder(async (cwd) => {
      await mkdir(join(cwd, 'other'));
      await cli(['new', 'mine', '--sample', 'hello'], { cwd });
      expect((await stat(join(cwd, 'mine'))).mode).toBe((await stat(join(cwd, 'other'))).mode);
    }));

  it('refuses a folder that is not empty, and leaves it as it was', () =>
    inTemporaryFolder(async (cwd) => {
      await mkdir(join(cwd, 'taken'));
      await writeFile(join(cwd, 'taken/notes.txt'), 'mine');
      const before = await contentOf(cwd);
      const result = await cli(['new', 'taken', '--sample', 'hello'], { cwd });
      expect(result).toMatchObject({ code: 1, stdout: '' });
      expect(result.stderr).toBe(
        `tenon: ${join(cwd, 'taken')} is not empty, and was left as it is: take another name, choose another folder with --dir, or empty it first\n`,
      );
      expect(await contentOf(cwd)).toEqual(before);
    }));

  it('refuses a hidden file as well, and a path that is a file', () =>
    inTemporaryFolder(async (cwd) => {
      await mkdir(join(cwd, 'taken'));
      await writeFile(join(cwd, 'taken/.env'), 'SECRET=1');
      await writeFile(join(cwd, 'file'), '');
      const before = await contentOf(cwd);
      expect(await cli(['new', 'taken', '--sample', 'hello'], { cwd })).toMatchObject({ code: 1 });
      const result = await cli(['new', 'file', '--sample', 'hello'], { cwd });
      expect(result.stderr).toContain('file is a file, or lies in one: take another name');
      expect(await contentOf(cwd)).toEqual(before);
    }));

  it('leaves nothing behind when it is aborted', () =>
    inTemporaryFolder(async (cwd) => {
      const result = await cli(['new', 'mine', '--sample', 'hello', '--dir', 'a/b'], {
        cwd,
        signal: AbortSignal.abort(),
      });
      expect(result).toMatchObject({ code: 130, stderr: 'tenon: cancelled, and nothing was written\n' });
      expect(await contentOf(cwd)).toEqual({});
    }));

  it('leaves nothing behind when it fails half way', () =>
    inTemporaryFolder(async (cwd) => {
      const files = [
        { path: 'a', content: '1' },
        { path: 'a/b', content: 'a file cannot be in a file' },
      ];
      await expect(writeProject(join(cwd, 'mine'), files)).rejects.toMatchObject({ reason: 'cli.cannot_write' });
      expect(await contentOf(cwd)).toEqual({});
      await mkdir(join(cwd, 'empty'));
      await expect(writeProject(join(cwd, 'empty'), files)).rejects.toThrow();
      expect(await contentOf(cwd)).toEqual({ empty: 'folder' });
    }));

  it('only says what it would write with --dry-run', () =>
    inTemporaryFolder(async (cwd) => {
      const result = await cli(['new', 'mine', '--sample', 'hello', '--dry-run'], { cwd });
      expect(result.code).toBe(0);
      expect(result.stdout).toMatch(/^mine, from the sample "hello", would be written to mine:\n/);
      const files = [
        '.gitignore',
        'README.md',
        'package.json',
        'src/hello.test.ts',
        'src/hello.ts',
        'src/main.ts',
        'tsconfig.json',
      ];
      expect([...result.stdout.matchAll(/^ {2}(\S+) \(\d+ bytes\)$/gm)].map(([, path]) => path)).toEqual(files);
      expect(await contentOf(cwd)).toEqual({});
    }));

  it('lists the samples with a line each', async () => {
    const { code, stdout } = await cli(['new', '--list']);
    expect(code).toBe(0);
    const samples = await listSamples();
    expect(samples.map((sample) => sample.name)).toEqual(['environments', 'hello', 'interop', 'places']);
    for (const { name, description } of samples) {
      expect(description).not.toBe('');
      expect(stdout).toMatch(new RegExp(`^${name} +${description.slice(0, 20)}`, 'm'));
    }
  });

  it.each([
    [['new'], 'the name of the project is missing'],
    [
      ['new', 'mine'],
      'the sample to start from is missing: tenon new mine --sample environments | hello | interop | places',
    ],
    [
      ['new', 'mine', '--sample', 'place'],
      'there is no sample "place": take environments | hello | interop | places. Did you mean "places"?',
    ],
    [
      ['new', 'My-Service', '--sample', 'hello'],
      '"My-Service" cannot be the name of a package: it has upper-case letters: take "my-service"',
    ],
    [['new', 'mine', '--sampel', 'hello'], "unknown option '--sampel'\n(Did you mean --sample?)"],
    [['nwe', 'mine'], "unknown command 'nwe'\n(Did you mean new?)"],
  ])('says what is wrong with %j, with exit code 2', (args, message) =>
    inTemporaryFolder(async (cwd) => {
      const result = await cli(args, { cwd });
      expect(result).toMatchObject({ code: 2, stdout: '' });
      expect(result.stderr).toContain(`tenon: ${message}`);
      expect(await contentOf(cwd)).toEqual({});
    }),
  );

  it('asks for what was not said when a terminal is there', () =>
    inTemporaryFolder(async (cwd) => {
      const answered = new Set<string>();
      const answer = (question: string, keys: string, screen: string): string | undefined => {
        if (!screen.includes(question) || answered.has(question)) return undefined;
        answered.add(question);
        return keys;
      };
      const typing = (screen: string): string | undefined =>
        answer('What is the project called?', 'asked-for\r', screen) ?? answer('Which sample', '\u001b[B\r', screen);
      const result = await cli(['new'], { cwd, terminal: true, typing });
      expect(result).toMatchObject({ code: 0, stderr: '' });
      const manifest = JSON.parse(await readFile(join(cwd, 'asked-for/package.json'), 'utf8')) as {
        name: string;
        scripts: Record<string, string>;
      };
      expect(manifest).toMatchObject({ name: 'asked-for' });
      expect(manifest.scripts['test']).toContain('hello');
    }));

  it('writes nothing when the questions are left', () =>
    inTemporaryFolder(async (cwd) => {
      const result = await cli(['new', 'mine'], {
        cwd,
        terminal: true,
        typing: (screen) => (screen.includes('Which sample') ? '\u0003' : undefined),
      });
      expect(result).toMatchObject({ code: 130 });
      expect(result.stderr).toBe('tenon: cancelled, and nothing was written\n');
      expect(await contentOf(cwd)).toEqual({});
    }));

  it('asks nothing in CI, even on a terminal', async () => {
    const result = await cli(['new', 'mine'], { terminal: true, env: { CI: 'true' } });
    expect(result).toMatchObject({ code: 2 });
    expect(result.stderr).toContain('the sample to start from is missing');
  });
});

describe('names of packages', () => {
  it.each(['a', 'my-service', 'my.service_2', '@team/my-service', '@team/fs', '7up', 'x'.repeat(214)])(
    '%s is one',
    (name) => {
      expect(nameProblem(name)).toBeUndefined();
    },
  );

  it.each([
    '',
    'A',
    ' a',
    'a b',
    '.a',
    '_a',
    '@team',
    '@team/',
    '@/a',
    'a/b',
    '../a',
    'fs',
    'node_modules',
    'a~b',
    'x'.repeat(215),
  ])('"%s" is none', (name) => {
    expect(nameProblem(name)).toEqual(expect.any(String));
  });
});

describe('tenon', () => {
  it('says its version', async () => {
    expect(await cli(['--version'])).toEqual({ code: 0, stdout: `${await packageVersion()}\n`, stderr: '' });
  });

  it('says what it can do', async () => {
    const { code, stdout } = await cli(['--help']);
    expect(code).toBe(0);
    for (const command of ['new', 'verify', 'env']) expect(stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
  });
});
