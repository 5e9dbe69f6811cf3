// The program of a thread that renews leases, as it should not be: `workerData.options.behaviour` says how.
import { parentPort, workerData } from 'node:worker_threads';

const { behaviour } = workerData.options;
if (behaviour === 'fails to start') throw new Error('no such registry');
if (behaviour === 'ends at the start') process.exit(0);
parentPort.on('message', (request) => {
  if (behaviour === 'fails later') throw new Error('it broke');
  if (behaviour === 'ends later') process.exit(3);
  if (request.kind === 'begin') {
    Atomics.add(request.renewals, 0, 1);
    parentPort.postMessage({ kind: 'registered', key: request.key });
    const { beats, periodMs } = request;
    parentPort.postMessage({ kind: 'log', level: 'info', message: 'begun', fields: { beats: beats.length, periodMs } });
  } else if (behaviour !== 'is mute' && (behaviour !== 'only lets go' || request.kind === 'abandon')) {
    const error = behaviour === 'refuses' ? { code: 7, reason: 'registry.refused', message: 'no' } : undefined;
    parentPort.postMessage({ kind: 'done', call: request.call, error });
  }
});
if (behaviour === 'is unfit') parentPort.postMessage({ kind: 'unfit', why: 'it has no class' });
else if (behaviour !== 'never starts') parentPort.postMessage({ kind: 'ready' });
