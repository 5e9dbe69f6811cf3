// Calls of every kind that are cut off at any moment, by either side, while servers come and go. Arguments: how many of
// them shall succeed before no more are made, and which have a deadline: some (the default), all or none. Without
// deadlines no call waits for a server to be ready. Prints how often calls ended in which way, and ends by itself,
// unless something of a call is left. A call that has no end is named, and fails it.
import { Context } from '../../../dist/context/context.js';
import { GrpcTransport } from '../../../dist/transport/grpc.js';

const [enough, deadlines = 'some'] = process.argv.slice(2);
// However slow the machine is: so long nothing ends only where nothing ever will.
const patienceMs = 60_000;
const sizes = [1, 32, 1_000, 40_000, 200_000];
const routes = ['unary', 'server', 'client', 'bidi'].map((kind) => ({
  service: 'chaos.Chaos',
  method: kind,
  path: `/chaos.Chaos/${kind}`,
  aliases: [],
  kind,
  input: {},
  output: {},
  idempotent: false,
  defaultContentType: 'application/grpc+proto',
}));
const ok = { code: 0, message: '' };
const below = (limit) => Math.floor(Math.random() * limit);
const oneIn = (times) => below(times) === 0;
const pause = (limit) => new Promise((resolve) => setTimeout(resolve, below(limit)));
const bodyOf = () => Buffer.alloc(sizes[below(sizes.length)], 7);

const outcomes = {};
function count(outcome) {
  outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
}
const isEnough = () => (outcomes['status 0'] ?? 0) >= Number(enough);

async function answer(socket, { kind }) {
  if (oneIn(10)) return socket.abort(1 + below(16), 'no');
  if (oneIn(10)) return socket.send({ status: { code: 5, message: 'before it was asked' } });
  if (oneIn(10)) {
    void socket.send({ body: bodyOf(), compressed: true });
    return socket.send({ status: { code: 9, message: 'behind a message' } });
  }
  const isHasty = oneIn(10);
  const compressed = oneIn(5);
  for (let message = await socket.recv(); message; message = await socket.recv()) {
    if (isHasty && oneIn(3)) return socket.abort(8);
    if (!message.body || kind === 'unary' || kind === 'client') continue;
    const replies = kind === 'server' ? below(50) : 1;
    for (let index = 0; index < replies; index += 1) await socket.send({ body: message.body, compressed });
  }
  const isSingle = kind === 'unary' || kind === 'client';
  return socket.send({ ...(isSingle && { body: bodyOf(), compressed }), status: ok });
}

async function serve() {
  const maxConnectionAgeMs = 300 + below(500);
  const transport = new GrpcTransport({
    maxConnectionAgeMs,
    maxConnectionAgeGraceMs: below(100),
    maxCalls: 1 + below(200),
  });
  const listener = await transport.listen('127.0.0.1:0', { routes });
  listener.accept((socket, route) => {
    // That a call broke off is what this is about.
    answer(socket, route).catch(() => {});
  });
  return { transport, listener };
}

async function stop({ transport, listener }) {
  if (oneIn(2)) await listener.drain(AbortSignal.timeout(200)).catch(() => {});
  await listener.close();
  await transport.close();
}

const clientOf = () => new GrpcTransport({ keepaliveMs: 200, keepaliveTimeoutMs: 100 });
const servers = [await serve(), await serve()];
let client = clientOf();

async function call(kind, address, options) {
  const { ctx } = options;
  if (kind === 'unary' && oneIn(2)) {
    if (ctx && oneIn(4)) setTimeout(() => ctx.abort(), below(10));
    const { status } = await client.unary(address, { body: bodyOf() }, options);
    return count(`status ${status.code}`);
  }
  const socket = client.dial(address, options);
  const requests = kind === 'client' || kind === 'bidi' ? below(30) : 1;
  const sent = (async () => {
    for (let index = 0; index < requests; index += 1) {
      await socket.send({ body: bodyOf() });
      if (oneIn(40)) return socket.abort(1);
      if (oneIn(5)) await pause(3);
    }
    return oneIn(12) ? socket.close() : socket.end();
  })();
  const most = oneIn(6) ? below(10) : Number.POSITIVE_INFINITY;
  let seen = 0;
  for (let message = await socket.recv(); message; message = await socket.recv()) {
    seen += 1;
    if (message.status) count(`status ${message.status.code}`);
    if (seen > most) void socket.close();
    if (oneIn(20)) await pause(5);
  }
  return sent;
}

const open = new Set();
let lastEndMs = performance.now();

async function calls() {
  while (!isEnough()) {
    const route = routes[below(routes.length)];
    const hasDeadline = deadlines === 'all' || (deadlines === 'some' && oneIn(3));
    const deadline = hasDeadline ? performance.now() + 1 + below(30) : undefined;
    const ctx =
      hasDeadline || oneIn(2) ? new Context({ service: 'chaos', endpoint: route.method, deadline }) : undefined;
    const waitForReady = hasDeadline && oneIn(3);
    const address = servers[below(2)].listener.addr();
    const one = { kind: route.kind, address, hasDeadline, waitForReady, beganMs: performance.now() };
    open.add(one);
    try {
      await call(route.kind, address, { route, ctx, compress: oneIn(4), waitForReady });
    } catch (error) {
      count(error.reason === 'transport.bad_reply' ? error.message : (error.reason ?? error.message));
    }
    open.delete(one);
    lastEndMs = performance.now();
  }
}

async function changes() {
  while (!isEnough()) {
    await pause(600);
    const index = below(2);
    const old = servers[index];
    servers[index] = await serve();
    await stop(old);
    if (!oneIn(6)) continue;
    const before = client;
    client = clientOf();
    await before.close();
  }
}

const watch = setInterval(() => {
  if (performance.now() - lastEndMs < patienceMs) return;
  const addresses = servers.map(({ listener }) => listener.addr()).join();
  console.error(`calls have no end: ${JSON.stringify([...open])}; servers: ${addresses}; ${JSON.stringify(outcomes)}`);
  process.exit(1);
}, 1_000);

await Promise.all([changes(), ...Array.from({ length: 60 }, calls)]);
clearInterval(watch);
await client.close();
for (const server of servers) await stop(server);
console.log(JSON.stringify(outcomes));
