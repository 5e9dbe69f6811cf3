import { beforeAll, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';

import { Code } from '../../src/errors/errors.ts';
import { RedisRegistry, type RedisRegistryOptions } from '../../src/registry/redis.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { RecordingLogger, WatchRecorder } from '../../src/testing/recorders.ts';
import { eventually } from '../support/waiting.ts';
import { describeWithRedis } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { idsOf, nodeOf, serviceOf } from './support.ts';

const { clock, random, timers } = systemRuntime;
const patientMs = 20_000;

expectNothingUncaught();

/** Text of JSON, nested so deep. */
function nested(depth: number): string {
  const open = '{"name":"v","type":"v","values":[';
  return `${open.repeat(depth)}${']}'.repeat(depth)}`;
}

function recordText(more: object | string, name = 'greeter'): string {
  const [head, tail] = [`{"name":"${name}","version":"1","nodes":[{"id":"bad","address":"127.0.0.1:1"}]`, '}'];
  return typeof more === 'string' ? `${head},${more}${tail}` : JSON.stringify({ ...JSON.parse(head + tail), ...more });
}

const bad = { id: 'bad', address: '127.0.0.1:1', metadata: {} };

const brokenRecords: readonly [why: string, text: string][] = [
  ['no JSON', 'not json'],
  ['no object', '[]'],
  ['null', 'null'],
  ['nested 8,000 deep', recordText(`"endpoints":[{"name":"e","request":${nested(8_000)}}]`)],
  ['nested 1,000,000 deep', `${'['.repeat(1_000_000)}`],
  ['larger than a record may be', recordText({ metadata: { much: 'x'.repeat(2_000_000) } })],
  ['of another service', recordText({}, 'other')],
  ['without a name', recordText({ name: 7 })],
  ['without nodes', recordText({ nodes: [] })],
  ['with nodes that are no list', recordText({ nodes: { length: 1 } })],
  ['with two nodes', recordText({ nodes: [bad, { ...bad, id: 'worse' }] })],
  ['with a node that is none', recordText({ nodes: [null] })],
  ['with a node without an id', recordText({ nodes: [{ ...bad, id: '' }] })],
  ['with a node of another id', recordText({ nodes: [{ ...bad, id: 'other' }] })],
  ['with a node without an address', recordText({ nodes: [{ ...bad, address: 5 }] })],
  ['with a port above 65,535', recordText({ nodes: [{ ...bad, address: '127.0.0.1:65536' }] })],
  ['with the port 0', recordText({ nodes: [{ ...bad, address: '127.0.0.1:0' }] })],
];

describeWithRedis('RedisRegistry with a Redis that lost data or kept too much', (redis) => {
  let client: Redis;
  beforeAll(() => void (client = redis.client()));

  /** How many scripts ran since the last time. */
  const scripts = async (): Promise<number> => {
    const calls = /cmdstat_eval:calls=(\d+)/.exec(await client.info('commandstats'))?.[1] ?? '0';
    await client.config('RESETSTAT');
    return Number(calls);
  };

  const using = async (
    options: RedisRegistryOptions,
    body: (registry: RedisRegistry, logger: RecordingLogger) => Promise<void>,
  ): Promise<void> => {
    const logger = new RecordingLogger();
    const given = { address: redis.address, ...options };
    const registry = new RedisRegistry(given, clock, random, systemRuntime.timers, logger);
    try {
      await body(registry, logger);
    } finally {
      await registry.close();
    }
  };

  it.each<[what: string, lose: () => Promise<unknown>]>([
    ['everything', () => client.flushall()],
    ['the number of changes', () => client.del('lost:revision')],
    [
      'all but the number of changes',
      () => client.del('lost:node:greeter:n1', 'lost:service:greeter', 'lost:services'),
    ],
  ])(
    'watchers report what vanished and what came after Redis lost %s, and read at a limited rate',
    async (what, lose) => {
      await client.flushall();
      await using({ prefix: 'lost:', minReadMs: 100, maxReadMs: 300 }, async (registry) => {
        // Numbers of changes that are lost were large.
        for (let round = 0; round < 20; round += 1)
          await registry.register(serviceOf('greeter', [nodeOf('n1', { metadata: { round: String(round) } })]));
        const seen = [
          new WatchRecorder(await registry.watch({ service: 'greeter' })),
          new WatchRecorder(await registry.watch()),
        ];
        await scripts();
        const startedAt = clock.monotonicMs();
        await lose();
        if (what === 'the number of changes') await registry.deregister(serviceOf('greeter', ['n1']));
        await eventually('it vanished', () => seen.every(({ texts }) => texts.includes('delete n1')), patientMs);
        await registry.register(serviceOf('greeter', ['n1', 'n2']));
        await eventually('both came', () => seen.every(({ texts }) => texts.length >= 3), patientMs);
        await timers.sleep(500);
        const elapsedMs = clock.monotonicMs() - startedAt;
        for (const { texts } of seen) expect([...texts].sort()).toEqual(['create n1', 'create n2', 'delete n1']);
        // Two watchers, of which one reads names besides; a few calls of the test.
        expect(await scripts()).toBeLessThan(10 + (3 * elapsedMs) / 100);
      });
    },
  );

  it('watchers report a node again when it is renewed after its index was lost', async () => {
    await client.flushall();
    await using({ prefix: 'index:', maxReadMs: 100 }, async (registry) => {
      const node = serviceOf('greeter', ['n1']);
      await registry.register(node);
      const seen = new WatchRecorder(await registry.watch());
      await client.del('index:service:greeter', 'index:services');
      await eventually('it vanished', () => seen.texts.includes('delete n1'), patientMs);
      await registry.register(node);
      await eventually('it came', () => seen.texts.includes('create n1'), patientMs);
      expect(seen.texts).toEqual(['delete n1', 'create n1']);
    });
  });

  it.each(brokenRecords)('an invalid record (%s) is skipped, and logged once', async (why, text) => {
    await client.flushall();
    await using({ prefix: 'broken:', minReadMs: 20, maxReadMs: 50 }, async (registry, logger) => {
      await registry.register(serviceOf('greeter', ['n1']));
      const seen = [
        new WatchRecorder(await registry.watch({ service: 'greeter' })),
        new WatchRecorder(await registry.watch()),
      ];
      await client.set('broken:node:greeter:bad', text, 'PX', 60_000);
      await client.zadd('broken:service:greeter', Date.now() + 60_000, 'bad');
      if (!why.endsWith('another id'))
        await client.publish('broken:events:greeter', `${await client.incr('broken:revision')} 60000 create ${text}`);
      expect(await idsOf(registry, 'greeter')).toEqual(['n1']);
      expect((await registry.listServices()).flatMap(({ nodes }) => nodes.map(({ id }) => id))).toEqual(['n1']);
      await scripts();
      let reads = 0;
      await eventually('it is read again and again', async () => (reads += await scripts()) > 10, patientMs);
      await registry.register(serviceOf('greeter', ['n2']));
      await eventually('it goes on', () => seen.every(({ texts }) => texts.includes('create n2')), patientMs);
      for (const { texts } of seen) expect(texts).toEqual(['create n2']);
      const warnings = logger.texts.filter((line) => line.includes('broken:node:greeter:bad'));
      expect(warnings).toHaveLength(1);
      expect(warnings[0]).toMatch(/^warn the record at broken:node:greeter:bad is skipped: it /);
    });
  });

  it('metadata that is not text, and a key __proto__, are left out of a record', async () => {
    await client.flushall();
    await using({ prefix: 'loose:' }, async (registry) => {
      await registry.register(serviceOf('greeter', ['bad']));
      const metadata = '{"__proto__":"x","constructor":"y","zone":"a","n":1,"o":{}}';
      const node = `{"id":"bad","address":"127.0.0.1:1","metadata":${metadata}}`;
      const text = `{"name":"greeter","version":1,"metadata":[7],"endpoints":"none","nodes":[${node}]}`;
      await client.set('loose:node:greeter:bad', text, 'PX', 60_000);
      const [record] = await registry.getService('greeter');
      const found = record?.nodes[0]?.metadata ?? {};
      expect(Object.entries(found)).toEqual([
        ['constructor', 'y'],
        ['zone', 'a'],
      ]);
      expect({ ...record, nodes: [] }).toEqual({ ...serviceOf('greeter', []), version: '' });
    });
  });

  it('a key of another Redis type is skipped, and overwritten by the next renewal', async () => {
    await client.flushall();
    await using({ prefix: 'type:' }, async (registry, logger) => {
      await registry.register(serviceOf('greeter', ['n1', 'n2']));
      await client.del('type:node:greeter:n1');
      await client.rpush('type:node:greeter:n1', 'a', 'list');
      expect(await idsOf(registry, 'greeter')).toEqual(['n2']);
      expect(await idsOf(registry, 'greeter')).toEqual(['n2']);
      expect(logger.texts).toEqual([expect.stringMatching(/^warn .*type:node:greeter:n1/)]);
      await registry.register(serviceOf('greeter', ['n1']));
      expect(await idsOf(registry, 'greeter')).toEqual(['n1', 'n2']);
    });
  });

  it('a node without an expiry stays until its key is deleted, and is read at maxReadMs', async () => {
    await client.flushall();
    await using({ prefix: 'by-hand:', minReadMs: 20, maxReadMs: 250 }, async (registry) => {
      await registry.register(serviceOf('greeter', ['n1']));
      await client.persist('by-hand:node:greeter:n1');
      const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
      await scripts();
      const startedAt = clock.monotonicMs();
      let reads = 0;
      await eventually('it is read', async () => (reads += await scripts()) >= 3, patientMs);
      expect(reads).toBeLessThan(2 + (clock.monotonicMs() - startedAt) / 250);
      expect(seen.texts).toEqual([]);
      await client.del('by-hand:node:greeter:n1');
      await eventually('it is missed', () => seen.texts.includes('delete n1'), patientMs);
    });
  });

  it('a watcher subscribes to changes before its first read', async () => {
    await using({ prefix: 'order:' }, async (registry) => {
      const monitor = await client.monitor();
      const commands: string[] = [];
      monitor.on('monitor', (_time: string, [command = '']: string[], source: string) => {
        if (source !== 'lua') commands.push(command.toLowerCase());
      });
      await registry.watch({ service: 'greeter' });
      await registry.watch();
      await eventually('all are seen', () => commands.filter((one) => one === 'eval').length >= 2, patientMs);
      monitor.disconnect();
      const order = commands.filter((one) => /subscribe|eval/.test(one));
      expect(order).toEqual(['subscribe', 'eval', 'psubscribe', 'eval']);
    });
  });

  it('the key of a node expires with its lease, and is deleted on deregister', async () => {
    await using({ prefix: 'keys:' }, async (registry) => {
      await registry.register(serviceOf('greeter', ['n1']), { ttlMs: 5_000 });
      const ttlMs = await client.pttl('keys:node:greeter:n1');
      expect(ttlMs).toBeGreaterThan(0);
      expect(ttlMs).toBeLessThanOrEqual(5_000);
      await registry.deregister(serviceOf('greeter', ['n1']));
      expect(await client.keys('keys:node:*')).toEqual([]);
      // Alone in an index again, as after an index that was lost and rebuilt, it is still not found.
      await client.zadd('keys:service:greeter', Date.now() + 60_000, 'n1');
      expect(await idsOf(registry, 'greeter')).toEqual([]);
    });
  });

  it('register refuses a record that readers would skip', async () => {
    await using({ prefix: 'refuse:', maxRecordBytes: 4_096 }, async (registry) => {
      const refused = { code: Code.InvalidArgument, reason: 'registry.invalid_service' };
      for (const address of ['127.0.0.1:0', '127.0.0.1:65536', '[::1]:99999'])
        await expect(registry.register(serviceOf('greeter', [nodeOf('n1', { address })]))).rejects.toMatchObject(
          refused,
        );
      const metadata = { much: 'ü'.repeat(2_048) };
      await expect(registry.register(serviceOf('greeter', [nodeOf('n1', { metadata })]))).rejects.toMatchObject({
        ...refused,
        message: expect.stringContaining('4096'),
      });
      let value = { name: 'v', type: 'v', values: [] as object[] };
      for (let depth = 0; depth < 9_000; depth += 1) value = { name: 'v', type: 'v', values: [value] };
      const endpoints = [{ name: 'e', metadata: {}, request: value as never }];
      await expect(registry.register(serviceOf('greeter', ['n1'], { endpoints }))).rejects.toMatchObject(refused);
    });
  });

  it.each([Number.NaN, 0, -1, Number.POSITIVE_INFINITY])('register refuses a lease of %p ms', async (ttlMs) => {
    await using({ prefix: 'lease:' }, async (registry) => {
      await expect(registry.register(serviceOf('greeter', ['n1']), { ttlMs })).rejects.toMatchObject({
        code: Code.InvalidArgument,
        reason: 'registry.invalid_option',
      });
    });
  });

  it('versions of a service coexist, and the last registration of an id wins', async () => {
    await client.flushall();
    await using({ prefix: 'twins:' }, async (registry) => {
      const seen = new WatchRecorder(await registry.watch());
      await registry.register(serviceOf('greeter', ['n1']));
      await registry.register(serviceOf('greeter', ['n2'], { version: '2.0.0' }));
      await registry.register(serviceOf('greeter', [nodeOf('n1', { address: '127.0.0.1:7009' })]));
      await eventually('all is told', () => seen.texts.length === 3, patientMs);
      expect(seen.texts).toEqual(['create n1', 'create n2', 'update n1']);
      const records = await registry.getService('greeter');
      const byVersion = records.map(({ version, nodes }) => [version, nodes.map(({ address }) => address)] as const);
      expect(byVersion.sort(([one], [other]) => (one < other ? -1 : 1))).toEqual([
        ['1.0.0', ['127.0.0.1:7009']],
        ['2.0.0', ['127.0.0.1:7000']],
      ]);
    });
  });

  it('a watch that times out before Redis answers leaves no subscription behind', async () => {
    await client.flushall();
    await using({ prefix: 'paused:', timeoutMs: 300 }, async (registry) => {
      await registry.register(serviceOf('greeter', ['n1']));
      await client.call('CLIENT', 'PAUSE', '1500', 'ALL');
      await expect(registry.watch({ service: 'greeter' })).rejects.toMatchObject({ reason: 'registry.timeout' });
      await eventually(
        'it answers',
        () =>
          idsOf(registry, 'greeter').then(
            () => true,
            () => false,
          ),
        patientMs,
      );
      const channels = async (): Promise<unknown> => client.pubsub('CHANNELS', 'paused:*');
      await eventually('nobody listens', async () => ((await channels()) as string[]).length === 0, patientMs);
      const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
      await registry.deregister(serviceOf('greeter', ['n1']));
      await eventually('the next watch tells', () => seen.texts.includes('delete n1'), patientMs);
    });
  });
});
