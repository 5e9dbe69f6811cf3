// What a selection costs, and what it is worth: the selectors of the build over fleets that are simulated in virtual
// time, so that the figures do not depend on the machine; and over one of processes.
import { ConsistentHashSelector } from '../dist/selector/consistent-hash.js';
import { LeastRequestSelector } from '../dist/selector/least-request.js';
import { PeakEwmaSelector } from '../dist/selector/peak-ewma.js';
import { RandomSelector } from '../dist/selector/random.js';
import { RoundRobinSelector } from '../dist/selector/round-robin.js';
import { WeightedSelector } from '../dist/selector/weighted.js';
import { fleetRows } from './fleet.mjs';
import { median } from './statistics.mjs';

const selectors = {
  'round-robin': RoundRobinSelector,
  random: RandomSelector,
  weighted: WeightedSelector,
  'least-request': LeastRequestSelector,
  'peak-ewma': PeakEwmaSelector,
  'consistent-hash': ConsistentHashSelector,
};

const ok = 0;
const internal = 13;

export async function selectorsBench() {
  console.table(Object.entries(selectors).map(([name, Selector]) => costOf(name, Selector)));
  for (const scenario of scenarios) console.table(rowsOf(scenario));
  console.table(await fleetRows());
  return undefined;
}

/** Numbers from [0, 1) of a fixed seed. */
function seeded(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function serviceOf(count) {
  const nodes = Array.from({ length: count }, (_, index) => ({
    id: `greeter-${String(index).padStart(4, '0')}-2b7f4e0b8a11`,
    address: `10.0.${index >> 8}.${index & 255}:50051`,
    metadata: { 'tenon-state': 'serving', zone: 'a' },
  }));
  return [{ name: 'greeter', version: '1', metadata: {}, endpoints: [], nodes }];
}

/** Microseconds of processor time and bytes of one selection, and of a whole call with its begin and end. */
function costOf(name, Selector) {
  const row = { selector: name };
  for (const count of [10, 1_000]) {
    const records = serviceOf(count);
    const selector = new Selector({ peek: () => records });
    const call = name === 'consistent-hash' ? { hashKey: 'user-2b7f4e0b' } : undefined;
    const ended = { answer: ok };
    const inFlight = [];
    const select = () => selector.select('greeter', call)();
    // As many in flight as there are in a client that is used.
    const whole = () => {
      const node = select();
      selector.begin?.('greeter', node);
      inFlight.push(node);
      if (inFlight.length > 32) selector.mark('greeter', inFlight.shift(), undefined, 5, ended);
    };
    for (const [what, run] of Object.entries({ select, whole })) {
      const times = [];
      const bytes = [];
      const calls = count === 10 ? 200_000 : 50_000;
      for (let slice = 0; slice < 11; slice += 1) {
        globalThis.gc?.();
        const heap = process.memoryUsage().heapUsed;
        const before = process.cpuUsage();
        for (let n = 0; n < calls; n += 1) run();
        const { user, system } = process.cpuUsage(before);
        times.push((user + system) / calls);
        bytes.push((process.memoryUsage().heapUsed - heap) / calls);
      }
      row[`${what}, ${count} nodes, µs`] = median(times).toFixed(2);
      if (what === 'select' && globalThis.gc) row[`bytes, ${count} nodes`] = Math.max(0, Math.round(median(bytes)));
    }
  }
  return row;
}

const around = (ms) => (random) => ms * (0.8 + 0.4 * random());

/**
 * Ten nodes. `workers` is the number of calls that a node works on at a time; the others wait. `serviceMs` gives the
 * time of a call on a node.
 */
const scenarios = [
  ...[20, 200, 1_000].map((rate) => ({
    what: `one of ten nodes ten times slower, without queues, ${rate} calls/s`,
    rate,
    workers: Number.POSITIVE_INFINITY,
    serviceMs: (index) => around(index === 3 ? 100 : 10),
  })),
  {
    what: 'one of ten nodes ten times slower, two workers each, 800 calls/s',
    rate: 800,
    workers: 2,
    serviceMs: (index) => around(index === 3 ? 100 : 10),
  },
  {
    what: 'exponential times, one of ten nodes ten times slower, two workers each, 500 calls/s',
    rate: 500,
    workers: 2,
    serviceMs: (index) => (random) => -Math.log(1 - random()) * (index === 3 ? 100 : 10),
  },
  {
    what: 'ten nodes alike, exponential times, two workers each, 1,400 calls/s',
    rate: 1_400,
    workers: 2,
    serviceMs: () => (random) => -Math.log(1 - random()) * 10,
  },
  {
    what: 'ten nodes alike, one call in 500 fails, two workers each, 1,200 calls/s',
    rate: 1_200,
    workers: 2,
    serviceMs: () => (random) => -Math.log(1 - random()) * 10,
    fails: (_index, random) => random() < 0.002,
  },
  {
    what: 'two nodes alike, one call in 1,000 fails, two workers each, 200 calls/s',
    nodes: 2,
    rate: 200,
    workers: 2,
    serviceMs: () => around(10),
    fails: (_index, random) => random() < 0.001,
  },
  {
    what: 'one of ten nodes fails after 1 ms, 500 calls/s',
    rate: 500,
    workers: 2,
    serviceMs: (index) => around(index === 3 ? 1 : 20),
    fails: (index) => index === 3,
  },
];

function rowsOf(scenario) {
  const rows = Object.entries(selectors).map(([name, Selector]) => ({ name, ...simulate(Selector, scenario) }));
  const base = rows[0].p99;
  return rows.map(({ name, p50, p99, share, failed }) => ({
    [scenario.what]: name,
    'p50, ms': p50.toFixed(1),
    'p99, ms': p99.toFixed(1),
    'p99 / round-robin': (p99 / base).toFixed(2),
    'share of node 4': `${(100 * share).toFixed(1)} %`,
    ...(scenario.fails === undefined ? {} : { failed: `${(100 * failed).toFixed(1)} %` }),
  }));
}

/** A minute of calls after ten seconds that do not count, by events in virtual time. */
function simulate(Selector, { nodes: count = 10, rate, workers, serviceMs, fails }) {
  const random = seeded(7);
  let nowMs = 0;
  const records = serviceOf(count);
  const clock = { now: () => nowMs, monotonicMs: () => nowMs };
  const selector = new Selector({ peek: () => records }, {}, clock, { next: seeded(11), uuid: () => '' });
  const indexes = new Map(records[0].nodes.map(({ id }, index) => [id, index]));
  const nodes = records[0].nodes.map((_node, index) => ({ busy: 0, queue: [], timeOf: serviceMs(index) }));
  const events = new EventQueue();
  const latencies = [];
  const counts = nodes.map(() => 0);
  let failures = 0;
  let calls = 0;
  const work = (index, call) => {
    nodes[index].busy += 1;
    events.add(nowMs + nodes[index].timeOf(random), () => {
      const node = nodes[index];
      node.busy -= 1;
      const latencyMs = nowMs - call.atMs;
      const isFailure = fails?.(index, random) === true;
      const answer = isFailure ? internal : ok;
      selector.mark('greeter', call.node, undefined, latencyMs, { answer, deadline: call.atMs + 30_000 });
      if (call.atMs > 10_000) {
        if (isFailure) failures += 1;
        else latencies.push(latencyMs);
      }
      const next = node.queue.shift();
      if (next) work(index, next);
    });
  };
  const arrive = () => {
    const hashKey = `user-${Math.floor(random() * 1_000)}`;
    const node = selector.select('greeter', { hashKey })();
    selector.begin?.('greeter', node);
    const index = indexes.get(node.id);
    if (nowMs > 10_000) {
      counts[index] += 1;
      calls += 1;
    }
    const call = { node, atMs: nowMs };
    if (nodes[index].busy < workers) work(index, call);
    else nodes[index].queue.push(call);
    if (nowMs < 70_000) events.add(nowMs - (Math.log(1 - random()) * 1_000) / rate, arrive);
  };
  events.add(0, arrive);
  for (let event = events.next(); event; event = events.next()) {
    nowMs = event.atMs;
    event.run();
  }
  latencies.sort((a, b) => a - b);
  const at = (part) => latencies[Math.floor(latencies.length * part)] ?? 0;
  return { p50: at(0.5), p99: at(0.99), share: (counts[3] ?? counts[1]) / calls, failed: failures / calls };
}

/** Events by their time. */
class EventQueue {
  #heap = [];

  add(atMs, run) {
    const heap = this.#heap;
    let at = heap.length;
    heap.push({ atMs, run });
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (heap[above].atMs <= heap[at].atMs) break;
      [heap[above], heap[at]] = [heap[at], heap[above]];
      at = above;
    }
  }

  next() {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (heap.length === 0 || first === undefined) return first;
    heap[0] = last;
    for (let at = 0; ;) {
      const left = 2 * at + 1;
      const right = left + 1;
      let least = at;
      if (left < heap.length && heap[left].atMs < heap[least].atMs) least = left;
      if (right < heap.length && heap[right].atMs < heap[least].atMs) least = right;
      if (least === at) return first;
      [heap[least], heap[at]] = [heap[at], heap[least]];
      at = least;
    }
  }
}
