import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, expect, it } from '@jest/globals';

import { promisedOutput } from '../samples/support.ts';
import { run } from '../support/process.ts';
import { describeWith } from '../support/require.ts';

const packageFolder = fileURLToPath(new URL('../../', import.meta.url));
const answered =
  spawnSync('npm', ['ping', '--fetch-retries=0', '--fetch-timeout=5000'], { stdio: 'ignore' }).status === 0;
const npm = (cwd: string, ...args: string[]): Promise<{ readonly stdout: string }> =>
  run('npm', ['--silent', '--no-audit', '--no-fund', '--prefer-offline', ...args], {
    cwd,
    env: { NODE_TEST_CONTEXT: undefined },
  });

describeWith(
  'a project from the packed tarball',
  'npm',
  answered ? undefined : 'the npm registry does not answer',
  () => {
    let folder: string;
    let tarball: string;

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'tenon-scaffold-'));
      await npm(packageFolder, 'pack', '--ignore-scripts', '--pack-destination', folder);
      [tarball] = (await readdir(folder)) as [string];
      // The command itself comes out of the tarball, as it does for a user.
      await npm(folder, 'install', '--prefix', join(folder, 'tool'), `./${tarball}`);
    }, 300_000);
    afterAll(() => rm(folder, { recursive: true, force: true }));

    it.each(['hello', 'places', 'environments', 'interop'])(
      'made from %s installs, builds, tests and runs',
      async (sample) => {
        const tenon = join(folder, 'tool/node_modules/.bin/tenon');
        await run(tenon, ['new', `my-${sample}`, '--sample', sample, '--tenon', `file:../${tarball}`], { cwd: folder });
        const project = join(folder, `my-${sample}`);
        await npm(project, 'install');
        await npm(project, 'run', 'build');
        expect((await npm(project, 'test')).stdout).toMatch(/^# fail 0|^ℹ fail 0/m);
        expect((await npm(project, 'start')).stdout).toBe(promisedOutput(sample));
      },
      300_000,
    );
  },
);
