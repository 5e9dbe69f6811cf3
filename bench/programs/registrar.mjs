// A process that keeps nodes registered, and says what a renewal costs. Its input is lines: `register`, then
// `renew <rounds>`.
import { createInterface } from 'node:readline';

import { load } from './registries.mjs';

const [name, options, count, intervalMs] = JSON.parse(process.argv[2]);
const registry = await load(name, options);
const ttlMs = 3 * intervalMs;
const records = Array.from({ length: count }, (_, at) => ({
  name: `service-${at % 100}`,
  version: '1.0.0',
  metadata: {},
  endpoints: [],
  nodes: [{ id: `node-${at}`, address: `10.0.${(at >> 8) & 255}.${at & 255}:50051`, metadata: { zone: 'a' } }],
}));

const say = (fields) => console.log(JSON.stringify(fields));
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** As many at a time as a server likes. */
const inTurn = async (work) => {
  let next = 0;
  const worker = async () => {
    while (next < records.length) await work(records[next++]);
  };
  await Promise.all(Array.from({ length: name === 'consul' ? 16 : 64 }, worker));
};

const commands = {
  async register() {
    const startedMs = performance.now();
    await inTurn((record) => registry.register(record, { ttlMs: 600_000 }));
    // With the lease that is renewed.
    await inTurn((record) => registry.register(record, { ttlMs }));
    say({ registerMs: performance.now() - startedMs });
  },
  async renew(rounds) {
    const [cpu, startedMs] = [process.cpuUsage(), performance.now()];
    let failed = 0;
    const pending = [];
    for (let round = 0; round < Number(rounds); round += 1) {
      for (let at = 0; at < records.length; at += 1) {
        // Spread evenly over the interval.
        const dueMs = round * intervalMs + (at * intervalMs) / records.length;
        const aheadMs = dueMs - (performance.now() - startedMs);
        if (aheadMs > 1) await pause(aheadMs);
        pending.push(registry.register(records[at], { ttlMs }).catch(() => void (failed += 1)));
      }
    }
    await Promise.all(pending);
    const { user, system } = process.cpuUsage(cpu);
    say({ renewals: pending.length, failed, seconds: (performance.now() - startedMs) / 1_000, cpuUs: user + system });
  },
};

for await (const line of createInterface(process.stdin)) {
  const [command, ...args] = line.split(' ');
  if (command === 'end') break;
  await commands[command](...args);
}
await registry.close();
process.exit(0);
