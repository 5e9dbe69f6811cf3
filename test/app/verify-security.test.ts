import { connect } from 'node:net';

import { afterEach, describe, expect, it } from '@jest/globals';
import { type Container, ContainerModule, injectable } from 'inversify';

import type { AppOptions } from '../../src/app/options.ts';
import { verify } from '../../src/app/verify.ts';
import { RedisBrokerOptions } from '../../src/broker/redis.ts';
import { Code, System } from '../../src/index.ts';
import { MemoryRegistry } from '../../src/registry/memory.ts';
import { RedisRegistry, RedisRegistryOptions } from '../../src/registry/redis.ts';
import { Registry } from '../../src/registry/registry.ts';
import { GrpcTransport, GrpcTransportOptions } from '../../src/transport/grpc.ts';
import { MemoryTransport } from '../../src/transport/memory.ts';
import { NatsTransportOptions } from '../../src/transport/nats.ts';
import { TcpTransport, TcpTransportOptions } from '../../src/transport/tcp.ts';
import { TransportTlsOptions } from '../../src/transport/tls.ts';
import { Transport, type TransportCapabilities } from '../../src/transport/transport.ts';
import { authority } from '../support/certificates.ts';
import { greeter, GreeterHandler, refusalOf } from './verify-support.ts';

const ca = authority();
const { cert, key } = ca.issue({ name: 'greeter', names: ['127.0.0.1'] });
const tls: TransportTlsOptions = { server: { cert, key }, client: { ca: ca.cert } };

let system: System | undefined;
afterEach(async () => {
  await system?.stop();
  system = undefined;
});

const sayOnce = (container: Container): void => {
  container.bind(TransportTlsOptions).toConstantValue(tls);
};
const sayToGrpc = (container: Container): void => {
  container.rebind(GrpcTransportOptions).toConstantValue({ serverTls: { cert, key }, tls: { ca: ca.cert } });
};

function over(transport: string, options: AppOptions): AppOptions {
  return { profile: 'local', ...options, env: { TENON_LOG_LEVEL: 'silent', TENON_TRANSPORT: transport } };
}

async function kindsOf(options: AppOptions): Promise<string[]> {
  return (await verify([greeter], options)).problems.map(({ kind, where }) => `${kind} ${where}`);
}

async function notesOf(options: AppOptions): Promise<string[]> {
  const { ok, notes } = await verify([greeter], options);
  expect(ok).toBe(true);
  return notes.map(({ kind, where }) => `${kind} ${where}`);
}

/** Whether what listens there understands somebody who speaks in the clear. */
async function speaksInTheClear(address: string): Promise<boolean> {
  const [host, port] = address.split(':');
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), host, () => socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'));
    socket.once('error', reject);
    // A server of TLS answers what is no handshake with an alert, or closes.
    socket.once('data', (data) => resolve(data[0] !== 0x15));
    socket.once('close', () => resolve(false));
    socket.once('data', () => socket.destroy());
  });
}

describe('TLS that is configured once', () => {
  it.each(['grpc', 'grpc-js', 'tcp'])('is in force over %s, whichever transport a variable chooses', async (name) => {
    system = await System.start([greeter], over(name, { bind: sayOnce }));
    expect(await system.client(GreeterHandler).hello({ name: 'Ada' })).toEqual({ text: 'Ada' });
    expect(system.get(Transport).encryption).toEqual({ client: true, server: true });
    expect(await speaksInTheClear(system.services[0]?.server().address ?? '')).toBe(false);
  });

  it('is in force beside other options of the transport, and over a transport that is bound in code', async () => {
    const bind = (container: Container): void => {
      sayOnce(container);
      container.rebind(Transport).to(TcpTransport).inSingletonScope();
      container.rebind(TcpTransportOptions).toConstantValue({ idleMs: 1_000 });
    };
    system = await System.start([greeter], over('grpc', { bind }));
    expect(system.get(Transport).encryption).toEqual({ client: true, server: true });
  });

  it("is weaker than the transport's own options", async () => {
    const own = ca.issue({ name: 'other', names: ['127.0.0.1'] });
    const bind = (container: Container): void => {
      sayOnce(container);
      container
        .rebind(GrpcTransportOptions)
        .toConstantValue({ serverTls: { cert: own.cert, key: own.key, ca: ca.cert } });
    };
    system = await System.start([greeter], over('grpc', { bind }));
    await expect(system.client(GreeterHandler).hello({ name: 'Ada' })).rejects.toMatchObject({
      code: Code.Unavailable,
    });
  });

  it('is no problem if a function makes the transport, as it may read the options', async () => {
    const bind = (container: Container): void => {
      sayToGrpc(container);
      container
        .rebind(Transport)
        .toDynamicValue(({ get }) => new GrpcTransport(get(GrpcTransportOptions)))
        .inSingletonScope();
    };
    expect(await notesOf(over('tcp', { bind }))).toEqual(['unused-variable TENON_TRANSPORT']);
    system = await System.start([greeter], over('tcp', { bind }));
    expect(system.get(Transport).encryption).toEqual({ client: true, server: true });
  });

  it.each(['memory', 'unix'])(
    'has no object over %s, which does not leave the machine, and verify notes it',
    async (name) => {
      expect(await notesOf(over(name, { bind: sayOnce }))).toEqual(['unused-options TransportTlsOptions']);
      expect((await verify([], over(name, { bind: sayOnce }))).notes).toHaveLength(1);
      system = await System.start([greeter], over(name, { bind: sayOnce }));
      expect(await system.client(GreeterHandler).hello({ name: 'Ada' })).toEqual({ text: 'Ada' });
    },
  );
});

