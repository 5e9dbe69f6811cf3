import 'reflect-metadata';

import { describe, expect, it } from '@jest/globals';
import { type Container, ContainerModule, inject, injectable, preDestroy } from 'inversify';

import { compose } from '../../src/app/compose.ts';
import type { Config } from '../../src/app/config.ts';
import { lockContainer } from '../../src/app/container-lock.ts';
import type { AppOptions } from '../../src/app/options.ts';
import type { Profile } from '../../src/app/profiles.ts';
import { System } from '../../src/app/system.ts';
import { verify } from '../../src/app/verify.ts';
import { MemoryBroker } from '../../src/broker/memory.ts';
import { Broker } from '../../src/broker/broker.ts';
import { type ClientOf, clientOf } from '../../src/client/client-of.ts';
import { Client, ClientOptions } from '../../src/client/client.ts';
import { BytesMarshaler } from '../../src/codec/bytes.ts';
import { CborMarshaler } from '../../src/codec/cbor.ts';
import { JsonMarshaler } from '../../src/codec/json.ts';
import { MsgpackMarshaler } from '../../src/codec/msgpack.ts';
import { ProtoMarshaler } from '../../src/codec/proto.ts';
import { DefaultMarshaler, Marshaler } from '../../src/codec/codec.ts';
import { type Class, Handler, Rpc, Service } from '../../src/decorators/decorators.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { Logger, silentLogger } from '../../src/logger/logger.ts';
import { CachedRegistry } from '../../src/registry/cache.ts';
import { MemoryRegistry } from '../../src/registry/memory.ts';
import { isRegistryCache, Registry } from '../../src/registry/registry.ts';
import { Clock } from '../../src/runtime/runtime.ts';
import { systemClock } from '../../src/runtime/system.ts';
import { PeakEwmaSelector } from '../../src/selector/peak-ewma.ts';
import { RandomSelector } from '../../src/selector/random.ts';
import { RoundRobinSelector } from '../../src/selector/round-robin.ts';
import { Selector } from '../../src/selector/selector.ts';
import { Server, ServerOptions } from '../../src/server/server.ts';
import { ServiceOptions, ServiceRuntime } from '../../src/service/service.ts';
import { MemoryTransport } from '../../src/transport/memory.ts';
import { Transport } from '../../src/transport/transport.ts';

@Handler('greeter.Greeter')
class GreeterHandler {
  @Rpc() async hello(request: { name: string }): Promise<{ text: string }> {
    return { text: `Hello ${request.name}` };
  }
}
@Service({ name: 'greeter', handlers: [GreeterHandler] })
class Greeter {}

async function containerOf(options: AppOptions = {}, services: readonly Class[] = []): Promise<Container> {
  return (await compose(services, { profile: 'test', env: {}, ...options })).container;
}

class MyRegistry extends MemoryRegistry {}
class ModuleRegistry extends MemoryRegistry {}
class ProfileRegistry extends MemoryRegistry {}

/** What the cache around the bound registry holds is seen by the name it has. */
function named(target: typeof MemoryRegistry, name: string): typeof MemoryRegistry {
  target.prototype.toString = () => name;
  return target;
}
named(MyRegistry, 'mine');
named(ModuleRegistry, 'of the module');
named(ProfileRegistry, 'of the profile');

describe('the profile test', () => {
  it('binds everything in memory, and everything but servers once', async () => {
    const container = await containerOf();
    expect(container.get(Transport)).toBeInstanceOf(MemoryTransport);
    expect(container.get(Selector)).toBeInstanceOf(PeakEwmaSelector);
    expect(container.get(Broker)).toBeInstanceOf(MemoryBroker);
    expect(container.get(DefaultMarshaler)).toBeInstanceOf(ProtoMarshaler);
    expect(container.getAll(Marshaler).map((one) => one.constructor)).toEqual([
      ProtoMarshaler,
      JsonMarshaler,
      MsgpackMarshaler,
      CborMarshaler,
      BytesMarshaler,
    ]);
    expect(container.get(Clock)).toBe(systemClock);
    expect(container.get(Logger)).toBe(silentLogger);
    for (const key of [Transport, Registry, Selector, Broker, DefaultMarshaler, Client] as readonly symbol[]) {
      expect(container.get<unknown>(key)).toBe(container.get<unknown>(key));
    }
    expect(container.get(Server)).not.toBe(container.get(Server));
    expect(container.get(ServiceRuntime)).not.toBe(container.get(ServiceRuntime));
  });

  it.each(['random', 'round-robin', 'least-request', 'peak-ewma', 'weighted', 'consistent-hash', 'mine'])(
    'gives the zone of the environment to the selector: %s',
    async (name) => {
      const env = { TENON_PROFILE: 'test', TENON_SELECTOR: name, TENON_ZONE: 'a' };
      const backends = { selector: { mine: RandomSelector } };
      const container = await containerOf({ profile: undefined, env, backends });
      expect(container.get(Selector).options).toMatchObject({ zone: 'a', ejectMs: 5_000 });
      const without = await containerOf({ profile: undefined, env: { ...env, TENON_ZONE: '' }, backends });
      expect(without.get(Selector).options).not.toHaveProperty('zone');
    },
  );

  it('is overruled by variables', async () => {
    const env = {
      TENON_PROFILE: 'test',
      TENON_CODEC: 'json',
      TENON_SELECTOR: 'round-robin',
      TENON_CLIENT_TIMEOUT_MS: '7',
      TENON_SERVER_ID: 'a',
    };
    const container = await containerOf({ profile: undefined, env });
    expect(container.get(DefaultMarshaler)).toBeInstanceOf(JsonMarshaler);
    expect(container.get(Selector)).toBeInstanceOf(RoundRobinSelector);
    expect(container.get(ClientOptions)).toMatchObject({ timeoutMs: 7 });
    expect(container.get(ServerOptions)).toMatchObject({ address: '127.0.0.1:0' });
    expect(container.get(ServiceOptions)).toMatchObject({ id: 'a', lameDuckMs: 0 });
  });

  it('is refused by an unknown name', async () => {
    await expect(containerOf({ profile: 'production' })).rejects.toMatchObject({
      reason: 'config.invalid',
      message: 'the configuration is wrong: the profile is "production": there are test, dev, local, prod.',
    });
  });
});

