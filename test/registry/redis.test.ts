import { describe, expect, it } from '@jest/globals';

import { Code, TenonError } from '../../src/errors/errors.ts';
import { RedisRegistry } from '../../src/registry/redis.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { WatchRecorder } from '../../src/testing/recorders.ts';
import { eventually } from '../support/waiting.ts';
import { describeWithRedis, redisServer } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { announcing, foundElsewhere, idsOf, nodeOf, serviceOf } from './support.ts';

expectNothingUncaught();

async function using(
  options: ConstructorParameters<typeof RedisRegistry>[0],
  body: (registry: RedisRegistry) => Promise<void>,
): Promise<void> {
  const registry = new RedisRegistry(options);
  try {
    await body(registry);
  } finally {
    await registry.close();
  }
}

describe('the address of RedisRegistry', () => {
  it.each(['', 'a b', 'host:99999', 'host:port', 'http://host', 'redis://', 'a:1,b:2'])(
    'may not be "%s"',
    (address) => {
      expect(() => new RedisRegistry({ address })).toThrow(
        expect.objectContaining({ code: Code.InvalidArgument, reason: 'registry.invalid_address' }),
      );
      expect(() => new RedisRegistry().init({ address })).toThrow(/is not the address of a Redis: write host:port/);
    },
  );

  it.each(['host', 'host:6379', '[::1]:6379', 'redis://user:secret@host/1', 'rediss://host:1234'])(
    'may be "%s"',
    (address) => {
      expect(new RedisRegistry({ address }).options.address).toBe(address);
    },
  );

  it('is shown without its secrets', async () => {
    const registry = new RedisRegistry({ address: 'redis://user:secret@127.0.0.1:1/0' });
    const { message } = (await registry
      .getService('greeter')
      .catch((thrown: unknown) => TenonError.from(thrown))) as TenonError;
    await registry.close();
    expect(message).toContain('127.0.0.1:1');
    expect(message).not.toContain('secret');
  });
});