describe('TLS that is bound and not in force', () => {
  it.each(['grpc-js', 'tcp'])('refuses the start over %s if it was configured for grpc', async (name) => {
    const options = over(name, { bind: sayToGrpc });
    expect(await kindsOf(options)).toEqual(['security-not-in-force GrpcTransportOptions']);
    expect(await refusalOf([greeter], options)).toMatchObject({
      code: Code.FailedPrecondition,
      reason: 'app.verify_failed',
    });
  });

  it('is only a note over memory, which opens no port', async () => {
    expect(await notesOf(over('memory', { bind: sayToGrpc }))).toEqual(['unused-options GrpcTransportOptions']);
  });

  it('refuses servers in the clear next to clients with TLS, unless server: false', async () => {
    const clientOnly = (server?: false) => (container: Container) =>
      void container.bind(TransportTlsOptions).toConstantValue({ client: { ca: ca.cert }, server });
    expect(await kindsOf(over('grpc', { bind: clientOnly() }))).toEqual(['security-not-in-force TransportTlsOptions']);
    expect(await kindsOf(over('grpc', { bind: clientOnly(false) }))).toEqual([]);
    expect((await verify([], over('grpc', { bind: clientOnly() }))).ok).toBe(true);
    const withOwnBackends = (container: Container): void => {
      clientOnly()(container);
      container.rebind(GrpcTransportOptions).toConstantValue({ serverTls: { cert, key } });
    };
    expect(await kindsOf(over('grpc', { bind: withOwnBackends }))).toEqual([]);
  });

  it.each(['grpc', 'grpc-js', 'tcp'])('lets servers serve in the clear over %s with server: false', async (name) => {
    const bind = (container: Container): void =>
      void container.bind(TransportTlsOptions).toConstantValue({ client: { ca: ca.cert }, server: false });
    system = await System.start([greeter], over(name, { bind }));
    expect(system.get(Transport).encryption).toEqual({ client: true, server: false });
  });

  it('refuses a transport that does not take TransportTlsOptions', async () => {
    @injectable()
    class Radio extends MemoryTransport {
      static override readonly capabilities: TransportCapabilities = { network: true, grpc: false };
      constructor() {
        super();
      }
    }
    const bind = (container: Container): void => {
      sayOnce(container);
      container.rebind(Transport).to(Radio).inSingletonScope();
    };
    expect(await kindsOf(over('grpc', { bind }))).toEqual(['security-not-in-force TransportTlsOptions']);
  });

  it.each([
    ['a constant', (container: Container) => container.rebind(Transport).toConstantValue(new GrpcTransport())],
    [
      'a function',
      (container: Container) =>
        container
          .rebind(Transport)
          .toDynamicValue(() => new TcpTransport())
          .inSingletonScope(),
    ],
  ])('refuses the start with a transport that %s made without it', async (_what, bindTransport) => {
    const bind = (container: Container): void => {
      sayOnce(container);
      bindTransport(container);
    };
    expect(await refusalOf([greeter], over('grpc', { bind }))).toMatchObject({
      code: Code.FailedPrecondition,
      reason: 'app.security_not_in_force',
    });
  });

  it('refuses options made by a function, for another transport than the chosen one', async () => {
    const bind = (container: Container): void =>
      void container.rebind(GrpcTransportOptions).toDynamicValue(() => ({ serverTls: { cert, key } }));
    const { reason, message } = await refusalOf([greeter], over('tcp', { bind }));
    expect(reason).toBe('app.security_not_in_force');
    expect(message).toMatch(/^GrpcTransportOptions ask for TLS of servers, and .* \(tcp\) does not speak it/);
  });

  const made =
    (transport: () => Transport, more: (container: Container) => void = sayOnce) =>
    (container: Container): void => {
      more(container);
      container.rebind(Transport).toConstantValue(transport());
    };

  it.each([
    ['clients', () => new GrpcTransport({ serverTls: { cert, key } })],
    ['servers', () => new GrpcTransport({ tls: { ca: ca.cert } })],
  ])('names the side that would speak in the clear where the other does not: %s', async (side, transport) => {
    const { reason, message } = await refusalOf([greeter], over('grpc', { bind: made(transport) }));
    expect(reason).toBe('app.security_not_in_force');
    expect(message).toMatch(
      new RegExp(`^TransportTlsOptions ask for TLS of ${side}, and .* \\(grpc\\) does not speak it`),
    );
  });

  it('refuses clients in the clear if a function makes options with TLS', async () => {
    const bind = (container: Container): void =>
      void container.rebind(GrpcTransportOptions).toDynamicValue(() => ({ tls: { ca: ca.cert } }));
    const { reason, message } = await refusalOf([], over('tcp', { bind }));
    expect(reason).toBe('app.security_not_in_force');
    expect(message).toMatch(/^GrpcTransportOptions ask for TLS of clients/);
  });

  it('refuses a transport that does not state whether it speaks TLS', async () => {
    class Radio extends MemoryTransport {
      static override readonly capabilities: TransportCapabilities = { network: true, grpc: false };
    }
    const bind = (container: Container): void => {
      sayOnce(container);
      container
        .rebind(Transport)
        .toDynamicValue(() => new Radio())
        .inSingletonScope();
    };
    expect((await refusalOf([greeter], over('grpc', { bind }))).reason).toBe('app.security_not_in_force');
  });

  it('starts a process without services without TLS of servers', async () => {
    const bind = made(() => new GrpcTransport({ tls: { ca: ca.cert } }));
    system = await System.start([], over('grpc', { bind }));
    expect(system.get(Transport).encryption).toEqual({ client: true, server: false });
  });

  it('starts on a transport that is local to the machine', async () => {
    const bind = made(
      () => new MemoryTransport(),
      (container) => {
        sayOnce(container);
        container
          .rebind(GrpcTransportOptions)
          .toDynamicValue(() => ({ serverTls: { cert, key }, tls: { ca: ca.cert } }));
      },
    );
    system = await System.start([greeter], over('grpc', { bind }));
    expect(await system.client(GreeterHandler).hello({ name: 'Ada' })).toEqual({ text: 'Ada' });
  });

  it('refuses TLS to Redis that is configured for another backend than the chosen one', async () => {
    const address = 'rediss://me:secret@10.0.0.1:6379';
    const modules = [
      new ContainerModule(({ bind }) => {
        bind(RedisBrokerOptions).toConstantValue({ address });
        bind(RedisRegistryOptions).toConstantValue({ address });
      }),
    ];
    const env = { TENON_REGISTRY: 'mdns', TENON_BROKER: 'redis-streams', TENON_TRANSPORT: 'memory' };
    const { problems } = await verify([greeter], { profile: 'local', modules, env });
    expect(problems.map(({ kind, where }) => `${kind} ${where}`)).toEqual([
      'security-not-in-force RedisBrokerOptions',
      'security-not-in-force RedisRegistryOptions',
    ]);
    expect(JSON.stringify(problems)).not.toContain('secret');
    const quiet = await verify([greeter], { profile: 'test', modules, env: {} });
    expect([quiet.ok, quiet.notes.length]).toEqual([true, 2]);
  });
});