describe('layers', () => {
  const profile = (config: Config): ContainerModule => {
    expect(config.profile).toBe('test');
    return new ContainerModule(
      ({ bind }) => void bind(Registry).to(named(ProfileRegistry, `of the profile, not ${config.registry.name}`)),
    );
  };
  const module = new ContainerModule(({ rebind }) => void rebind(Registry).to(ModuleRegistry));
  const bind = (container: Container): void => void container.bind(Registry).to(MyRegistry);
  const env = { TENON_PROFILE: 'test' };

  it('are each stronger than the one before: environment, profile function, modules, bind', async () => {
    const nameIn = async (options: AppOptions): Promise<string> =>
      String((await containerOf({ profile: undefined, env, ...options })).get(Registry));
    expect(await nameIn({})).toBe('memory');
    expect(await nameIn({ profile })).toBe('of the profile, not memory');
    expect(await nameIn({ profile, modules: [module] })).toBe('of the module');
    expect(await nameIn({ profile, modules: [module], bind })).toBe('mine');
    expect(await nameIn({ bind })).toBe('mine');
  });

  it("keep the environment's bindings that a profile function leaves out", async () => {
    const container = await containerOf({ profile: async (config) => profile(config), env });
    expect(container.get(Transport)).toBeInstanceOf(MemoryTransport);
  });

  it.each(['bind', 'rebind'] as const)(
    'one that says %s and then bind means two, and verify asks for one',
    async (how) => {
      const twice = new ContainerModule((options) => {
        options[how](Selector).to(RandomSelector).inSingletonScope();
        options.bind(Selector).to(RoundRobinSelector).inSingletonScope();
      });
      const { problems } = await verify([Greeter], { profile: 'test', env: {}, modules: [twice] });
      expect(problems.map(({ kind }) => kind)).toContain('ambiguous-binding');
    },
  );

  it('add codecs instead of replacing them', async () => {
    const text = { contentType: 'application/grpc+text', marshal: () => new Uint8Array(), unmarshal: () => '' };
    const container = await containerOf({ bind: (it) => void it.bind(Marshaler).toConstantValue(text) });
    expect(container.getAll(Marshaler)).toHaveLength(6);
  });

  it('leave the methods of the container unchanged after bind has run', async () => {
    let used: Container | undefined;
    const container = await containerOf({ bind: (it) => void (used = it) });
    expect(used).toBe(container);
    expect(Object.keys(container)).toEqual([]);
  });

  it('reject with the error that bind throws', async () => {
    const bind = (): never => {
      throw new Error('no store');
    };
    await expect(containerOf({ bind })).rejects.toThrow('no store');
  });
});

describe('the registry', () => {
  it('is read through a cache, whoever bound it, and only once', async () => {
    const container = await containerOf({ bind: (it) => void it.rebind(Registry).to(MyRegistry) });
    expect(container.get(Registry)).toBeInstanceOf(CachedRegistry);
    expect(String(container.get(Registry))).toBe('mine');
    const cached = new CachedRegistry(new MemoryRegistry());
    const other = await containerOf({ bind: (it) => void it.rebind(Registry).toConstantValue(cached) });
    expect(other.get(Registry)).toBe(cached);
    expect(isRegistryCache(cached)).toBe(true);
  });
});

describe('clients', () => {
  it('are injected without being bound', async () => {
    @injectable()
    class Caller {
      constructor(@inject(clientOf(GreeterHandler)) readonly greeter: ClientOf<GreeterHandler>) {}
    }
    const system = await System.start([Greeter], {
      profile: 'test',
      env: {},
      bind: (it) => void it.bind(Caller).toSelf(),
    });
    try {
      expect(await system.get(Caller).greeter.hello({ name: 'Ada' })).toEqual({ text: 'Hello Ada' });
    } finally {
      await system.stop();
    }
  });
});

