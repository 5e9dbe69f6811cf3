import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

import { host } from './probes.js';

const lowest = 10_000;
const attempts = 100;
/** Ports that this process was given: it may listen on them only later. @type {Set<number>} */
const given = new Set();

/**
 * A port of the loopback interface that nothing listens on. It is none of those that the system gives to connections
 * and to listeners that name no port: one of those would take it while a server that is to start again is down.
 * @returns {Promise<number>}
 */
export async function freePort() {
  const end = firstOfSystem();
  for (let attempt = 0; end > lowest && attempt < attempts; attempt += 1) {
    const port = randomInt(lowest, end);
    if (given.has(port) || (await listensOn(port)) === undefined) continue;
    given.add(port);
    return port;
  }
  const port = await listensOn(0);
  if (port === undefined) throw new Error(`there is no free port on ${host}`);
  return port;
}

/** The first port that the system chooses by itself. */
function firstOfSystem() {
  try {
    return Number.parseInt(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8'), 10);
  } catch {
    // Those of IANA, which other systems use.
    return 49_152;
  }
}

/** Listens on a port and closes it again. @param {number} port @returns {Promise<number | undefined>} */
function listensOn(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, host, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : undefined));
    });
  });
}
