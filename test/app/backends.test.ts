import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { backendNames, loadBackend } from '../../src/app/backends.ts';
import { backendChoice, readConfig, settingsOf } from '../../src/app/config.ts';
import type { AddressedRoom, Backend, BackendRoom } from '../../src/app/internal/backend-row.ts';
import { backendRows } from '../../src/app/internal/backend-table.ts';
import { Code } from '../../src/errors/errors.ts';
import { type BuiltCopy, builtCopy } from './support.ts';

const rooms = Object.keys(backendRows) as BackendRoom[];
const all = rooms.flatMap((room) => backendNames(room).map((name) => [room, name] as const));

/** The backend of a room that an environment chooses, loaded as a start does it. */
function loadedUnder(room: AddressedRoom, env: Readonly<Record<string, string>>): Promise<Backend> {
  const choice = backendChoice(readConfig(env), room);
  return loadBackend(room, choice.name, settingsOf(choice));
}

describe('the table of backends', () => {
  it.each(all)('%s "%s" has a class, and says what it can do', async (room, name) => {
    const { implementation } = await loadBackend(room, name, {});
    expect(implementation).toBeInstanceOf(Function);
    if (room !== 'codec') expect(implementation).toHaveProperty('capabilities');
  });

  it('gives a backend the values of its variables, and nothing for those that are not set', async () => {
    const redis = await loadedUnder('registry', { TENON_REGISTRY: 'redis', TENON_REGISTRY_ADDRESS: '10.0.0.1:6379' });
    expect(redis.options?.value).toEqual({ address: '10.0.0.1:6379' });
    const said = { TENON_MDNS_INTERFACE: '127.0.0.1', TENON_MDNS_PORT: '5' };
    const mdns = await loadedUnder('registry', { TENON_REGISTRY: 'mdns://10.0.0.1', ...said });
    expect(mdns.options?.value).toEqual({ interface: '127.0.0.1', port: 5 });
    expect((await loadedUnder('broker', { TENON_BROKER: 'redis-streams' })).options?.value).toEqual({});
  });

  it('gives Redis the password and the database that stand behind redis:// or redis-streams://', async () => {
    const addressIn = async (env: Record<string, string>): Promise<unknown> =>
      (await loadedUnder('broker', env)).options?.value;
    expect(await addressIn({ TENON_BROKER: 'redis-streams://me:secret@10.0.0.1:6379/2' })).toEqual({
      address: 'redis://me:secret@10.0.0.1:6379/2',
    });
    const tls = { TENON_BROKER: 'redis-streams', TENON_BROKER_ADDRESS: 'rediss://me:secret@10.0.0.1' };
    expect(await addressIn(tls)).toEqual({ address: 'rediss://me:secret@10.0.0.1' });
    expect(await addressIn({ TENON_BROKER: 'redis-streams://10.0.0.1:6379' })).toEqual({ address: '10.0.0.1:6379' });
  });

  it('refuses an unknown name with a list of the known ones', async () => {
    await expect(loadBackend('broker', 'redis-stream', {})).rejects.toMatchObject({
      code: Code.InvalidArgument,
      reason: 'config.invalid',
      message:
        'there is no broker "redis-stream": choose one of memory, redis, redis-streams, nats, nats-jetstream, rabbitmq, kafka, mqtt. Did you mean "redis-streams"?',
    });
  });
});

describe('loading of backends', () => {
  let copy: BuiltCopy;
  beforeAll(() => {
    copy = builtCopy();
  });
  afterAll(() => copy.remove());

  const libraries = ['@grpc/grpc-js', 'ioredis', 'dns-packet', 'protobufjs', '@grpc/proto-loader'];

  it('does not happen when the package is imported', async () => {
    const { files, packages } = await copy.loadedBy("import './dist/index.js';");
    expect([...files].sort()).toEqual(['chunks/app', 'chunks/core', 'index']);
    expect(packages.filter((name) => libraries.includes(name))).toEqual([]);
  });

  const others = ['registry/memory', 'selector/peak-ewma', 'broker/memory'];
  it.each([
    [{ TENON_PROFILE: 'test' }, ['transport/memory', ...others], []],
    [{ TENON_PROFILE: 'local' }, ['transport/grpc', ...others], []],
    [{ TENON_PROFILE: 'local', TENON_TRANSPORT: 'grpc-js' }, ['transport/grpc-js', ...others], ['@grpc/grpc-js']],
  ])('a start under %j loads what is bound, and nothing else', async (env, bound, ofBound) => {
    const { files, packages } = await copy.loadedBy(
      `import { System } from './dist/index.js';
       await (await System.start([])).stop();`,
      env,
    );
    const chosen = all.filter(([room]) => room !== 'codec').map(([room, name]) => `${room}/${name}`);
    expect(files.filter((file) => chosen.includes(file)).sort()).toEqual([...bound].sort());
    expect(packages.filter((name) => libraries.includes(name)).sort()).toEqual([...ofBound, 'protobufjs'].sort());
  });
});

describe('a package that is not installed', () => {
  let copy: BuiltCopy;
  beforeAll(() => {
    copy = builtCopy(['ioredis', 'dns-packet']);
  });
  afterAll(() => copy.remove());

  async function startUnder(env: Record<string, string>): Promise<string> {
    const child = copy.run(
      `const { System, codeName } = await import('./dist/index.js');
       try { await (await System.start([])).stop(); console.log('started'); }
       catch (error) { console.log([codeName(error.code), error.reason, error.message].join(' | ')); }`,
      { env },
    );
    await child.waitForExit();
    return child.stdout + child.stderr;
  }

  it.each([
    [
      { TENON_PROFILE: 'test', TENON_REGISTRY: 'redis' },
      'the registry "redis" needs the package ioredis, which is not installed: npm install ioredis',
    ],
    [
      { TENON_PROFILE: 'test', TENON_BROKER: 'redis-streams' },
      'the broker "redis-streams" needs the package ioredis, which is not installed: npm install ioredis',
    ],
    [
      { TENON_PROFILE: 'dev' },
      'the registry "mdns" needs the package dns-packet, which is not installed: npm install dns-packet',
    ],
  ])('is named with the command that installs it: %j', async (env, message) => {
    expect(await startUnder(env)).toBe(`FAILED_PRECONDITION | app.package_missing | ${message}\n`);
  });

  it('does not fail programs whose backends do not need it', async () => {
    expect(await startUnder({ TENON_PROFILE: 'test' })).toBe('started\n');
  });
});
