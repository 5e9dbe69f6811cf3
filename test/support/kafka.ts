import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { run, type StartOptions, startNode, type TestProcess } from './process.ts';

/** The release of @platformatic/kafka that is tested. It is no development dependency: Node 20 does not take it. */
export const platformaticVersion = '2.12.1';

/** The variable that says to tests, and to programs of tests, where the packages are that Node 20 does not take. */
export const modulesVariable = 'TENON_TEST_MODULES';

/** The folder of @platformatic/kafka, which is installed once beside the tests' temporary ones. */
export async function platformaticModules(): Promise<string> {
  const cache = join(tmpdir(), 'tenon-test-packages');
  const folder = join(cache, `platformatic-kafka-${platformaticVersion}`);
  const modules = join(folder, 'node_modules');
  if (existsSync(join(modules, '@platformatic', 'kafka', 'package.json'))) return modules;
  await mkdir(cache, { recursive: true });
  const fresh = await mkdtemp(join(cache, '.install-'));
  const quiet = ['--no-audit', '--no-fund', '--no-save', '--ignore-scripts', '--loglevel', 'error'];
  await run('npm', ['install', '--prefix', fresh, ...quiet, `@platformatic/kafka@${platformaticVersion}`]);
  try {
    await rename(fresh, folder);
  } catch (error) {
    // Another test file was faster.
    await rm(fresh, { recursive: true, force: true });
    if (!existsSync(modules)) throw error;
  }
  return modules;
}

/** Starts a program that speaks to Kafka, on the Node that runs the tests. */
export function startKafkaProgram(script: string, options: StartOptions): TestProcess {
  const hook = fileURLToPath(new URL('../broker/programs/test-modules.mjs', import.meta.url));
  const nodeArgs = process.env[modulesVariable] === undefined ? [] : ['--import', hook];
  return startNode(script, { ...options, nodeArgs: [...nodeArgs, ...(options.nodeArgs ?? [])] });
}
