import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, describe, expect, it } from '@jest/globals';

import { backendRow } from '../../src/app/internal/backend-table.ts';
import { ClientOptions, codeName, contract, Registry, System, TenonError } from '../../src/index.ts';
import { retry } from '../../src/interceptors/interceptors.ts';
import { DnsZone, srvLines } from '../registry/dns-zone.ts';
import { idsOf } from '../registry/support.ts';
import { freePort, startNode, type TestProcess } from '../support/process.ts';
import { BackendServer, describeWithServer, describeWithServers } from '../support/servers.ts';
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

/** How a fleet is found. */
interface Listing {
  /** Variables of the caller, and of instances that register. */
  readonly env: () => Readonly<Record<string, string>>;
  /** Lists instances that do not register, as who runs them would. */
  readonly list?: (addresses: readonly string[]) => void;
  /** The lease of those that register. */
  readonly ttlMs?: number;
}

interface Instance {
  readonly process: TestProcess;
  readonly address: string;
}

function fleetUnderLoad({ env, list, ttlMs = 3_000 }: Listing): void {
  const startInstance = async (): Promise<Instance> => {
    const address = list ? `127.0.0.1:${await freePort()}` : '127.0.0.1:0';
    const unlisted = { TENON_REGISTRY: 'memory', TENON_REGISTER: 'false', TENON_SERVER_ADDRESS: address };
    const more = { TENON_REGISTER_TTL_MS: String(ttlMs), TENON_LAME_DUCK_MS: '1000', TENON_LOG_FORMAT: 'text' };
    const instance = startNode(program, { env: { TENON_PROFILE: 'dev', ...(list ? unlisted : env()), ...more } });
    await instance.waitForLog(/slow serves/, patienceMs);
    return { process: instance, address };
  };
  const startInstances = (count: number): Promise<Instance[]> =>
    Promise.all(Array.from({ length: count }, startInstance));
  const relist = (instances: readonly Instance[]): void => list?.(instances.map(({ address }) => address));
  /** A caller that knows so many nodes: a server may show what was listed before for a moment. */
  const startCaller = async (count: number): Promise<System> => {
    const caller = await System.start([], {
      profile: 'dev',
      env: { ...env(), TENON_LOG_LEVEL: 'silent' },
      bind: (container) => container.rebind(ClientOptions).toConstantValue({ interceptors: [retry()] }),
    });
    await eventually('it knows them', async () => (await nodesOf(caller)) === count, patienceMs);
    return caller;
  };
  const nodesOf = async (caller: System): Promise<number> => (await idsOf(caller.get(Registry), 'slow')).length;

  it('loses nothing but the calls in flight when one of three is killed, and no idempotent call', async () => {
    const all = await startInstances(3);
    relist(all);
    const [killed, ...others] = all as [Instance, ...Instance[]];
    const caller = await startCaller(3);
    const load = new Load(caller, 100);
    try {
      await eventually('all three are called', () => load.pids.size === 3, patienceMs);
      const [calls, killedMs] = [load.calls, performance.now()];
      await killed.process.kill('SIGKILL');
      const goneMs = performance.now();
      await eventually('there was load', () => load.calls > calls + 200, patienceMs);
      relist(others);
      await eventually('it is no longer listed', async () => (await nodesOf(caller)) === 2, patienceMs);
      await load.stop();
      expect(load.failures.filter(({ isRepeatable }) => isRepeatable)).toEqual([]);
      // A call of 100 ms that began before was in flight when it was killed, or was sent before the connection broke.
      expect(load.failures.filter(({ beganMs }) => beganMs < killedMs - 1_000 || beganMs > goneMs)).toEqual([]);
      for (const { text } of load.failures) expect(text).toMatch(/^UNAVAILABLE /);
    } finally {
      await load.stop();
      await caller.stop();
      await Promise.all(others.map((one) => one.process.kill('SIGKILL')));
    }
  }, 180_000);

  it('fails no call when its five instances are replaced one after another', async () => {
    let instances = await startInstances(5);
    relist(instances);
    const caller = await startCaller(5);
    const load = new Load(caller, 50);
    const exits: (number | null)[] = [];
    try {
      await eventually('all five are called', () => load.pids.size === 5, patienceMs);
      for (let round = 0; round < 5; round += 1) {
        const fresh = await startInstance();
        const [old, ...kept] = instances as [Instance, ...Instance[]];
        relist([...instances, fresh]);
        instances = [...kept, fresh];
        exits.push((await old.process.kill('SIGTERM')).code);
        relist(instances);
      }
      await eventually('all new ones are called', () => load.pids.size === 10, patienceMs);
      await load.stop();
      expect(load.failures).toEqual([]);
      expect(exits).toEqual([0, 0, 0, 0, 0]);
    } finally {
      await load.stop();
      await caller.stop();
      await Promise.all(instances.map((one) => one.process.kill('SIGKILL')));
    }
  }, 300_000);
}

describe.each(registriesWithServers())('a fleet under load, with the registry %s', (registry) => {
  const { server = '' } = backendRow('registry', registry) ?? {};
  describeWithServers('on a real server', [server], (addressOf, envOf) => {
    fleetUnderLoad({
      env: () => ({ TENON_REGISTRY: `${registry}://${addressOf(server)}`, ...envOf(server) }),
      ttlMs: leaseOf(registry, 3_000),
    });
  });
});

describe('a fleet under load, with the registry mdns', () => {
  const loopback = { TENON_REGISTRY: 'mdns', TENON_MDNS_INTERFACE: '127.0.0.1', TENON_MDNS_PORT: multicastPort };
  fleetUnderLoad({ env: () => loopback, ttlMs: leaseOf('mdns', 3_000) });
});

describe('a fleet under load, with the registry file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenon-fleet-'));
  const file = join(folder, 'services.json');
  afterAll(() => rmSync(folder, { recursive: true }));
  fleetUnderLoad({
    env: () => ({ TENON_REGISTRY: 'file', TENON_REGISTRY_ADDRESS: file }),
    list: (nodes) => writeFileSync(file, JSON.stringify({ services: [{ name: 'slow', nodes }] })),
  });
});

const coredns = new BackendServer('coredns');

describeWithServer('a fleet under load, with the registry dns', coredns, () => {
  const zone = new DnsZone(coredns);
  fleetUnderLoad({
    env: () => ({ TENON_REGISTRY: 'dns', TENON_REGISTRY_ADDRESS: coredns.address, TENON_DNS_DOMAIN: 'suite.test' }),
    list: (addresses) =>
      zone.write(
        srvLines(
          'slow',
          addresses.map((address) => ({ id: `slow-${address.split(':')[1]}`, address })),
          1,
        ),
      ),
  });
});
