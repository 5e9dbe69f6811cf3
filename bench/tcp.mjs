// tenon over its own frames against the frameworks that have a TCP transport of their own: CPU per call of both
// processes, slices interleaved.
import { interleaved, startPair } from './pair.mjs';
import { installPeers } from './peers.mjs';
import { holds, median, ratioText } from './statistics.mjs';

const peers = ['NestJS TCP', 'Moleculer TCP'];
const kinds = ['tcp', 'tcp mapped', 'unix', ...peers];
const warmUpCalls = 10_000;
const slices = 11;

const scenarios = [32, 1_024].flatMap((size) => [
  { shape: 'unary', size, inFlight: 1, times: 3_000 },
  { shape: 'unary', size, inFlight: 16, times: 10_000, bar: size === 32 ? 2 : undefined },
  { shape: 'unary', size, inFlight: 128, times: 20_000, bar: size === 32 ? 5 : undefined },
]);

export async function tcpBench() {
  installPeers();
  const pairs = await Promise.all(kinds.map((kind) => startPair(kind)));
  const rows = [];
  try {
    for (const scenario of scenarios) {
      for (const pair of pairs) await pair.run({ ...scenario, times: warmUpCalls });
      rows.push(rowOf(scenario, await interleaved(pairs, scenario, slices)));
    }
  } finally {
    for (const pair of pairs) pair.stop();
  }
  return rows;
}

function rowOf({ size, inFlight, times, bar }, cost) {
  const perCall = (kind) => median(cost[kind].map(({ cpuUs }) => cpuUs)) / times;
  const better = peers.reduce((one, other) => (perCall(one) <= perCall(other) ? one : other));
  const ratios = (kind) => cost[better].map(({ cpuUs }, index) => cpuUs / cost[kind][index].cpuUs);
  const perSecond = (kind) => Math.round(times / (median(cost[kind].map(({ ms }) => ms)) / 1_000));
  return {
    what: `unary ${size} B, ${inFlight} in flight`,
    ...Object.fromEntries(peers.map((peer) => [`${peer} µs`, perCall(peer).toFixed(1)])),
    'tcp µs': perCall('tcp').toFixed(1),
    'tcp, static codec': ratioText(ratios('tcp')),
    'tcp, whole mapping': ratioText(ratios('tcp mapped')),
    unix: ratioText(ratios('unix')),
    bar: bar === undefined ? '' : `${bar.toFixed(1)} ${holds(ratios('tcp'), bar) ? 'holds' : 'FAILS'}`,
    'calls a second': `${perSecond('tcp')}, ${better} ${perSecond(better)}`,
  };
}
