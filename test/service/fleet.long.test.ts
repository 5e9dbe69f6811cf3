import { fileURLToPath } from 'node:url';

import { describe, expect, it } from '@jest/globals';

import { backendRow } from '../../src/app/internal/backend-table.ts';
import { ClientOptions, codeName, contract, Registry, System, TenonError } from '../../src/index.ts';
import { retry } from '../../src/interceptors/interceptors.ts';
import { freePort, startNode, type TestProcess } from '../support/process.ts';
import { describeWithServers } from '../support/servers.ts';
import { eventually } from '../support/waiting.ts';
import { leaseOf, registriesWithServers } from './support.ts';

interface SlowApi {
  wait(request: { ms: number }): Promise<{ pid: number }>;
}
const once = contract<SlowApi>('slow.Slow', { wait: {} });
const repeatable = contract<SlowApi>('slow.Slow', { wait: { idempotent: true } });
const program = fileURLToPath(new URL('./programs/slow.mjs', import.meta.url));
const patienceMs = 60_000;

/** A call that failed: when it began, and how it ended. */
interface Failure {
  readonly beganMs: number;
  readonly isRepeatable: boolean;
  readonly text: string;
}

/** Calls every 5 ms, every other one declared idempotent, until `stop`. */
class Load {
  readonly failures: Failure[] = [];
  readonly pids = new Set<number>();
  calls = 0;
  readonly #pending = new Set<Promise<void>>();
  readonly #timer: NodeJS.Timeout;

  constructor(caller: System, takesMs: number) {
    const [plain, idempotent] = [caller.client(once), caller.client(repeatable)];
    this.#timer = setInterval(() => {
      this.calls += 1;
      const isRepeatable = this.calls % 2 === 0;
      const call = this.#call(isRepeatable ? idempotent : plain, isRepeatable, takesMs);
      this.#pending.add(call);
      void call.finally(() => this.#pending.delete(call));
    }, 5);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#pending);
  }

  async #call(client: SlowApi, isRepeatable: boolean, ms: number): Promise<void> {
    const beganMs = performance.now();
    try {
      this.pids.add((await client.wait({ ms })).pid);
    } catch (error) {
      const { code, reason, message } = TenonError.from(error);
      this.failures.push({ beganMs, isRepeatable, text: `${codeName(code)} ${reason}: ${message}` });
    }
  }
}

const multicastPort = String(await freePort());

describe.each([...registriesWithServers(), 'mdns'])('a fleet under load, with the registry %s', (registry) => {
  const { server } = backendRow('registry', registry) ?? {};
  const where = server === undefined ? 'between processes' : 'on a real server';
  describeWithServers(where, server === undefined ? [] : [server], (addressOf, envOf) => {
    const env = (): Record<string, string> =>
      server === undefined
        ? { TENON_REGISTRY: registry, TENON_MDNS_INTERFACE: '127.0.0.1', TENON_MDNS_PORT: multicastPort }
        : { TENON_REGISTRY: `${registry}://${addressOf(server)}`, ...envOf(server) };
    const ttlMs = leaseOf(registry, 3_000);

    const startInstance = async (): Promise<TestProcess> => {
      const more = { TENON_REGISTER_TTL_MS: String(ttlMs), TENON_LAME_DUCK_MS: '1000', TENON_LOG_FORMAT: 'text' };
      const instance = startNode(program, { env: { TENON_PROFILE: 'dev', ...env(), ...more } });
      await instance.waitForLog(/slow serves/, patienceMs);
      return instance;
    };
    const startInstances = (count: number): Promise<TestProcess[]> =>
      Promise.all(Array.from({ length: count }, startInstance));
    const startCaller = (): Promise<System> =>
      System.start([], {
        profile: 'dev',
        env: { ...env(), TENON_LOG_LEVEL: 'silent' },
        bind: (container) => container.rebind(ClientOptions).toConstantValue({ interceptors: [retry()] }),
      });

    it('loses nothing but the calls in flight when one of three is killed, and no idempotent call', async () => {
      const [killed, ...others] = (await startInstances(3)) as [TestProcess, ...TestProcess[]];
      const caller = await startCaller();
      const load = new Load(caller, 100);
      try {
        await eventually('all three are called', () => load.pids.size === 3, patienceMs);
        const [calls, killedMs] = [load.calls, performance.now()];
        await killed.kill('SIGKILL');
        const goneMs = performance.now();
        const ids = async (): Promise<number> =>
          (await caller.get(Registry).getService('slow')).flatMap(({ nodes }) => nodes).length;
        await eventually('its lease has ended', async () => (await ids()) === 2, patienceMs);
        await eventually('there was load', () => load.calls > calls + 200, patienceMs);
        await load.stop();
        expect(load.failures.filter(({ isRepeatable }) => isRepeatable)).toEqual([]);
        // A call of 100 ms that began before was in flight when it was killed, or was sent before the connection broke.
        expect(load.failures.filter(({ beganMs }) => beganMs < killedMs - 1_000 || beganMs > goneMs)).toEqual([]);
        for (const { text } of load.failures) expect(text).toMatch(/^UNAVAILABLE /);
      } finally {
        await load.stop();
        await caller.stop();
        await Promise.all(others.map((one) => one.kill('SIGKILL')));
      }
    }, 180_000);

    it('fails no call when its five instances are replaced one after another', async () => {
      let instances = await startInstances(5);
      const caller = await startCaller();
      const load = new Load(caller, 50);
      const exits: (number | null)[] = [];
      try {
        await eventually('all five are called', () => load.pids.size === 5, patienceMs);
        for (let round = 0; round < 5; round += 1) {
          const fresh = await startInstance();
          const [old, ...kept] = instances as [TestProcess, ...TestProcess[]];
          instances = [...kept, fresh];
          exits.push((await old.kill('SIGTERM')).code);
        }
        await eventually('all new ones are called', () => load.pids.size === 10, patienceMs);
        await load.stop();
        expect(load.failures).toEqual([]);
        expect(exits).toEqual([0, 0, 0, 0, 0]);
      } finally {
        await load.stop();
        await caller.stop();
        await Promise.all(instances.map((one) => one.kill('SIGKILL')));
      }
    }, 300_000);
  });
});
