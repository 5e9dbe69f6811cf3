import { expect, it } from '@jest/globals';

import { fileURLToPath } from 'node:url';

import { type ClientOf, codeName, contract, System, TenonError } from '../../src/index.ts';
import { startNode, type TestProcess } from '../support/process.ts';
import { describeWithRedis } from '../support/servers.ts';

interface SlowApi {
  wait(request: { ms: number }): Promise<{ pid: number }>;
}
const slow = contract<SlowApi>('slow.Slow', { wait: {} });
const program = fileURLToPath(new URL('./programs/slow.mjs', import.meta.url));

describeWithRedis('a rolling restart under load', (redis) => {
  const startInstance = async (env: Record<string, string>): Promise<TestProcess> => {
    const instance = startNode(program, {
      env: {
        TENON_PROFILE: 'dev',
        TENON_REGISTRY: 'redis',
        TENON_REGISTRY_ADDRESS: redis.address,
        TENON_LOG_FORMAT: 'text',
        ...env,
      },
    });
    await instance.waitForLog(/slow serves/);
    return instance;
  };

  /** Two instances, 200 calls a second, ten SIGTERMs; every instance that is told to stop is replaced first. */
  const run = async (
    env: Record<string, string>,
  ): Promise<{ calls: number; failures: string[]; exits: (number | null)[] }> => {
    const caller = await System.start([], {
      profile: 'dev',
      env: { TENON_REGISTRY: 'redis', TENON_REGISTRY_ADDRESS: redis.address, TENON_LOG_LEVEL: 'silent' },
    });
    let instances = [await startInstance(env), await startInstance(env)];
    const client: ClientOf<SlowApi> = caller.client(slow);
    const failures: string[] = [];
    const pending = new Set<Promise<void>>();
    let calls = 0;
    const load = setInterval(() => {
      calls += 1;
      const call = client.wait({ ms: 100 }).then(
        () => {},
        (error: unknown) => {
          const { code, reason, message } = TenonError.from(error);
          failures.push(`${codeName(code)} ${reason}: ${message}`);
        },
      );
      pending.add(call);
      void call.finally(() => pending.delete(call));
    }, 5);
    const exits: (number | null)[] = [];
    try {
      for (let round = 0; round < 10; round += 1) {
        const fresh = await startInstance(env);
        const [old, ...others] = instances as [TestProcess, ...TestProcess[]];
        instances = [...others, fresh];
        exits.push((await old.kill('SIGTERM')).code);
      }
    } finally {
      clearInterval(load);
      await Promise.all(pending);
      await caller.stop();
      await Promise.all(instances.map((instance) => instance.kill('SIGKILL')));
    }
    return { calls, failures, exits };
  };

  it('fails no call over ten SIGTERMs, and every process exits with 0', async () => {
    const { calls, failures, exits } = await run({ TENON_LAME_DUCK_MS: '300' });
    expect(failures).toEqual([]);
    expect(exits).toEqual(Array(10).fill(0));
    // On a busy machine the load is less than 200 calls a second.
    expect(calls).toBeGreaterThan(50);
  }, 120_000);

  it.each([1, 2, 3])(
    'fails calls when TENON_DRAIN=false: run %i of 3',
    async () => {
      const { failures } = await run({ TENON_DRAIN: 'false' });
      expect(failures).not.toEqual([]);
    },
    120_000,
  );
});
