// Finds processes by the folder that they work in. A server starts others in sessions of their own, which a signal to
// its process group does not reach; all of them stay in its folder.
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const patienceMs = 10_000;

/** False on systems that do not say where a process works. */
export const knowsFolders = existsSync('/proc/self/cwd');

/**
 * The processes that work in a folder, or below it. None of another user, unless root asks.
 * @param {string} folder
 * @returns {number[]}
 */
export function processesIn(folder) {
  if (!knowsFolders) return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && isIn(folder, pid));
}

/**
 * Ends all processes that work in a folder, also those that are started meanwhile, and waits for those that were
 * there before a signal as well.
 * @param {string} folder @param {readonly number[]} before
 */
export async function endProcessesIn(folder, before = []) {
  const ending = new Set(before);
  for (const endsAt = Date.now() + patienceMs; Date.now() < endsAt; await sleep(10)) {
    const pids = processesIn(folder);
    for (const pid of pids) ending.add(pid);
    for (const pid of ending) if (hasEnded(pid)) ending.delete(pid);
    if (ending.size === 0) return;
    signalAll(pids, 'SIGKILL');
  }
}

/** @param {readonly number[]} pids negative ones are groups @param {NodeJS.Signals} signal */
export function signalAll(pids, signal) {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // It has ended just now.
    }
  }
}

/**
 * Stops processes (SIGSTOP), and returns when all their threads have: until then they may answer.
 * @param {readonly number[]} pids
 */
export function stopAll(pids) {
  signalAll(pids, 'SIGSTOP');
  const moment = new Int32Array(new SharedArrayBuffer(4));
  for (const endsAt = Date.now() + patienceMs; knowsFolders && Date.now() < endsAt; Atomics.wait(moment, 0, 0, 1))
    if (pids.every((pid) => threadsAre(pid, 'TZX'))) return;
}

/**
 * True once all threads of a process have ended. Before that it may hold a port, though its folder is no longer told.
 * @param {number} pid
 */
function hasEnded(pid) {
  return threadsAre(pid, 'ZX');
}

/** @param {number} pid @param {string} states letters of proc(5); a thread that is gone has the last one */
function threadsAre(pid, states) {
  const tasks = `/proc/${pid}/task`;
  // The state follows the name of the program, which may have parentheses of its own.
  const pattern = new RegExp(`.*\\) [${states}] `, 's');
  return textOr('', () => readdirSync(tasks).join())
    .split(',')
    .every((task) => pattern.test(textOr(') X ', () => readFileSync(`${tasks}/${task}/stat`, 'utf8'))));
}

/**
 * Reads of a process, or of a thread, that may be gone.
 * @param {string} gone @param {() => string} read
 */
function textOr(gone, read) {
  try {
    return read();
  } catch {
    return gone;
  }
}

/** @param {string} folder @param {number} pid */
function isIn(folder, pid) {
  try {
    const place = readlinkSync(`/proc/${pid}/cwd`).replace(/ \(deleted\)$/, '');
    return place === folder || place.startsWith(`${folder}/`);
  } catch {
    // It has ended, or belongs to another user.
    return false;
  }
}
