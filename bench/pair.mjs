// A server and a client, each a process of its own, and what their calls cost.
import { fork } from 'node:child_process';

/**
 * Starts both, of this checkout unless the folder `bench/` of another is given. `run` makes the calls of a slice, and
 * tells what CPU time both took, and how long it was.
 */
export async function startPair(kind, folder = import.meta.url) {
  const server = fork(new URL('./programs/server.mjs', folder), [kind]);
  const { address } = await once(server);
  const client = fork(new URL('./programs/client.mjs', folder), [kind, address]);
  await once(client);
  const serverCpu = async () => {
    server.send('cpu');
    return total((await once(server)).cpu);
  };
  return {
    kind,
    async run(scenario) {
      const before = await serverCpu();
      client.send(scenario);
      const { cpu, ms } = await once(client);
      return { cpuUs: total(cpu) + (await serverCpu()) - before, ms };
    },
    stop() {
      client.disconnect();
      server.disconnect();
    },
  };
}

/**
 * Runs `slices` of a scenario on each pair, in an order that turns, so that no kind always follows the same one. What
 * each cost, by kind.
 */
export async function interleaved(pairs, scenario, slices) {
  const cost = Object.fromEntries(pairs.map(({ kind }) => [kind, []]));
  for (let slice = 0; slice < slices; slice += 1) {
    for (let k = 0; k < pairs.length; k += 1) {
      const pair = pairs[(k + slice) % pairs.length];
      cost[pair.kind].push(await pair.run(scenario));
    }
  }
  return cost;
}

function once(child) {
  return new Promise((resolve, reject) => {
    const onExit = (code) => reject(new Error(`${child.spawnargs.slice(1).join(' ')} ended with ${code}`));
    child.once('exit', onExit);
    child.once('message', (message) => {
      child.off('exit', onExit);
      resolve(message);
    });
  });
}

function total({ user, system }) {
  return user + system;
}
