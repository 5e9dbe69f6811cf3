import { spawnSync } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { expect, it } from '@jest/globals';

import { promisedOutput } from '../samples/support.ts';
import { run } from '../support/process.ts';
import { describeWith } from '../support/require.ts';
import { inTemporaryFolder } from './support.ts';

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
    it.each(['hello', 'places', 'environments'])(
      'made from %s installs, builds, tests and runs',
      (sample) =>
        inTemporaryFolder(async (folder) => {
          await npm(packageFolder, 'pack', '--ignore-scripts', '--pack-destination', folder);
          const [tarball] = await readdir(folder);
          // The command itself comes out of the tarball, as it does for a user.
          await npm(folder, 'install', '--prefix', join(folder, 'tool'), `./${tarball}`);
          const tenon = join(folder, 'tool/node_modules/.bin/tenon');
          await run(tenon, ['new', 'my-service', '--sample', sample, '--tenon', `file:../${tarball}`], { cwd: folder });
          const project = join(folder, 'my-service');
          await npm(project, 'install');
          await npm(project, 'run', 'build');
          expect((await npm(project, 'test')).stdout).toMatch(/^# fail 0|^ℹ fail 0/m);
          expect((await npm(project, 'start')).stdout).toBe(promisedOutput(sample));
        }),
      300_000,
    );
  },
);
