// The 99th percentile of calls to a live fleet of ten processes, one of which is ten times slower, by selector.
import { fork } from 'node:child_process';

import { contract, Registry, System } from '../dist/index.js';
import { median, ratioText } from './statistics.mjs';

const selectors = ['round-robin', 'peak-ewma', 'least-request', 'random'];
const slices = 9;
const callsPerSlice = 800;
const everyMs = 5;

const fleet = contract('fleet.Fleet', { work: {} });

/** Slices of load by each selector in turn. The first round warms up, and does not count. */
export async function fleetRows() {
  const nodes = await Promise.all(Array.from({ length: 10 }, (_, index) => startNode(index === 3 ? 100 : 10)));
  const callers = await Promise.all(selectors.map((selector) => startCaller(selector, nodes)));
  const p99 = Object.fromEntries(selectors.map((selector) => [selector, []]));
  const p50 = Object.fromEntries(selectors.map((selector) => [selector, []]));
  try {
    for (let slice = -1; slice < slices; slice += 1) {
      for (let k = 0; k < callers.length; k += 1) {
        const { selector, call } = callers[(k + Math.max(0, slice)) % callers.length];
        const latencies = await load(call);
        if (slice < 0) continue;
        p50[selector].push(at(latencies, 0.5));
        p99[selector].push(at(latencies, 0.99));
      }
    }
  } finally {
    await Promise.all(callers.map(({ system }) => system.stop()));
    for (const { child } of nodes) child.disconnect();
  }
  return selectors.map((selector) => ({
    [`ten processes, one ten times slower, ${1_000 / everyMs} calls/s`]: selector,
    'p50, ms': median(p50[selector]).toFixed(1),
    'p99, ms': median(p99[selector]).toFixed(1),
    'p99 / round-robin': ratioText(p99[selector].map((ms, slice) => ms / p99['round-robin'][slice])),
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

/** Makes calls at a steady rate, whatever the time that they take. Gives their latencies in order. */
async function load(call) {
  const latencies = [];
  const pending = [];
  const startMs = performance.now();
  for (let made = 0; made < callsPerSlice; made += 1) {
    const dueMs = startMs + made * everyMs - performance.now();
    if (dueMs > 0) await new Promise((resolve) => setTimeout(resolve, dueMs));
    const beganMs = performance.now();
    pending.push(call().then(() => latencies.push(performance.now() - beganMs)));
  }
  await Promise.all(pending);
  return latencies.sort((a, b) => a - b);
}

function at(sorted, part) {
  return sorted[Math.floor(sorted.length * part)] ?? 0;
}