describe('the container after the start', () => {
  async function guarded(): Promise<Container> {
    const container = await containerOf();
    lockContainer(container);
    return container;
  }
  const module = new ContainerModule(({ bind }) => void bind(Registry).to(MyRegistry));

  it.each<[string, (container: Container) => unknown]>([
    ['bind', (container) => container.bind(Registry)],
    ['rebind', (container) => container.rebind(Registry)],
    ['rebindAsync', async (container) => container.rebindAsync(Registry)],
    ['unbind', (container) => container.unbind(Registry)],
    ['unbindAsync', async (container) => container.unbindAsync(Registry)],
    ['load', (container) => container.load(module)],
    ['loadAsync', async (container) => container.loadAsync(module)],
  ])('refuses %s of a key of tenon', async (_name, change) => {
    const container = await guarded();
    const error: unknown = await Promise.resolve(container)
      .then(change)
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(TenonError);
    expect(error).toMatchObject({
      code: Code.FailedPrecondition,
      reason: 'app.rebind_refused',
      message:
        'Registry cannot be rebound once the application has started, as objects that were injected would stay in use: bind it before, in a module, the profile or options.bind',
    });
    expect(String(container.get(Registry))).toBe('memory');
  });

  it.each<[string, (container: Container) => unknown]>([
    ['unbindAll', (container) => container.unbindAll()],
    ['unbindAllAsync', async (container) => container.unbindAllAsync()],
    ['restore', (container) => container.restore()],
  ])('%s is refused', async (_name, change) => {
    const container = await guarded();
    const refused = Promise.resolve(container).then(change);
    await expect(refused).rejects.toMatchObject({ reason: 'app.rebind_refused' });
    expect(container.get(Transport)).toBeInstanceOf(MemoryTransport);
  });

  it('refuses to remove a binding of tenon by its identifier or by its module', async () => {
    const own = new ContainerModule(({ bind }) => void bind(Registry).to(MyRegistry));
    let id: ReturnType<ReturnType<Container['rebind']>['to']> | undefined;
    const container = await containerOf({
      modules: [own],
      bind: (it) => void (id = it.rebind(Transport).to(MemoryTransport)),
    });
    lockContainer(container);
    expect(() => container.unbind(id!.getIdentifier())).toThrow('Transport cannot be rebound');
    expect(() => container.unload(own)).toThrow('Registry cannot be rebound');
    await expect(container.unloadAsync(own)).rejects.toThrow('Registry cannot be rebound');
  });

  it('still binds keys of the application', async () => {
    const container = await guarded();
    const other = new ContainerModule(({ bind }) => void bind('loaded').toConstantValue(2));
    container.bind('mine').toConstantValue(1);
    container.load(other);
    expect([container.get('mine'), container.get('loaded')]).toEqual([1, 2]);
    container.unload(other);
    container.unbind('mine');
    expect(container.isBound('mine') || container.isBound('loaded')).toBe(false);
  });

  it('refuses through a system too, which still stops', async () => {
    const system = await System.start([Greeter], { profile: 'test', env: {} });
    expect(() => system.container.rebind(Broker)).toThrow('Broker cannot be rebound');
    await system.stop();
  });
});

describe('disposal', () => {
  it('destroys dependents before their dependencies, whatever the order of binding, and nothing that was never made', async () => {
    const gone: string[] = [];
    class Store {
      @preDestroy() close(): void {
        gone.push('store');
      }
    }
    class Index {
      constructor(@inject(Store) readonly store: Store) {}
      @preDestroy() async close(): Promise<void> {
        gone.push('index');
      }
    }
    class Unused {
      @preDestroy() close(): void {
        gone.push('unused');
      }
    }
    @Handler('greeter.Greeter')
    class Searching {
      constructor(@inject(Index) readonly index: Index) {}
      @Rpc() async hello(): Promise<object> {
        return {};
      }
      @preDestroy() close(): void {
        gone.push('handler');
        throw new Error('not the last');
      }
    }
    @Service({ name: 'searching', handlers: [Searching] })
    class SearchService {}
    const system = await System.start([SearchService], {
      profile: 'test',
      env: {},
      bind: (container) => {
        container.bind(Store).toSelf();
        container.bind(Index).toSelf();
        container.bind(Unused).toSelf();
        container.bind('flag').toConstantValue(1);
        container.onDeactivation('flag', () => void gone.push('flag'));
      },
    });
    expect(system.get('flag')).toBe(1);
    await system.stop();
    expect(gone.filter((name) => name !== 'flag')).toEqual(['handler', 'index', 'store']);
    expect(gone).toContain('flag');
  });
});

it('gives a profile function the environment, for variables of its own', async () => {
  const seen: unknown[] = [];
  const profile: Profile = (config, env) => {
    seen.push(config.profile, env['SHOP_COLOUR']);
    return new ContainerModule(() => {});
  };
  const env = { TENON_PROFILE: 'test', SHOP_COLOUR: 'blue' };
  await compose([], { profile, env });
  expect(seen).toEqual(['test', 'blue']);
});
