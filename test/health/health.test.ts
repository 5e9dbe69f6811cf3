import { afterEach, describe, expect, it } from '@jest/globals';

import { type CallOptions, Code, Handler, Health, Registry, Rpc, Service, System } from '../../src/index.ts';
import { HealthRegistry } from '../../src/health/health-registry.ts';
import { healthProto } from '../../src/health/handler.ts';
import { ServiceHealth } from '../../src/health/service-health.ts';
import type { ServiceStatus } from '../../src/service/service.ts';
import { gate } from '../../src/testing/waiting.ts';

@Handler('shop.Stock')
class StockHandler {
  @Rpc() async count(_request: object): Promise<object> {
    return { count: 1 };
  }
}
@Service({ name: 'shop', handlers: [StockHandler] })
class Shop {}

interface Answer {
  readonly status: string;
}
interface HealthApi {
  check(request: { service?: string }, options?: CallOptions): Promise<Answer>;
  list(request: object): Promise<{ statuses: Record<string, Answer> }>;
  watch(request: { service?: string }): AsyncIterable<Answer>;
}
const source = { proto: healthProto, name: 'grpc.health.v1.Health', service: 'shop' };

const started: System[] = [];
async function start(env: Record<string, string> = {}, services = [Shop]): Promise<System> {
  const system = await System.start(services, { profile: 'test', env });
  started.push(system);
  return system;
}
afterEach(async () => {
  await Promise.all(started.splice(0).map((system) => system.stop()));
});

const healthOf = (system: System) => system.client<HealthApi>(source);

describe.each(['memory', 'grpc'])('health of a served application, over %s', (transport) => {
  const env = { TENON_TRANSPORT: transport };

  it('is SERVING, as a whole and by service', async () => {
    const health = healthOf(await start(env));
    for (const service of ['', 'shop.Stock', 'liveness'])
      expect(await health.check({ service })).toEqual({ status: 'SERVING' });
    expect(await health.list({})).toEqual({
      statuses: {
        '': { status: 'SERVING' },
        'shop.Stock': { status: 'SERVING' },
        liveness: { status: 'SERVING' },
      },
    });
  });

  it('of a service that nobody knows is NOT_FOUND', async () => {
    await expect(healthOf(await start(env)).check({ service: 'shop.Stok' })).rejects.toMatchObject({
      code: Code.NotFound,
      reason: 'health.unknown_service',
    });
  });

  it('is what the application says, of its services and of what else it names', async () => {
    const system = await start(env);
    const health = healthOf(system);
    system.get(Health).set('shop.Stock', 'NOT_SERVING');
    system.get(Health).set('database', 'UNKNOWN');
    expect(await health.check({ service: 'shop.Stock' })).toEqual({ status: 'NOT_SERVING' });
    expect(await health.check({ service: 'database' })).toEqual({ status: 'UNKNOWN' });
    expect(await health.check({})).toEqual({ status: 'SERVING' });
    system.get(Health).clear('shop.Stock');
    system.get(Health).clear('database');
    expect(await health.check({ service: 'shop.Stock' })).toEqual({ status: 'SERVING' });
    await expect(health.check({ service: 'database' })).rejects.toMatchObject({ code: Code.NotFound });
  });

  it('is watched: what it is, then each change, and it is told when it becomes known', async () => {
    const system = await start(env);
    const said = system.get(Health);
    const seen: string[] = [];
    for await (const { status } of healthOf(system).watch({ service: 'queue' })) {
      seen.push(status);
      if (seen.length === 1) said.set('queue', 'SERVING');
      else if (seen.length === 2) {
        said.set('queue', 'SERVING');
        said.set('another', 'NOT_SERVING');
        said.set('queue', 'NOT_SERVING');
      } else if (seen.length === 3) said.clear('queue');
      else break;
    }
    expect(seen).toEqual(['SERVICE_UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN']);
  });

  it('is NOT_SERVING from the moment a stop begins, while calls are still served; a watch is told, and ends without holding up the stop', async () => {
    // Only the watch can keep it that long.
    const server = await start({ ...env, TENON_LAME_DUCK_MS: '500', TENON_DRAIN_TIMEOUT_MS: '3600000' });
    const health = healthOf(server);
    const stock = server.client(StockHandler);
    // Not by name: who looks it up sees that it drains.
    const address = server.services[0]!.server().address as string;
    const watching = gate();
    const seen: unknown[] = [];
    const watched = (async () => {
      for await (const { status } of health.watch({})) {
        seen.push(status);
        if (status === 'NOT_SERVING')
          seen.push(await stock.count({}, { address }), await health.check({}, { address }));
        watching.open();
      }
    })().catch((error: unknown) => error);
    await watching.opened;
    await server.services[0]!.stop();
    expect(await watched).toMatchObject({ code: Code.Unavailable });
    expect(seen).toEqual(['SERVING', 'NOT_SERVING', { count: 1 }, { status: 'NOT_SERVING' }]);
  });
});

