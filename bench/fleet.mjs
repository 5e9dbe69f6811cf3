// The 99th percentile of calls to a live fleet of ten processes, one of which is ten times slower, by selector.
import { fork } from 'node:child_process';

import { contract, Registry, System } from '../dist/index.js';
import { median, ratioText } from './statistics.mjs';

const selectors = ['round-robin', 'peak-ewma', 'least-request', 'random'];
const windows = 9;
/** Calls of each caller in a window, and the time between two of any callers. */
const callsPerWindow = 500;
const everyMs = 5;

const fleet = contract('fleet.Fleet', { work: {} });

/**
 * Calls by each selector in turn, call by call, so that whatever else the machine does falls on all. The first window
 * warms up, and does not count.
 */
export async function fleetRows() {
  const nodes = await Promise.all(Array.from({ length: 10 }, (_, index) => startNode(index === 3 ? 300 : 30)));
  const callers = await Promise.all(selectors.map((selector) => startCaller(selector, nodes)));
  const found = Object.fromEntries(selectors.map((selector) => [selector, { p50: [], p99: [] }]));
  try {
    for (let window = -1; window < windows; window += 1) {
      for (const { selector, latencies } of await load(callers)) {
        if (window < 0) continue;
        found[selector].p50.push(at(latencies, 0.5));
        found[selector].p99.push(at(latencies, 0.99));
      }
    }
  } finally {
    await Promise.all(callers.map(({ system }) => system.stop()));
    for (const { child } of nodes) child.disconnect();
  }
  const base = found['round-robin'].p99;
  return Object.entries(found).map(([selector, { p50, p99 }]) => ({
    [`ten processes, one ten times slower, ${1_000 / everyMs / selectors.length} calls/s each`]: selector,
    'p50, ms': median(p50).toFixed(1),
    'p99, ms': median(p99).toFixed(1),
    'p99 / round-robin': ratioText(p99.map((ms, window) => ms / base[window])),
  }));
}

function startNode(takesMs) {
  const child = fork(new URL('./programs/fleet-node.mjs', import.meta.url), [String(takesMs)]);
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`a node of the fleet ended with ${code}`)));
    child.once('message', ({ address }) => resolve({ child, address }));
  });
}

async function startCaller(selector, nodes) {
  const env = {
    TENON_REGISTRY: 'memory',
    TENON_BROKER: 'memory',
    TENON_SELECTOR: selector,
    TENON_LOG_LEVEL: 'silent',
  };
  const system = await System.start([], { profile: 'local', env });
  const records = nodes.map(({ address }, index) => ({ id: `fleet-${index}`, address, metadata: {} }));
  const record = { name: 'fleet', version: '1', metadata: {}, endpoints: [], nodes: records };
  await system.get(Registry).register(record, { ttlMs: 86_400_000 });
  const client = system.client(fleet);
  return { selector, system, call: () => client.work({}) };
}

/** Makes calls at a steady rate, whatever the time that they take. Gives the latencies of each caller in order. */
async function load(callers) {
  const found = callers.map(({ selector }) => ({ selector, latencies: [] }));
  const pending = [];
  const startMs = performance.now();
  for (let made = 0; made < callsPerWindow * callers.length; made += 1) {
    const dueMs = startMs + made * everyMs - performance.now();
    if (dueMs > 0) await new Promise((resolve) => setTimeout(resolve, dueMs));
    const beganMs = performance.now();
    const { latencies } = found[made % callers.length];
    pending.push(callers[made % callers.length].call().then(() => latencies.push(performance.now() - beganMs)));
  }
  await Promise.all(pending);
  for (const { latencies } of found) latencies.sort((a, b) => a - b);
  return found;
}

function at(sorted, part) {
  return sorted[Math.floor(sorted.length * part)] ?? 0;
}
