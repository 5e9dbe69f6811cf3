// This build of tenon against another one, the checkout that TENON_BENCH_BASE names (built, with what it depends on installed): CPU per call or
// event, slices interleaved. Above 1 this build is the cheaper one.
import { execFile, fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

import { startPair } from './pair.mjs';
import { holds, median, ratioText } from './statistics.mjs';

const bar = 0.95;
const slices = 15;
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
    const [before, now] = await Promise.all([startPair(scenario.kind, theirs), startPair(scenario.kind)]);
    const warm = { ...scenario, times: scenario.shape === 'stream' ? 30 : 10_000, inFlight: 16 };
    await before.run(warm);
    await now.run(warm);
    const measure = (pair) => pair.run(scenario).then(({ cpuUs }) => cpuUs / scenario.each);
    const what = `${scenario.kind}: ${scenario.shape} ${scenario.size} B, ${scenario.inFlight} in flight`;
    rows.push(
      await compared(
        what,
        () => measure(before),
        () => measure(now),
      ),
    );
    before.stop();
    now.stop();
  }
  for (const what of inProcess) {
    const [before, now] = await Promise.all([startWork(what, theirs), startWork(what, ours)]);
    for (let times = 0; times < 3; times += 1) {
      await before.slice();
      await now.slice();
    }
    rows.push(await compared(what, before.slice, now.slice));
    before.stop();
    now.stop();
  }
  rows.push(
    await compared(
      'start to the first reply',
      () => start(theirs),
      () => start(ours),
    ),
  );
  return rows;
}

async function compared(what, before, now) {
  const cost = { before: [], now: [] };
  for (let slice = 0; slice < slices; slice += 1) {
    const turns = slice % 2 === 0 ? [before, now] : [now, before];
    for (const turn of turns) cost[turn === before ? 'before' : 'now'].push(await turn());
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
