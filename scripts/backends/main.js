// npm run backends -- install [NAME…] | start NAME [PORT] | stop [NAME…] | list
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

import { servers } from './definitions.js';
import { installed } from './install.js';
import { endProcessesIn, knowsFolders, signalAll } from './processes.js';
import { BackendServer } from './server.js';

const usage = `npm run backends -- install [NAME…]    installs servers; all of them without a name
npm run backends -- start NAME [PORT]  starts a server on loopback, and prints where it is
npm run backends -- stop [NAME…]       stops what was started, and removes its data
npm run backends -- list               lists the servers

${list()}`;

const [action, ...args] = process.argv.slice(2);
try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

async function main() {
  switch (action) {
    case 'install':
      return install(args.length > 0 ? args : Object.keys(servers));
    case 'start':
      return start(args[0] ?? '', Number(args[1] ?? 0));
    case 'stop':
      return stop(args);
    case 'list':
      return console.log(list());
    default:
      console.error(usage);
      process.exitCode = 2;
  }
}

async function install(/** @type {readonly string[]} */ names) {
  for (const name of names) {
    const { definition } = new BackendServer(name);
    const beganMs = Date.now();
    await definition.install();
    console.log(`${name}: ${Math.round((Date.now() - beganMs) / 1_000)} s`);
  }
}

async function start(/** @type {string} */ name, /** @type {number} */ port) {
  const server = new BackendServer(name, port > 0 ? { port } : {});
  if (!server.definition.isInstalled()) await server.definition.install();
  await server.start();
  const { address, folder, details } = server;
  save([...left(), { name, address, folder, pids: server.leave() }]);
  console.log(JSON.stringify({ name, address, folder, ...details }));
}

async function stop(/** @type {readonly string[]} */ names) {
  const isMeant = (/** @type {{ name: string }} */ { name }) => names.length === 0 || names.includes(name);
  for (const { name, address, folder, pids } of left().filter(isMeant)) {
    // Where it is known who works in the folder, the numbers are not needed: those may be others' by now.
    if (knowsFolders) await endProcessesIn(folder);
    else if (existsSync(folder))
      signalAll(
        pids.map((pid) => -pid),
        'SIGKILL',
      );
    rmSync(folder, { recursive: true, force: true });
    console.log(`${name} at ${address} is stopped`);
  }
  save(left().filter((one) => !isMeant(one)));
}

/** The servers that were started and not stopped.
 * @returns {{ name: string, address: string, folder: string, pids: number[] }[]} */
function left() {
  const file = installed('started.json');
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : [];
}

function save(/** @type {unknown} */ started) {
  const file = installed('started.json');
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, JSON.stringify(started));
}

function list() {
  return Object.entries(servers)
    .map(([name, { summary }]) => `${name.padEnd(12)} ${summary}`)
    .join('\n');
}
