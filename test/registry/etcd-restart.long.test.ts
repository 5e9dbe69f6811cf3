import { fileURLToPath } from 'node:url';

import { expect, it } from '@jest/globals';

import { ClientOptions, contract, Registry, System, TenonError } from '../../src/index.ts';
import { retry } from '../../src/interceptors/interceptors.ts';
import { CachedRegistry } from '../../src/registry/cache.ts';
import { EtcdRegistry } from '../../src/registry/etcd.ts';
import { WatchRecorder } from '../../src/testing/recorders.ts';
import { closing } from '../support/closing.ts';
import { startNode, type TestProcess } from '../support/process.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';
import { eventually } from '../support/waiting.ts';
import { EtcdOperator } from './etcd-support.ts';
import { idsOf } from './support.ts';

interface SlowApi {
  wait(request: { ms: number }): Promise<{ pid: number }>;
}
const api = contract<SlowApi>('slow.Slow', { wait: { idempotent: true } });
const program = fileURLToPath(new URL('../service/programs/slow.mjs', import.meta.url));
const patientMs = 60_000;
const ttlMs = 3_000;

/** Calls every 5 ms until it is stopped. */
class Load {
  readonly failures: string[] = [];
  /** Processes that answered since they were last asked for. */
  readonly pids = new Set<number>();
  calls = 0;
  readonly #pending = new Set<Promise<void>>();
  readonly #timer: NodeJS.Timeout;

  constructor(client: SlowApi) {
    this.#timer = setInterval(() => {
      this.calls += 1;
      const call = client.wait({ ms: 1 }).then(
        ({ pid }) => void this.pids.add(pid),
        (error: unknown) => void this.failures.push(TenonError.from(error).message),
      );
      this.#pending.add(call);
      void call.finally(() => this.#pending.delete(call));
    }, 5);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#pending);
  }
}

describeWithServer('a service that is killed while etcd is restarted', new BackendServer('etcd'), (server) => {
  const startInstance = async (): Promise<TestProcess> => {
    const env = {
      TENON_PROFILE: 'dev',
      TENON_REGISTRY: `etcd://${server.address}`,
      TENON_REGISTER_TTL_MS: String(ttlMs),
      TENON_LOG_FORMAT: 'text',
    };
    const instance = startNode(program, { env });
    await instance.waitForLog(/slow serves/, patientMs);
    closing.push(async () => void (await instance.kill('SIGKILL')));
    return instance;
  };

  it('leaves the view when its lease ends, which etcd extends to at most its whole length; no call fails meanwhile', async () => {
    const [killed, other] = [await startInstance(), await startInstance()];
    const cache = new CachedRegistry(new EtcdRegistry({ address: server.address }), { graceMs: ttlMs });
    const caller = await System.start([], {
      profile: 'dev',
      env: { TENON_LOG_LEVEL: 'silent' },
      bind: (container) => {
        container.rebind(Registry).toConstantValue(cache);
        container.rebind(ClientOptions).toConstantValue({ interceptors: [retry()] });
      },
    });
    closing.push(() => caller.stop());
    const direct = new EtcdRegistry({ address: server.address, timeoutMs: 30_000 });
    closing.push(() => direct.close());
    await eventually('both are found', async () => (await idsOf(cache, 'slow')).length === 2, patientMs);
    const seen = new WatchRecorder(await direct.watch({ service: 'slow' }));
    const load = new Load(caller.client(api));
    closing.push(() => load.stop());
    await eventually('both are called', () => load.pids.size === 2, patientMs);
    const operator = new EtcdOperator(server);
    const leases = (await operator.keys('/micro/registry/slow/')).map(({ lease }) => lease);
    expect(leases).toHaveLength(2);

    await killed.kill('SIGKILL');
    await server.kill();
    await server.start();

    // A lease begins anew, and gets no longer.
    for (const lease of leases) {
      const { TTL = '0', grantedTTL = '0' } = await operator.call('lease/timetolive', { ID: lease });
      expect(Number(TTL)).toBeLessThanOrEqual(ttlMs / 1_000);
      expect([0, ttlMs / 1_000]).toContain(Number(grantedTTL));
    }
    // Its node is left out by the selector: it refuses connections.
    const { calls } = load;
    await eventually('there were calls meanwhile', () => load.calls > calls + 50, patientMs);
    await eventually('it has left the view', async () => (await idsOf(cache, 'slow')).length === 1, patientMs);
    load.pids.clear();
    await eventually('the other one answers', () => load.pids.size > 0, patientMs);
    await load.stop();
    expect(load.failures).toEqual([]);
    expect([...load.pids]).toEqual([other.pid]);
    await eventually('its removal is told', () => seen.texts.length > 0, patientMs);
    const [left] = await idsOf(cache, 'slow');
    expect(seen.events.map(({ action }) => action)).toEqual(['delete']);
    expect(seen.texts[0]).not.toContain(left);
  }, 180_000);
});
