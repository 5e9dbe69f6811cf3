// A process that keeps services in a cache, as a program that calls them does, and says what that costs. Its input is
// lines: `view`, then `changes <count>` before each series of changes.
import { createInterface } from 'node:readline';

import { CachedRegistry } from '../../dist/registry/cache.js';
import { changed, load, recordOf } from './registries.mjs';

const [name, options, services, nodes] = JSON.parse(process.argv[2]);
const registry = await load(name, options);
const cache = new CachedRegistry(registry, { ttlMs: 3_600_000 });
const names = Array.from({ length: services }, (_, at) => `service-${at}`);

// What others find in a server, a registry in memory has from here.
const isAlone = name === 'memory';
const written = isAlone ? names.map((one) => recordOf(one, nodes)) : [];
const ttlMs = 3_600_000;
async function write(count) {
  for (let at = 0; isAlone && at < count; at += 1) {
    await registry.register(changed(written[at % services], Math.floor(at / services)), { ttlMs });
  }
}

let changes = 0;
let asks = false;
let onChange = () => {};
cache.observe({
  onViewChanged: ({ service }) => {
    changes += 1;
    if (asks) cache.peek(service);
    onChange();
  },
});

const say = (fields) => console.log(JSON.stringify(fields));
const cpuUs = (before) => {
  const { user, system } = process.cpuUsage(before);
  return user + system;
};
const heap = () => {
  globalThis.gc();
  globalThis.gc();
  return process.memoryUsage().heapUsed;
};
const sizeOf = (records = []) => records.flatMap((record) => record.nodes).length;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const commands = {
  async view() {
    for (const record of written) await registry.register(record, { ttlMs });
    const [before, cpu, startedMs] = [heap(), process.cpuUsage(), performance.now()];
    const patiently = async (service) => {
      for (;;) {
        try {
          return await cache.getService(service);
        } catch (error) {
          if (performance.now() - startedMs > 300_000) throw error;
          await pause(200);
        }
      }
    };
    await Promise.all(names.map(patiently));
    while (names.some((one) => sizeOf(cache.peek(one)) !== nodes)) await pause(10);
    const viewMs = performance.now() - startedMs;
    const cpuMs = cpuUs(cpu) / 1_000;
    // The watches are established, and what they read is there.
    for (let seen = -1; seen !== changes; await pause(2_000)) seen = changes;
    say({ viewMs, cpuMs, heapBytes: heap() - before });
  },
  async changes(count, asking) {
    asks = asking === 'asking';
    changes = 0;
    const cpu = process.cpuUsage();
    say({ isReady: true });
    let isOver = false;
    let last = performance.now();
    onChange = () => {
      last = performance.now();
      isOver ||= changes >= Number(count);
    };
    void write(Number(count));
    // Changes of one node that come close together may be told as one.
    while (!isOver && (changes === 0 || performance.now() - last < 3_000)) await pause(20);
    say({ cpuUs: cpuUs(cpu) / Number(count), changes });
  },
};

for await (const line of createInterface(process.stdin)) {
  const [command, ...args] = line.split(' ');
  if (command === 'end') break;
  await commands[command](...args);
}
await cache.close();
process.exit(0);