describe('the health service', () => {
  it('answers UNIMPLEMENTED if it is turned off', async () => {
    const system = await start({ TENON_HEALTH: 'false' });
    await expect(healthOf(system).check({})).rejects.toMatchObject({ code: Code.Unimplemented });
    @Service({ name: 'shop', handlers: [StockHandler], health: false })
    class Quiet {}
    await expect(healthOf(await start({}, [Quiet])).check({})).rejects.toMatchObject({ code: Code.Unimplemented });
    expect(await healthOf(await start({ TENON_HEALTH: 'true' }, [Quiet])).check({})).toEqual({ status: 'SERVING' });
  });

  it('is replaced by a handler of the application that has its name', async () => {
    @Handler('grpc.health.v1.Health', { proto: healthProto, internal: true })
    class Own {
      @Rpc() async check(): Promise<Answer> {
        return { status: 'UNKNOWN' };
      }
      @Rpc() async list(): Promise<object> {
        return {};
      }
      @Rpc({ stream: 'server' }) async *watch(): AsyncIterable<Answer> {}
    }
    @Service({ name: 'shop', handlers: [Own] })
    class Shop2 {}
    expect(await healthOf(await start({}, [Shop2])).check({})).toEqual({ status: 'UNKNOWN' });
  });

  it('is not in the registry', async () => {
    const system = await start();
    const [record] = await system.get(Registry).getService('shop');
    expect(record?.endpoints.map(({ name }) => name)).toEqual(['Stock.Count']);
  });
});

describe('the health of one service', () => {
  const serving: ServiceStatus = { state: 'serving', isRegistered: true, isSubscribed: true, isAccepting: true };
  function made(followed: { readonly followsRegistry?: boolean; readonly followsBroker?: boolean } = {}) {
    const listeners = new Set<(status: ServiceStatus) => void>();
    const service = {
      status: serving,
      onChange: (listener: (status: ServiceStatus) => void) => {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
    };
    const registry = new HealthRegistry();
    const become = (change: Partial<ServiceStatus>): void => {
      service.status = { ...service.status, ...change };
      for (const listener of listeners) listener(service.status);
    };
    return {
      registry,
      become,
      listeners,
      health: new ServiceHealth(service, registry, { services: ['a.A'], ...followed }),
    };
  }

  it.each<[string, Partial<ServiceStatus>]>([
    ['starts', { state: 'starting', isRegistered: false, isSubscribed: true, isAccepting: false }],
    ['drains', { state: 'draining' }],
    ['cannot be found', { isRegistered: false }],
    ['has subscriptions that do not stand', { isSubscribed: false }],
    ['has stopped', { state: 'stopped', isRegistered: false, isSubscribed: true, isAccepting: false }],
  ])('that %s is NOT_SERVING whatever the application says; its process is live', (_what, change) => {
    const { health, registry, become } = made();
    registry.set('a.A', 'SERVING');
    registry.set('other', 'UNKNOWN');
    become(change);
    expect(['', 'a.A', 'other', 'liveness', 'b.B'].map((name) => health.status(name))).toEqual([
      'NOT_SERVING',
      'NOT_SERVING',
      'NOT_SERVING',
      'SERVING',
      undefined,
    ]);
  });

  it('does not follow the registry if `followsRegistry` is false', () => {
    const { health, become } = made({ followsRegistry: false });
    become({ isRegistered: false });
    expect(health.status('')).toBe('SERVING');
    become({ state: 'draining' });
    expect(health.status('')).toBe('NOT_SERVING');
  });

  it('does not follow the broker if `followsBroker` is false', () => {
    const { health, become } = made({ followsBroker: false });
    become({ isSubscribed: false });
    expect(health.status('')).toBe('SERVING');
    become({ isRegistered: false });
    expect(health.status('')).toBe('NOT_SERVING');
  });

  it('leaves out changes that come and go while a watcher is busy', async () => {
    const { health, become } = made();
    const watch = health.watch('');
    expect(await watch.next()).toEqual({ done: false, value: 'SERVING' });
    const next = watch.next();
    become({ isRegistered: false });
    become({ isRegistered: true });
    become({ isRegistered: false });
    expect(await next).toEqual({ done: false, value: 'NOT_SERVING' });
  });

  it('removes its listeners when a watch is left, also while the watch waits', async () => {
    const { health, listeners } = made();
    const watch = health.watch('');
    await watch.next();
    expect(listeners.size).toBe(1);
    const waiting = watch.next();
    await watch.return?.();
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(listeners.size).toBe(0);
  });

  it('is not listed if there are more services than the protocol allows', async () => {
    const system = await start();
    for (let n = 0; n < 98; n += 1) system.get(Health).set(`part-${n}`, 'SERVING');
    await expect(healthOf(system).list({})).rejects.toMatchObject({ code: Code.ResourceExhausted });
  });
});
