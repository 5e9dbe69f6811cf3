// One stream, both ends in this process, so that what either keeps is seen. Arguments: transport, kind, messages, bytes
// of each, and whether its reader is slow. Prints how the resident memory went, how far the writer was ahead of the
// reader and, with --expose-gc, what collections left of the heap.
import { setTimeout as sleep } from 'node:timers/promises';

import { Handler, Rpc, Service, System } from '../../dist/index.js';

const [transport = 'grpc', kind = 'server', count = '1000000', size = '32', pace = 'fast'] = process.argv.slice(2);
const messages = Number(count);
const body = new Uint8Array(Number(size)).fill(7);
const first = Math.max(1, Math.floor(messages / 10));
let sent = 0;
let received = 0;
let ahead = 0;
const rss = {};
const kept = {};

/** The heap and what it refers to outside of itself, after a collection. */
function keptBytes() {
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function* source() {
  for (let n = 0; n < messages; n += 1) {
    sent += 1;
    if (sent - received > ahead) ahead = sent - received;
    yield { body };
  }
}

async function drain(stream) {
  for await (const message of stream) {
    if (message.body.length !== body.length) throw new Error('a message is not what was sent');
    received += 1;
    if (pace === 'slow' && received % 50 === 0) await sleep(1);
    if (received === first) {
      rss.first = process.memoryUsage.rss();
      kept.first = keptBytes();
    }
  }
  rss.last = process.memoryUsage.rss();
  kept.last = keptBytes();
}

class EchoHandler {
  async *down() {
    yield* source();
  }
  async up(requests) {
    await drain(requests);
    return {};
  }
  async *both(requests) {
    for await (const request of requests) yield request;
  }
}
for (const name of ['down', 'up', 'both'])
  Rpc()(EchoHandler.prototype, name, Object.getOwnPropertyDescriptor(EchoHandler.prototype, name));
Handler('bench.Streams', { proto: new URL('./streams.proto', import.meta.url) })(EchoHandler);
class Streams {}
Service({ name: 'bench', handlers: [EchoHandler] })(Streams);

const system = await System.start([Streams], {
  profile: 'test',
  env: {
    TENON_LOG_LEVEL: 'silent',
    TENON_LAME_DUCK_MS: '0',
    TENON_TRANSPORT: transport,
    TENON_SERVER_ADDRESS:
      transport === 'memory'
        ? undefined
        : transport === 'unix'
          ? `/tmp/tenon-streams-${process.pid}.sock`
          : '127.0.0.1:0',
  },
});
const client = system.client(EchoHandler);
const start = performance.now();
const cpu = process.cpuUsage();
if (kind === 'server') await drain(client.down({}));
else if (kind === 'client') await client.up(source());
else await drain(client.both(source()));
const ms = performance.now() - start;
const { user, system: kernel } = process.cpuUsage(cpu);
await system.stop();
if (received !== messages) throw new Error(`${received} of ${messages} messages came`);
const mebi = 1024 * 1024;
console.log(
  JSON.stringify({
    transport,
    kind,
    messages,
    usEach: ((user + kernel) / messages).toFixed(2),
    ms: Math.round(ms),
    firstMiB: +(rss.first / mebi).toFixed(1),
    lastMiB: +(rss.last / mebi).toFixed(1),
    grownMiB: +((rss.last - rss.first) / mebi).toFixed(1),
    ...(globalThis.gc && { keptBytes: kept.last - kept.first }),
    ahead,
  }),
);
