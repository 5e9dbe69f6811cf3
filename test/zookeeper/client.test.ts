import { describe, expect, it } from '@jest/globals';

import { systemRuntime } from '../../src/runtime/system.ts';
import type { ZooKeeper } from '../../src/zookeeper/zookeeper.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';
import { clientOf, ScriptedServer } from './support.ts';

expectNothingUncaught();

const data = (text: string): Uint8Array => Buffer.from(text);
const patientMs = 30_000;

describeWithServer('ZooKeeperClient', new BackendServer('zookeeper'), (server) => {
  let serial = 0;
  /** A node of the test's own. */
  const fresh = async (client: ZooKeeper): Promise<string> => {
    serial += 1;
    const path = `/test-${serial}`;
    await client.create(path, data(''), 'persistent', 'world');
    return path;
  };

  it('creates, reads, writes and deletes nodes', async () => {
    const { client } = clientOf([server.address]);
    const path = await fresh(client);
    await client.create(`${path}/ü b`, data('one'), 'persistent', 'world');
    expect((await client.getChildren(path)).children).toEqual(['ü b']);
    expect((await client.getChildren(path)).stat).toMatchObject({ childCount: 1, ephemeralOwner: 0n });
    const first = await client.getData(`${path}/ü b`);
    expect([String(first.data), first.stat.version]).toEqual(['one', 0]);
    expect(await client.setData(`${path}/ü b`, data('two'), 0)).toMatchObject({ version: 1 });
    const second = await client.getData(`${path}/ü b`);
    expect(String(second.data)).toBe('two');
    expect(second.stat.modifiedZxid).toBeGreaterThan(first.stat.modifiedZxid);
    expect(second.stat.createdZxid).toBe(first.stat.createdZxid);
    expect(await client.exists(`${path}/ü b`)).toEqual(second.stat);
    expect(await client.exists(`${path}/none`)).toBeUndefined();
    await client.delete(`${path}/ü b`, 1);
    expect((await client.getChildren(path)).children).toEqual([]);
  });

  it('rejects with the name of an error, and goes on', async () => {
    const { client } = clientOf([server.address]);
    const path = await fresh(client);
    await client.create(`${path}/a`, data(''), 'ephemeral', 'world');
    const refusals: [string, Promise<unknown>][] = [
      ['NodeExists', client.create(path, data(''), 'persistent', 'world')],
      ['NoNode', client.create(`${path}/no/parent`, data(''), 'persistent', 'world')],
      ['NoNode', client.getData(`${path}/none`)],
      ['NoNode', client.getChildren(`${path}/none`)],
      ['NoNode', client.delete(`${path}/none`, -1)],
      ['BadVersion', client.setData(path, data(''), 7)],
      ['BadVersion', client.delete(`${path}/a`, 7)],
      ['NotEmpty', client.delete(path, -1)],
      ['NoChildrenForEphemerals', client.create(`${path}/a/b`, data(''), 'persistent', 'world')],
      ['InvalidACL', client.create(`${path}/b`, data(''), 'persistent', 'creator')],
    ];
    for (const [errorName, refusal] of refusals) await expect(refusal).rejects.toMatchObject({ errorName });
    expect(await client.exists(path)).toMatchObject({ childCount: 1 });
  });

  it('sends requests without waiting, and each gets its own answer', async () => {
    const { client } = clientOf([server.address]);
    const path = await fresh(client);
    const names = Array.from({ length: 500 }, (_, index) => `${path}/${index}`);
    await Promise.all(names.map((name) => client.create(name, data(name), 'ephemeral', 'world')));
    const found = await Promise.all(names.map((name) => client.getData(name)));
    expect(found.map((one) => String(one.data))).toEqual(names);
    expect(found.every(({ stat }) => stat.ephemeralOwner === client.session?.id)).toBe(true);
  });

  it('does all operations of a multi, or none', async () => {
    const { client } = clientOf([server.address]);
    const path = await fresh(client);
    const create = { kind: 'create', path: `${path}/a`, data: data('1'), mode: 'ephemeral', acl: 'world' } as const;
    await client.multi([create]);
    await client.multi([
      { kind: 'delete', path: `${path}/a`, version: 0 },
      { ...create, data: data('2') },
      { ...create, path: `${path}/b`, mode: 'container' },
    ]);
    expect(String((await client.getData(`${path}/a`)).data)).toBe('2');
    const failing = client.multi([
      { ...create, path: `${path}/c` },
      { kind: 'delete', path: `${path}/a`, version: 9 },
      { ...create, path: `${path}/d` },
    ]);
    await expect(failing).rejects.toMatchObject({ errorName: 'BadVersion' });
    expect((await client.getChildren(path)).children.sort()).toEqual(['a', 'b']);
  });

  it('removes ephemeral nodes when the session is ended, and keeps them when only the connection is', async () => {
    const [{ client }, { client: ended }, { client: closed }] = [server, server, server].map(({ address }) =>
      clientOf([address]),
    ) as [ReturnType<typeof clientOf>, ReturnType<typeof clientOf>, ReturnType<typeof clientOf>];
    const path = await fresh(client);
    await ended.create(`${path}/ended`, data(''), 'ephemeral', 'world');
    await closed.create(`${path}/closed`, data(''), 'ephemeral', 'world');
    await ended.close({ endSession: true });
    await closed.close({ endSession: false });
    expect((await client.getChildren(path)).children).toEqual(['closed']);
    const isGone = async (): Promise<boolean> => (await client.getChildren(path)).children.length === 0;
    await eventually('its session times out', isGone, patientMs);
    await expect(ended.exists(path)).rejects.toThrow('the client was closed');
  });

  it('reports a change once where a read has armed a watch, and of what is not there as well', async () => {
    const { client, told } = clientOf([server.address]);
    const path = await fresh(client);
    await client.getData(path, { watch: true });
    await client.getChildren(path, { watch: true });
    await client.exists(`${path}/a`, { watch: true });
    await client.create(`${path}/a`, data(''), 'persistent', 'world');
    await client.setData(path, data('1'), -1);
    await client.setData(path, data('2'), -1);
    await client.delete(`${path}/a`, -1);
    expect([...told.events].sort()).toEqual([`changed ${path}`, `children ${path}`, `created ${path}/a`]);
  });

  it('reports every change below a recursive watch, until it is removed', async () => {
    const { client, told } = clientOf([server.address]);
    const path = await fresh(client);
    // It need not be there yet.
    await client.addWatch(`${path}/a`);
    await client.create(`${path}/ab`, data(''), 'persistent', 'world');
    await client.create(`${path}/a`, data(''), 'persistent', 'world');
    await client.create(`${path}/a/b`, data(''), 'ephemeral', 'world');
    await client.setData(`${path}/a/b`, data('1'), -1);
    await client.setData(`${path}/a/b`, data('2'), -1);
    await client.delete(`${path}/a/b`, -1);
    await client.removeWatch(`${path}/a`);
    await client.removeWatch(`${path}/a`);
    await client.delete(`${path}/a`, -1);
    const b = `${path}/a/b`;
    expect(told.events).toEqual([`created ${path}/a`, `created ${b}`, `changed ${b}`, `changed ${b}`, `deleted ${b}`]);
  });

  it('keeps an idle session, which outlives its time-out', async () => {
    const { client, told } = clientOf([server.address], { sessionTimeoutMs: 1_000 });
    await client.exists('/');
    await systemRuntime.timers.sleep(4_000);
    await client.exists('/');
    expect(told.sessions).toHaveLength(1);
    expect(told.expired).toEqual([]);
  });

  it('gives a request up when its signal aborts, and the connection serves the others', async () => {
    const { client } = clientOf([server.address]);
    const path = await fresh(client);
    const controller = new AbortController();
    const given = client.getData(path, { signal: controller.signal });
    const other = client.getData(path);
    controller.abort(new Error('enough'));
    await expect(given).rejects.toThrow('enough');
    await expect(client.getData(path, { signal: controller.signal })).rejects.toThrow('enough');
    expect((await other).stat.version).toBe(0);
  });

  it('proves who it is by user and password, and only its creator may use a node', async () => {
    const owner = clientOf([server.address], { security: { username: 'ann', password: 'secret' } }).client;
    const stranger = clientOf([server.address], { security: { username: 'ann', password: 'wrong' } }).client;
    const nobody = clientOf([server.address]).client;
    const path = await fresh(nobody);
    await owner.create(`${path}/own`, data('1'), 'persistent', 'creator');
    expect(String((await owner.getData(`${path}/own`)).data)).toBe('1');
    for (const client of [stranger, nobody]) {
      await expect(client.getData(`${path}/own`)).rejects.toMatchObject({ errorName: 'NoAuth' });
      await expect(client.setData(`${path}/own`, data(''), -1)).rejects.toMatchObject({ errorName: 'NoAuth' });
    }
  });

  it('refuses a packet that ZooKeeper would close the connection for, and names the limit', async () => {
    const { client, told } = clientOf([server.address]);
    const path = await fresh(client);
    const refused = client.setData(path, new Uint8Array(1_048_576), -1);
    await expect(refused).rejects.toMatchObject({
      errorName: 'PacketTooLarge',
      message: expect.stringMatching(/jute\.maxbuffer/),
    });
    await client.setData(path, new Uint8Array(1_048_000), -1);
    expect((await client.getData(path)).data).toHaveLength(1_048_000);
    expect(told.sessions).toHaveLength(1);
  });

  it('fails a read whose answer is too large, and keeps the connection', async () => {
    const { client, told } = clientOf([server.address], { maxReplyBytes: 10_000 });
    const path = await fresh(client);
    await client.setData(path, new Uint8Array(20_000), -1);
    const reads = [client.getData(path), client.exists(path), client.getData(path), client.getChildren(path)];
    const [first, , third] = await Promise.allSettled(reads);
    const tooLarge = { status: 'rejected', reason: { errorName: 'PacketTooLarge' } };
    expect(first).toMatchObject(tooLarge);
    expect(third).toMatchObject(tooLarge);
    expect((await client.getChildren(path)).children).toEqual([]);
    expect(told.sessions).toHaveLength(1);
  });

  it('passes over an address that refuses, and one that accepts and never answers', async () => {
    const silent = new ScriptedServer();
    silent.onHandshake = () => {};
    const addresses = ['127.0.0.1:1', await silent.listen(), server.address];
    const { client, told } = clientOf(addresses, { connectTimeoutMs: 300 });
    await client.exists('/');
    expect(silent.handshakes).toHaveLength(1);
    expect(told.sessions).toHaveLength(1);
  });
});

describe('ZooKeeperClient without a server', () => {
  it('rejects what waits with the failure of the attempt to connect, again and again', async () => {
    const { client } = clientOf(['127.0.0.1:1']);
    for (let round = 0; round < 3; round += 1) {
      const refused = [client.exists('/'), client.create('/a', data(''), 'persistent', 'world')];
      for (const one of refused) await expect(one).rejects.toThrow(/ECONNREFUSED/);
    }
    expect(client.session).toBeUndefined();
  });

  it('says what did not answer', async () => {
    const silent = new ScriptedServer();
    silent.onHandshake = () => {};
    const { client } = clientOf([await silent.listen()], { connectTimeoutMs: 200 });
    await expect(client.exists('/')).rejects.toThrow('it did not answer the handshake within 200 ms');
  });

  it('connects to nothing before the first request', async () => {
    const idle = new ScriptedServer();
    const { client } = clientOf([await idle.listen()]);
    await systemRuntime.timers.sleep(50);
    await client.close({ endSession: true });
    expect(idle.sockets.size).toBe(0);
  });
});