describeWithRedis('RedisRegistry', (redis) => {
  it("stores Go Micro's Service JSON under a key per node, and an index that expires with its nodes", async () => {
    const client = redis.client();
    await using({ address: redis.address, prefix: 'layout:' }, async (registry) => {
      const one = serviceOf('a.greeter', ['n1'], { endpoints: [{ name: 'Greeter.Hello', metadata: {} }] });
      await registry.register(one, { ttlMs: 3_000 });
      await registry.register(serviceOf('a.greeter', ['n/2:x']), { ttlMs: 10_000 });
      expect((await client.keys('layout:*')).sort()).toEqual([
        'layout:node:a.greeter:n%2F2%3Ax',
        'layout:node:a.greeter:n1',
        'layout:revision',
        'layout:service:a.greeter',
        'layout:services',
      ]);
      expect(JSON.parse((await client.get('layout:node:a.greeter:n1')) ?? '')).toEqual(one);
      await registry.deregister(serviceOf('a.greeter', ['n/2:x']));
      await eventually('the node lapses', async () => (await idsOf(registry, 'a.greeter')).length === 0);
      await eventually('its index lapses', async () => (await client.exists('layout:service:a.greeter')) === 0);
      expect(await registry.listServices()).toEqual([]);
    });
  });

  it('keeps names with separators apart', async () => {
    await using({ address: redis.address, prefix: 'apart:' }, async (registry) => {
      await registry.register(serviceOf('a:b', ['c']));
      await registry.register(serviceOf('a', ['b:c']));
      await registry.register(serviceOf('ünï/cödé *?[x] \ud800', ['n']));
      expect(await idsOf(registry, 'a:b')).toEqual(['c']);
      expect(await idsOf(registry, 'a')).toEqual(['b:c']);
      expect(await idsOf(registry, 'ünï/cödé *?[x] \ud800')).toEqual(['n']);
    });
  });

  it('reads the records of Go Micro, nulls included, and skips what is not a record', async () => {
    const client = redis.client();
    await using({ address: redis.address, prefix: 'foreign:' }, async (registry) => {
      await registry.register(serviceOf('greeter', ['n1', 'n2', 'n3']));
      await client.set(
        'foreign:node:greeter:n1',
        '{"name":"greeter","version":"2.0","metadata":null,"endpoints":[{"request":{"name":"Req","type":"Req","values":null},"response":null,"metadata":null,"name":"Greeter.Hello"}],"nodes":[{"metadata":null,"id":"n1","address":"10.0.0.1:1"}]}',
      );
      await client.set('foreign:node:greeter:n2', '{"name":"greeter"}');
      await client.set('foreign:node:greeter:n3', 'not json');
      expect(await registry.getService('greeter')).toEqual([
        {
          name: 'greeter',
          version: '2.0',
          metadata: {},
          endpoints: [
            {
              name: 'Greeter.Hello',
              request: { name: 'Req', type: 'Req', values: [] },
              response: undefined,
              metadata: {},
            },
          ],
          nodes: [nodeOf('n1', { address: '10.0.0.1:1' })],
        },
      ]);
    });
  });

  it('drops a process that was killed when its lease ends, for readers and watchers', async () => {
    await using({ address: redis.address }, async (registry) => {
      const [one, all] = [
        new WatchRecorder(await registry.watch({ service: 'killed' })),
        new WatchRecorder(await registry.watch()),
      ];
      const ttlMs = 1_000;
      const child = await announcing('redis', { address: redis.address }, 'killed', 'n1', ttlMs);
      expect(await idsOf(registry, 'killed')).toEqual(['n1']);
      await child.kill('SIGKILL');
      await eventually('it is gone', async () => (await idsOf(registry, 'killed')).length === 0, 10_000);
      await eventually(
        'watchers know',
        () => one.texts.includes('delete n1') && all.texts.includes('delete n1'),
        10_000,
      );
      expect(one.texts).toEqual(['create n1', 'delete n1']);
    });
  });

  it('finds a node that another process registered', async () => {
    await using({ address: redis.address }, async (registry) => {
      await registry.register(serviceOf('elsewhere', ['n1']));
      expect(await foundElsewhere('redis', { address: redis.address }, 'elsewhere')).toEqual([
        serviceOf('elsewhere', ['n1']),
      ]);
    });
  });

  it('does not report renewals, and keeps a renewed lease for watchers', async () => {
    await using({ address: redis.address, prefix: 'renewal:' }, async (registry) => {
      const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
      for (let round = 0; round < 8; round += 1) {
        await registry.register(serviceOf('greeter', ['n1']), { ttlMs: 3_000 });
        await systemRuntime.timers.sleep(450);
      }
      expect(seen.texts).toEqual(['create n1']);
    });
  });

  it('does not report nodes from before the watch, and reports when they go', async () => {
    await using({ address: redis.address, prefix: 'before:' }, async (registry) => {
      await registry.register(serviceOf('greeter', ['n1', 'n2']), { ttlMs: 60_000 });
      await registry.register(serviceOf('other', ['n3']), { ttlMs: 3_000 });
      const [one, all] = [
        new WatchRecorder(await registry.watch({ service: 'greeter' })),
        new WatchRecorder(await registry.watch()),
      ];
      await registry.deregister(serviceOf('greeter', ['n1']));
      await eventually('the lease lapses', () => all.texts.includes('delete n3'));
      expect(one.texts).toEqual(['delete n1']);
      expect(all.texts).toEqual(['delete n1', 'delete n3']);
    });
  });

  it('reports a burst of changes in order, the last one included', async () => {
    await using({ address: redis.address, prefix: 'burst:' }, async (registry) => {
      const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
      const work: Promise<void>[] = [];
      for (let round = 0; round < 50; round += 1) {
        work.push(
          registry.register(serviceOf('greeter', [nodeOf('n1', { metadata: { round: String(round) } })]), {
            ttlMs: 50,
          }),
        );
        if (round % 10 === 9) work.push(registry.deregister(serviceOf('greeter', ['n1'])));
      }
      await Promise.all(work);
      await registry.register(serviceOf('greeter', ['last']));
      await eventually('the last one comes', () => seen.texts.includes('create last'));
      const rounds = seen.events
        .filter(({ action }) => action !== 'delete')
        .map(({ service }) => Number(service.nodes[0]?.metadata['round'] ?? 99));
      expect(rounds).toEqual([...rounds].sort((a, b) => a - b));
      expect(seen.texts.filter((text) => text === 'delete n1')).toHaveLength(5);
    });
  });

  it('takes a client of ioredis, and does not close it', async () => {
    const client = redis.client();
    await using({ client, prefix: 'client:' }, async (registry) => {
      await registry.register(serviceOf('greeter', ['n1']));
      expect(await idsOf(registry, 'greeter')).toEqual(['n1']);
    });
    expect(await client.ping()).toBe('PONG');
  });

  it('reports an error of Redis as registry.refused', async () => {
    const client = redis.client();
    await client.set('refused:service:greeter', 'no index');
    await using({ address: redis.address, prefix: 'refused:' }, async (registry) => {
      await expect(registry.getService('greeter')).rejects.toMatchObject({
        code: Code.Internal,
        reason: 'registry.refused',
        message: expect.stringContaining(redis.address),
      });
    });
    await client.del('refused:service:greeter');
  });
});

