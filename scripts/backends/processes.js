// Finds processes by the folder that they work in. A server starts others in sessions of their own, which a signal to
// its process group does not reach; all of them stay in its folder.
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
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
 * Ends all processes that work in a folder, also those that are started meanwhile.
 * @param {string} folder
 */
export async function endProcessesIn(folder) {
  for (const endsAt = Date.now() + patienceMs; Date.now() < endsAt; await sleep(10)) {
    const pids = processesIn(folder);
    if (pids.length === 0) return;
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
