import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it } from '@jest/globals';

import { Code } from '../../src/errors/errors.ts';
import { DnsRegistry, type DnsRegistryOptions } from '../../src/registry/dns.ts';
import type { RegistryOptions } from '../../src/registry/registry.ts';
import type { Clock } from '../../src/runtime/runtime.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { RecordingLogger, WatchRecorder } from '../../src/testing/recorders.ts';
import { VirtualTimers } from '../../src/testing/virtual-time.ts';
import { a, type Answering, ScriptedDnsServer, soa, srv, zone } from '../dns/scripted-server.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';
import { dnsRegistry, DnsZone, srvLines } from './dns-zone.ts';
import { idsOf } from './support.ts';

expectNothingUncaught();

const patientMs = 30_000;
const name = '_grpc._tcp.greeter.test';

interface Stage {
  readonly server: ScriptedDnsServer;
  readonly registry: DnsRegistry;
  readonly logger: RecordingLogger;
  /** Time of the registry's clock, which stands still. */
  readonly time: VirtualTimers;
  addresses(): Promise<readonly string[]>;
}

/** A registry over a server that answers as a test says; time passes as the test says, but for queries under way. */
async function using(
  answer: Answering,
  body: (stage: Stage) => Promise<void>,
  options: DnsRegistryOptions = {},
  realClock?: Clock,
): Promise<void> {
  const server = await ScriptedDnsServer.start(answer);
  const logger = new RecordingLogger();
  const time = new VirtualTimers();
  const clock = realClock ?? { now: () => time.nowMs, monotonicMs: () => time.nowMs };
  const address = `127.0.0.1:${server.address.port}`;
  const given = { address, domain: 'test', ...options };
  const registry = new DnsRegistry(
    given,
    clock,
    { ...systemRuntime.random, next: () => 0 },
    systemRuntime.timers,
    logger,
  );
  const addresses = async (): Promise<readonly string[]> =>
    (await registry.getService('greeter')).flatMap(({ nodes }) => nodes.map((node) => node.address));
  try {
    await body({ server, registry, logger, time, addresses });
  } finally {
    await registry.close();
  }
}

describe('the options of DnsRegistry', () => {
  it.each([
    [{ address: 'http://x' }, 'registry.invalid_address'],
    [{ address: '' }, 'registry.invalid_address'],
    [{ domain: 'a b' }, 'registry.invalid_option'],
    [{ domain: '' }, 'registry.invalid_option'],
    [{ pattern: '_grpc._tcp' }, 'registry.invalid_option'],
    [{ pattern: '{service}..x' }, 'registry.invalid_option'],
    [{ domain: `${'x'.repeat(63)}.`.repeat(4) }, 'registry.invalid_option'],
    [{ port: 0 }, 'options.invalid_number'],
    [{ port: 65_536 }, 'options.invalid_number'],
    [{ maxNodes: 0 }, 'options.invalid_number'],
    [{ minReadMs: Number.NaN }, 'options.invalid_number'],
  ])('may not be %p', (options, reason) => {
    const error = expect.objectContaining({ code: Code.InvalidArgument, reason });
    expect(() => new DnsRegistry(options)).toThrow(error);
    expect(() => new DnsRegistry().init(options as RegistryOptions)).toThrow(error);
  });

  it.each<[DnsRegistryOptions, string, string]>([
    [{}, 'greeter', '_grpc._tcp.greeter.test SRV'],
    [{ domain: 'default.svc.cluster.local.' }, 'Greeter', '_grpc._tcp.greeter.default.svc.cluster.local SRV'],
    [{ domain: 'svc.cluster.local' }, 'greeter.default', '_grpc._tcp.greeter.default.svc.cluster.local SRV'],
    [{ pattern: '{service}', domain: 'service.consul' }, 'greeter', 'greeter.service.consul SRV'],
    [{ pattern: '_{service}._tcp', domain: 'service.consul' }, 'greeter', '_greeter._tcp.service.consul SRV'],
    [{ port: 50_051 }, 'greeter', 'greeter.test A'],
    [{ port: 50_051, pattern: '{service}-headless' }, 'greeter', 'greeter-headless.test A'],
  ])('%p look up %s as %s', async (options, service, asked) => {
    await using(
      zone([]),
      async ({ server, registry }) => {
        await expect(registry.getService(service)).rejects.toMatchObject({ reason: 'registry.not_found' });
        expect(server.queries.map((query) => `${query.name.toLowerCase()} ${query.type}`)).toEqual([asked]);
      },
      options,
    );
  });

  it.each(['', 'with space', 'a/b', 'a:1', 'ü', 'a..b', 'x'.repeat(64), 'a\u0000b', '{service}', '$&'])(
    'cannot name a service "%s" in DNS, which is asked nothing',
    async (service) => {
      await using(zone([]), async ({ server, registry }) => {
        await expect(registry.getService(service)).rejects.toMatchObject({
          code: Code.NotFound,
          reason: 'registry.not_found',
        });
        expect(server.queries).toEqual([]);
      });
    },
  );
});

