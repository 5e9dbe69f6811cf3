import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

import { expect, it } from '@jest/globals';

import type { ConsulRegistry } from '../../src/registry/consul.ts';
import type { ServiceRecord } from '../../src/registry/registry.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { RecordingLogger, WatchRecorder } from '../../src/testing/recorders.ts';
import { closing } from '../support/closing.ts';
import { BackendServer, describeWithServer, startServer } from '../support/servers.ts';
import { Toxiproxy } from '../support/toxiproxy.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';
import { agentProxy, consulApi, registryAt } from './consul-support.ts';
import { announcing, idsOf, nodeOf, serviceOf } from './support.ts';

expectNothingUncaught();

const patientMs = 60_000;
const testMs = 180_000;
const { timers, clock } = systemRuntime;

/** A server of the test's own, which is disposed of after it. */
async function consulOf(options: ConstructorParameters<typeof BackendServer>[1] = {}): Promise<BackendServer> {
  const server = await startServer('consul', options);
  closing.push(() => server.dispose());
  return server;
}

/** Registers a service again and again, until the test has ended. Failures are kept. */
function renewing(registry: ConsulRegistry, service: () => ServiceRecord, ttlMs: number, everyMs = ttlMs / 3) {
  const failures: unknown[] = [];
  let isOver = false;
  const work = (async () => {
    while (!isOver) {
      await registry.register(service(), { ttlMs }).catch((error: unknown) => failures.push(error));
      await timers.sleep(everyMs);
    }
  })();
  const stop = async (): Promise<void> => {
    isOver = true;
    await work;
  };
  closing.push(stop);
  return { failures, stop };
}

