import { describe, expect, it } from '@jest/globals';
import { type Container, ContainerModule, injectable } from 'inversify';

import type { AppOptions } from '../../src/app/options.ts';
import { verify } from '../../src/app/verify.ts';
import { RedisBrokerOptions } from '../../src/broker/redis.ts';
import { clientOf } from '../../src/client/client-of.ts';
import { ClientInterceptors, ClientOptions } from '../../src/client/client.ts';
import { Marshaler } from '../../src/codec/codec.ts';
import { type Class, Handler, Rpc, Service, UseGuard } from '../../src/decorators/decorators.ts';
import { Logger, silentLogger } from '../../src/logger/logger.ts';
import type { Interceptor } from '../../src/pipeline/pipeline.ts';
import { MemoryRegistry } from '../../src/registry/memory.ts';
import { Registry } from '../../src/registry/registry.ts';
import { RoundRobinSelector, RoundRobinSelectorOptions } from '../../src/selector/round-robin.ts';
import { Selector } from '../../src/selector/selector.ts';
import { ServerOptions } from '../../src/server/server.ts';
import { ServiceOptions } from '../../src/service/service.ts';
import { GrpcTransportOptions } from '../../src/transport/grpc.ts';
import { TransportTlsOptions } from '../../src/transport/tls.ts';
import { greeter } from './verify-support.ts';

/** The choices whose names begin so, a line each. */
async function linesOf(options: AppOptions, names: RegExp, services: readonly Class[] = [greeter]): Promise<string[]> {
  const { choices } = await verify(services, { env: {}, ...options });
  return choices
    .filter(({ name }) => names.test(name))
    .map(({ name, value, origin }) => `${name} = ${value} (${origin})`);
}

const passing: Interceptor = (next) => next;

describe('the origin of the profile', () => {
  it.each<[AppOptions, string]>([
    [{}, 'profile = dev (default)'],
    [{ env: { TENON_PROFILE: 'local' } }, 'profile = local (TENON_PROFILE)'],
    [{ profile: 'test', env: { TENON_PROFILE: 'local' } }, 'profile = test (the option profile)'],
    [{ profile: () => new ContainerModule(() => {}) }, 'profile = dev (default)'],
  ])('%o', async (options, line) => {
    expect(await linesOf(options, /^profile$/)).toEqual([line]);
  });
});

describe('the origin of a binding', () => {
  const chosen = /^(Transport|DefaultMarshaler|Registry|Selector|Broker)$/;

  it('is the profile or the default if nothing was set', async () => {
    expect(await linesOf({ profile: 'prod' }, chosen)).toEqual([
      'Transport = GrpcTransport (profile prod)',
      'DefaultMarshaler = ProtoMarshaler (default)',
      'Registry = RedisRegistry (profile prod)',
      'Selector = PeakEwmaSelector (default)',
      'Broker = RedisStreamsBroker (profile prod)',
    ]);
  });

  it('is the variable that chose the implementation', async () => {
    const env = { TENON_TRANSPORT: 'tcp', TENON_CODEC: 'json', TENON_REGISTRY: 'own', TENON_SELECTOR: 'round-robin' };
    @injectable()
    class OwnRegistry extends MemoryRegistry {}
    expect(await linesOf({ profile: 'test', env, backends: { registry: { own: OwnRegistry } } }, chosen)).toEqual([
      'Transport = TcpTransport (TENON_TRANSPORT)',
      'DefaultMarshaler = JsonMarshaler (TENON_CODEC)',
      'Registry = OwnRegistry (TENON_REGISTRY)',
      'Selector = RoundRobinSelector (TENON_SELECTOR)',
      'Broker = MemoryBroker (profile test)',
    ]);
  });

  it('is the layer of code that bound the key last', async () => {
    const selecting = (): ContainerModule =>
      new ContainerModule(({ bind }) => void bind(Selector).to(RoundRobinSelector).inSingletonScope());
    const env = { TENON_SELECTOR: 'random', TENON_PROFILE: 'test' };
    const lines = (options: AppOptions): Promise<string[]> =>
      linesOf({ env, ...options }, /^(Selector|Logger|Registry)$/);
    expect(await lines({ profile: selecting })).toEqual([
      'Registry = MemoryRegistry (profile test)',
      'Selector = RoundRobinSelector (the profile function)',
      'Logger = silentLogger (default)',
    ]);
    const bind = (container: Container): void => {
      container.rebind(Logger).toConstantValue(silentLogger);
      container.unbind(Registry);
      container.bind(Registry).toDynamicValue(() => new MemoryRegistry());
    };
    expect(await lines({ modules: [selecting(), selecting()], bind })).toEqual([
      'Registry = made by a function (bind)',
      'Selector = RoundRobinSelector (modules[1])',
      'Logger = an object (bind)',
    ]);
  });

  it('is listed for each of several bindings, and for keys of the application', async () => {
    class Guarding {
      activate(): boolean {
        return true;
      }
    }
    @Handler('desk.Desk')
    class DeskHandler {
      @UseGuard(Guarding)
      @Rpc()
      async order(): Promise<object> {
        return {};
      }
    }
    @Service({ name: 'desk', handlers: [DeskHandler] })
    class Desk {}
    class Store {}
    class Caller {}
    const text = { contentType: 'application/grpc+text', marshal: () => new Uint8Array(), unmarshal: () => '' };
    const modules = [
      new ContainerModule(({ bind }) => {
        bind(Store).toSelf();
        bind('password').toConstantValue('hunter2');
        bind('maker').toFactory((() => () => new Store()) as never);
        bind('alias').toService(Store);
        bind(Caller).toResolvedValue(() => new Caller(), [clientOf(DeskHandler)] as never);
        bind(ClientInterceptors).toConstantValue(passing);
      }),
    ];
    const bind = (container: Container): void => {
      container.bind(Marshaler).toConstantValue(text);
      container.bind(Store).toConstantValue(new Store());
    };
    const names = /^(Marshaler|ClientInterceptors|Store|Caller|password|maker|alias|Guarding|DeskHandler|clientOf)/;
    expect(await linesOf({ profile: 'test', modules, bind }, names, [Desk])).toEqual([
      'ClientInterceptors = passing (modules[0])',
      'Marshaler = ProtoMarshaler (default)',
      'Marshaler = JsonMarshaler (default)',
      'Marshaler = MsgpackMarshaler (default)',
      'Marshaler = CborMarshaler (default)',
      'Marshaler = BytesMarshaler (default)',
      'Marshaler = an object (bind)',
      'Store = Store (modules[0])',
      'Store = Store (bind)',
      'password = a string (modules[0])',
      'maker = a factory (modules[0])',
      'alias = what is bound to Store (modules[0])',
      'Caller = made by a function (modules[0])',
      'DeskHandler = DeskHandler (decorators)',
      'Guarding = Guarding (decorators)',
      'clientOf(DeskHandler) = made by a function (decorators)',
    ]);
  });
});

