// Ends a server when the process that started it has ended, however that was: a process that is killed runs no handlers,
// and those of a test in Jest hear of no signals.
import { spawn } from 'node:child_process';

import { knowsFolders } from './processes.js';

// Its input ends with the process that holds the other end of it. Some are started while others are killed.
const script = `read -r _
for round in 1 2 3; do
  for link in /proc/[0-9]*/cwd; do
    case "$(readlink "$link" 2>/dev/null)" in
      "$1"|"$1"/*) pid=\${link#/proc/}; kill -9 "\${pid%/cwd}" 2>/dev/null;;
    esac
  done
  sleep 0.2
done`;

/**
 * Kills all processes that work in a folder once this process has ended.
 * @param {string} folder
 * @returns {() => void} takes it back
 */
export function guard(folder) {
  if (!knowsFolders) return () => {};
  const options = { cwd: '/', detached: true };
  const child = spawn('sh', ['-c', script, 'guard', folder], { ...options, stdio: ['pipe', 'ignore', 'ignore'] });
  child.once('error', () => {});
  child.unref();
  child.stdin.unref();
  return () => void child.kill('SIGKILL');
}
