import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll } from '@jest/globals';

import { KubernetesRegistry } from '../../../src/registry/kubernetes.ts';
import { eventually } from '../../support/waiting.ts';
import { KubernetesServer } from '../kubernetes-support.ts';
import { registryFaults, rotation } from './faults.ts';

const server = new KubernetesServer();
const folder = mkdtempSync(join(tmpdir(), 'tenon-kubernetes-faults-'));
afterAll(() => rmSync(folder, { recursive: true }));
const tokenFile = join(folder, 'token');
const written = (token: string): string => {
  writeFileSync(tokenFile, `${token}\n`);
  return tokenFile;
};

registryFaults({
  name: 'kubernetes',
  server,
  ttlMs: 3_000,
  env: () => ({
    TENON_REGISTRY_TLS_CA_FILE: server.detail('caFile'),
    TENON_REGISTRY_TOKEN_FILE: written(server.detail('token')),
  }),
  settings: () => ({ tls: { caFile: server.detail('caFile') }, credentials: { token: server.detail('token') } }),
  isShared: false,
  more: [
    {
      name: rotation,
      run: async ({ ttlMs, wait }) => {
        const account = await server.account('rotated', [
          'list',
          'watch',
          'get',
          'create',
          'update',
          'patch',
          'delete',
        ]);
        const first = await account.boundToken('first');
        await eventually('it has its rights', () => mayRead(first), 60_000);
        written(first);
        await wait(ttlMs);
        const second = await account.boundToken('second');
        await account.revoke('first');
        await eventually('the first token is refused', async () => !(await mayRead(first)), 60_000);
        await wait(ttlMs);
        written(second);
      },
    },
  ],
});

async function mayRead(token: string): Promise<boolean> {
  const tls = { caFile: server.detail('caFile') };
  const registry = new KubernetesRegistry({ address: server.address, tls, credentials: { token } });
  try {
    await registry.listServices();
    return true;
  } catch {
    return false;
  } finally {
    await registry.close();
  }
}
