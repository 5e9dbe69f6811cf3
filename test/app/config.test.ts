import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it } from '@jest/globals';

import { backendNames } from '../../src/app/backends.ts';
import { envExample, readConfig } from '../../src/app/config.ts';
import { profileNames, variables } from '../../src/app/internal/variable-list.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';

const registries = backendNames('registry').join(', ');

function refused(env: Record<string, string>, profile?: string): TenonError {
  try {
    readConfig(env, profile);
  } catch (error) {
    if (TenonError.is(error)) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

describe('the configuration', () => {
  it('has the values of the profile dev if no variable is set', () => {
    expect(readConfig({})).toEqual({
      profile: 'dev',
      stated: [],
      transport: 'grpc',
      transportServer: { name: 'grpc' },
      inProcess: false,
      codec: 'proto',
      messages: { maxElements: 1_048_576 },
      registry: { name: 'mdns', settings: {} },
      selector: 'peak-ewma',
      broker: { name: 'memory' },
      log: { level: 'info', format: 'text' },
      client: {
        insecureCredentials: false,
        dialect: 'grpc',
        timeoutMs: 30_000,
        maxReceiveBytes: 4_194_304,
        compress: false,
      },
      server: { address: '127.0.0.1:0', dialect: 'grpc', maxReceiveBytes: 4_194_304, compress: false },
      service: {
        register: true,
        registerTtlMs: 30_000,
        registerWorker: true,
        registerBusyAfterMs: 1_000,
        exposeErrors: false,
        suggest: false,
        drain: true,
        lameDuckMs: 1_000,
        drainTimeoutMs: 10_000,
        stopTimeoutMs: 5_000,
        healthFollowsRegistry: true,
        healthFollowsBroker: true,
        healthFollowsOutages: false,
        requireBackends: false,
      },
      health: true,
      reflection: true,
    });
  });

  it.each([
    ['test', 'memory', 'memory', 'memory', '127.0.0.1:0', 'silent', 'text', 0],
    ['dev', 'grpc', 'mdns', 'memory', '127.0.0.1:0', 'info', 'text', 1_000],
    ['local', 'grpc', 'memory', 'memory', '127.0.0.1:0', 'info', 'text', 0],
    ['prod', 'grpc', 'redis', 'redis-streams', '0.0.0.0:0', 'info', 'json', 1_000],
  ])('under the profile %s', (profile, transport, registry, broker, address, level, format, lameDuckMs) => {
    const config = readConfig({ TENON_PROFILE: profile });
    expect(config).toMatchObject({ profile, transport, registry: { name: registry }, broker: { name: broker } });
    expect(config).toMatchObject({ server: { address }, log: { level, format }, service: { lameDuckMs } });
    expect(readConfig({ TENON_PROFILE: 'prod' }, profile)).toEqual(config);
  });

  it('takes a service config as JSON or from a file, and describes what is wrong with it', () => {
    const serviceConfig = { methodConfig: [{ name: [{}], timeout: '1s' }] };
    const text = JSON.stringify(serviceConfig);
    expect(readConfig({ TENON_CLIENT_SERVICE_CONFIG: text }).client).toMatchObject({ serviceConfig });
    const folder = mkdtempSync(join(tmpdir(), 'tenon-config-'));
    const file = join(folder, 'service-config.json');
    writeFileSync(file, text);
    expect(readConfig({ TENON_CLIENT_SERVICE_CONFIG: file }).client).toMatchObject({ serviceConfig });
    rmSync(folder, { recursive: true });
    expect(refused({ TENON_CLIENT_SERVICE_CONFIG: file }).message).toMatch(
      /TENON_CLIENT_SERVICE_CONFIG: the file .* cannot be read/,
    );
    expect(refused({ TENON_CLIENT_SERVICE_CONFIG: '{' }).message).toMatch(/the JSON cannot be read/);
    expect(refused({ TENON_CLIENT_SERVICE_CONFIG: '{"methodConfigs":[]}' }).message).toMatch(
      /methodConfigs is not a field of a service config. Did you mean "methodConfig"\?/,
    );
  });

  it('takes variables over the values of the profile', () => {
    const config = readConfig({
      TENON_PROFILE: 'prod',
      TENON_TRANSPORT: 'memory',
      TENON_CODEC: 'json',
      TENON_REGISTRY: 'mdns',
      TENON_SELECTOR: 'round-robin',
      TENON_BROKER: 'redis',
      TENON_BROKER_ADDRESS: '10.0.0.1:6379',
      TENON_LOG_LEVEL: 'debug',
      TENON_LOG_FORMAT: 'text',
      TENON_MDNS_INTERFACE: '127.0.0.1',
      TENON_MDNS_PORT: '15353',
      TENON_SERVER_ADDRESS: '127.0.0.1:50051',
      TENON_SERVER_ADVERTISE: '10.0.0.7:50051',
      TENON_SERVER_NAME: 'greeter',
      TENON_SERVER_ID: 'a1',
      TENON_SERVER_METADATA: 'zone=a, rack = 7,empty=',
      TENON_TLS: 'true',
      TENON_TLS_CERT_FILE: '/tls.crt',
      TENON_TLS_KEY_FILE: '/tls.key',
      TENON_TLS_CA_FILE: '/ca.crt',
      TENON_TLS_CLIENT_AUTH: 'require',
      TENON_TLS_SERVER_NAME: 'fleet',
      TENON_REGISTER: 'false',
      TENON_REGISTER_TTL_MS: '9000',
      TENON_REGISTER_INTERVAL_MS: '3000',
      TENON_DRAIN: 'false',
      TENON_LAME_DUCK_MS: '0',
      TENON_DRAIN_TIMEOUT_MS: '5',
      TENON_CLIENT_DIALECT: 'go-micro',
      TENON_SERVER_DIALECT: 'go-micro',
      TENON_HEALTH: 'false',
      TENON_HEALTH_FOLLOWS_REGISTRY: 'false',
      TENON_HEALTH_FOLLOWS_BROKER: 'false',
      TENON_HEALTH_FOLLOWS_OUTAGES: 'true',
      TENON_REQUIRE_BACKENDS: 'true',
      TENON_REFLECTION: 'true',
      TENON_CLIENT_TIMEOUT_MS: '200',
      TENON_CLIENT_COMPRESS: 'true',
      TENON_SERVER_COMPRESS: 'true',
      TENON_MAX_RECEIVE_BYTES: '100',
      TENON_MAX_SEND_BYTES: '200',
      TENON_MAX_ELEMENTS: '300',
      TENON_MAX_DEPTH: '20',
      TENON_EXPOSE_ERRORS: 'true',
      TENON_SUGGEST: 'true',
      TENON_IN_PROCESS: 'true',
      PATH: '/bin',
    });
    expect(config).toEqual({
      profile: 'prod',
      stated: expect.arrayContaining(['TENON_PROFILE', 'TENON_TLS_CA_FILE', 'TENON_LOG_FORMAT']),
      transport: 'memory',
      transportServer: { name: 'memory' },
      inProcess: true,
      codec: 'json',
      messages: { maxElements: 300, maxDepth: 20 },
      registry: { name: 'mdns', settings: { interface: '127.0.0.1', port: 15_353 } },
      selector: 'round-robin',
      broker: { name: 'redis', address: '10.0.0.1:6379' },
      log: { level: 'debug', format: 'text' },
      tls: {
        client: { certFile: '/tls.crt', keyFile: '/tls.key', caFile: '/ca.crt', serverName: 'fleet' },
        server: { certFile: '/tls.crt', keyFile: '/tls.key', caFile: '/ca.crt', clientAuth: 'require' },
      },
      client: {
        insecureCredentials: false,
        dialect: 'go-micro',
        timeoutMs: 200,
        maxReceiveBytes: 100,
        maxSendBytes: 200,
        compress: true,
      },
      server: {
        address: '127.0.0.1:50051',
        dialect: 'go-micro',
        maxReceiveBytes: 100,
        maxSendBytes: 200,
        compress: true,
      },
      service: {
        maxReceiveBytes: 100,
        maxSendBytes: 200,
        name: 'greeter',
        id: 'a1',
        address: '127.0.0.1:50051',
        advertise: '10.0.0.7:50051',
        dialect: 'go-micro',
        compress: true,
        metadata: { zone: 'a', rack: '7', empty: '' },
        register: false,
        registerTtlMs: 9_000,
        registerWorker: true,
        registerBusyAfterMs: 1_000,
        registerIntervalMs: 3_000,
        exposeErrors: true,
        suggest: true,
        drain: false,
        lameDuckMs: 0,
        drainTimeoutMs: 5,
        stopTimeoutMs: 5_000,
        health: false,
        healthFollowsRegistry: false,
        healthFollowsBroker: false,
        healthFollowsOutages: true,
        requireBackends: true,
        reflection: true,
      },
      health: false,
      reflection: true,
    });
  });

  it('has TLS if any variable of TLS is set, unless TENON_TLS=false', () => {
    expect(readConfig({}).tls).toBeUndefined();
    expect(readConfig({ TENON_TLS: 'true' }).tls).toEqual({ client: {}, server: { clientAuth: 'none' } });
    for (const name of ['CERT_FILE', 'KEY_FILE', 'CA_FILE', 'SERVER_NAME'])
      expect(readConfig({ [`TENON_TLS_${name}`]: 'x' }).tls).toBeDefined();
    expect(readConfig({ TENON_TLS_CLIENT_AUTH: 'require' }).tls?.server.clientAuth).toBe('require');
    expect(readConfig({ TENON_TLS: 'false', TENON_TLS_CA_FILE: 'x' }).tls).toBeUndefined();
  });

  it('reads a backend and its address from one variable', () => {
    const config = readConfig({ TENON_REGISTRY: 'redis://127.0.0.1:6379', TENON_BROKER: 'redis-streams://a:1,b:2' });
    expect(config.registry).toEqual({ name: 'redis', address: '127.0.0.1:6379' });
    expect(config.broker).toEqual({ name: 'redis-streams', address: 'a:1,b:2' });
    expect(readConfig({ TENON_REGISTRY: 'redis://', TENON_REGISTRY_ADDRESS: 'x:1' }).registry).toEqual({
      name: 'redis',
      address: 'x:1',
    });
  });

  it('treats an empty variable as one that is not set', () => {
    expect(readConfig({ TENON_REGISTRY: '', TENON_PROFILE: '' })).toEqual(readConfig({}));
  });

  it('ignores TENON_TEST_ variables', () => {
    expect(readConfig({ TENON_TEST_REQUIRE: 'all' })).toEqual(readConfig({}));
  });

  it.each<[Record<string, string>, string]>([
    [{ TENON_REGISTRY: 'redus' }, `TENON_REGISTRY is "redus": there are ${registries}. Did you mean "redis"?`],
    [
      { TENON_REGISTRY: 'nowhere://127.0.0.1:2379' },
      `TENON_REGISTRY is "nowhere://127.0.0.1:2379": there are ${registries}.`,
    ],
    [
      { TENON_TRANSPORT: 'GRPC' },
      'TENON_TRANSPORT is "GRPC": there are grpc, grpc-js, memory, tcp, unix, nats. Did you mean "grpc"?',
    ],
    [{ TENON_PROFILE: 'staging' }, 'TENON_PROFILE is "staging": there are test, dev, local, prod.'],
    [{ TENON_DRAIN: 'yes' }, 'TENON_DRAIN is "yes": there are true, false.'],
    [
      { TENON_LAME_DUCK_MS: '1s' },
      'TENON_LAME_DUCK_MS is "1s": it has to be a whole number of at least 0, in ms, such as 0',
    ],
    [
      { TENON_REGISTER_TTL_MS: '0' },
      'TENON_REGISTER_TTL_MS is "0": it has to be a whole number of at least 1, in ms, such as 1',
    ],
    [
      { TENON_MDNS_PORT: '70000' },
      'TENON_MDNS_PORT is "70000": it has to be a whole number from 1 to 65535, such as 5353',
    ],
    [{ TENON_SERVER_METADATA: 'zone=a,b' }, 'TENON_SERVER_METADATA is "zone=a,b": "b" has to be key=value'],
    [{ TENON_REGISTY: 'redis' }, 'TENON_REGISTY: there is no such variable. Did you mean "TENON_REGISTRY"?'],
    [
      { TENON_FLUX_CAPACITOR: '1' },
      'TENON_FLUX_CAPACITOR: there is no such variable. Unset it: .env.example lists all variables.',
    ],
    [
      { TENON_BROKER: 'redis://a:1', TENON_BROKER_ADDRESS: 'b:1' },
      'TENON_BROKER_ADDRESS: TENON_BROKER already has an address, and a different one: set one of them',
    ],
  ])('refuses %j', (env, message) => {
    const error = refused(env);
    expect(error).toMatchObject({ code: Code.InvalidArgument, reason: 'config.invalid' });
    expect(error.message).toBe(`the configuration is wrong: ${message}`);
  });

  it('refuses an unknown profile that is named in code', () => {
    expect(refused({}, 'tset').message).toBe(
      'the configuration is wrong: the profile is "tset": there are test, dev, local, prod. Did you mean "test"?',
    );
  });

  it('reports all problems at once', () => {
    const error = refused({ TENON_TRANSPORT: 'mucp', TENON_DRAIN: 'no', TENON_BROKR: 'redis', TENON_CODEC: 'json' });
    expect(error.message).toBe(
      [
        'the configuration has 3 problems:',
        '- TENON_TRANSPORT is "mucp": there are grpc, grpc-js, memory, tcp, unix, nats.',
        '- TENON_DRAIN is "no": there are true, false.',
        '- TENON_BROKR: there is no such variable. Did you mean "TENON_BROKER"?',
      ].join('\n'),
    );
  });

  it('does not show passwords', () => {
    const error = refused({ TENON_REGISTRY: 'reds://user:secret@10.0.0.1:6379' });
    expect(error.message).toContain('"reds://***@10.0.0.1:6379"');
    expect(error.message).not.toContain('secret');
  });
});

describe('.env.example', () => {
  it('is current: npm run env makes it', () => {
    expect(readFileSync(new URL('../../.env.example', import.meta.url), 'utf8')).toBe(envExample());
  });

  it('sets nothing as it is, and uncommented gives the values of the profile dev, apart from examples', () => {
    const lines = envExample().split('\n');
    expect(lines.filter((line) => line !== '' && !line.startsWith('#'))).toEqual([]);
    const env = Object.fromEntries(
      lines.flatMap((line) => [...line.matchAll(/^# ([A-Z_]+)=(.*)$/g)].map(([, name, value]) => [name, value])),
    );
    expect(Object.keys(env)).toEqual(variables.map(({ name }) => name));
    const { server, log, ...rest } = readConfig(env as Record<string, string>);
    expect({ server: { ...server, maxSendBytes: undefined }, log }).toEqual({
      server: { ...readConfig({}).server, maxSendBytes: undefined },
      log: readConfig({}).log,
    });
    expect(rest.service.metadata).toEqual({ zone: 'a', rack: '7' });
  });

  it('has a fallback for every profile if it has one for any', () => {
    for (const variable of variables) {
      const fallback = 'fallback' in variable ? variable.fallback : undefined;
      if (typeof fallback === 'object') expect(Object.keys(fallback)).toEqual([...profileNames]);
      else expect(fallback ?? ('example' in variable ? variable.example : '')).not.toBe('');
    }
  });
});

describe('variables whose prefix is not in upper case', () => {
  it.each(['tenon_registry', 'Tenon_Registry'])('are refused: %s', (name) => {
    expect(() => readConfig({ [name]: 'memory' })).toThrow(new RegExp(`${name}: there is no such variable`));
  });
});
