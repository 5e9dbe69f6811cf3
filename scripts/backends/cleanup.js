// Programs that end with this process, and what else is to be done before it ends, by itself or by a signal: Node runs
// no exit handlers after a signal that nobody handles.
import { spawn, spawnSync } from 'node:child_process';

/** @type {Set<() => void>} */
const tasks = new Set();

function runAll() {
  for (const task of [...tasks].toReversed()) {
    tasks.delete(task);
    try {
      task();
    } catch {
      // The others are to be done all the same.
    }
  }
}

process.on('exit', runAll);
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
  process.once(signal, () => {
    runAll();
    process.kill(process.pid, signal);
  });
}

/**
 * Does something before this process ends. What was added last is done first.
 * @param {() => void} task may do nothing asynchronous
 * @returns {() => void} takes it back
 */
export function beforeExit(task) {
  tasks.add(task);
  return () => tasks.delete(task);
}

/**
 * Runs a program to its end. Rejects with the end of its output if it fails. When this process ends before, so does the
 * program, with all that it started.
 * @param {string} command @param {readonly string[]} args @param {string} cwd
 * @param {RunOptions} [options]
 * @returns {Promise<string>} its standard output
 *
 * @typedef {object} RunOptions
 * @property {boolean} [isAwaited] it must not be cut off, so it is told to end, and awaited. It gets the signals of the
 *   terminal as well, as `sudo` can be signalled by nobody else
 * @property {Readonly<Record<string, string>> | undefined} [env] more variables
 * @property {import('./definitions.js').User | undefined} [user] default: the one who calls
 */
export function run(command, args, cwd, { isAwaited = false, env = {}, user } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, CGO_ENABLED: '0', ...env },
      detached: !isAwaited,
      ...user,
    });
    const { pid } = child;
    const ended = beforeExit(() => {
      if (pid === undefined) return;
      if (isAwaited) endInOrder(pid);
      else process.kill(-pid, 'SIGKILL');
    });
    let [stdout, all] = ['', ''];
    child.stdin.end();
    child.stdout.on('data', (data) => {
      stdout += data;
      all += data;
    });
    child.stderr.on('data', (data) => (all += data));
    child.once('error', (error) => {
      ended();
      reject(new Error(`${command} cannot be run: ${error.message}`));
    });
    child.once('close', (status) => {
      ended();
      if (status === 0) resolve(stdout);
      else reject(new Error(`${command} ${args.join(' ')} ended with status ${status}\n${all.slice(-4_000)}`));
    });
  });
}

/** @param {number} pid */
function endInOrder(pid) {
  try {
    process.kill(pid, 'SIGTERM');
  } catch {
    // It belongs to root.
  }
  // Nothing reaps it while this process waits: as a zombie it has ended.
  const isThere = `grep -qs '^State:[[:space:]]*[^ZX[:space:]]' /proc/${pid}/status`;
  spawnSync('sh', ['-c', `while ${isThere}; do sleep 0.1; done`], { timeout: 120_000 });
}
