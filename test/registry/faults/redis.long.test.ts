import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll } from '@jest/globals';
import { Redis } from 'ioredis';

import { RedisServer } from '../../support/servers.ts';
import { registryFaults } from './faults.ts';

const folder = mkdtempSync(join(tmpdir(), 'tenon-redis-faults-'));
afterAll(() => rmSync(folder, { recursive: true }));
const passwordFile = join(folder, 'password');
writeFileSync(passwordFile, 'first-secret\n');

async function asAdmin(port: number, work: (redis: Redis) => Promise<unknown>): Promise<void> {
  const redis = new Redis({ host: '127.0.0.1', port, password: 'first-secret', disconnectTimeout: 50 });
  try {
    await work(redis);
  } finally {
    redis.disconnect();
  }
}

registryFaults({
  name: 'redis',
  server: new RedisServer({ persistent: true, args: ['--requirepass', 'first-secret'] }),
  ttlMs: 3_000,
  changesMeanwhile: true,
  env: () => ({ TENON_REGISTRY_PASSWORD_FILE: passwordFile }),
  settings: () => ({ credentials: { passwordFile } }),
  more: [
    {
      name: 'all keys are removed (FLUSHALL)',
      hides: 2,
      run: async ({ server, ttlMs, wait }) => {
        await asAdmin(server.port, (redis) => redis.flushall());
        await wait(ttlMs);
      },
    },
    {
      name: 'credentials are changed under open watches, and known half a lease later',
      run: async ({ server, ttlMs, wait }) => {
        await asAdmin(server.port, async (redis) => {
          await redis.config('SET', 'requirepass', 'second-secret');
          for (const type of ['pubsub', 'normal']) await redis.call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes');
        });
        await wait(ttlMs / 2);
        writeFileSync(passwordFile, 'second-secret\n');
      },
    },
  ],
});
