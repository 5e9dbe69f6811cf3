import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll } from '@jest/globals';

import { BackendServer } from '../../support/servers.ts';
import { registryFaults } from './faults.ts';

const folder = mkdtempSync(join(tmpdir(), 'tenon-zookeeper-faults-'));
afterAll(() => rmSync(folder, { recursive: true }));
const passwordFile = join(folder, 'password');
writeFileSync(passwordFile, 'first-secret\n');

registryFaults({
  name: 'zookeeper',
  server: new BackendServer('zookeeper'),
  ttlMs: 4_000,
  changesMeanwhile: true,
  env: () => ({ TENON_REGISTRY_USERNAME: 'tenon', TENON_REGISTRY_PASSWORD_FILE: passwordFile }),
  settings: () => ({ credentials: { username: 'tenon', passwordFile } }),
  more: [
    {
      // ZooKeeper keeps no passwords: whoever connects is who the password says.
      name: 'the password changes in its file, and connections are cut',
      run: async ({ proxy, ttlMs, wait }) => {
        writeFileSync(passwordFile, 'second-secret\n');
        await proxy.cut();
        await wait(ttlMs / 4);
        await proxy.heal();
      },
    },
  ],
});
