import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { run } from './process.ts';
import { describeWith, isRequired } from './require.ts';

/** Other Nodes that the package is tried on, beside the one that runs the tests. */
export const otherNodes: Readonly<Record<string, string>> = { 22: '22.23.3', 24: '24.21.0', 26: '26.10.0' };

/**
 * The path of that Node's binary. It comes as an npm package of 100 MB, is installed once into a folder beside the
 * tests' temporary ones, and is therefore only fetched where a run requires it.
 */
export async function nodeBinary(major: keyof typeof otherNodes): Promise<string> {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath;
  const version = otherNodes[major];
  if (version === undefined) throw new Error(`Node ${major} is not among ${Object.keys(otherNodes).join(', ')}`);
  const packageName = `node-${process.platform}-${process.arch}`;
  const cache = join(tmpdir(), 'tenon-test-nodes');
  const folder = join(cache, version);
  const binary = join(folder, 'node_modules', packageName, 'bin', 'node');
  if (existsSync(binary)) return binary;

  await mkdir(cache, { recursive: true });
  const fresh = await mkdtemp(join(cache, '.install-'));
  const quiet = ['--no-audit', '--no-fund', '--no-save', '--ignore-scripts', '--loglevel', 'error'];
  await run('npm', ['install', '--prefix', fresh, ...quiet, `${packageName}@${version}`]);
  try {
    await rename(fresh, folder);
  } catch (error) {
    // Another test file was faster.
    await rm(fresh, { recursive: true, force: true });
    if (!existsSync(binary)) throw error;
  }
  return binary;
}

/** A `describe` for tests on other Nodes: skipped, and saying so, unless `TENON_TEST_REQUIRE` names `node` or `all`. */
export function describeWithOtherNodes(name: string, define: () => void): void {
  const missing = isRequired('node')
    ? undefined
    : 'other Nodes are fetched (100 MB each) only with TENON_TEST_REQUIRE=node';
  describeWith(name, 'node', missing, define);
}
