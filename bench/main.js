// npm run bench [-- grpc memory start …]: everything, or what is named. Ratios above 1 are in tenon's favour, but for
// the start.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { buildsBench } from './builds.mjs';
import { grpcBench } from './grpc.mjs';
import { idleBench } from './idle.mjs';
import { interceptorsBench } from './interceptors.mjs';
import { memoryBench } from './memory.mjs';
import { registryBench } from './registry.mjs';
import { selectorsBench } from './selectors.mjs';
import { startBench } from './start.mjs';
import { streamsMemoryBench } from './streams.mjs';
import { tcpBench } from './tcp.mjs';

const benches = {
  grpc: [
    'tenon and other frameworks over gRPC against bare grpc-js, CPU per call of both processes (ratio: bare / the other, median [90 % interval])',
    grpcBench,
  ],
  tcp: [
    'tenon over its own frames against NestJS TCP and Moleculer TCP, CPU per call of both processes (ratio: the better of both / tenon, median [90 % interval])',
    tcpBench,
  ],
  memory: ['tenon over the memory transport', memoryBench],
  interceptors: [
    'what five interceptors cost, CPU per call (ratio: without / with, median [90 % interval])',
    interceptorsBench,
  ],
  'streams-memory': ['a million messages of 32 B on one stream, both ends in one process', streamsMemoryBench],
  idle: ['memory of the server per idle connection that has made a call, against bare grpc-js', idleBench],
  selectors: [
    'what a selection costs, and what it is worth with one node of ten that is slow or fails',
    selectorsBench,
  ],
  codec: ["tenon's protobuf mapping against protobufjs", () => script('codec.js')],
  broker: ['publishing and receiving over Redis against bare ioredis (needs redis-server)', () => script('broker.js')],
  verify: ['verify of 500 bindings', () => script('verify.js')],
  start: ['start-up, from process start to the first answered call', startBench],
};
/** Only where they are named: they need another build, or servers and a quarter of an hour. */
const comparisons = {
  registry: [
    'what a view of a registry costs, what a change costs by the number of nodes, and what renewals cost (needs the servers: npm run backends -- install)',
    registryBench,
  ],
  builds: [
    'this build against the one in TENON_BENCH_BASE, CPU per call or event (ratio: before / now, median [90 % interval])',
    buildsBench,
  ],
};

const known = { ...benches, ...comparisons };
const names = process.argv.slice(2).filter((name) => Object.hasOwn(known, name));
for (const name of names.length > 0 ? names : Object.keys(benches)) {
  const [title, run] = known[name];
  console.log(`\n${name}: ${title}`);
  const rows = await run();
  if (rows) console.table(rows);
}

/** A benchmark that is a program of its own, and prints for itself. */
function script(name) {
  const { status } = spawnSync(process.execPath, [fileURLToPath(new URL(name, import.meta.url))], { stdio: 'inherit' });
  if (status !== 0) throw new Error(`${name} ended with ${status}`);
}
