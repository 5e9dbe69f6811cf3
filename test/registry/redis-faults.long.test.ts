import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, it } from '@jest/globals';
import { Redis } from 'ioredis';

import { Code, type TenonError } from '../../src/errors/errors.ts';
import { CachedRegistry } from '../../src/registry/cache.ts';
import { RedisRegistry, type RedisRegistryOptions } from '../../src/registry/redis.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { RecordingLogger, WatchRecorder } from '../../src/testing/recorders.ts';
import { closing } from '../support/closing.ts';
import { freePort, startNode } from '../support/process.ts';
import { describeWithRedis, RedisServer } from '../support/servers.ts';
import { Toxiproxy } from '../support/toxiproxy.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';
import { idsOf, nodeOf, serviceOf } from './support.ts';

expectNothingUncaught();

const patientMs = 60_000;
const testMs = 120_000;
const { clock, random, timers } = systemRuntime;

function registryWith(options: RedisRegistryOptions): { registry: RedisRegistry; logger: RecordingLogger } {
  const logger = new RecordingLogger();
  const registry = new RedisRegistry(options, clock, random, timers, logger);
  closing.push(() => registry.close());
  return { registry, logger };
}

/** A password in a file. */
function secretFile(text: string): { readonly path: string; write(text: string): void } {
  const folder = mkdtempSync(join(tmpdir(), 'tenon-redis-'));
  closing.push(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'password');
  const write = (secret: string): void => writeFileSync(path, `${secret}\n`);
  write(text);
  return { path, write };
}

