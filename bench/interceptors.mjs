// What interceptors cost: each over the memory transport, and five together over gRPC.
import { System } from '../dist/index.js';
import { interleaved, startPair } from './pair.mjs';
import { echoWith, metadata, names } from './programs/interceptors.mjs';
import { options } from './programs/tenon.mjs';
import { holds, interval90, median, ratioText } from './statistics.mjs';

const calls = 20_000;
const memorySlices = 15;
const grpcSlices = 15;
const bar = 0.85;

export async function interceptorsBench() {
  return [...(await inMemory()), ...(await overGrpc())];
}

async function inMemory() {
  const variants = [[], ...names.map((name) => [name]), names];
  const rigs = [];
  for (const chosen of variants) {
    const { service, handler } = echoWith(chosen);
    const system = await System.start([service], options('static', 'test'));
    const echo = system.client(handler);
    const request = { body: new Uint8Array(32).fill(7) };
    rigs.push({
      system,
      cost: [],
      run: async () => {
        for (let n = 0; n < calls; n += 1) await echo.unary(request, { metadata });
      },
    });
  }
  for (const { run } of rigs) await run();
  for (let slice = 0; slice < memorySlices; slice += 1) {
    for (let k = 0; k < rigs.length; k += 1) {
      const { run, cost } = rigs[(k + slice) % rigs.length];
      const before = process.cpuUsage();
      await run();
      const { user, system } = process.cpuUsage(before);
      cost.push((user + system) / calls);
    }
  }
  for (const { system } of rigs) await system.stop();
  const [without] = rigs;
  return rigs.map(({ cost }, index) => {
    const more = cost.map((one, slice) => one - without.cost[slice]);
    const [low, high] = interval90(more);
    return {
      what: `memory, 1 in flight, ${['none', ...names, 'all five'][index]}`,
      'µs a call': median(cost).toFixed(2),
      'µs more': index === 0 ? '' : `${median(more).toFixed(2)} [${low.toFixed(2)}, ${high.toFixed(2)}]`,
    };
  });
}

async function overGrpc() {
  const kinds = ['static', 'with metadata', 'with five'];
  const pairs = await Promise.all(kinds.map((kind) => startPair(kind)));
  const scenario = { shape: 'unary', size: 32, inFlight: 16, times: 3_000 };
  try {
    for (const pair of pairs) await pair.run({ ...scenario, times: 10_000 });
    const cost = await interleaved(pairs, scenario, grpcSlices);
    const cpu = (kind) => cost[kind].map((one) => one.cpuUs);
    const ratios = (kind) => cpu(kind).map((one, slice) => one / cost['with five'][slice].cpuUs);
    const each = (kind) => (median(cpu(kind)) / scenario.times).toFixed(1);
    return [
      { what: 'grpc, 16 in flight, none', 'µs a call': each('with metadata') },
      {
        what: 'grpc, 16 in flight, all five',
        'µs a call': each('with five'),
        'of without': ratioText(ratios('with metadata')),
        bar: `${bar} ${holds(ratios('with metadata'), bar) ? 'holds' : 'FAILS'}`,
        'of without, and without metadata': ratioText(ratios('static')),
      },
    ];
  } finally {
    for (const pair of pairs) pair.stop();
  }
}
