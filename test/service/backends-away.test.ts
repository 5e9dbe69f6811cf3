import { afterEach, describe, expect, it } from '@jest/globals';

import type { AppOptions } from '../../src/app/options.ts';
import { Broker, Client, Code, Handler, Registry, Rpc, Service, Subscribe, System } from '../../src/index.ts';
import { healthProto } from '../../src/health/handler.ts';
import { eventually } from '../support/waiting.ts';
import { describeWithRedis } from '../support/servers.ts';

interface HealthApi {
  check(request: { service?: string }): Promise<{ status: string }>;
}

/** Made anew for each test: what it has handled is its own. */
function shop() {
  const handled: number[] = [];
  @Handler('shop.Orders')
  class Orders {
    @Rpc() async count(_request: object): Promise<{ count: number }> {
      return { count: handled.length };
    }
    @Subscribe('orders', { queue: 'shop' }) onOrder({ n }: { n: number }): void {
      handled.push(n);
    }
  }
  @Service({ name: 'shop', handlers: [Orders] })
  class Shop {}
  return { handled, Orders, Shop };
}

const systems: System[] = [];
afterEach(async () => {
  await Promise.all(systems.splice(0).map((system) => system.stop()));
});

async function start(services: Parameters<typeof System.start>[0], env: Record<string, string>): Promise<System> {
  const options: AppOptions = { profile: 'local', env: { TENON_LOG_LEVEL: 'silent', TENON_LAME_DUCK_MS: '0', ...env } };
  const system = await System.start(services, options);
  systems.push(system);
  return system;
}

async function statusOf(system: System, service: string): Promise<string> {
  const source = { proto: healthProto, name: 'grpc.health.v1.Health', service: 'shop' };
  return (await system.client<HealthApi>(source).check({ service })).status;
}

const publish = async (system: System, n: number): Promise<void> => {
  const client = system.get(Client);
  await client.publish(client.newMessage('orders', { n }));
};

describeWithRedis(
  'a broker that is away when a service starts',
  (redis) => {
    const env = (): Record<string, string> => ({ TENON_BROKER: `redis-streams://${redis.address}` });

    it('does not fail the start, and when it is back the service handles the events that it kept, and is SERVING', async () => {
      const { handled, Orders, Shop } = shop();
      // The group is known, and away when these are published.
      const before = await start([Shop], env());
      await before.stop();
      const publisher = await start([], env());
      for (const n of [1, 2, 3]) await publish(publisher, n);
      await redis.kill();

      const system = await start([Shop], env());
      const [service] = system.services;
      expect(service?.status).toMatchObject({ state: 'serving', isRegistered: true, isSubscribed: false });
      expect(await system.client(Orders).count({})).toEqual({ count: 0 });
      for (const [name, status] of [
        ['', 'NOT_SERVING'],
        ['shop.Orders', 'NOT_SERVING'],
        ['liveness', 'SERVING'],
      ] as const)
        expect([name, await statusOf(system, name)]).toEqual([name, status]);
      await expect(publish(system, 4)).rejects.toMatchObject({
        code: Code.Unavailable,
        reason: 'broker.unreachable',
        message: expect.stringContaining(redis.address),
      });

      await redis.start();
      await eventually('the subscription stands', () => service?.status.isSubscribed === true, 60_000);
      await publish(system, 4);
      await eventually('what was kept is handled', () => handled.length >= 4, 60_000);
      expect(new Set(handled)).toEqual(new Set([1, 2, 3, 4]));
      expect(await statusOf(system, 'shop.Orders')).toBe('SERVING');
    }, 120_000);

    it('does not hold up the stop of a service that still tries to subscribe', async () => {
      const { Shop } = shop();
      await redis.kill();
      try {
        const system = await start([Shop], env());
        await system.stop();
        expect(system.services[0]?.state).toBe('stopped');
      } finally {
        await redis.start();
      }
    }, 60_000);

    it('fails the start under TENON_REQUIRE_BACKENDS, and is named by the error', async () => {
      const { Shop } = shop();
      await redis.kill();
      try {
        await expect(start([Shop], { ...env(), TENON_REQUIRE_BACKENDS: 'true' })).rejects.toMatchObject({
          reason: 'broker.unreachable',
          message: expect.stringContaining(redis.address),
        });
      } finally {
        await redis.start();
      }
    }, 60_000);

    it.each([
      ['false', 'SERVING'],
      ['true', 'NOT_SERVING'],
    ])(
      'shows a later outage under TENON_HEALTH_FOLLOWS_OUTAGES=%s as %s',
      async (follows, during) => {
        const { Shop } = shop();
        const system = await start([Shop], { ...env(), TENON_HEALTH_FOLLOWS_OUTAGES: follows });
        const [service] = system.services;
        const changes: boolean[] = [];
        service?.onChange(({ isSubscribed }) => changes.push(isSubscribed));
        expect(await statusOf(system, '')).toBe('SERVING');
        await redis.kill();
        await eventually('the outage was noticed', () => system.get(Broker).status.state === 'away', 60_000);
        expect([await statusOf(system, ''), await statusOf(system, 'liveness')]).toEqual([during, 'SERVING']);
        await redis.start();
        await eventually('it is over', () => system.get(Broker).status.state === 'connected', 60_000);
        expect(await statusOf(system, '')).toBe('SERVING');
        expect(changes).toEqual(follows === 'true' ? [false, true] : []);
      },
      120_000,
    );

    it('leaves health SERVING under TENON_HEALTH_FOLLOWS_BROKER=false', async () => {
      const { Shop } = shop();
      await redis.kill();
      try {
        const system = await start([Shop], { ...env(), TENON_HEALTH_FOLLOWS_BROKER: 'false' });
        expect(await statusOf(system, '')).toBe('SERVING');
      } finally {
        await redis.start();
      }
    }, 60_000);
  },
  { persistent: true },
);

