import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';

import { startNode, type TestProcess } from '../support/process.ts';
import { eventually } from '../support/waiting.ts';

const patienceMs = 30_000;
const scripts = resolve('scripts/backends');
const tools = resolve('.tools/backends');
mkdirSync(tools, { recursive: true });
const installFolder = realpathSync(tools);

let folder: string;
let log: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tenon-scripts-'));
  log = join(folder, 'log');
  writeFileSync(log, '');
  mkdirSync(join(folder, 'bin'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A program that stands for one of the machine. It may write lines to `$LOG`. */
function program(name: string, ...lines: string[]): void {
  const file = join(folder, 'bin', name);
  writeFileSync(file, ['#!/bin/sh', ...lines, ''].join('\n'));
  chmodSync(file, 0o755);
}

/** A program that never ends, nor does what it starts. */
function endlessProgram(name: string): void {
  program(name, 'pwd >> "$LOG"', 'sleep 1000 & echo "$!" >> "$LOG"', 'echo "$$" >> "$LOG"', 'wait');
}

function logged(): string[] {
  return readFileSync(log, 'utf8').split('\n').filter(Boolean);
}

function startWith(...args: string[]): TestProcess {
  const env = { PATH: `${join(folder, 'bin')}${delimiter}${process.env['PATH']}`, LOG: log };
  const [file = '', ...others] = args;
  return startNode(file, { env, args: others });
}

/** Runs code that has `installJs` and `debianJs`, the modules of the scripts. */
function startCode(code: string): TestProcess {
  const urlOf = (name: string): string => JSON.stringify(pathToFileURL(join(scripts, name)).href);
  const text = `const installJs = await import(${urlOf('install.js')}), debianJs = await import(${urlOf('debian.js')});${code}`;
  return startWith('--input-type=module', '-e', text);
}

function isRunning(pid: string): boolean {
  try {
    return !/^State:\s*[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

async function allEnded(pids: readonly string[]): Promise<void> {
  expect(pids).toHaveLength(2);
  await eventually('all have ended', () => !pids.some(isRunning), patienceMs);
}

describe('npm run backends', () => {
  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('leaves nothing of a server running at %s', async (signal) => {
    endlessProgram('redis-server');
    const child = startWith(join(scripts, 'main.js'), 'start', 'redis');
    await eventually('it has started it', () => logged().length === 3, patienceMs);
    expect(await child.kill(signal)).toEqual({ code: null, signal });
    await allEnded(logged().slice(1));
  });

  test('leaves no builds running, and nothing of what they have made', async () => {
    endlessProgram('go');
    const key = `test-${process.pid}`;
    const made = `{ name: 'program', source: 'example.org/program', modules: [] }`;
    const child = startCode(`await installJs.once('${key}', (folder) => installJs.goProgram(folder, ${made}));`);
    await eventually('it builds', () => logged().length === 3, patienceMs);
    const [where = '', ...pids] = logged();
    expect(where).toContain(join(installFolder, '.installing-'));
    await child.kill('SIGINT');
    await allEnded(pids);
    expect([existsSync(where), existsSync(join(installFolder, key))]).toEqual([false, false]);
  });

  test('removes what a build that failed has left', async () => {
    program('go', 'echo no network >&2; exit 3');
    const made = `{ name: 'program', source: 'example.org/program', modules: [] }`;
    const child = startCode(`await installJs.once('test-failed', (folder) => installJs.goProgram(folder, ${made}));`);
    expect((await child.waitForExit(patienceMs)).code).toBe(1);
    expect(child.stderr).toContain('no network');
    expect(readdirSync(installFolder).filter((name) => name.startsWith('test-failed'))).toEqual([]);
  });
});

describe('the installation of packages of Debian', () => {
  const policy = (): string => join(folder, 'policy-rc.d');
  const install = (isRoot: boolean): TestProcess => {
    const options = `{ policy: ${JSON.stringify(policy())}, isRoot: ${isRoot} }`;
    return startCode(`await debianJs.installDebian(['redis-server'], ${options});`);
  };
  beforeEach(() => {
    program('sudo', '[ "$1" = -n ] || exit 9', 'shift', 'echo "sudo $1" >> "$LOG"', 'exec "$@"');
    // Debian asks the policy before it starts a daemon, and takes 101 for "no".
    const asked = `if [ -x "${policy()}" ]; then "${policy()}" redis-server start; echo "$1 policy $?" >> "$LOG"; else echo "$1 no policy" >> "$LOG"; fi`;
    program('apt-get', 'for word in "$@"; do case "$word" in update|install) set -- "$word";; esac; done', asked);
  });

  test.each([true, false])('starts no daemon, as root %s', async (isRoot) => {
    const child = install(isRoot);
    expect([await child.waitForExit(patienceMs), child.stderr]).toEqual([{ code: 0, signal: null }, '']);
    expect(logged().filter((line) => !line.startsWith('sudo'))).toEqual(['update no policy', 'install policy 101']);
    const bySudo = ['sudo apt-get', 'sudo install', 'sudo env', 'sudo rm'];
    expect(logged().filter((line) => line.startsWith('sudo'))).toEqual(isRoot ? [] : bySudo);
    expect(existsSync(policy())).toBe(false);
  });

  test('leaves a policy that the machine has', async () => {
    writeFileSync(policy(), '#!/bin/sh\nexit 104\n', { mode: 0o755 });
    expect((await install(false).waitForExit(patienceMs)).code).toBe(0);
    expect(logged()).toContain('install policy 104');
    expect(readFileSync(policy(), 'utf8')).toContain('104');
  });

  test('removes the policy after a failure', async () => {
    program('apt-get', 'case "$*" in *install*) echo no such package >&2; exit 100;; esac');
    const child = install(false);
    expect((await child.waitForExit(patienceMs)).code).toBe(1);
    expect(child.stderr).toContain('no such package');
    expect(existsSync(policy())).toBe(false);
  });

  test('removes the policy at a signal, but not before the installation has ended', async () => {
    program(
      'apt-get',
      'case "$*" in *update*) exit 0;; esac',
      `trap 'sleep 1; [ -x "${policy()}" ] && echo guarded >> "$LOG"; exit 1' TERM`,
      'echo installs >> "$LOG"',
      'while true; do sleep 0.1; done',
    );
    const child = install(true);
    await eventually('it installs', () => logged().length === 1, patienceMs);
    expect(await child.kill('SIGTERM')).toEqual({ code: null, signal: 'SIGTERM' });
    expect(logged()).toEqual(['installs', 'guarded']);
    expect(existsSync(policy())).toBe(false);
  });
});
