// Time and CPU to the first answered call, against a bare program that loads the same libraries. Interleaved.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { median, ratioText } from './statistics.mjs';

const slices = 15;

export async function startBench() {
  const cost = { bare: [], tenon: [] };
  for (let slice = -1; slice < slices; slice += 1) {
    for (const kind of slice % 2 === 0 ? ['bare', 'tenon'] : ['tenon', 'bare']) {
      const program = fileURLToPath(new URL(`./programs/start-${kind}.mjs`, import.meta.url));
      const { stdout } = await promisify(execFile)(process.execPath, [program]);
      const { ms, cpu } = JSON.parse(stdout);
      // The first round warms the disk cache.
      if (slice >= 0) cost[kind].push({ ms, cpuMs: (cpu.user + cpu.system) / 1_000 });
    }
  }
  return ['ms', 'cpuMs'].map((unit) => ({
    what: unit === 'ms' ? 'time to the first reply' : 'CPU to the first reply',
    'bare ms': median(cost.bare.map((one) => one[unit])).toFixed(0),
    'tenon ms': median(cost.tenon.map((one) => one[unit])).toFixed(0),
    'tenon / bare': ratioText(cost.tenon.map((one, index) => one[unit] / cost.bare[index][unit])),
  }));
}
