// tenon over gRPC against bare grpc-js: CPU per call of both processes, slices interleaved.
import { interleaved, startPair } from './pair.mjs';
import { installPeers } from './peers.mjs';
import { holds, median, ratioText } from './statistics.mjs';

const peers = ['nice-grpc', 'NestJS gRPC', 'Connect (gRPC)'];
const kinds = ['bare', 'static', 'mapped', 'grpc-js', ...peers];
const warmUpCalls = 10_000;
const slices = 11;

const scenarios = [
  ...[32, 1_024].flatMap((size) =>
    [1, 16, 128].map((inFlight) => ({
      shape: 'unary',
      size,
      inFlight,
      times: inFlight === 1 ? 1_500 : 3_000,
      bar: inFlight === 1 ? 1 : 1.1,
    })),
  ),
  { shape: 'stream', size: 32, inFlight: 1, times: 12, bar: 2 },
];

export async function grpcBench() {
  installPeers();
  const pairs = await Promise.all(kinds.map((kind) => startPair(kind)));
  const rows = [];
  try {
    for (const scenario of scenarios) {
      const warmUp = scenario.shape === 'stream' ? 20 : scenario === scenarios[0] ? warmUpCalls : 2_000;
      for (const pair of pairs)
        await pair.run({ ...scenario, inFlight: Math.max(scenario.inFlight, 16), times: warmUp });
      const cost = await interleaved(pairs, scenario, slices);
      rows.push(rowOf(scenario, cost));
    }
  } finally {
    for (const pair of pairs) pair.stop();
  }
  return rows;
}

function rowOf(scenario, cost) {
  const { bar } = scenario;
  const perUnit = scenario.shape === 'stream' ? scenario.times * 1_000 : scenario.times;
  const ratios = (kind) => cost.bare.map((bare, index) => bare.cpuUs / cost[kind][index].cpuUs);
  return {
    what:
      scenario.shape === 'stream'
        ? 'server stream, 1,000 messages of 32 B'
        : `unary ${scenario.size} B, ${scenario.inFlight} in flight`,
    'bare µs': (median(cost.bare.map((one) => one.cpuUs)) / perUnit).toFixed(scenario.shape === 'stream' ? 2 : 0),
    'tenon µs': (median(cost.static.map((one) => one.cpuUs)) / perUnit).toFixed(scenario.shape === 'stream' ? 2 : 0),
    'equal marshalers': ratioText(ratios('static')),
    'whole mapping': ratioText(ratios('mapped')),
    'by grpc-js': ratioText(ratios('grpc-js')),
    bar: `${bar.toFixed(1)} ${holds(ratios('static'), bar) ? 'holds' : 'FAILS'}`,
    ...Object.fromEntries(peers.map((peer) => [peer, ratioText(ratios(peer))])),
  };
}
