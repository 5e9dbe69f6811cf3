// This build of tenon against another one, the checkout that TENON_BENCH_BASE names (built, with what it depends on
// installed): CPU per call or event, slices interleaved. Above 1 this build is the cheaper one.
import { execFile, fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

import { startPair } from './pair.mjs';
import { holds, median, ratioText } from './statistics.mjs';

const bar = 0.95;
/**
 * The engine compiles one process better than the next: a pair of processes alone says little, so that each scenario
 * has several.
 */
const pairs = 7;
const slices = 5;
const ours = new URL('./', import.meta.url);

const overSockets = ['mapped', 'grpc-js', 'tcp mapped', 'unix'].flatMap((kind) => [
  { kind, shape: 'unary', size: 32, inFlight: 1, times: 1_500, each: 1_500 },
  { kind, shape: 'unary', size: 32, inFlight: 16, times: 3_000, each: 3_000 },
  { kind, shape: 'unary', size: 32, inFlight: 128, times: 6_000, each: 6_000 },
  { kind, shape: 'unary', size: 1_024, inFlight: 16, times: 3_000, each: 3_000 },
  { kind, shape: 'stream', size: 32, inFlight: 1, times: 12, each: 12_000 },
]);

/** What `programs/work.mjs` does in one process: the memory transport, the mapping, the brokers. */
const inProcess = [
  'memory',
  'memory JSON',
  'encode',
  'decode',
  'decode JSON',
  'memory broker',
  'redis',
  'redis-streams',
];

export async function buildsBench() {
  const base = process.env.TENON_BENCH_BASE;
  if (!base || !existsSync(resolve(base, 'dist/index.js'))) {
    throw new Error('TENON_BENCH_BASE names no checkout that is built: give the folder of the build to compare with');
  }
  const theirs = pathToFileURL(resolve(base, 'bench') + '/');
  const rows = [];
  for (const scenario of overSockets) {
    const warm = { ...scenario, times: scenario.shape === 'stream' ? 30 : 10_000, inFlight: 16 };
    const started = async (folder) => {
      const pair = await startPair(scenario.kind, folder);
      await pair.run(warm);
      const slice = () => pair.run(scenario).then(({ cpuUs }) => cpuUs / scenario.each);
      return { slice, stop: pair.stop };
    };
    const what = `${scenario.kind}: ${scenario.shape} ${scenario.size} B, ${scenario.inFlight} in flight`;
    rows.push(await compared(what, started, theirs));
  }
  for (const what of inProcess) {
    const started = async (folder) => {
      const work = await startWork(what, folder);
      for (let times = 0; times < 3; times += 1) await work.slice();
      return work;
    };
    rows.push(await compared(what, started, theirs));
  }
  const started = (folder) => Promise.resolve({ slice: () => start(folder), stop: () => {} });
  rows.push(await compared('start to the first reply', started, theirs));
  return rows;
}

/** Both builds, in fresh processes for every pair, slice by slice in turns. */
async function compared(what, started, theirs) {
  const cost = { before: [], now: [] };
  for (let pair = 0; pair < pairs; pair += 1) {
    const [before, now] = await Promise.all([started(theirs), started(ours)]);
    const sliced = { before: [], now: [] };
    for (let slice = 0; slice < slices; slice += 1) {
      const turns = (slice + pair) % 2 === 0 ? ['before', 'now'] : ['now', 'before'];
      for (const turn of turns) sliced[turn].push(await (turn === 'before' ? before : now).slice());
    }
    before.stop();
    now.stop();
    for (const turn of ['before', 'now']) cost[turn].push(median(sliced[turn]));
  }
  const ratios = cost.before.map((us, index) => us / cost.now[index]);
  return {
    what,
    'before µs': median(cost.before).toFixed(2),
    'now µs': median(cost.now).toFixed(2),
    'before / now': ratioText(ratios),
    bar: `${bar} ${holds(ratios, bar) ? 'holds' : 'FAILS'}`,
  };
}

async function startWork(what, folder) {
  const child = fork(new URL('./programs/work.mjs', ours), [what, folder.href]);
  const told = () =>
    new Promise((resolve, reject) => {
      const onExit = (code) => reject(new Error(`${what} of ${folder.href} ended with ${code}`));
      child.once('exit', onExit);
      child.once('message', (message) => {
        child.off('exit', onExit);
        resolve(message);
      });
    });
  await told();
  return {
    slice: () => {
      child.send('slice');
      return told();
    },
    stop: () => child.disconnect(),
  };
}

async function start(folder) {
  const program = fileURLToPath(new URL('./programs/start-tenon.mjs', folder));
  const { stdout } = await promisify(execFile)(process.execPath, [program]);
  const { cpu } = JSON.parse(stdout);
  return cpu.user + cpu.system;
}