describe('the origin of an option', () => {
  it('is the variable, the profile, the layer of code or the default', async () => {
    const env = { TENON_CLIENT_TIMEOUT_MS: '1234', TENON_MAX_DEPTH: '9' };
    const modules = [
      new ContainerModule(({ bind }) => {
        bind(ClientOptions).toConstantValue({ maxAttempts: 7, compress: undefined, interceptors: [passing] });
      }),
    ];
    const bind = (container: Container): void => {
      container.bind(ClientOptions).toConstantValue({ dialect: 'go-micro', interceptors: [passing, passing] });
    };
    expect(await linesOf({ profile: 'test', env, modules, bind }, /^(ClientOptions|MessageLimits|Logger\.)/)).toEqual([
      'MessageLimits.maxElements = 1048576 (default)',
      'MessageLimits.maxDepth = 9 (TENON_MAX_DEPTH)',
      'ClientOptions.dialect = go-micro (bind)',
      'ClientOptions.timeoutMs = 1234 (TENON_CLIENT_TIMEOUT_MS)',
      'ClientOptions.maxReceiveBytes = 4194304 (default)',
      'ClientOptions.compress = false (default)',
      'ClientOptions.insecureCredentials = false (default)',
      'ClientOptions.maxAttempts = 7 (modules[0])',
      'ClientOptions.interceptors = 3 entries (modules[0], bind)',
      'Logger.level = silent (profile test)',
      'Logger.format = text (profile test)',
    ]);
  });

  it('is @Service for an option of a service, unless a variable or other code is stronger', async () => {
    @Service({
      name: 'first',
      handlers: [],
      reflection: true,
      maxSendBytes: 7,
      dialect: 'go-micro',
      interceptors: [passing],
    })
    class First {}
    @Service({ name: 'second', handlers: [], reflection: false })
    class Second {}
    const env = { TENON_MAX_SEND_BYTES: '5', TENON_SERVER_ID: 'a1', TENON_SERVER_METADATA: 'zone=a,rack=7' };
    const bind = (container: Container): void => {
      container.bind(ServerOptions).toConstantValue({ dialect: 'grpc', version: '2.0.0' });
      container.bind(ServiceOptions).toConstantValue({ interceptors: [passing], health: false });
    };
    expect(await linesOf({ profile: 'test', env, bind }, /^(ServiceOptions|First|Second)\./, [First, Second])).toEqual([
      'ServiceOptions.address = 127.0.0.1:0 (profile test)',
      'ServiceOptions.dialect = grpc (bind)',
      'ServiceOptions.maxReceiveBytes = 4194304 (default)',
      'ServiceOptions.maxSendBytes = 5 (TENON_MAX_SEND_BYTES)',
      'ServiceOptions.compress = false (default)',
      'ServiceOptions.health = false (bind)',
      'ServiceOptions.id = a1 (TENON_SERVER_ID)',
      'ServiceOptions.metadata = { zone, rack } (TENON_SERVER_METADATA)',
      'ServiceOptions.register = true (default)',
      'ServiceOptions.registerTtlMs = 30000 (default)',
      'ServiceOptions.registerWorker = true (default)',
      'ServiceOptions.registerBusyAfterMs = 1000 (default)',
      'ServiceOptions.exposeErrors = false (default)',
      'ServiceOptions.suggest = false (default)',
      'ServiceOptions.drain = true (default)',
      'ServiceOptions.lameDuckMs = 0 (profile test)',
      'ServiceOptions.drainTimeoutMs = 10000 (default)',
      'ServiceOptions.stopTimeoutMs = 5000 (default)',
      'ServiceOptions.healthFollowsRegistry = true (default)',
      'ServiceOptions.healthFollowsBroker = true (default)',
      'ServiceOptions.healthFollowsOutages = false (default)',
      'ServiceOptions.requireBackends = false (default)',
      'ServiceOptions.version = 2.0.0 (bind)',
      'ServiceOptions.interceptors = one entry (bind)',
      'First.name = first (@Service)',
      'First.reflection = true (@Service)',
      'First.interceptors = one entry (@Service)',
      'Second.name = second (@Service)',
      'Second.reflection = false (@Service)',
    ]);
  });

  it('is not listed for services if there are none, nor for options that nothing reads', async () => {
    const bind = (container: Container): void => {
      container.bind(RoundRobinSelectorOptions).toConstantValue({});
      container.bind(GrpcTransportOptions).toConstantValue({ idleMs: 5 });
    };
    expect(await linesOf({ profile: 'test', bind }, /ServiceOptions|Selector.*\.|GrpcTransportOptions/, [])).toEqual(
      [],
    );
    expect(await linesOf({ profile: 'local', bind }, /GrpcTransportOptions/)).toEqual([
      'GrpcTransportOptions.idleMs = 5 (bind)',
    ]);
  });

  it('is the layer alone if a function makes the value', async () => {
    const bind = (container: Container): void => {
      container.bind(ClientOptions).toDynamicValue(() => ({ timeoutMs: 1 }));
      container.bind(ServiceOptions).toDynamicValue(() => ({ drain: true }));
    };
    const lines = await linesOf({ profile: 'test', bind }, /^(ClientOptions|ServiceOptions)$/);
    expect(lines).toEqual(['ServiceOptions = made by a function (bind)', 'ClientOptions = made by a function (bind)']);
  });

  it('is listed for addresses, with secrets masked', async () => {
    const env = {
      TENON_REGISTRY: 'redis://me:hunter2@10.0.0.1:6379/2',
      TENON_BROKER: 'redis',
      TENON_BROKER_ADDRESS: '10.0.0.2:6379',
    };
    const bind = (container: Container): void => {
      container.bind(RedisBrokerOptions).toConstantValue({ password: 'hunter2', username: 'me' } as object);
    };
    const { choices } = await verify([greeter], { profile: 'test', env, bind });
    expect(JSON.stringify(choices)).not.toContain('hunter2');
    expect(await linesOf({ profile: 'test', env, bind }, /^Redis/)).toEqual([
      'RedisRegistryOptions.address = ***@10.0.0.1:6379/2 (TENON_REGISTRY)',
      'RedisBrokerOptions.address = 10.0.0.2:6379 (TENON_BROKER_ADDRESS)',
      'RedisBrokerOptions.password = *** (bind)',
      'RedisBrokerOptions.username = *** (bind)',
    ]);
    const own = { registry: { own: MemoryRegistry } };
    expect(
      await linesOf({ profile: 'test', env: { TENON_REGISTRY: 'own://a:1' }, backends: own }, /^Registry\./),
    ).toEqual(['Registry.address = a:1 (TENON_REGISTRY)']);
    const mdns = { TENON_REGISTRY: 'mdns', TENON_MDNS_PORT: '5354' };
    expect(await linesOf({ profile: 'test', env: mdns }, /^Mdns/)).toEqual([
      'MdnsRegistryOptions.port = 5354 (TENON_MDNS_PORT)',
    ]);
  });

  it('is listed for TLS by the names of its parts, if the transport speaks it', async () => {
    const env = { TENON_TLS_CERT_FILE: '/tls.crt', TENON_TLS_KEY_FILE: '/tls.key', TENON_TLS_CLIENT_AUTH: 'require' };
    const bind = (container: Container): void => {
      container.bind(TransportTlsOptions).toConstantValue({ client: { ca: 'authority', key: 'hunter2' } });
    };
    expect(await linesOf({ profile: 'local', env }, /^TransportTls/)).toEqual([
      'TransportTlsOptions.client = { certFile, keyFile } (TENON_TLS_CERT_FILE, TENON_TLS_KEY_FILE)',
      'TransportTlsOptions.server = { certFile, keyFile, clientAuth } (TENON_TLS_CERT_FILE, TENON_TLS_KEY_FILE, TENON_TLS_CLIENT_AUTH)',
    ]);
    expect(await linesOf({ profile: 'local', env, bind }, /^TransportTlsOptions.client/)).toEqual([
      'TransportTlsOptions.client = { ca, key } (bind)',
    ]);
    expect(await linesOf({ profile: 'test', env }, /^TransportTls/)).toEqual([]);
  });

  it('is not listed if the configuration cannot be read', async () => {
    expect((await verify([greeter], { profile: 'test', env: { TENON_BROKER: 'pigeon' } })).choices).toEqual([]);
  });
});
