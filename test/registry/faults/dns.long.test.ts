import { afterAll, beforeAll, expect, it } from '@jest/globals';

import { type ClientOf, Handler, Registry, Rpc, Service, System, TenonError } from '../../../src/index.ts';
import { systemRuntime } from '../../../src/runtime/system.ts';
import { FrontServer } from '../../support/front-server.ts';
import { freePort } from '../../support/process.ts';
import { BackendServer, describeWithServer } from '../../support/servers.ts';
import { expectNothingUncaught } from '../../support/uncaught.ts';
import { eventually } from '../../support/waiting.ts';
import { DnsZone, srvLines } from '../dns-zone.ts';
import { idsOf } from '../support.ts';
import { comparePage, watchView } from './faults.ts';

expectNothingUncaught();

const patientMs = 60_000;
const ttlS = 1;

@Handler('steady.Steady')
class SteadyHandler {
  calls = 0;
  @Rpc({ idempotent: true }) async echo(request: { n: number }): Promise<{ n: number }> {
    this.calls += 1;
    return request;
  }
}

@Service({ name: 'steady', handlers: [SteadyHandler] })
class Steady {}

/** Services that DNS lists, and a program that finds them there and calls them 200 times a second. */
describeWithServer('services found by DNS, under 200 calls a second', new BackendServer('coredns'), (coredns) => {
  const { timers } = systemRuntime;
  let zone: DnsZone | undefined;
  let front: FrontServer;
  const rows: string[] = [];
  beforeAll(async () => {
    front = await FrontServer.start(coredns.address);
  });
  afterAll(() => front.close());

  const start = (services: readonly (typeof Steady)[], more: Readonly<Record<string, string>> = {}): Promise<System> =>
    System.start([...services], {
      profile: 'dev',
      env: {
        TENON_REGISTRY: 'dns',
        TENON_REGISTRY_ADDRESS: front.address,
        TENON_DNS_DOMAIN: 'suite.test',
        TENON_REGISTER: 'false',
        TENON_LOG_LEVEL: 'silent',
        TENON_LAME_DUCK_MS: '0',
        ...more,
      },
    });

  let answers = 0;
  const slow = (): number => 100 + ((answers += 1) % 5) * 50;
  const mostLost = (): number | undefined => ((answers += 1) % 3 === 0 ? 0 : undefined);
  const heal = (): void => {
    front.lateByMs = () => 0;
  };

  interface Stage {
    readonly registry: Registry;
    readonly calls: () => number;
    readonly failures: readonly string[];
    /** Calls that each of the two services had. */
    readonly served: () => readonly number[];
    /** Puts so many of the two services into DNS. */
    list(count: number): void;
  }

  /** Runs `body` under load. No call may fail until it ends. */
  async function underLoad(
    body: (stage: Stage) => Promise<void>,
    more: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    heal();
    front.become('pass');
    const ports = [await freePort(), await freePort()];
    const systems: System[] = [];
    for (const port of ports) systems.push(await start([Steady], { TENON_SERVER_ADDRESS: `127.0.0.1:${port}` }));
    const served = (): number[] => systems.slice(0, 2).map((system) => system.get(SteadyHandler).calls);
    const caller = await start([], more);
    systems.push(caller);
    const list = (count: number): void => {
      const nodes = ports.slice(0, count).map((port, index) => ({ id: `pod-${index}`, address: `127.0.0.1:${port}` }));
      (zone ??= new DnsZone(coredns)).write(srvLines('steady', nodes, ttlS), { negativeTtl: ttlS });
    };
    list(1);
    const steady: ClientOf<SteadyHandler> = caller.client(SteadyHandler);
    const registry = caller.get(Registry);
    // Until then DNS may list the services of the test before.
    const own = `pod-0:${ports[0]}`;
    await eventually('it is found', async () => String(await idsOf(registry, 'steady')) === own, patientMs);
    const failures: string[] = [];
    const pending = new Set<Promise<void>>();
    let calls = 0;
    const timer = timers.every(5, () => {
      const call = steady.echo({ n: calls }).then(
        () => void (calls += 1),
        (error: unknown) => void failures.push(TenonError.from(error).message),
      );
      pending.add(call);
      void call.finally(() => pending.delete(call));
    });
    try {
      await eventually('calls get through', () => calls > 10, patientMs);
      await body({ registry, calls: () => calls, failures, served, list });
    } finally {
      timer.cancel();
      await Promise.all(pending);
      for (const system of systems.reverse()) await system.stop();
    }
  }

  it.each<[what: string, disturb: () => Promise<unknown> | void, mend: () => Promise<unknown> | void]>([
    ['the server is stopped for 20 s', () => coredns.stop(), () => coredns.start()],
    ['the server is killed, and is away for 20 s', () => coredns.kill(), () => coredns.start()],
    ['the server hangs for 20 s (SIGSTOP)', () => coredns.pause(), () => coredns.resume()],
    ['answers are slowed by 100 to 300 ms for 20 s', () => void (front.lateByMs = slow), () => heal()],
    ['two of three answers are lost for 20 s', () => void (front.lateByMs = mostLost), () => heal()],
    ['all answers are garbage for 20 s', () => front.become('garbage'), () => front.become('pass')],
  ])(
    '%s: no call fails, and what changed meanwhile is found afterwards',
    async (what, disturb, mend) => {
      await underLoad(async ({ registry, calls, failures, list }) => {
        const seen = watchView(registry, await idsOf(registry, 'steady'));
        await disturb();
        const before = calls();
        await timers.sleep(20_000);
        expect(await idsOf(registry, 'steady')).toHaveLength(1);
        list(2);
        await mend();
        await eventually('the other is found', async () => (await idsOf(registry, 'steady')).length === 2, patientMs);
        expect(failures).toEqual([]);
        expect(calls()).toBeGreaterThan(before + 100);
        expect(seen.stop()).toEqual([]);
      });
      rows.push(`| ${what} | 0 | 0 | yes |`);
    },
    180_000,
  );

  it('docs/registry-faults.md says what the faults cost', () => {
    comparePage(`dns, with a TTL of ${ttlS} s, and services that others list`, rows);
  });

  it('an endpoint that is added is found without an error before, and one that is removed goes', async () => {
    await underLoad(async ({ registry, failures, served, list }) => {
      list(2);
      await eventually('the other gets calls', () => (served()[1] ?? 0) > 10, patientMs);
      list(1);
      await eventually('it is gone', async () => (await idsOf(registry, 'steady')).length === 1, patientMs);
      expect(failures).toEqual([]);
    });
  }, 120_000);

  it('a service that is deleted is not found after its TTL and a second answer', async () => {
    await underLoad(async ({ registry, failures, list }) => {
      expect(failures).toEqual([]);
      list(0);
      await eventually('it is gone', async () => (await idsOf(registry, 'steady')).length === 0, patientMs);
      await eventually('calls are told', () => failures.length > 0, patientMs);
      expect(failures[0]).toMatch(/no node of service "steady"/);
      list(1);
      await eventually('it is back', async () => (await idsOf(registry, 'steady')).length === 1, patientMs);
    });
  }, 120_000);
});

describeWithServer(
  'services found by DNS, with a server that hangs listed first',
  new BackendServer('coredns'),
  (good) => {
    it('are found by the next server, and the one that hangs is asked no more', async () => {
      const hanging = new BackendServer('coredns');
      await hanging.start();
      try {
        hanging.pause();
        new DnsZone(good).write(srvLines('greeter', [{ id: 'pod-0', address: '10.0.0.1:1' }]));
        const { DnsRegistry } = await import('../../../src/registry/dns.ts');
        const registry = new DnsRegistry({ address: `${hanging.address},${good.address}`, domain: 'suite.test' });
        await eventually('it is found', async () => (await idsOf(registry, 'greeter')).length === 1, patientMs);
        for (let call = 0; call < 20; call += 1) expect(await idsOf(registry, 'greeter')).toEqual(['pod-0:1']);
        await registry.close();
      } finally {
        hanging.resume();
        await hanging.dispose();
      }
    });
  },
);
