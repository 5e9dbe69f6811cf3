// A process with as many services as `SERVICES` says, in registries that `SYSTEMS` says (each `name://address`, by
// commas). Its log tells who renews the leases. `stop <service>` on its standard input stops one of them, `block <ms>` and
// `deadlock` its event loop, `exit`, `throw` and `stop` all.
import { createInterface } from 'node:readline';

import { Service, System } from '../../../dist/index.js';
import { FolderRegistry, Misnamed, registryOf, Unnamed } from './folder-registry.mjs';

const folders = { folder: FolderRegistry, unnamed: Unnamed, misnamed: Misnamed, program: registryOf(import.meta.url) };
const names = (process.env.SERVICES ?? 'one').split(',');
const systems = [];
for (const registry of (process.env.SYSTEMS ?? process.env.TENON_REGISTRY).split(',')) {
  const classes = names.map((name) => {
    class Leased {}
    Service({ name, handlers: [] })(Leased);
    return Leased;
  });
  const env = { ...process.env, TENON_REGISTRY: registry };
  systems.push(await System.start(classes, { env, backends: { registry: folders } }));
}
const services = systems.flatMap((system) => system.services);
const nameOf = (service) => service.server().options.name;

const actions = {
  exit: () => process.exit(5),
  throw: () =>
    setImmediate(() => {
      throw new Error('nobody catches this');
    }),
  block: (ms) => {
    const until = performance.now() + Number(ms);
    while (performance.now() < until);
    console.log('unblocked');
  },
  deadlock: () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0),
  stop: async (name) => {
    if (name)
      await Promise.all(services.filter((service) => nameOf(service) === name).map((service) => service.stop()));
    else await Promise.all(systems.map((system) => system.stop()));
    console.log(`stopped ${name ?? 'all'}`);
    if (!name) input.close();
  },
  'stop-system': async (at) => {
    await systems[at].stop();
    console.log(`stopped system ${at}`);
  },
  tell: () => {
    const told = services.map((service) => [
      nameOf(service),
      service.status.isRegistered,
      service.registration.renewals,
    ]);
    console.log(`told ${JSON.stringify(told)}`);
  },
};
const input = createInterface({ input: process.stdin });
input.on('line', (line) => {
  const [action, argument] = line.split(' ');
  void actions[action](argument);
});
console.log('ready');