/** Hands each connection to another of the addresses, in turn. */
async function roundRobinProxy(addresses: readonly string[]): Promise<{ readonly address: string; cut(): void }> {
  const sockets = new Set<Socket>();
  let turn = 0;
  const server = createServer((near) => {
    const [host = '', port] = addresses[(turn += 1) % addresses.length]?.split(':') ?? [];
    const far = connect({ host, port: Number(port) });
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  closing.push(() => {
    cut();
    server.close();
  });
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, cut };
}

/** The ids that an agent has itself. */
async function idsAt({ address }: BackendServer): Promise<string[]> {
  return Object.keys((await consulApi(address).call('GET', 'agent/services')) as object).sort();
}

describeWithServer('an agent of Consul that fails', new BackendServer('consul'), (shared) => {
  it(
    'has the nodes again within one renewal after it was restarted without data, which is logged once',
    async () => {
      const consul = await consulOf();
      const logger = new RecordingLogger();
      const own = registryAt(consul.address, {}, logger);
      await own.register(serviceOf('back', ['back-1']), { ttlMs: 6_000 });
      renewing(own, () => serviceOf('back', ['back-1']), 6_000, 500);
      const seen = registryAt(consul.address);
      await eventually('it is there', async () => (await idsOf(seen, 'back')).length === 1, patientMs);
      await consul.kill();
      await consul.start();
      await eventually('it is back', async () => (await idsOf(seen, 'back')).length === 1, patientMs);
      expect(logger.texts).toEqual([expect.stringContaining('lost node "back-1"')]);
    },
    testMs,
  );

  it(
    'that comes back with a lower index ends watches, is not asked in a loop, and new watches see the truth',
    async () => {
      const consul = await consulOf();
      const writer = registryAt(consul.address);
      for (let round = 0; round < 20; round += 1) await writer.register(serviceOf('ballast', [`ballast-${round}`]));
      await writer.register(serviceOf('index', ['index-1', 'index-2']));
      const proxy = await agentProxy(consul.address);
      const reader = registryAt(proxy.address);
      const first = new WatchRecorder(await reader.watch({ service: 'index' }));
      await consul.kill();
      await consul.start();
      expect(await first.ended).toMatchObject({ reason: 'registry.watch_lost' });
      await registryAt(consul.address).register(serviceOf('index', ['index-2']));
      const second = new WatchRecorder(await reader.watch({ service: 'index' }));
      expect(await idsOf(reader, 'index')).toEqual(['index-2']);
      const from = proxy.requests.length;
      await timers.sleep(3_000);
      expect(proxy.requests.length - from).toBeLessThan(15);
      await registryAt(consul.address).register(serviceOf('index', ['index-3']));
      await eventually('it is told', () => second.texts.includes('create index-3'), patientMs);
      expect(second.texts).toEqual(['create index-3']);
    },
    testMs,
  );

  it(
    'reports nothing of what happens to others, however much it is, and is asked a bounded number of times',
    async () => {
      const proxy = await agentProxy(shared.address);
      const reader = registryAt(proxy.address);
      const { register, deregister } = consulApi(shared.address);
      const own = registryAt(shared.address);
      await own.register(serviceOf('calm', ['calm-1']), { ttlMs: 600_000 });
      const seen = new WatchRecorder(await reader.watch({ service: 'calm' }));
      const startMs = clock.monotonicMs();
      for (let round = 0; clock.monotonicMs() - startMs < 5_000; round += 1) {
        await register({
          ID: `churn-${round % 50}`,
          Name: `churn-${round % 50}`,
          Port: 1 + round,
          Tags: [`r${round}`],
        });
        if (round % 3 === 0) await deregister(`churn-${round % 50}`);
        await timers.sleep(20);
      }
      const seconds = (clock.monotonicMs() - startMs) / 1_000;
      expect(seen.texts).toEqual([]);
      // A read takes a quarter of a second, at the least.
      expect(proxy.requests.length).toBeLessThan(5 * seconds + 10);
      await own.deregister(serviceOf('calm', ['calm-1']));
      await eventually('its own end is told', () => seen.texts.includes('delete calm-1'), patientMs);
      for (let round = 0; round < 50; round += 1) await deregister(`churn-${round}`).catch(() => {});
    },
    testMs,
  );

  it(
    'does not list a process that hangs after its lease, though the catalog still has it, and lists it again',
    async () => {
      const reader = registryAt(shared.address);
      const seen = new WatchRecorder(await reader.watch({ service: 'hanging' }));
      const ttlMs = 2_000;
      const child = await announcing('consul', { address: shared.address }, 'hanging', 'hanging-1', ttlMs);
      expect(await idsOf(reader, 'hanging')).toEqual(['hanging-1']);
      process.kill(child.pid, 'SIGSTOP');
      await eventually('it is gone', async () => (await idsOf(reader, 'hanging')).length === 0, patientMs);
      await eventually('it is told', () => seen.texts.includes('delete hanging-1'), patientMs);
      expect(await consulApi(shared.address).health('hanging')).toHaveLength(1);
      await child.kill('SIGKILL');
      // Whoever registers it now has it at once.
      await registryAt(shared.address).register(serviceOf('hanging', ['hanging-1']));
      await eventually('it is told', () => seen.texts.length === 3, patientMs);
      expect(seen.texts).toEqual(['create hanging-1', 'delete hanging-1', 'create hanging-1']);
    },
    testMs,
  );

  it(
    'does not list a process that died before the agent was restarted, though its checks begin anew',
    async () => {
      const consul = await consulOf({ persistent: true });
      const own = registryAt(consul.address);
      const one = serviceOf('restarted', ['restarted-1']);
      await eventually(
        'it takes registrations',
        () =>
          own.register(one, { ttlMs: 6_000 }).then(
            () => true,
            () => false,
          ),
        patientMs,
      );
      renewing(own, () => one, 6_000, 500);
      const child = await announcing('consul', { address: consul.address }, 'restarted', 'dead-1', 2_000);
      await child.kill('SIGKILL');
      await consul.kill();
      await consul.start();
      const reader = registryAt(consul.address);
      const ids = (): Promise<string[]> => idsOf(reader, 'restarted').catch(() => []);
      await eventually('the live one alone is listed', async () => String(await ids()) === 'restarted-1', patientMs);
      // Consul itself has it still.
      expect(await consulApi(consul.address).health('restarted')).toHaveLength(2);
    },
    testMs,
  );

  it(
    'takes its nodes with it when its machine is gone, long before their leases end',
    async () => {
      const server = await consulOf();
      const other = await consulOf({ join: server.details['serf'] as string });
      await registryAt(other.address).register(serviceOf('far', ['far-1']), { ttlMs: 600_000 });
      const reader = registryAt(server.address);
      const seen = new WatchRecorder(await reader.watch({ service: 'far' }));
      expect(await idsOf(reader, 'far')).toEqual(['far-1']);
      await other.kill();
      await eventually('serfHealth is critical', async () => (await idsOf(reader, 'far')).length === 0, 120_000);
      await eventually('it is told', () => seen.texts.includes('delete far-1'), patientMs);
      const [entry] = await consulApi(server.address).health('far');
      const critical = entry?.Checks.filter(({ Status }) => Status === 'critical').map(({ CheckID }) => CheckID);
      expect(critical).toEqual(['serfHealth']);
    },
    testMs,
  );

  it(
    'says what to do when it takes no more connections from this address',
    async () => {
      const limits = 'limits { http_max_conns_per_client = 6 }';
      const { address } = await consulOf({ args: ['-hcl', limits] });
      const registry = registryAt(address);
      await registry.register(serviceOf('crowd', ['crowd-1']));
      const [host = '', port] = address.split(':');
      const others = Array.from({ length: 12 }, () => connect(Number(port), host).on('error', () => {}));
      closing.push(() => others.forEach((socket) => socket.destroy()));
      const texts = new Set<string>();
      const refused = async (): Promise<boolean> => {
        const fresh = registryAt(address, { timeoutMs: 1_000 });
        texts.add(await fresh.getService('crowd').then(() => 'found', String));
        await fresh.close();
        return [...texts].some((text) => /status 429.*http_max_conns_per_client/.test(text));
      };
      await eventually('it says so', refused, patientMs);
      for (const socket of others) socket.destroy();
      await eventually('it works again', async () => (await idsOf(registry, 'crowd')).length === 1, patientMs);
    },
    testMs,
  );

  it(
    'never lacks a node whose record changes twenty times a second',
    async () => {
      const own = registryAt(shared.address);
      let round = 0;
      const changing = (): ServiceRecord =>
        serviceOf('changing', [nodeOf('changing-1', { metadata: { round: String((round += 1)) } })]);
      await own.register(changing(), { ttlMs: 10_000 });
      const work = renewing(own, changing, 10_000, 50);
      const seen = new WatchRecorder(await registryAt(shared.address).watch({ service: 'changing' }));
      const reader = registryAt(shared.address);
      const startMs = clock.monotonicMs();
      let reads = 0;
      while (clock.monotonicMs() - startMs < 5_000) {
        expect(await idsOf(reader, 'changing')).toEqual(['changing-1']);
        reads += 1;
      }
      await work.stop();
      expect(work.failures).toEqual([]);
      expect(reads).toBeGreaterThan(50);
      await eventually(
        'the last is told',
        () => seen.events.at(-1)?.service.nodes[0]?.metadata['round'] === String(round),
      );
      expect(new Set(seen.texts)).toEqual(new Set(['update changing-1']));
    },
    testMs,
  );
});

describeWithServer('several agents of Consul', new BackendServer('consul'), (server) => {
  it(
    'have a node once: it stays with the first, goes to another when that is gone, and is removed from it later',
    async () => {
      const [a, b] = [
        await consulOf({ join: server.details['serf'] as string }),
        await consulOf({ join: server.details['serf'] as string }),
      ];
      const logger = new RecordingLogger();
      const proxy = await agentProxy(a.address);
      const own = registryAt(`${proxy.address},${b.address}`, { timeoutMs: 4_000 }, logger);
      const ttlMs = 12_000;
      await own.register(serviceOf('pinned', ['pinned-1']), { ttlMs });
      renewing(own, () => serviceOf('pinned', ['pinned-1']), ttlMs, 500);
      expect(await idsAt(a)).toEqual(['pinned-1']);
      const reader = registryAt(server.address);
      await eventually('it is found', async () => (await idsOf(reader, 'pinned')).length === 1, patientMs);
      const seen = new WatchRecorder(await reader.watch({ service: 'pinned' }));
      expect(await idsAt(b)).toEqual([]);
      a.pause();
      await eventually('it is at the second', async () => (await idsAt(b)).length === 1, patientMs);
      a.resume();
      await eventually('the first no longer has it', async () => (await idsAt(a)).length === 0, patientMs);
      // It was removed long before Consul itself would have done so.
      expect(proxy.requests).toContainEqual(expect.stringMatching(/^PUT .*\/deregister\/pinned-1/));
      expect(await idsAt(b)).toEqual(['pinned-1']);
      expect(await idsOf(reader, 'pinned')).toEqual(['pinned-1']);
      // Consul may mark the machine of the first agent before half a TTL has passed.
      expect(['', 'delete pinned-1,create pinned-1']).toContain(String(seen.texts));
      expect(logger.texts.filter((text) => text.includes('lost node'))).toHaveLength(1);
    },
    2 * testMs,
  );

  it(
    'behind one address in turn have nothing left of a node that was deregistered',
    async () => {
      const other = await consulOf({ join: server.details['serf'] as string });
      const proxy = await roundRobinProxy([server.address, other.address]);
      const own = registryAt(proxy.address);
      const one = serviceOf('scattered', ['scattered-1']);
      for (let round = 0; round < 6; round += 1) {
        await own.register(one, { ttlMs: 30_000 });
        proxy.cut();
      }
      expect([...(await idsAt(server)), ...(await idsAt(other))]).toContain('scattered-1');
      expect(await idsOf(own, 'scattered')).toEqual(['scattered-1']);
      proxy.cut();
      await own.deregister(one);
      expect(await idsOf(registryAt(server.address), 'scattered')).toEqual([]);
      expect([...(await idsAt(server)), ...(await idsAt(other))]).toEqual([]);
    },
    testMs,
  );
});

describeWithServer('an agent of Consul that is slow', new BackendServer('toxiproxy'), () => {
  it(
    'keeps a node whose renewals come late by up to three tenths of their TTL, for four TTLs',
    async () => {
      const toxiproxy = new Toxiproxy();
      await toxiproxy.start();
      closing.push(() => toxiproxy.dispose());
      const consul = await consulOf();
      const proxy = await toxiproxy.proxy(consul.address);
      const ttlMs = 15_000;
      const own = registryAt(proxy.address);
      await own.register(serviceOf('late', ['late-1']), { ttlMs });
      await proxy.add({ type: 'latency', attributes: { latency: 2_250, jitter: 2_250 } });
      const seen = new WatchRecorder(await registryAt(consul.address).watch({ service: 'late' }));
      renewing(own, () => serviceOf('late', ['late-1']), ttlMs, ttlMs / 4);
      await timers.sleep(4 * ttlMs);
      expect(seen.texts).toEqual([]);
      expect(await idsOf(registryAt(consul.address), 'late')).toEqual(['late-1']);
      await proxy.heal();
    },
    testMs,
  );
});