describe('the nodes of DnsRegistry', () => {
  it('have target and port as their id, and the address of the target', async () => {
    const records = [srv(name, 'Pod-1.test', 4_000), srv(name, 'pod-0.test', 4_001), srv(name, 'pod-0.test', 4_000)];
    await using(zone([...records, a('pod-0.test', '10.0.0.1'), a('pod-1.test', '::2')]), async ({ registry }) => {
      expect(await registry.getService('greeter')).toEqual([
        {
          name: 'greeter',
          version: '',
          metadata: {},
          endpoints: [],
          nodes: [
            { id: 'pod-0.test:4000', address: '10.0.0.1:4000', metadata: {} },
            { id: 'pod-0.test:4001', address: '10.0.0.1:4001', metadata: {} },
            { id: 'pod-1.test:4000', address: '[::2]:4000', metadata: {} },
          ],
        },
      ]);
      expect((await registry.listServices()).map((service) => service.name)).toEqual(['greeter']);
    });
  });

  it('have the address in their id where a target has several', async () => {
    const records = [srv(name, 'lb.test', 80), a('lb.test', '10.0.0.2'), a('lb.test', '10.0.0.1')];
    await using(zone(records), async ({ registry }) => {
      expect(await idsOf(registry, 'greeter')).toEqual(['lb.test:80/10.0.0.1', 'lb.test:80/10.0.0.2']);
    });
  });

  it('are of the lowest priority with an address, and have their weights if these differ', async () => {
    const hosts = ['a', 'b', 'c', 'd'].map((host, index) => a(`${host}.test`, `10.0.0.${index}`));
    const records = [
      srv(name, 'gone.test', 1, { priority: 0 }),
      srv(name, 'a.test', 1, { priority: 1, weight: 10 }),
      srv(name, 'b.test', 1, { priority: 1, weight: 90 }),
      srv(name, 'c.test', 1, { priority: 2, weight: 1 }),
    ];
    await using(zone([...records, ...hosts]), async ({ registry }) => {
      const [service] = await registry.getService('greeter');
      expect(service?.nodes.map(({ id, metadata }) => [id, metadata])).toEqual([
        ['a.test:1', { weight: '10' }],
        ['b.test:1', { weight: '90' }],
      ]);
    });
  });

  it('are the addresses of a name with the port of the options', async () => {
    await using(
      zone([a('greeter.test', '10.0.0.2'), a('greeter.test', '10.0.0.1'), a('six.test', '::1')]),
      async ({ registry, addresses }) => {
        expect(await addresses()).toEqual(['10.0.0.1:50051', '10.0.0.2:50051']);
        expect(await idsOf(registry, 'six')).toEqual(['[::1]:50051']);
      },
      { port: 50_051 },
    );
  });

  it('are at most maxNodes, which is logged once', async () => {
    const records = Array.from({ length: 9 }, (_, index) => a('greeter.test', `10.0.0.${index}`, 0));
    await using(
      zone(records),
      async ({ addresses, logger }) => {
        for (let round = 0; round < 3; round += 1) expect(await addresses()).toHaveLength(4);
        expect(logger.texts).toEqual([expect.stringMatching(/^warn greeter has more than 4 nodes in DNS/)]);
      },
      { port: 1, maxNodes: 4 },
    );
  });

  it('lack those of records that nobody can use, which are logged once each', async () => {
    const records = [
      srv(name, 'pod.test', 0, {}, 0),
      srv(name, 'no name.test', 1, {}, 0),
      srv(name, 'gone.test', 1, {}, 0),
      srv(name, '.', 1, {}, 0),
      srv(name, 'pod.test', 1, {}, 0),
      a('pod.test', '10.0.0.1', 0),
    ];
    await using(zone(records), async ({ addresses, logger }) => {
      for (let round = 0; round < 3; round += 1) expect(await addresses()).toEqual(['10.0.0.1:1']);
      expect(logger.texts).toEqual([
        'warn the record at the SRV record pod.test:0 is skipped: it has the port 0',
        'warn the record at the SRV record no name.test:1 is skipped: it has a target that is no host name',
        'warn the record at the SRV record gone.test:1 is skipped: it has a target without an address',
      ]);
    });
  });

  it('keep the address of a target that cannot be looked up at the moment', async () => {
    const records = zone(
      ['a', 'b'].flatMap((host, index) => [
        srv(name, `${host}.test`, 1, {}, 0),
        a(`${host}.test`, `10.0.0.${index}`, 0),
      ]),
    );
    await using(records, async ({ server, addresses }) => {
      expect(await addresses()).toEqual(['10.0.0.0:1', '10.0.0.1:1']);
      server.answer = (query) => (query.name === 'b.test' ? { rcode: 2 } : records(query));
      expect(await addresses()).toEqual(['10.0.0.0:1', '10.0.0.1:1']);
    });
  });
});

