import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it } from '@jest/globals';

import { RedisBroker } from '../../src/broker/redis.ts';
import { RedisStreamsBroker } from '../../src/broker/redis-streams.ts';
import { Code } from '../../src/errors/errors.ts';
import { MemoryRegistry } from '../../src/registry/memory.ts';
import { RedisRegistry } from '../../src/registry/redis.ts';
import { RecordingLogger } from '../../src/testing/recorders.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';
import { ConnectionSecurity, type ConnectionSecurityOptions } from '../../src/tls/connection.ts';
import { GrpcTransport } from '../../src/transport/grpc.ts';
import { TcpTransport } from '../../src/transport/tcp.ts';
import { closing } from '../support/closing.ts';

const folder = mkdtempSync(join(tmpdir(), 'tenon-connection-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));

function securityOf(options: unknown): { readonly security: ConnectionSecurity; readonly logger: RecordingLogger } {
  const logger = new RecordingLogger();
  const owner = { name: 'the test', variables: 'TENON_TEST_' };
  const seams = { runtime: virtualRuntime(), logger };
  const security = new ConnectionSecurity(options as ConnectionSecurityOptions, owner, seams);
  closing.push(() => security.close());
  return { security, logger };
}

function errorOf(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return error;
  }
}

describe('insecureSkipVerify', () => {
  it.each(['false', 'true', 1, {}])('verifies servers where %j stands in place of true', (insecureSkipVerify) => {
    const { security } = securityOf({ tls: { insecureSkipVerify } });
    expect(security.tls?.rejectUnauthorized).toBe(true);
  });

  it('warns once, however often the connection is opened and closed', () => {
    const { security, logger } = securityOf({ tls: { insecureSkipVerify: true } });
    for (let times = 0; times < 3; times += 1) {
      expect(security.tls?.rejectUnauthorized).toBe(false);
      security.close();
    }
    expect(logger.lines).toHaveLength(1);
  });
});

describe('passwords and tokens', () => {
  it.each(['password', 'token'] as const)('refuse an empty %s, which would prove nothing to the server', (kind) => {
    const { security } = securityOf({ credentials: { [kind]: '' } });
    expect(errorOf(() => security[kind])).toMatchObject({
      code: Code.FailedPrecondition,
      reason: 'tls.invalid_credentials',
      message: expect.stringContaining(`TENON_TEST_${kind.toUpperCase()}`),
    });
  });

  it.each(['password', 'token'] as const)('refuse an empty file of a %s, with or without an end of line', (kind) => {
    for (const text of ['', '\n', '\r\n']) {
      const file = join(folder, `empty-${kind}`);
      writeFileSync(file, text);
      const { security } = securityOf({ credentials: { [`${kind}File`]: file } });
      expect(errorOf(() => security[kind])).toMatchObject({
        reason: 'tls.invalid_credentials',
        message: expect.stringContaining('it is empty'),
      });
    }
  });

  it('keep the last good one when its file becomes empty or goes, and say each once until it changes', () => {
    const passwordFile = join(folder, 'password');
    const { security, logger } = securityOf({ credentials: { passwordFile } });
    const readTwice = (): unknown[] => [security.password, security.password];
    writeFileSync(passwordFile, 'first\n');
    expect(readTwice()).toEqual(['first', 'first']);
    writeFileSync(passwordFile, '');
    expect(readTwice()).toEqual(['first', 'first']);
    expect(logger.lines).toHaveLength(1);
    rmSync(passwordFile);
    expect(readTwice()).toEqual(['first', 'first']);
    expect(logger.lines).toHaveLength(2);
    writeFileSync(passwordFile, 'second\n');
    expect(readTwice()).toEqual(['second', 'second']);
    writeFileSync(passwordFile, '\n');
    expect(readTwice()).toEqual(['second', 'second']);
    expect(logger.lines).toHaveLength(3);
  });

  it('are absent where all their fields are undefined', () => {
    expect(securityOf({ credentials: {} }).security.hasCredentials).toBe(false);
    expect(securityOf({ credentials: { password: undefined } }).security.hasCredentials).toBe(false);
    expect(securityOf({ credentials: { username: 'me' } }).security.hasCredentials).toBe(true);
  });
});

type Make = (options: object) => unknown;
const makers: [string, Make][] = [
  ['the registry redis', (options) => new RedisRegistry(options)],
  ['the registry memory', (options) => new MemoryRegistry(options)],
  ['the broker redis', (options) => new RedisBroker(options)],
  ['the broker redis-streams', (options) => new RedisStreamsBroker(options)],
];

describe.each(makers)('%s', (_name, make) => {
  it.each([
    [{ tls: false }, 'tls is false'],
    [{ tls: true }, 'tls is true'],
    [{ tls: null }, 'tls is null'],
    [{ tls: 'secret' }, 'tls is a text'],
    [{ tls: { cafile: '/ca.crt' } }, 'Did you mean "caFile"?'],
    [{ tls: { toString: '/ca.crt' } }, 'tls.toString does not exist'],
    [{ tls: { insecureSkipVerify: 'secret' } }, 'tls.insecureSkipVerify is a text: give true or false'],
    [{ tls: { caFile: 1 } }, 'tls.caFile is a value of the type number: give a text'],
    [{ tls: { minVersion: 'secret' } }, 'give one of "TLSv1.2", "TLSv1.3"'],
    [{ credentials: null }, 'credentials is null'],
    [{ credentials: { user: 'me' } }, 'credentials.user does not exist. Its fields are username, password'],
    [{ credentials: { pass: 'secret' } }, 'credentials.pass does not exist'],
    [{ credentials: { password: 1234 } }, 'credentials.password is a value of the type number'],
  ])('refuses %j, and names what there is', (options, message) => {
    const error = errorOf(() => make(options));
    expect(error).toMatchObject({
      code: Code.InvalidArgument,
      reason: 'tls.invalid_option',
      message: expect.stringContaining(message),
    });
    expect(String(error)).not.toMatch(/secret|1234/);
  });

  it('takes options that are undefined as absent', () => {
    const instance = make({ tls: undefined, credentials: undefined }) as { readonly options: object };
    expect(instance.options).toBeDefined();
  });
});

describe.each<[string, Make]>([
  ['grpc', (options) => new GrpcTransport(options)],
  ['tcp', (options) => new TcpTransport(options)],
])('the transport %s', (_name, make) => {
  it.each([
    [{ tls: false }, 'tls is false'],
    [{ tls: { cafile: '/ca.crt' } }, 'Did you mean "caFile"?'],
    [{ tls: { insecureSkipVerify: true } }, 'tls.insecureSkipVerify does not exist'],
    [{ serverTls: null }, 'serverTls is null'],
    [{ serverTls: { certfile: '/tls.crt' } }, 'Did you mean "certFile"?'],
    [{ serverTls: { clientAuth: 'required' } }, 'give one of "none", "request", "require"'],
  ])('refuses %j, and names what there is', (options, message) => {
    expect(errorOf(() => make(options))).toMatchObject({
      reason: 'tls.invalid_option',
      message: expect.stringContaining(message),
    });
  });
});