describe('TLS and credentials of a registry and a broker', () => {
  const secret = 'hush-hush';

  async function findingsOf(env: Readonly<Record<string, string>>, options: AppOptions = {}) {
    const { problems, choices } = await verify([greeter], { profile: 'test', env, ...options });
    expect(JSON.stringify([problems, choices])).not.toContain(secret);
    return problems.filter(({ kind }) => kind === 'security-not-in-force');
  }

  it.each([
    ['TENON_REGISTRY_TLS', 'true', 'tls', 'MemoryRegistry'],
    ['TENON_REGISTRY_TLS_CA_FILE', '/etc/tls/ca.crt', 'tls', 'MemoryRegistry'],
    ['TENON_REGISTRY_PASSWORD', secret, 'credentials.password', 'MemoryRegistry'],
    ['TENON_REGISTRY_TOKEN', secret, 'credentials.token', 'MemoryRegistry'],
    ['TENON_BROKER_TLS_INSECURE_SKIP_VERIFY', 'true', 'tls', 'MemoryBroker'],
    ['TENON_BROKER_USERNAME', secret, 'credentials.username', 'MemoryBroker'],
    ['TENON_BROKER_PASSWORD_FILE', '/run/secrets/p', 'credentials.passwordFile', 'MemoryBroker'],
  ])('refuse the start where what is bound does not take %s', async (variable, value, option, bound) => {
    const env = { [variable]: value };
    expect(await findingsOf(env)).toEqual([
      expect.objectContaining({ where: variable, message: expect.stringContaining(`${bound}, which is bound`) }),
    ]);
    const [found] = await findingsOf(env);
    expect(found?.message).toContain(option);
    expect(found?.fix).toContain('unset it, or bind');
    await expect(System.start([greeter], { profile: 'test', env })).rejects.toMatchObject({
      reason: 'app.verify_failed',
      message: expect.not.stringContaining(secret),
    });
  });

  it.each(['redis', 'redis-streams'])('are taken by the broker %s and the registry redis, but tokens', async (name) => {
    const env = {
      TENON_REGISTRY: 'redis',
      TENON_REGISTRY_TLS_CA_FILE: '/etc/tls/ca.crt',
      TENON_REGISTRY_USERNAME: 'tenon',
      TENON_REGISTRY_PASSWORD: secret,
      TENON_BROKER: name,
      TENON_BROKER_TLS: 'true',
      TENON_BROKER_PASSWORD: secret,
    };
    expect(await findingsOf(env)).toEqual([]);
    expect(await findingsOf({ ...env, TENON_BROKER_TOKEN: secret })).toMatchObject([{ where: 'TENON_BROKER_TOKEN' }]);
    const { choices } = await verify([greeter], { profile: 'test', env });
    const shown = choices.filter(({ name: one }) => /RedisRegistryOptions\.(?:tls|credentials)$/.test(one));
    expect(shown).toEqual([
      expect.objectContaining({ value: '{ caFile }', origin: 'TENON_REGISTRY_TLS_CA_FILE' }),
      expect.objectContaining({
        value: '{ username, password }',
        origin: 'TENON_REGISTRY_USERNAME, TENON_REGISTRY_PASSWORD',
      }),
    ]);
  });

  it('are not in force where code binds a registry that is told nothing of them', async () => {
    const bind = (container: Container): void => void container.rebind(Registry).to(RedisRegistry).inSingletonScope();
    const env = { TENON_REGISTRY_TLS: 'true' };
    expect(await findingsOf(env, { bind })).toMatchObject([
      { where: 'TENON_REGISTRY_TLS', message: expect.stringContaining('bind binds RedisRegistry') },
    ]);
  });

  it('are told to an own registry that takes them, and to no other', async () => {
    let told: object | undefined;
    @injectable()
    class Guarded extends MemoryRegistry {
      static override readonly capabilities = {
        ...MemoryRegistry.capabilities,
        tls: true,
        credentials: ['token'],
      } as const;
      constructor() {
        super();
      }
      override init(options: object): void {
        told = options;
      }
    }
    const backends = { registry: { guarded: Guarded } };
    const env = { TENON_REGISTRY: 'guarded', TENON_REGISTRY_TLS: 'true', TENON_REGISTRY_TOKEN: secret };
    expect(await findingsOf(env, { backends })).toEqual([]);
    system = await System.start([greeter], { profile: 'test', env, backends });
    expect(told).toEqual({ tls: {}, credentials: { token: secret } });
    expect(await findingsOf({ ...env, TENON_REGISTRY_PASSWORD: secret }, { backends })).toHaveLength(1);
  });

  const registryOptions = (options: RedisRegistryOptions) => (container: Container) =>
    void container.bind(RedisRegistryOptions).toConstantValue(options);
  const redisRegistry = { TENON_REGISTRY: 'redis' };

  it('are not replaced in silence by options in code: a pinned authority would vanish', async () => {
    const env = {
      ...redisRegistry,
      TENON_REGISTRY_TLS_CA_FILE: '/etc/tls/pinned.crt',
      TENON_REGISTRY_USERNAME: 'tenon',
      TENON_REGISTRY_PASSWORD: secret,
    };
    const tls = registryOptions({ tls: { serverName: 'redis.internal' } });
    expect(await findingsOf(env, { bind: tls })).toMatchObject([
      { where: 'TENON_REGISTRY_TLS_CA_FILE', message: expect.stringContaining('bind gives RedisRegistryOptions tls') },
    ]);
    await expect(System.start([greeter], { profile: 'test', env, bind: tls })).rejects.toMatchObject({
      reason: 'app.verify_failed',
    });
    const credentials = registryOptions({ credentials: { username: 'other' } });
    expect(await findingsOf(env, { bind: credentials })).toMatchObject([
      { where: 'TENON_REGISTRY_USERNAME, TENON_REGISTRY_PASSWORD' },
    ]);
    const others = registryOptions({ tls: undefined, timeoutMs: 100 });
    expect(await findingsOf(env, { bind: others })).toEqual([]);
    expect(await findingsOf(redisRegistry, { bind: tls })).toEqual([]);
  });

  it.each([
    ['RedisRegistryOptions', RedisRegistryOptions, 'REGISTRY', 'redis'],
    ['RedisBrokerOptions', RedisBrokerOptions, 'BROKER', 'redis'],
    ['NatsTransportOptions', NatsTransportOptions, 'TRANSPORT', 'nats'],
  ])(
    'are not replaced in silence by %s that a function makes: the start is refused',
    async (name, key, room, chosen) => {
      const env = { [`TENON_${room}`]: chosen, [`TENON_${room}_TLS_CA_FILE`]: '/etc/tls/pinned.crt' };
      const bind = (container: Container): void =>
        void container.bind<object>(key).toDynamicValue(() => ({ tls: { serverName: 'the.internal' } }));
      expect(await refusalOf([greeter], { profile: 'test', env, bind })).toMatchObject({
        code: Code.FailedPrecondition,
        reason: 'app.security_not_in_force',
        message: expect.stringContaining(`bind gives ${name} tls`),
      });
    },
  );

  it.each(['REGISTRY', 'BROKER'])('of the %s are noted where a variable says that there is no TLS', async (room) => {
    const variables = [`TENON_${room}_TLS_CA_FILE`, `TENON_${room}_TLS_INSECURE_SKIP_VERIFY`];
    const env = { [`TENON_${room}`]: 'redis', [`TENON_${room}_TLS`]: 'false', [variables[0] as string]: '/ca.crt' };
    const { ok, notes } = await verify([], { profile: 'test', env: { ...env, [variables[1] as string]: 'true' } });
    expect([ok, notes.map(({ kind, where }) => `${kind} ${where}`)]).toEqual([
      true,
      variables.map((name) => `unused-variable ${name}`),
    ]);
    expect(notes[0]?.message).toContain(`TENON_${room}_TLS is false`);
  });

  it('of calls are noted where a variable says that there is no TLS', async () => {
    const env = { TENON_TRANSPORT: 'grpc', TENON_TLS: 'false', TENON_TLS_CA_FILE: '/ca.crt' };
    const { notes } = await verify([], { profile: 'test', env });
    expect(notes.map(({ kind, where }) => `${kind} ${where}`)).toEqual(['unused-variable TENON_TLS_CA_FILE']);
  });

  it.each([
    ['TENON_REGISTRY', 'redis', 'rediss'],
    ['TENON_BROKER', 'redis', 'rediss'],
    ['TENON_BROKER', 'rabbitmq', 'amqps'],
    ['TENON_BROKER', 'mqtt', 'mqtts'],
  ])('of %s=%s are refused where %s:// contradicts them', async (name, backend, scheme) => {
    const address = `${scheme}://me:${secret}@10.0.0.1`;
    const env = { [name]: backend, [`${name}_TLS`]: 'false', [`${name}_ADDRESS`]: address };
    const { problems } = await verify([], { profile: 'test', env });
    expect(problems).toMatchObject([{ kind: 'configuration' }]);
    expect(problems[0]?.message).toContain(`${name}_TLS is false, and ${name}_ADDRESS asks for TLS by ${scheme}://`);
    expect(JSON.stringify(problems)).not.toContain(secret);
  });

  it.each<[object, string]>([
    [{ credentials: { password: secret } }, 'RedisBrokerOptions have credentials (bind)'],
    [{ tls: {} }, 'RedisBrokerOptions ask for TLS (bind)'],
    [{ tls: {}, credentials: { password: secret } }, 'RedisBrokerOptions ask for TLS and have credentials (bind)'],
  ])('in options that nothing reads are called what they are: %#', async (options, message) => {
    const env = { TENON_BROKER: 'redis-streams' };
    const bind = (container: Container): void => void container.bind(RedisBrokerOptions).toConstantValue(options);
    const [found] = await findingsOf(env, { bind });
    expect(found?.message).toContain(message);
    expect(found?.message.includes('in the clear')).toBe('tls' in options);
  });
});
