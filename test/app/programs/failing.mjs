// A start that fails before there is anything of the application to log by.
import { ContainerModule } from 'inversify';

import { MemoryRegistry } from '../../../dist/registry/memory.js';
import { run, Service } from '../../../dist/index.js';

class Failing {}
Service({ name: 'failing', handlers: [] })(Failing);

const { PROFILE_IN_CODE: profile, ENV_IN_CODE: isGiven } = process.env;

await run(Failing, {
  ...(profile && { profile }),
  ...(isGiven && { env: process.env }),
  backends: { registry: { own: MemoryRegistry } },
  modules: [
    new ContainerModule(() => {
      throw new Error('no store');
    }),
  ],
});
