// One kind of work, slice by slice when told: µs of CPU for each call or event. Arguments: the work, and the folder
// `bench/` of the build that does it.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const [what, folder] = process.argv.slice(2);
const from = (path) => import(new URL(path, folder).href);
const body = new Uint8Array(32).fill(7);
const text = { text: 'x'.repeat(21) };
const cleanUp = [];

const works = {
  memory: () => calls('EchoHandler', 'Echo', { body }),
  'memory JSON': () => calls('JsonEchoHandler', 'JsonEcho', text),
  encode: async () => {
    const { type, value } = await place();
    return repeated(40_000, () => type.encode(value));
  },
  decode: async () => {
    const { type, value } = await place();
    const bytes = type.encode(value);
    return repeated(40_000, () => type.decode(bytes));
  },
  'decode JSON': async () => {
    const { JsonMarshaler } = await from('../dist/codec/json.js');
    const { anySchema } = await from('../dist/pipeline/pipeline.js');
    const json = new JsonMarshaler();
    const bytes = json.marshal(anySchema, { ...text, list: [1, 2, 3], of: { a: 'b', c: true } });
    return repeated(40_000, () => json.unmarshal(anySchema, bytes));
  },
  'memory broker': async () => {
    const { MemoryBroker } = await from('../dist/broker/memory.js');
    return events(new MemoryBroker());
  },
  redis: async () => {
    const { RedisBroker } = await from('../dist/broker/redis.js');
    return events(new RedisBroker({ address: await redis() }));
  },
  'redis-streams': async () => {
    const { RedisStreamsBroker } = await from('../dist/broker/redis-streams.js');
    return events(new RedisStreamsBroker({ address: await redis() }), { queue: 'g' });
  },
};

async function calls(handler, service, request) {
  const { System } = await from('../dist/index.js');
  const programs = await from('./programs/tenon.mjs');
  const system = await System.start([programs[service]], programs.options('mapped', 'test'));
  const caller = system.client(programs[handler]);
  return repeated(20_000, () => caller.unary(request));
}

function repeated(times, once) {
  return async () => {
    for (let n = 0; n < times; n += 1) {
      const result = once();
      if (typeof result?.then === 'function') await result;
    }
    return times;
  };
}

async function place() {
  const { loadProto } = await from('../dist/codec/proto.js');
  const value = {
    id: 3_038_832n,
    name: 'Vila',
    country: 'AD',
    kind: 'TOWN',
    latitude: 42.53176,
    longitude: 1.56654,
    population: 1418n,
    tags: ['seat', 'mountain', 'river'],
    at: { hour: 12, minute: 30 },
  };
  return { type: loadProto(new URL('./codec.proto', folder)).type('bench.Place'), value };
}

/** Publishes, 128 on their way at once, until all have been received. */
async function events(broker, options = {}) {
  const payload = {
    headers: { 'Content-Type': 'application/protobuf', 'Micro-Topic': 'bench' },
    body: Buffer.alloc(128, 7),
  };
  const times = 10_000;
  let received = 0;
  let done = () => {};
  await broker.connect();
  const onEvent = (event) => {
    received += 1;
    if (received === times) done();
    void event.ack();
  };
  await broker.subscribe('bench', onEvent, options);
  return async () => {
    received = 0;
    let sent = 0;
    const all = new Promise((resolve) => (done = resolve));
    const publisher = async () => {
      for (; sent < times;) {
        sent += 1;
        await broker.publish('bench', payload);
      }
    };
    await Promise.all(Array.from({ length: 128 }, publisher));
    await all;
    return times;
  };
}

/** A redis-server of its own. */
async function redis() {
  const port = await new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
  const dir = mkdtempSync(join(tmpdir(), 'tenon-bench-'));
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--save', '', '--appendonly', 'no'];
  const server = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'ignore'] });
  cleanUp.push(() => {
    server.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  });
  for await (const line of createInterface(server.stdout)) if (line.includes('Ready to accept connections')) break;
  server.stdout.resume();
  return `127.0.0.1:${port}`;
}

process.on('exit', () => cleanUp.forEach((clean) => clean()));
process.on('disconnect', () => process.exit(0));
const work = await works[what]();
process.on('message', () => void slice());
process.send('ready');

async function slice() {
  const before = process.cpuUsage();
  const times = await work();
  const { user, system } = process.cpuUsage(before);
  process.send((user + system) / times);
}
