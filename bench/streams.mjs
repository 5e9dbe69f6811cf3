// A million messages on one stream: how resident memory goes between the first hundred thousand and the last, and how
// far a writer is ahead of a slow reader.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const program = fileURLToPath(new URL('./programs/streams.mjs', import.meta.url));
const barMiB = 32;

export async function streamsMemoryBench() {
  const rows = [];
  for (const transport of ['memory', 'grpc', 'tcp', 'unix']) {
    for (const kind of ['server', 'client', 'bidi']) {
      const fast = await stream(transport, kind, '1000000', '32', 'fast');
      const slow = await stream(transport, kind, '5000', '1000', 'slow');
      rows.push({
        what: `${transport}, ${kind}`,
        'µs a message': fast.usEach,
        'MiB after 100,000': fast.firstMiB,
        'MiB after 1,000,000': fast.lastMiB,
        'ahead of a slow reader': slow.ahead,
        [`bar ${barMiB} MiB`]: fast.grownMiB < barMiB ? 'holds' : 'FAILS',
      });
    }
  }
  return rows;
}

async function stream(...args) {
  const { stdout } = await promisify(execFile)(process.execPath, [program, ...args]);
  return JSON.parse(stdout);
}
