// Many calls of every fate, with one signal and one context that outlive them all. Both ends are in this process.
// Arguments: transport, calls. Prints the heap after a fifth and at the end, and what is left of the calls.
import { getEventListeners } from 'node:events';

import { Handler, Rpc, Service, System } from '../../../dist/index.js';
import { Context } from '../../../dist/context/context.js';
import { Code, TenonError } from '../../../dist/errors/errors.js';

const [transport = 'memory', count = '100000'] = process.argv.slice(2);
const calls = Number(count);
const atOnce = 64;

class EchoHandler {
  async unary(request, ctx) {
    if (request.do === 'fail') {
      throw new TenonError({
        code: Code.Aborted,
        message: 'told to',
        details: [{ type: 'a.B', value: Uint8Array.of(1) }],
      });
    }
    if (request.do === 'hold') await new Promise((_, reject) => ctx.onAbort(reject));
    ctx.trailers.set('seen', ctx.metadata.text('x-of') ?? '');
    return { n: request.n };
  }
  async *count(request, ctx) {
    for (let n = 0; n < 3; n += 1) yield { n };
    if (request.do === 'hold') await new Promise((_, reject) => ctx.signal.addEventListener('abort', reject));
  }
}
Rpc()(EchoHandler.prototype, 'unary', Object.getOwnPropertyDescriptor(EchoHandler.prototype, 'unary'));
Rpc({ stream: 'server' })(
  EchoHandler.prototype,
  'count',
  Object.getOwnPropertyDescriptor(EchoHandler.prototype, 'count'),
);
Handler('leaks.Echo')(EchoHandler);
class Echo {}
Service({ name: 'leaks', handlers: [EchoHandler] })(Echo);

const system = await System.start([Echo], {
  profile: 'test',
  env: {
    TENON_LOG_LEVEL: 'silent',
    TENON_LAME_DUCK_MS: '0',
    TENON_TRANSPORT: transport,
    TENON_SERVER_ADDRESS: transport === 'memory' ? undefined : '127.0.0.1:0',
  },
});
const echo = system.client(EchoHandler);
const { signal } = new AbortController();
const ctx = new Context({ service: 'leaks', endpoint: 'parent', deadline: performance.now() + 3_600_000 });

async function cancelled(options) {
  const controller = new AbortController();
  setImmediate(() => controller.abort());
  await echo.unary({ do: 'hold' }, { ...options, signal: controller.signal });
}

async function left() {
  for await (const { n } of echo.count({ do: 'hold' }, { signal, ctx })) if (n === 1) break;
}

async function whole() {
  let seen = 0;
  for await (const reply of echo.count({}, { signal, ctx })) if (reply) seen += 1;
  if (seen !== 3) throw new Error(`${seen} of 3 replies came`);
}

const fates = [
  (n) => echo.unary({ n }, { signal, ctx }),
  (n) => echo.unary({ n }, { ctx, timeoutMs: 60_000, metadata: { 'x-of': 'a', 'y-bin': Uint8Array.of(1, 2) } }),
  (n) => echo.unary({ n }, { signal, timeoutMs: 86_400_000 * 365 }),
  (n) => echo.unary({ n }, { signal, ctx, onHeaders: () => {}, onTrailers: () => {} }),
  () => echo.unary({ do: 'fail' }, { signal, ctx }),
  () => cancelled({ ctx }),
  () => echo.unary({ do: 'hold' }, { signal, ctx, timeoutMs: 2 }),
  () => whole(),
  () => left(),
];

// Node 20 closes a connection on which more than a thousand calls are cancelled at once.
const resets = new Set([5, 6, 8]);
let resetsLeft = transport === 'grpc' ? 900 : Number.POSITIVE_INFINITY;

function fateOf(index) {
  const fate = index % fates.length;
  if (!resets.has(fate)) return fates[fate];
  resetsLeft -= 1;
  return resetsLeft < 0 ? fates[0] : fates[fate];
}

// Timers of deadlines do not keep a process alive.
const alive = setInterval(() => {}, 1_000);
let n = 0;
async function until(limit) {
  const worker = async () => {
    while (n < limit) {
      n += 1;
      await fateOf(n)(n).catch((error) => {
        if (![Code.Aborted, Code.Cancelled, Code.DeadlineExceeded].includes(error.code)) throw error;
      });
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

async function heap() {
  for (let times = 0; times < 3; times += 1) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    globalThis.gc();
  }
  return process.memoryUsage().heapUsed;
}

await until(calls / 5);
const before = await heap();
await until(calls);
const after = await heap();
const inFlight = system.services[0].server().inFlight;
const listeners = getEventListeners(signal, 'abort').length;
await system.stop();
clearInterval(alive);
console.log(JSON.stringify({ calls: n, before, after, inFlight, listeners }));
