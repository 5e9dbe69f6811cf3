import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll } from '@jest/globals';

import { BackendServer } from '../../support/servers.ts';
import { consulApi } from '../consul-support.ts';
import { registryFaults, rotation } from './faults.ts';

// Of the configuration, so that a server has it again that has lost its data.
const managing = '11111111-0000-4000-8000-000000000000';
const acl = `acl { enabled = true default_policy = "deny" tokens { initial_management = "${managing}" agent = "${managing}" } }`;

const folder = mkdtempSync(join(tmpdir(), 'tenon-consul-faults-'));
afterAll(() => rmSync(folder, { recursive: true }));
const tokenFile = join(folder, 'token');
writeFileSync(tokenFile, `${managing}\n`);

/** Makes a token that may do what services need. */
async function makeToken(server: BackendServer): Promise<{ readonly accessor: string; readonly secret: string }> {
  const { call } = consulApi(server.address, managing);
  const Rules = 'service_prefix "" { policy = "write" } node_prefix "" { policy = "read" }';
  const Policies = [{ Name: 'services' }];
  await call('PUT', 'acl/policy', { Name: 'services', Rules }).catch(() => {});
  const made = (await call('PUT', 'acl/token', { Policies })) as Record<'AccessorID' | 'SecretID', string>;
  return { accessor: made.AccessorID, secret: made.SecretID };
}

/** Has all connections use a token of its own, until it is another one in the file. */
async function useToken(server: BackendServer, ttlMs: number, wait: (ms: number) => Promise<void>) {
  const { accessor, secret } = await makeToken(server);
  writeFileSync(tokenFile, `${secret}\n`);
  // Queries that are held have the token of before.
  await wait(ttlMs + 500);
  return () => consulApi(server.address, managing).call('DELETE', `acl/token/${accessor}`);
}

registryFaults({
  name: 'consul',
  server: new BackendServer('consul', { persistent: true, args: ['-hcl', acl] }),
  ttlMs: 1_500,
  env: () => ({ TENON_REGISTRY_TOKEN_FILE: tokenFile }),
  settings: () => ({ credentials: { token: managing } }),
  more: [
    {
      name: 'the token is replaced in its file, and then deleted',
      run: async ({ server, ttlMs, wait }) => {
        const remove = await useToken(server, ttlMs, wait);
        writeFileSync(tokenFile, `${managing}\n`);
        await remove();
        await wait(3 * ttlMs);
      },
    },
    {
      name: rotation,
      // Leases end meanwhile.
      hides: 2,
      run: async ({ server, ttlMs, wait }) => {
        const remove = await useToken(server, ttlMs, wait);
        await remove();
        await wait(ttlMs);
        writeFileSync(tokenFile, `${managing}\n`);
      },
    },
  ],
});