describeWithRedis('a registry that is away when a service starts', (redis) => {
  it('does not fail the start, and when it first answers the service is registered', async () => {
    const { Shop } = shop();
    await redis.kill();
    const system = await start([Shop], { TENON_REGISTRY: `redis://${redis.address}` });
    expect(system.services[0]?.status).toMatchObject({ state: 'serving', isRegistered: false, isSubscribed: true });
    await redis.start();
    await eventually('it is announced', () => system.services[0]?.status.isRegistered === true, 60_000);
    expect((await system.get(Registry).getService('shop'))[0]?.nodes).toHaveLength(1);
  }, 120_000);

  it('fails the start under TENON_REQUIRE_BACKENDS', async () => {
    const { Shop } = shop();
    await redis.kill();
    try {
      const env = { TENON_REGISTRY: `redis://${redis.address}`, TENON_REQUIRE_BACKENDS: 'true' };
      await expect(start([Shop], env)).rejects.toMatchObject({ reason: 'registry.unreachable' });
    } finally {
      await redis.start();
    }
  }, 60_000);
});

describeWithRedis('a backend that refuses the password', (redis) => {
  describe.each([
    ['a broker redis', 'TENON_BROKER', 'redis', 'broker.refused'],
    ['a broker redis-streams', 'TENON_BROKER', 'redis-streams', 'broker.refused'],
    ['a registry redis', 'TENON_REGISTRY', 'redis', 'registry.refused'],
  ])('%s', (_what, variable, name, reason) => {
    it.each([
      ['no password', ''],
      ['a wrong password', ':wrong@'],
    ])('fails the start with %s', async (_which, credentials) => {
      @Handler()
      class Orders {
        @Subscribe('orders') onOrder(): void {}
      }
      @Service({ name: 'shop', handlers: [Orders] })
      class Shop {}
      const admin = redis.client();
      await admin.config('SET', 'requirepass', 'right');
      try {
        await expect(start([Shop], { [variable]: `${name}://${credentials}${redis.address}` })).rejects.toMatchObject({
          reason,
          message: expect.not.stringContaining('wrong'),
        });
      } finally {
        await admin.config('SET', 'requirepass', '');
      }
    });
  });
});