describeWithRedis('RedisRegistry while redis is away', () => {
  it('calls reject with registry.unreachable, watches end, and all works again when it is back', async () => {
    const redis = await redisServer();
    await using({ address: redis.address }, async (registry) => {
      await registry.register(serviceOf('greeter', ['n1']));
      const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
      await redis.kill();
      expect(await seen.ended).toMatchObject({ code: Code.Unavailable, reason: 'registry.watch_lost' });

      const away = { code: Code.Unavailable, reason: 'registry.unreachable' };
      // The connection of the calls may notice it later than that of the watch.
      await eventually('connections are refused', async () => {
        const error = await registry.getService('greeter').then(Boolean, TenonError.from);
        expect(error).toMatchObject(away);
        return String(error).includes('ECONNREFUSED');
      });
      const unreachable = {
        ...away,
        message: expect.stringMatching(
          new RegExp(`${redis.address} cannot be reached .*ECONNREFUSED.*TENON_REGISTRY_ADDRESS`),
        ),
      };
      await expect(registry.getService('greeter')).rejects.toMatchObject(unreachable);
      await expect(registry.register(serviceOf('greeter', ['n1']))).rejects.toMatchObject(unreachable);
      await expect(registry.deregister(serviceOf('greeter', ['n1']))).rejects.toMatchObject(unreachable);
      await expect(registry.listServices()).rejects.toMatchObject(unreachable);
      await expect(registry.watch()).rejects.toMatchObject(unreachable);

      await redis.start();
      await eventually(
        'it is back',
        () =>
          idsOf(registry, 'greeter').then(
            () => true,
            () => false,
          ),
        10_000,
      );
      expect(await idsOf(registry, 'greeter')).toEqual([]);
      const again = new WatchRecorder(await registry.watch({ service: 'greeter' }));
      await registry.register(serviceOf('greeter', ['n2']));
      await eventually('the new watch tells', () => again.texts.includes('create n2'));
    });
    await redis.dispose();
  });

  it('calls to a Redis that hangs reject with registry.timeout, and work again when it answers', async () => {
    const redis = await redisServer();
    await using({ address: redis.address, timeoutMs: 300 }, async (registry) => {
      await registry.register(serviceOf('greeter', ['n1']));
      redis.pause();
      await expect(registry.getService('greeter')).rejects.toMatchObject({
        code: Code.DeadlineExceeded,
        reason: 'registry.timeout',
        message: expect.stringContaining('300 ms'),
      });
      await expect(registry.getService('greeter', { timeoutMs: 50 })).rejects.toThrow(/within 50 ms/);
      redis.resume();
      await eventually(
        'it answers',
        () =>
          idsOf(registry, 'greeter').then(
            (ids) => ids.length === 1,
            () => false,
          ),
        10_000,
      );
    });
    await redis.dispose();
  });
});