/** Passes connections on, and can make those silent over which somebody subscribes, as a firewall does if idle. */
async function forgetfulProxy(port: number): Promise<{ readonly address: string; forgetSubscribers(): number }> {
  const pairs = new Set<{ near: Socket; far: Socket; isSubscriber: boolean }>();
  const server = createServer((near) => {
    const pair = { near, far: connect({ host: '127.0.0.1', port }), isSubscriber: false };
    pairs.add(pair);
    near.on('data', (data) => {
      pair.isSubscriber ||= /subscribe/i.test(data.toString('latin1'));
      pair.far.write(data);
    });
    pair.far.on('data', (data) => near.write(data));
    for (const socket of [near, pair.far]) {
      socket.on('error', () => {});
      socket.on('close', () => {
        pairs.delete(pair);
        near.destroy();
        pair.far.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    for (const { near } of pairs) near.destroy();
    server.close();
  });
  const forgetSubscribers = (): number => {
    const subscribers = [...pairs].filter(({ isSubscriber }) => isSubscriber);
    for (const { near, far } of subscribers) {
      for (const socket of [near, far]) socket.removeAllListeners('data').resume();
    }
    return subscribers.length;
  };
  return { address: `127.0.0.1:${(server.address() as { port: number }).port}`, forgetSubscribers };
}

describeWithRedis('RedisRegistry, when connections fail,', (redis) => {
  it('finds changes by reading where the connection of its subscriptions is dead and nobody says so', async () => {
    const proxy = await forgetfulProxy(redis.port);
    const { registry } = registryWith({ address: proxy.address, prefix: 'dead:', maxReadMs: 1_000 });
    const { registry: direct } = registryWith({ address: redis.address, prefix: 'dead:' });
    await direct.register(serviceOf('greeter', ['n1']));
    const seen = [
      new WatchRecorder(await registry.watch({ service: 'greeter' })),
      new WatchRecorder(await registry.watch()),
    ];
    expect(proxy.forgetSubscribers()).toBe(1);
    await direct.deregister(serviceOf('greeter', ['n1']));
    await direct.register(serviceOf('greeter', ['n2']));
    for (const one of seen) {
      await eventually('both are told', () => one.texts.length === 2, patientMs);
      expect([...one.texts].sort()).toEqual(['create n2', 'delete n1']);
    }
  });

  it('ends its watches when Redis ends its subscriptions, and its cache misses nothing', async () => {
    const { registry } = registryWith({ address: redis.address, prefix: 'killed:' });
    const { registry: direct } = registryWith({ address: redis.address, prefix: 'killed:' });
    const cache = new CachedRegistry(registry, { graceMs: 100 });
    closing.push(() => cache.close());
    await direct.register(serviceOf('greeter', ['n1', 'n2']));
    expect(await idsOf(cache, 'greeter')).toEqual(['n1', 'n2']);
    const client = redis.client();
    for (let round = 0; round < 5; round += 1) {
      const seen = new WatchRecorder(await registry.watch());
      await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await direct.register(serviceOf('greeter', [`r${round}`]));
      expect(await seen.ended).toMatchObject({ code: Code.Unavailable, reason: 'registry.watch_lost' });
    }
    await direct.deregister(serviceOf('greeter', ['n1']));
    const isSame = async (): Promise<boolean> => String(await idsOf(cache, 'greeter')) === 'n2,r0,r1,r2,r3,r4';
    await eventually('the cache knows all', isSame, patientMs);
  });

  it('registers once where the answers of Redis are cut off in their middle', async () => {
    const toxiproxy = new Toxiproxy();
    closing.push(() => toxiproxy.dispose());
    await toxiproxy.start();
    const proxy = await toxiproxy.proxy(redis.address);
    const { registry: direct } = registryWith({ address: redis.address, prefix: 'cut:' });
    const seen = new WatchRecorder(await direct.watch({ service: 'greeter' }));
    const expected: string[] = [];
    for (const bytes of [0, 1, 3, 7, 20, 60, 200, 600]) {
      const { registry } = registryWith({ address: proxy.address, prefix: 'cut:', timeoutMs: 2_000 });
      await proxy.add({ type: 'limit_data', stream: 'downstream', attributes: { bytes } });
      const service = serviceOf('greeter', [`n${bytes}`]);
      for (let round = 0; round < 3; round += 1) {
        await registry.register(service).catch((error: unknown) => {
          expect(['registry.unreachable', 'registry.timeout']).toContain((error as TenonError).reason);
        });
      }
      await proxy.heal();
      const register = (): Promise<boolean> =>
        registry.register(service).then(
          () => true,
          () => false,
        );
      await eventually('it is registered', register, patientMs);
      expected.push(`create n${bytes}`);
      await eventually('it is told', () => seen.texts.length === expected.length, patientMs);
    }
    expect(seen.texts).toEqual(expected);
  }, 180_000);

  it('keeps to its own keys and channels, whatever characters its prefix has', async () => {
    for (const [own, others] of [
      ['a*:', 'ab:'],
      ['[ab]:', 'a:'],
      ['x?:', 'xy:'],
      ['c\\:', 'c:'],
      ['^d:', 'd:'],
    ] as const) {
      const { registry } = registryWith({ address: redis.address, prefix: own });
      const { registry: other, logger } = registryWith({ address: redis.address, prefix: others });
      const seen = new WatchRecorder(await registry.watch());
      await other.register(serviceOf('greeter', ['theirs']));
      await registry.register(serviceOf('greeter', ['ours']));
      await eventually('its own is told', () => seen.texts.includes('create ours'), patientMs);
      expect(seen.texts).toEqual(['create ours']);
      expect(await idsOf(registry, 'greeter')).toEqual(['ours']);
      expect(logger.texts).toEqual([]);
    }
  });
});

describeWithRedis('RedisRegistry with a user of Redis', (redis) => {
  const denied = {
    code: Code.PermissionDenied,
    reason: 'registry.refused',
    message: expect.stringMatching(/TENON_REGISTRY_USERNAME and TENON_REGISTRY_PASSWORD/),
  };
  const acl = async (...args: readonly string[]): Promise<void> => {
    await redis.client().call('ACL', ...args);
  };

  it('goes on with the new password of its file after the old one was taken away under its watches', async () => {
    const secret = secretFile('first-secret');
    await acl('SETUSER', 'ann', 'on', '>first-secret', '~*', '&*', '+@all');
    const credentials = { username: 'ann', passwordFile: secret.path };
    const { registry } = registryWith({ address: redis.address, prefix: 'ann:', credentials });
    const service = serviceOf('greeter', ['n1']);
    await registry.register(service);
    const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
    // Both passwords are right for a while, as with a rotation that is made in order.
    await acl('SETUSER', 'ann', '>second-secret');
    await registry.register(service);
    await acl('SETUSER', 'ann', '<first-secret');
    await acl('SETUSER', 'ann', 'on');
    await redis.client().call('CLIENT', 'KILL', 'USER', 'ann');
    expect(await seen.ended).toMatchObject({ reason: 'registry.watch_lost' });
    await eventually(
      'it is refused',
      async () => (await failureOf(registry.register(service))).reason === 'registry.refused',
      patientMs,
    );
    const failures = [await failureOf(registry.getService('greeter')), await failureOf(registry.watch())];
    for (const failure of failures) {
      expect(failure).toMatchObject(denied);
      expect(failure.message).not.toContain('secret');
    }
    secret.write('second-secret');
    const isBack = (): Promise<boolean> =>
      registry.register(service).then(
        () => true,
        () => false,
      );
    await eventually('it registers', isBack, patientMs);
    const again = new WatchRecorder(await registry.watch({ service: 'greeter' }));
    await registry.deregister(service);
    await eventually('it watches', () => again.texts.includes('delete n1'), patientMs);
  });

  it('is told so when its user is removed, and does not ask again and again', async () => {
    await acl('SETUSER', 'bob', 'on', '>bobs-secret', '~*', '&*', '+@all');
    const credentials = { username: 'bob', password: 'bobs-secret' };
    const { registry, logger } = registryWith({ address: redis.address, prefix: 'bob:', credentials });
    const cache = new CachedRegistry(registry, { logger });
    closing.push(() => cache.close());
    await registry.register(serviceOf('greeter', ['n1']));
    await idsOf(cache, 'greeter');
    await acl('DELUSER', 'bob');
    const client = redis.client();
    const connections = async (): Promise<number> =>
      Number(/total_connections_received:(\d+)/.exec(await client.info('stats'))?.[1]);
    const before = await connections();
    const renewing = timers.every(500, () => void registry.register(serviceOf('greeter', ['n1'])).catch(() => {}));
    closing.push(() => renewing.cancel());
    await timers.sleep(5_000);
    expect((await connections()) - before).toBeLessThan(60);
    expect(await idsOf(cache, 'greeter')).toEqual(['n1']);
    expect(await failureOf(registry.register(serviceOf('greeter', ['n2'])))).toMatchObject(denied);
    expect(logger.texts.length).toBeLessThan(5);
    await acl('SETUSER', 'bob', 'on', '>bobs-secret', '~*', '&*', '+@all');
    await registryWith({ address: redis.address, prefix: 'bob:' }).registry.register(serviceOf('greeter', ['n3']));
    await eventually('it follows', async () => (await idsOf(cache, 'greeter')).includes('n3'), patientMs);
  });

  it.each([
    ['read keys', ['~*', '&*', '+@all', '-@read']],
    ['run scripts', ['~*', '&*', '+@all', '-eval']],
    ['use keys of that prefix', ['~other:*', '&*', '+@all']],
    ['use channels', ['~*', '+@all', 'resetchannels']],
  ])(
    'is denied by name what it may not: to %s',
    async (_what, rules) => {
      const name = 'carl';
      await acl('SETUSER', name, 'reset', 'on', '>carls-secret', ...rules);
      const { registry } = registryWith({
        address: redis.address,
        prefix: 'carl:',
        credentials: { username: name, password: 'carls-secret' },
      });
      const failures = [
        await failureOf(registry.watch({ service: 'greeter' })),
        await failureOf(registry.register(serviceOf('greeter', [nodeOf('n1')]))),
      ];
      for (const failure of failures) {
        expect(failure).toMatchObject(denied);
        expect(failure.message).not.toContain('secret');
      }
      await acl('SETUSER', name, 'reset', 'on', '>carls-secret', '~carl:*', '&carl:*', '+@all');
      const isServed = (): Promise<boolean> =>
        registry.register(serviceOf('greeter', ['n1'])).then(
          () => true,
          () => false,
        );
      await eventually('it may what it needs', isServed, patientMs);
      const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
      await registry.deregister(serviceOf('greeter', ['n1']));
      await eventually('it is told', () => seen.texts.includes('delete n1'), patientMs);
    },
    testMs,
  );
});

describeWithRedis('RedisRegistry with sentinels', (first) => {
  it(
    'goes on at the replica that takes the place of a Redis that was killed',
    async () => {
      const second = new RedisServer({ args: ['--replicaof', '127.0.0.1', String(first.port)] });
      closing.push(() => second.dispose());
      await second.start();
      const folder = mkdtempSync(join(tmpdir(), 'tenon-sentinel-'));
      closing.push(() => rmSync(folder, { recursive: true }));
      const port = await freePort();
      const path = join(folder, 'sentinel.conf');
      const lines = [
        `port ${port}`,
        'bind 127.0.0.1',
        `dir ${folder}`,
        `sentinel monitor main 127.0.0.1 ${first.port} 1`,
        'sentinel down-after-milliseconds main 1000',
        'sentinel failover-timeout main 10000',
      ];
      writeFileSync(path, `${lines.join('\n')}\n`);
      const sentinel = startNode(path, { command: 'redis-server', args: ['--sentinel'] });
      closing.push(() => sentinel.kill('SIGKILL'));
      const asked = new Redis({ host: '127.0.0.1', port, lazyConnect: true, disconnectTimeout: 50 });
      closing.push(() => asked.disconnect());
      asked.on('error', () => {});
      const knowsReplica = async (): Promise<boolean> => {
        const master = (await asked.call('SENTINEL', 'MASTER', 'main').catch(() => [])) as string[];
        return master[master.indexOf('num-slaves') + 1] === '1';
      };
      await eventually('the sentinel knows the replica', knowsReplica, patientMs);
      const client = new Redis({ sentinels: [{ host: '127.0.0.1', port }], name: 'main', lazyConnect: true });
      closing.push(() => client.disconnect());
      const { registry } = registryWith({ client, prefix: 'main:' });
      const cache = new CachedRegistry(registry);
      closing.push(() => cache.close());
      const service = serviceOf('greeter', ['n1']);
      await registry.register(service, { ttlMs: 30_000 });
      expect(await idsOf(cache, 'greeter')).toEqual(['n1']);
      await first.kill();
      const register = (): Promise<boolean> =>
        registry.register(serviceOf('greeter', ['n1', 'n2']), { ttlMs: 30_000 }).then(
          () => true,
          () => false,
        );
      await eventually('the replica takes it', register, patientMs);
      await eventually('the cache follows', async () => String(await idsOf(cache, 'greeter')) === 'n1,n2', patientMs);
      const there = new RedisRegistry({ address: second.address, prefix: 'main:' });
      closing.push(() => there.close());
      expect(await idsOf(there, 'greeter')).toEqual(['n1', 'n2']);
    },
    testMs,
  );
});