describe('the lookups of DnsRegistry', () => {
  const greeter = (ttl: number, ...hosts: readonly string[]): Answering =>
    zone(hosts.flatMap((host) => [srv(name, `${host}.test`, 1, {}, ttl), a(`${host}.test`, '10.0.0.1', ttl)]));

  it('are one for many callers, and none while the TTL lasts', async () => {
    await using(greeter(10, 'a'), async ({ server, registry, time }) => {
      await Promise.all(Array.from({ length: 50 }, () => registry.getService('greeter')));
      expect(server.asked).toEqual([`${name} SRV`, 'a.test A']);
      server.answer = greeter(10, 'b');
      time.nowMs += 9_999;
      expect(await idsOf(registry, 'greeter')).toEqual(['a.test:1']);
      time.nowMs += 1;
      expect(await idsOf(registry, 'greeter')).toEqual(['b.test:1']);
    });
  });

  it('come after maxReadMs though the TTL is longer', async () => {
    await using(greeter(3_600, 'a'), async ({ server, registry, time }) => {
      await registry.getService('greeter');
      server.answer = greeter(3_600, 'b');
      time.nowMs += 30_000;
      expect(await idsOf(registry, 'greeter')).toEqual(['b.test:1']);
    });
  });

  it('keep the last nodes while there is no answer, and log an outage once', async () => {
    await using(greeter(1, 'a'), async ({ server, registry, time, logger }) => {
      await registry.getService('greeter');
      for (const rcode of [2, 5, 2]) {
        server.answer = () => ({ rcode });
        time.nowMs += 60_000;
        expect(await idsOf(registry, 'greeter')).toEqual(['a.test:1']);
      }
      server.answer = greeter(1, 'b');
      time.nowMs += 60_000;
      expect(await idsOf(registry, 'greeter')).toEqual(['b.test:1']);
      const at = `DNS at 127.0.0.1:${server.address.port}`;
      expect(logger.texts).toEqual([
        expect.stringMatching(
          new RegExp(`^warn ${at} has no answer for greeter \\(.*SERVFAIL\\): its last known nodes`),
        ),
        `info ${at} answers for greeter again`,
      ]);
    });
  });

  it('return the last nodes before the time of the call is over', async () => {
    await using(
      greeter(0, 'a'),
      async ({ server, registry }) => {
        await registry.getService('greeter');
        server.answer = () => undefined;
        const [service] = await registry.getService('greeter', { timeoutMs: 200 });
        expect(service?.nodes).toHaveLength(1);
        await expect(registry.getService('other', { timeoutMs: 200 })).rejects.toMatchObject({
          code: Code.DeadlineExceeded,
          reason: 'registry.timeout',
        });
      },
      { timeoutMs: 2_000 },
    );
  });

  it.each([
    ['NXDOMAIN', 3],
    ['an answer without records', 0],
  ])('believe %s when a second answer confirms it', async (_, rcode) => {
    await using(greeter(1, 'a'), async ({ server, registry, time, logger }) => {
      await registry.getService('greeter');
      const gone: Answering = () => ({ rcode, authorities: [soa(1)] });
      server.answer = gone;
      time.nowMs += 1_000;
      expect(await idsOf(registry, 'greeter')).toEqual(['a.test:1']);
      time.nowMs += 999;
      expect(await idsOf(registry, 'greeter')).toEqual(['a.test:1']);
      server.answer = greeter(1, 'a');
      time.nowMs += 1;
      expect(await idsOf(registry, 'greeter')).toEqual(['a.test:1']);
      server.answer = gone;
      time.nowMs += 1_000;
      expect(await idsOf(registry, 'greeter')).toEqual(['a.test:1']);
      time.nowMs += 1_000;
      expect(await idsOf(registry, 'greeter')).toEqual([]);
      expect(logger.texts).toEqual([]);
    });
  });

  it('find a service soon that was asked for before it was there, whatever the negative TTL', async () => {
    const nothing: Answering = () => ({ rcode: 3, authorities: [soa(3_600)] });
    await using(nothing, async ({ server, registry, time }) => {
      for (let call = 0; call < 5; call += 1) expect(await idsOf(registry, 'greeter')).toEqual([]);
      expect(server.queries).toHaveLength(1);
      server.answer = greeter(1, 'a');
      time.nowMs += 1_000;
      expect(await idsOf(registry, 'greeter')).toEqual(['a.test:1']);
    });
  });

  it('apply the search list of resolv.conf, and take no other name while an earlier one cannot be looked up', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tenon-dns-'));
    const resolvConf = join(folder, 'resolv.conf');
    writeFileSync(resolvConf, 'search near.test far.test\noptions ndots:5\n');
    const near = zone([srv('_grpc._tcp.greeter.near.test', 'a.test', 1, {}, 0), a('a.test', '10.0.0.1', 0)]);
    const far = zone([srv('_grpc._tcp.greeter.far.test', 'b.test', 1, {}, 0), a('b.test', '10.0.0.2', 0)]);
    const isOf = ({ name: asked }: { readonly name: string }, place: string): boolean => asked.endsWith(place);
    const answer: Answering = (query) => (isOf(query, '.far.test') || query.name === 'b.test' ? far : near)(query);
    try {
      await using(
        answer,
        async ({ server, registry, logger }) => {
          expect(await idsOf(registry, 'greeter')).toEqual(['a.test:1']);
          server.answer = (query) => (isOf(query, '.near.test') ? { rcode: 2 } : answer(query));
          expect(await idsOf(registry, 'greeter')).toEqual(['a.test:1']);
          expect(logger.texts).toEqual([expect.stringContaining('a name before _grpc._tcp.greeter.far.test')]);
          // A registry that knows nothing yet takes what there is.
          const other = new DnsRegistry({ address: `127.0.0.1:${server.address.port}`, resolvConf });
          expect(await idsOf(other, 'greeter')).toEqual(['b.test:1']);
          await other.close();
        },
        { domain: undefined, resolvConf },
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('fail with registry.unreachable or registry.refused, which name the server and the variable', async () => {
    await using(
      () => ({ rcode: 2 }),
      async ({ server, registry }) => {
        const message = expect.stringMatching(
          new RegExp(`DNS at 127.0.0.1:${server.address.port}.*SERVFAIL.*TENON_REGISTRY_ADDRESS`),
        );
        await expect(registry.getService('greeter')).rejects.toMatchObject({
          code: Code.Unavailable,
          reason: 'registry.unreachable',
          message,
        });
        await expect(registry.watch({ service: 'greeter' })).rejects.toMatchObject({ reason: 'registry.unreachable' });
        server.answer = () => ({ rcode: 5 });
        await expect(registry.getService('greeter')).rejects.toMatchObject({
          code: Code.Internal,
          reason: 'registry.refused',
        });
        await server.close();
        await expect(registry.getService('greeter')).rejects.toMatchObject({
          code: Code.Unavailable,
          message: expect.stringContaining('ECONNREFUSED'),
        });
      },
    );
  });

  it('end with the registry', async () => {
    await using(
      () => undefined,
      async ({ server, registry }) => {
        const lookup = registry.getService('greeter');
        await eventually('it is asked', () => server.queries.length > 0);
        await registry.close();
        await expect(lookup).rejects.toMatchObject({ reason: 'registry.closed' });
      },
    );
  });

  it('are remembered for so many services only, those with nodes last', async () => {
    await using(greeter(3_600, 'a'), async ({ server, registry }) => {
      await registry.getService('greeter');
      server.answer = () => ({ rcode: 3, authorities: [soa(3_600)] });
      for (let round = 0; round < 1_100; round += 50) {
        await Promise.all(Array.from({ length: 50 }, (_, index) => idsOf(registry, `x${round + index}`)));
      }
      server.queries.length = 0;
      expect(await idsOf(registry, 'greeter')).toEqual(['a.test:1']);
      expect(await idsOf(registry, 'x1099')).toEqual([]);
      expect(server.queries).toEqual([]);
      expect(await idsOf(registry, 'x0')).toEqual([]);
      expect(server.queries).toHaveLength(1);
    });
  });
});

describe('a server of DnsRegistry that puts a part of the nodes into each answer', () => {
  const all = Array.from({ length: 9 }, (_, index) => `10.0.0.${index}`);

  /** Rotates the addresses, and answers with the first of them. */
  function rotating(count: number): Answering {
    let turn = 0;
    return () => {
      turn += 1;
      const rotated = [...all.slice(turn % 9), ...all.slice(0, turn % 9)];
      return { answers: rotated.slice(0, count).map((address) => a('greeter.test', address, 0)) };
    };
  }

  it('causes no events by the order of its answers', async () => {
    await using(
      rotating(9),
      async ({ server, registry }) => {
        const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
        await eventually('it is read again and again', () => server.queries.length > 10, patientMs);
        expect(seen.texts).toEqual([]);
        expect(await registry.getService('greeter')).toEqual(await registry.getService('greeter'));
      },
      { port: 1, minReadMs: 5 },
      systemRuntime.clock,
    );
  });

  it('has all its nodes found with accumulateMs, and those that left leave after it', async () => {
    await using(
      rotating(3),
      async ({ server, time, addresses }) => {
        for (let round = 0; round < 9; round += 1) {
          time.nowMs += 100;
          await addresses();
        }
        expect(await addresses()).toEqual(all.map((address) => `${address}:1`));
        server.answer = () => ({ answers: [a('greeter.test', '10.0.0.4', 0)] });
        time.nowMs += 9_900;
        expect((await addresses()).length).toBeGreaterThan(1);
        time.nowMs += 100;
        expect(await addresses()).toEqual(['10.0.0.4:1']);
      },
      { port: 1, accumulateMs: 10_000 },
    );
  });

  it('has only the nodes of the last answer found without accumulateMs', async () => {
    await using(
      rotating(3),
      async ({ addresses }) => {
        for (let round = 0; round < 4; round += 1) expect(await addresses()).toHaveLength(3);
      },
      { port: 1 },
    );
  });
});

describeWithServer('DnsRegistry with CoreDNS', new BackendServer('coredns'), (coredns) => {
  const zoneOf = (): DnsZone => new DnsZone(coredns);
  let written: DnsZone | undefined;
  const write = (...[lines, options]: Parameters<DnsZone['write']>): void =>
    (written ??= zoneOf()).write(lines, options);

  async function withRegistry(
    options: DnsRegistryOptions,
    body: (registry: DnsRegistry) => Promise<void>,
  ): Promise<void> {
    const registry = dnsRegistry(coredns, options);
    try {
      await body(registry);
    } finally {
      await registry.close();
    }
  }

  it('finds 60 endpoints with long names, whose answer is truncated over UDP', async () => {
    const nodes = Array.from({ length: 60 }, (_, index) => ({
      id: `greeter-deployment-5d8f7c9b6d-pod-${index}.greeter-headless.production-namespace.svc.cluster.local`,
      address: `10.1.0.${index}:50051`,
    }));
    write(srvLines('many', nodes));
    await withRegistry({}, async (registry) => {
      await eventually('all are found', async () => (await idsOf(registry, 'many')).length === 60, patientMs);
      expect(await idsOf(registry, 'many')).toEqual(nodes.map(({ id }) => `${id}:50051`).sort());
    });
  });

  it('reports an update, and neither a delete nor a create, for a pod that is replaced', async () => {
    const pods = (address: string) =>
      srvLines(
        'replaced',
        ['p0', 'p1'].map((id) => ({ id, address: `${id === 'p0' ? address : '10.0.0.9'}:1` })),
        1,
      );
    write(pods('10.0.0.1'));
    await withRegistry({}, async (registry) => {
      await eventually('both are found', async () => (await idsOf(registry, 'replaced')).length === 2, patientMs);
      const seen = new WatchRecorder(await registry.watch({ service: 'replaced' }));
      write(pods('10.0.0.2'));
      await eventually('it is told', () => seen.texts.length > 0, patientMs);
      expect(seen.texts).toEqual(['update p0:1']);
      expect(seen.events[0]?.service.nodes[0]?.address).toBe('10.0.0.2:1');
    });
  });

  it('finds a node that is added without any error before', async () => {
    const [first, second] = [
      { id: 'p0', address: '10.0.0.1:1' },
      { id: 'p1', address: '10.0.0.2:1' },
    ];
    write(srvLines('scaled', [first], 1));
    await withRegistry({ minReadMs: 1_000 }, async (registry) => {
      await eventually('it is found', async () => (await idsOf(registry, 'scaled')).length === 1, patientMs);
      const seen = new WatchRecorder(await registry.watch({ service: 'scaled' }));
      write(srvLines('scaled', [first, second], 1));
      await eventually('the other is found', () => seen.texts.length > 0, patientMs);
      expect(seen.texts).toEqual(['create p1:1']);
    });
  });

  it.each([
    ['greeter', 'p0:1'],
    ['greeter.default', 'p0:1'],
    ['greeter.other', 'p1:1'],
    ['greeter.default.svc.cluster.test', 'p0:1'],
    ['greeter.default.svc.cluster.test.', 'p0:1'],
  ])('completes %s by the search list of a pod', async (service, id) => {
    const folder = mkdtempSync(join(tmpdir(), 'tenon-dns-'));
    const resolvConf = join(folder, 'resolv.conf');
    writeFileSync(
      resolvConf,
      'search default.svc.cluster.test svc.cluster.test cluster.test\nnameserver 10.96.0.10\noptions ndots:5\n',
    );
    write([
      '_grpc._tcp.greeter.default.svc.cluster.test. 1 IN SRV 0 100 1 p0.',
      '_grpc._tcp.greeter.other.svc.cluster.test. 1 IN SRV 0 100 1 p1.',
      'p0. 1 IN A 10.0.0.1',
      'p1. 1 IN A 10.0.0.2',
    ]);
    try {
      await withRegistry({ domain: undefined, resolvConf }, async (registry) => {
        await eventually('it is found', async () => (await idsOf(registry, service)).length > 0, patientMs);
        expect(await idsOf(registry, service)).toEqual([id]);
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('follows aliases to the nodes, and says so where they lead nowhere', async () => {
    write([
      'www.suite.test. 1 IN CNAME web.suite.test.',
      'web.suite.test. 1 IN CNAME host.suite.test.',
      'host.suite.test. 1 IN A 10.0.0.1',
      '_grpc._tcp.aliased.suite.test. 1 IN SRV 0 0 7 www.suite.test.',
      '_grpc._tcp.renamed.suite.test. 1 IN CNAME _grpc._tcp.aliased.suite.test.',
      'loop.suite.test. 1 IN CNAME pool.suite.test.',
      'pool.suite.test. 1 IN CNAME loop.suite.test.',
      'gone.suite.test. 1 IN CNAME nowhere.suite.test.',
    ]);
    const addressesOf = async (registry: DnsRegistry, service: string): Promise<readonly string[]> =>
      (await registry.getService(service)).flatMap(({ nodes }) => nodes.map(({ address }) => address));
    await withRegistry({ port: 50_051, timeoutMs: 2_000 }, async (registry) => {
      await eventually('it is found', async () => (await idsOf(registry, 'www')).length > 0, patientMs);
      expect(await addressesOf(registry, 'www')).toEqual(['10.0.0.1:50051']);
      expect(await idsOf(registry, 'gone')).toEqual([]);
      await expect(registry.getService('loop')).rejects.toMatchObject({
        code: Code.Unavailable,
        reason: 'registry.unreachable',
        message: expect.stringMatching(/TENON_REGISTRY_ADDRESS/),
      });
    });
    await withRegistry({}, async (registry) => {
      for (const service of ['aliased', 'renamed'])
        expect(await addressesOf(registry, service)).toEqual(['10.0.0.1:7']);
    });
  });

  it('lists and watches the services that were asked for', async () => {
    write([
      ...srvLines('asked', [{ id: 'p0', address: '10.0.0.1:1' }]),
      ...srvLines('unasked', [{ id: 'p1', address: '10.0.0.2:1' }]),
    ]);
    await withRegistry({}, async (registry) => {
      const seen = new WatchRecorder(await registry.watch());
      expect(await registry.listServices()).toEqual([]);
      await eventually('it is found', async () => (await idsOf(registry, 'asked')).length === 1, patientMs);
      expect((await registry.listServices()).map((service) => service.name)).toEqual(['asked']);
      await eventually('it is told', () => seen.texts.length > 0, patientMs);
      expect(seen.texts).toEqual(['create p0:1']);
    });
  });
});
