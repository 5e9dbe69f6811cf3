import { fileURLToPath } from 'node:url';

import { describe, expect, it } from '@jest/globals';
import type { Container } from 'inversify';

import { backendRow } from '../../src/app/internal/backend-table.ts';
import { Code, contract, Registry, System, TenonError } from '../../src/index.ts';
import { NatsRegistryOptions } from '../../src/registry/nats.ts';
import { isRegistryCache } from '../../src/registry/registry.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { closing } from '../support/closing.ts';
import { startNode, type TestProcess } from '../support/process.ts';
import { describeWithServers } from '../support/servers.ts';
import { eventually } from '../support/waiting.ts';
import { leaseOf, registriesWithServers } from './support.ts';

interface SlowApi {
  wait(request: { ms: number }): Promise<{ pid: number }>;
}
const slow = contract<SlowApi>('slow.Slow', { wait: { idempotent: true } });
const program = fileURLToPath(new URL('./programs/slow.mjs', import.meta.url));
const patienceMs = 60_000;
const { clock, timers } = systemRuntime;

describe.each(registriesWithServers())('two processes with one node id, in the registry %s', (registry) => {
  const { server = '' } = backendRow('registry', registry) ?? {};
  describeWithServers('on a real server', [server], (addressOf, envOf) => {
    it('are one node, which is that of the last one, and no end of one takes the other away', async () => {
      const ttlMs = leaseOf(registry, 3_000);
      const env = { TENON_REGISTRY: `${registry}://${addressOf(server)}`, ...envOf(server), TENON_PROFILE: 'dev' };
      const own = { TENON_SERVER_ID: 'twin', TENON_REGISTER_TTL_MS: String(ttlMs), TENON_LAME_DUCK_MS: '500' };
      const start = async (): Promise<TestProcess> => {
        const log = { TENON_LOG_FORMAT: 'text', TENON_LOG_LEVEL: 'debug' };
        const instance = startNode(program, { env: { ...env, ...own, ...log } });
        closing.push(() => instance.kill('SIGKILL'));
        await instance.waitForLog(/renewed by a thread of its own/, patienceMs);
        return instance;
      };
      // Over NATS nobody says how many will answer: on a busy machine an answer takes longer than a look waits for it.
      const options = { address: addressOf(server), queryMs: 500 };
      const bind = (container: Container): void => {
        if (registry === 'nats') container.rebind(NatsRegistryOptions).toConstantValue(options);
      };
      const caller = await System.start([], { profile: 'dev', env: { ...env, TENON_LOG_LEVEL: 'silent' }, bind });
      closing.push(() => caller.stop());
      const cached = caller.get(Registry);
      if (!isRegistryCache(cached)) throw new Error('an application reads its registry through the cache');
      /** The addresses of the nodes, past the cache. */
      const addresses = async (): Promise<string[]> => {
        const records = await cached.origin.getService('slow').catch((error: unknown) => {
          if (TenonError.from(error).code === Code.NotFound) return [];
          throw error;
        });
        return records.flatMap(({ nodes }) => nodes.map(({ address }) => address));
      };
      const first = await start();
      const [atFirst] = await addresses();
      const second = await start();
      const [atSecond, ...others] = await addresses();
      expect(others).toEqual([]);
      expect(atSecond).not.toBe(atFirst);
      const seen: string[] = [];
      const looking = async (forMs: number): Promise<void> => {
        for (const untilMs = clock.monotonicMs() + forMs; clock.monotonicMs() < untilMs; await timers.sleep(50))
          seen.push(String(await addresses()));
      };
      await looking(ttlMs);
      // It stops in order: drains, deregisters, and ends.
      const [, exit] = await Promise.all([looking(2 * ttlMs), first.kill('SIGTERM')]);
      expect(exit.code).toBe(0);
      expect(new Set(seen)).toEqual(new Set([atSecond]));
      expect((await caller.client(slow).wait({ ms: 1 })).pid).toBe(second.pid);
      // A third takes the node over, and when that ends the second has it again.
      const third = await start();
      expect(await addresses()).not.toContain(atSecond);
      await third.kill('SIGTERM');
      await eventually('it is back', async () => String(await addresses()) === atSecond, patienceMs);
      expect(first.stderr).toMatch(/another (?:process|place)/);
    }, 180_000);
  });
});
