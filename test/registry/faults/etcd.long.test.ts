import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll } from '@jest/globals';

import { BackendServer } from '../../support/servers.ts';
import { EtcdOperator } from '../etcd-support.ts';
import { registryFaults } from './faults.ts';

const folder = mkdtempSync(join(tmpdir(), 'tenon-etcd-faults-'));
afterAll(() => rmSync(folder, { recursive: true }));
const passwordFile = join(folder, 'password');
writeFileSync(passwordFile, 'first-secret\n');

registryFaults({
  name: 'etcd',
  server: new BackendServer('etcd'),
  ttlMs: 2_000,
  changesMeanwhile: true,
  // Before authentication is on, nobody asks for them.
  settings: () => ({ credentials: { username: 'tenon', passwordFile } }),
  more: [
    {
      name: 'credentials are changed under open watches, and known half a lease later',
      env: () => ({ TENON_REGISTRY_USERNAME: 'tenon', TENON_REGISTRY_PASSWORD_FILE: passwordFile }),
      run: async ({ server, ttlMs, wait }) => {
        const root = await new EtcdOperator(server).enableAuth('/micro/registry/');
        await wait(ttlMs);
        await root.call('auth/user/changepw', { name: 'tenon', password: 'second-secret' });
        await wait(ttlMs / 2);
        writeFileSync(passwordFile, 'second-secret\n');
      },
    },
  ],
});
