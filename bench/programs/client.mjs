// A client process: runs slices of calls when told, and says how long they took and what CPU they cost.
import { peerOf } from './peer.mjs';

const [kind, address] = process.argv.slice(2);
const peer = await peerOf(kind);
const calls = peer ? await peer.connect(address) : kind === 'bare' ? await bareCalls() : await tenonCalls();

async function bareCalls() {
  const { Client, credentials } = await import('@grpc/grpc-js');
  const { payload, streamRequest } = await import('./messages.mjs');
  const client = new Client(address, credentials.createInsecure());
  return {
    unary: (body) =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(
          '/bench.Echo/Unary',
          payload.encode,
          payload.decode,
          { body },
          { deadline: Date.now() + 30_000 },
          (error, reply) => (error ? reject(error) : resolve(reply)),
        );
      }),
    stream: (count, size) =>
      new Promise((resolve, reject) => {
        let seen = 0;
        client
          .makeServerStreamRequest('/bench.Echo/Stream', streamRequest.encode, payload.decode, { count, size })
          .on('data', () => (seen += 1))
          .on('error', reject)
          .on('end', () => resolve(seen));
      }),
  };
}

async function tenonCalls() {
  const { Registry, System } = await import('../../dist/index.js');
  const { EchoHandler, options } = await import('./tenon.mjs');
  const system = await System.start([], options(kind));
  // Through registry and selector, as a service is called.
  const node = { id: 'bench-1', address, metadata: {} };
  await system
    .get(Registry)
    .register({ name: 'bench', version: 'latest', metadata: {}, endpoints: [], nodes: [node] }, { ttlMs: 3_600_000 });
  const echo = system.client(EchoHandler);
  const given = kind.startsWith('with ') ? { metadata: (await import('./interceptors.mjs')).metadata } : undefined;
  return {
    unary: (body) => echo.unary({ body }, given),
    stream: async (count, size) => {
      let seen = 0;
      for await (const reply of echo.stream({ count, size })) {
        if (reply) seen += 1;
      }
      return seen;
    },
  };
}

async function run({ shape, size, inFlight, times }) {
  const body = new Uint8Array(size).fill(7);
  let left = times;
  const worker = async () => {
    while (left > 0) {
      left -= 1;
      if (shape === 'stream') {
        const seen = await calls.stream(1_000, size);
        if (seen !== 1_000) throw new Error(`${seen} of 1,000 messages came`);
      } else {
        const reply = await calls.unary(body);
        if (reply.body.length !== size) throw new Error('the reply is not the request');
      }
    }
  };
  const cpu = process.cpuUsage();
  const start = performance.now();
  await Promise.all(Array.from({ length: inFlight }, worker));
  const ms = performance.now() - start;
  return { ms, cpu: process.cpuUsage(cpu) };
}

process.on('message', (slice) => void run(slice).then((result) => process.send(result)));
process.on('disconnect', () => process.exit(0));
process.send({ ready: true });
