import { expect, it } from '@jest/globals';

import { fileURLToPath } from 'node:url';

import { Code, contract, Registry, System, TenonError } from '../../src/index.ts';
import { eventually } from '../support/waiting.ts';
import { startNode, type TestProcess } from '../support/process.ts';
import { describeWithRedis } from '../support/servers.ts';

interface SlowApi {
  wait(request: { ms: number }): Promise<{ pid: number }>;
}
const slow = contract<SlowApi>('slow.Slow', { wait: {} });
const program = fileURLToPath(new URL('./programs/slow.mjs', import.meta.url));
const ttlMs = 1_500;
const patienceMs = 10 * ttlMs;

describeWithRedis('a service that is killed with SIGKILL', (redis) => {
  const env = (): Record<string, string> => ({ TENON_REGISTRY: `redis://${redis.address}` });

  const startInstance = async (): Promise<TestProcess> => {
    const instance = startNode(program, { env: { ...env(), TENON_REGISTER_TTL_MS: String(ttlMs) } });
    await instance.waitForLog(/slow serves/);
    return instance;
  };

  const startCaller = (): Promise<System> =>
    System.start([], { profile: 'dev', env: { ...env(), TENON_LOG_LEVEL: 'silent' } });

  it('is gone from the registry when its lease has expired, and until then calls go to another node', async () => {
    const [killed, other] = [await startInstance(), await startInstance()];
    const caller = await startCaller();
    try {
      const client = caller.client(slow);
      const before = new Set<number>();
      await eventually('both are called', async () => before.add((await client.wait({ ms: 0 })).pid).size === 2);
      await killed.kill('SIGKILL');
      for (let call = 0; call < 20; call += 1) expect((await client.wait({ ms: 0 })).pid).toBe(other.pid);
      const registry = caller.get(Registry);
      const nodes = async (): Promise<number> =>
        (await registry.getService('slow')).flatMap((record) => record.nodes).length;
      await eventually('the node is gone', async () => (await nodes()) === 1, patienceMs);
    } finally {
      await caller.stop();
      await other.kill('SIGKILL');
    }
  }, 60_000);

  it('leaves callers with UNAVAILABLE and the name of the service when it was the last node', async () => {
    const only = await startInstance();
    const caller = await startCaller();
    try {
      const client = caller.client(slow);
      await client.wait({ ms: 0 });
      await only.kill('SIGKILL');
      const failures: TenonError[] = [];
      await eventually(
        'the registry has forgotten it',
        async () => {
          failures.push(TenonError.from(await client.wait({ ms: 0 }).catch((error: unknown) => error)));
          return failures.at(-1)?.reason === 'client.no_node';
        },
        patienceMs,
      );
      for (const failure of failures) {
        expect(failure.code).toBe(Code.Unavailable);
        expect(failure.message).toContain('"slow"');
      }
    } finally {
      await caller.stop();
    }
  }, 60_000);
});
