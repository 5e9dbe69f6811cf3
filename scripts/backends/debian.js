// Installs packages of Debian, as root or by sudo.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { beforeExit, run } from './cleanup.js';

/**
 * Debian starts a daemon when it is installed, unless a policy forbids it: servers here are started by those who need
 * them. The policy is there for as long as the installation takes. One that the machine has already stays as it is.
 * @param {readonly string[]} packages @param {{ policy?: string, isRoot?: boolean }} [options]
 */
export async function installDebian(
  packages,
  { policy = '/usr/sbin/policy-rc.d', isRoot = process.getuid?.() === 0 } = {},
) {
  const rooted = (/** @type {string[]} */ ...command) => (isRoot ? command : ['sudo', '-n', ...command]);
  const asRoot = (/** @type {string[]} */ ...command) => {
    const [program = '', ...args] = rooted(...command);
    return run(program, args, '.', { isAwaited: true });
  };
  const removePolicy = () => {
    const [program = '', ...args] = rooted('rm', '-f', policy);
    spawnSync(program, args);
  };
  await asRoot('apt-get', 'update', '-qq');
  const isOurs = !existsSync(policy);
  // Also after a signal: with the policy no package would start anything on this machine any more.
  const done = isOurs ? beforeExit(removePolicy) : () => {};
  try {
    if (isOurs) await asRoot('install', '-m', '755', policyDraft(), policy);
    const wait = ['-o', 'DPkg::Lock::Timeout=300'];
    const quiet = ['-y', '-qq', '--no-install-recommends'];
    await asRoot('env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...wait, 'install', ...quiet, ...packages);
  } finally {
    done();
    if (isOurs) removePolicy();
  }
}

/** A file with the policy that no daemon is started, which this process removes. */
function policyDraft() {
  const folder = mkdtempSync(join(tmpdir(), 'tenon-policy-'));
  beforeExit(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'policy-rc.d');
  writeFileSync(file, '#!/bin/sh\nexit 101\n');
  return file;
}
