// Publish and receive of 128 bytes over Redis: tenon against bare ioredis with the same payload, in slices that take
// turns, on a redis-server of its own. Run `npm run build` first, then `node bench/broker.js`.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';

import { Redis } from 'ioredis';

import { RedisBroker } from '../dist/broker/redis.js';
import { RedisStreamsBroker } from '../dist/broker/redis-streams.js';

const slices = Number(process.env.BENCH_SLICES ?? 9);
const perSlice = Number(process.env.BENCH_EVENTS ?? 20_000);
const window = 128;
const body = Buffer.alloc(128, 7);
const headers = { 'Content-Type': 'application/protobuf', 'Micro-Topic': 'bench' };

const port = await new Promise((resolve) => {
  const probe = createServer().listen(0, '127.0.0.1', () => {
    const { port } = probe.address();
    probe.close(() => resolve(port));
  });
});
const server = spawn(
  'redis-server',
  ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
  { stdio: 'ignore' },
);
process.on('exit', () => server.kill('SIGKILL'));
const address = `127.0.0.1:${port}`;

/** Publishes `perSlice` events, `window` of them on their way at once; resolves when all have been received. */
async function slice(subject) {
  let received = 0;
  let done;
  const all = new Promise((resolve) => (done = resolve));
  subject.onEvent = () => {
    received += 1;
    if (received === perSlice) done();
  };
  const cpu = process.cpuUsage();
  const start = performance.now();
  let sent = 0;
  await Promise.all(
    Array.from({ length: window }, async () => {
      while (sent < perSlice) {
        sent += 1;
        await subject.publish();
      }
    }),
  );
  await all;
  const { user, system } = process.cpuUsage(cpu);
  return { us: ((performance.now() - start) * 1_000) / perSlice, cpu: (user + system) / perSlice };
}

async function bareChannels() {
  const [publisher, subscriber] = [new Redis(port), new Redis(port)];
  await subscriber.subscribe('bare');
  const subject = {
    onEvent: () => {},
    publish: () => publisher.publish('bare', body),
    end: () => [publisher, subscriber].forEach((one) => one.disconnect()),
  };
  subscriber.on('messageBuffer', () => subject.onEvent());
  return subject;
}

async function tenonBroker(broker, options = {}) {
  await broker.connect();
  const subject = {
    onEvent: () => {},
    publish: () => broker.publish('bench', { headers, body }),
    end: () => broker.disconnect(),
  };
  await broker.subscribe(
    'bench',
    (event) => {
      subject.onEvent();
      void event.ack();
    },
    options,
  );
  return subject;
}

/** What a careful program does by hand: a group, reads of 64, one XACK for what was read. */
async function bareStreams() {
  const [publisher, subscriber] = [new Redis(port), new Redis(port)];
  await publisher.xgroup('CREATE', 'bare-stream', 'g', '$', 'MKSTREAM');
  const subject = {
    onEvent: () => {},
    publish: () => publisher.xadd('bare-stream', 'MAXLEN', '~', 1_000_000, '*', 'b', body),
    ended: false,
    end: async () => {},
  };
  const run = (async () => {
    while (!subject.ended) {
      const reply = await subscriber.xreadgroupBuffer(
        'GROUP',
        'g',
        'c',
        'COUNT',
        64,
        'BLOCK',
        100,
        'STREAMS',
        'bare-stream',
        '>',
      );
      if (!reply) continue;
      const ids = reply[0][1].map(([id]) => id);
      for (let index = 0; index < ids.length; index += 1) subject.onEvent();
      await publisher.xack('bare-stream', 'g', ...ids);
    }
  })();
  subject.end = async () => {
    subject.ended = true;
    await run;
    [publisher, subscriber].forEach((one) => one.disconnect());
  };
  return subject;
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

async function compare(name, bare, ours) {
  const results = [[], []];
  for (const subject of [bare, ours]) await slice(subject);
  for (let index = 0; index < slices; index += 1) {
    results[0].push(await slice(bare));
    results[1].push(await slice(ours));
  }
  const [b, t] = results.map((all) => ({
    us: median(all.map(({ us }) => us)),
    cpu: median(all.map(({ cpu }) => cpu)),
  }));
  const ratio = median(results[0].map(({ us }, index) => us / results[1][index].us));
  const cpuRatio = median(results[0].map(({ cpu }, index) => cpu / results[1][index].cpu));
  console.log(
    `${name}: bare ${b.us.toFixed(1)} µs (${b.cpu.toFixed(1)} µs CPU) an event, tenon ${t.us.toFixed(1)} µs (${t.cpu.toFixed(1)} µs CPU): ${ratio.toFixed(2)} of its rate, ${cpuRatio.toFixed(2)} per CPU`,
  );
  await bare.end();
  await ours.end();
}

await once(server, 'spawn');
await compare(
  'redis, publish and receive of 128 B',
  await bareChannels(),
  await tenonBroker(new RedisBroker({ address })),
);
await compare(
  'redis-streams with a group',
  await bareStreams(),
  await tenonBroker(new RedisStreamsBroker({ address }), { queue: 'g' }),
);
server.kill('SIGKILL');
