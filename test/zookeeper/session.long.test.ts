import { expect, it } from '@jest/globals';

import { systemRuntime } from '../../src/runtime/system.ts';
import type { ZooKeeperClientOptions } from '../../src/zookeeper/client.ts';
import { closing } from '../support/closing.ts';
import { BackendServer, describeWithServer, startServer } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';
import { clientOf, ScriptedServer, granted, reply, stat } from './support.ts';

expectNothingUncaught();

const { timers } = systemRuntime;
const none = Buffer.alloc(0);
const patientMs = 30_000;

/** The session id that a client asks for in a handshake. */
const askedFor = (packet: Buffer | undefined): bigint | undefined => packet?.readBigInt64BE(16);
const zxidOf = (packet: Buffer | undefined): bigint | undefined => packet?.readBigInt64BE(4);

async function ownServer(): Promise<BackendServer> {
  const server = await startServer('zookeeper');
  closing.push(() => server.dispose());
  return server;
}

describeWithServer('a session of ZooKeeperClient', new BackendServer('zookeeper'), (shared) => {
  it('goes on after the server was killed and started again, with its nodes and with the changes meanwhile', async () => {
    const server = await ownServer();
    const { client, told } = clientOf([server.address], { sessionTimeoutMs: 10_000 });
    await client.create('/a', none, 'ephemeral', 'world');
    await client.create('/b', none, 'persistent', 'world');
    await client.getData('/a', { watch: true });
    await client.getChildren('/b', { watch: true });
    await client.exists('/c', { watch: true });
    await client.addWatch('/b');
    await server.kill();
    await eventually('it notices', () => !client.isConnected, patientMs);
    await server.start();
    await eventually('it is back', () => client.isConnected, patientMs);
    expect(told.sessions.map(({ isNew }) => isNew)).toEqual([true, false]);
    expect((await client.exists('/a'))?.ephemeralOwner).toBe(client.session?.id);
    const other = clientOf([server.address]).client;
    for (const path of ['/c', '/b/x']) await other.create(path, none, 'persistent', 'world');
    await other.setData('/a', none, -1);
    await eventually('all watches report', () => told.events.length >= 4, patientMs);
    expect([...told.events].sort()).toEqual(['changed /a', 'children /b', 'created /b/x', 'created /c']);
    expect(told.expired).toEqual([]);
  });

  it('reports what changed while it had no connection, where a watch was armed', async () => {
    const server = await ownServer();
    const { client, told } = clientOf([server.address], { sessionTimeoutMs: 10_000, maxSilenceMs: 1_000 });
    const other = clientOf([server.address], { sessionTimeoutMs: 10_000 }).client;
    for (const path of ['/a', '/b', '/kept']) await other.create(path, none, 'persistent', 'world');
    for (const path of ['/a', '/b', '/kept']) await client.getData(path, { watch: true });
    await client.exists('/c', { watch: true });
    // The connection goes to a server that hangs, while the other client's requests wait for it to go on.
    server.pause();
    const asked = client.exists('/').catch(() => {});
    const changes = [
      other.setData('/a', none, -1),
      other.delete('/b', -1),
      other.create('/c', none, 'persistent', 'world'),
    ];
    await eventually('it gives the connection up', () => !client.isConnected, patientMs);
    server.resume();
    await Promise.all([asked, ...changes]);
    await eventually('all are reported', () => told.events.length >= 3, patientMs);
    expect([...told.events].sort()).toEqual(['changed /a', 'created /c', 'deleted /b']);
  });

  it('is over by its own clock when the server hangs for longer, and a new one is made by itself', async () => {
    const server = await ownServer();
    const { client, told } = clientOf([server.address], { sessionTimeoutMs: 1_000 });
    await client.create('/a', none, 'ephemeral', 'world');
    const before = client.session?.id;
    server.pause();
    await eventually('it has expired', () => told.expired.length > 0, patientMs);
    expect([told.expired[0]?.id, client.session]).toEqual([before, undefined]);
    server.resume();
    await eventually('there is another', () => client.isConnected, patientMs);
    expect(told.sessions.at(-1)?.isNew).toBe(true);
    // An attempt that was under way may have asked for the old one, which the server still had.
    const isOld = client.session?.id === before;
    const isSettled = async (): Promise<boolean> => ((await client.exists('/a')) !== undefined) === isOld;
    await eventually('the nodes of the old one are gone with it', isSettled, patientMs);
    expect(await client.exists('/a', { watch: true })).toEqual(isOld ? expect.anything() : undefined);
  });

  it('goes on after a server that stood still, of which it tells before what happened meanwhile', async () => {
    const server = await ownServer();
    const { client, told } = clientOf([server.address], { sessionTimeoutMs: 30_000 });
    const other = clientOf([server.address], { sessionTimeoutMs: 1_000 });
    await other.client.create('/a', none, 'ephemeral', 'world');
    await client.getData('/a', { watch: true });
    await other.client.close({ endSession: false });
    const before: number[] = [];
    told.events.push = (): number => before.push(told.silences.length);
    server.pause();
    await timers.sleep(5_000);
    server.resume();
    await eventually('the node of another is gone', () => before.length > 0, patientMs);
    expect(before).toEqual([1]);
    expect(told.silences[0]).toBeGreaterThan(3_500);
    expect(told.sessions).toHaveLength(1);
  });

  it('is made anew by a server that lost its data, which refuses who has seen more', async () => {
    const first = await ownServer();
    const second = new BackendServer('zookeeper', { port: first.port });
    closing.push(() => second.dispose());
    // By its own clock it would take longer than the test.
    const { client, told } = clientOf([first.address], { sessionTimeoutMs: 60_000 });
    for (let round = 0; round < 50; round += 1) await client.create(`/${round}`, none, 'persistent', 'world');
    await first.kill();
    await second.start();
    await eventually('there is another', () => told.sessions.length > 1, patientMs);
    expect(await client.exists('/1')).toBeUndefined();
    expect(told.expired).toHaveLength(1);
  });

  it('sends a read again that was cut off, and says of a write that it may have taken effect', async () => {
    const server = await ownServer();
    const { client, told } = clientOf([server.address], { sessionTimeoutMs: 10_000, maxSilenceMs: 500 });
    await client.create('/a', none, 'persistent', 'world');
    server.pause();
    const [read, write] = [client.getData('/a'), client.setData('/a', Buffer.from('1'), -1)];
    write.catch(() => {});
    await eventually('it gives the connection up', () => !client.isConnected, patientMs);
    server.resume();
    await expect(write).rejects.toMatchObject({
      errorName: 'ConnectionLoss',
      message: expect.stringMatching(/setData \/a/),
    });
    await read;
    expect(told.sessions).toHaveLength(2);
  });

  it('may be used by who hears of events and connections, while the socket is read', async () => {
    const { client } = clientOf([shared.address]);
    const seen: string[] = [];
    const { client: watching } = clientOf([shared.address], {});
    // A listener that reads within every event.
    const listening: Partial<ZooKeeperClientOptions> = { sessionTimeoutMs: 4_000 };
    const reader = clientOf([shared.address], listening);
    const read = async (): Promise<void> => {
      const { children } = await reader.client.getChildren('/listened', { watch: true });
      seen.splice(0, seen.length, ...children);
    };
    reader.told.events.push = (...events: string[]): number => {
      void read();
      return events.length;
    };
    await client.create('/listened', none, 'persistent', 'world');
    await read();
    await Promise.all(
      Array.from({ length: 100 }, (_, index) => watching.create(`/listened/${index}`, none, 'ephemeral', 'world')),
    );
    await eventually('all are seen', () => seen.length === 100, patientMs);
  });
});

it('a session that has expired is replaced at once, with nothing of the old one', async () => {
  const server = new ScriptedServer();
  const { client, told } = clientOf([await server.listen()]);
  server.onRequest = ({ xid, socket }) => socket.write(reply(xid, stat()));
  await client.exists('/', { watch: true });
  server.onHandshake = (socket, packet) => {
    socket.write(askedFor(packet) === 0n ? granted(8n, 4_000) : granted(0n, 0, Buffer.alloc(16)));
  };
  for (const socket of server.sockets) socket.destroy();
  await eventually('there is another', () => told.sessions.length === 2);
  expect(server.handshakes.map(askedFor)).toEqual([0n, 7n, 0n]);
  expect(server.handshakes.map(zxidOf)).toEqual([0n, 1n, 0n]);
  expect(told.expired.map(({ id }) => id)).toEqual([7n]);
  expect(client.session).toMatchObject({ id: 8n, timeoutMs: 4_000 });
  await timers.sleep(20);
  // No watch is armed again.
  expect(server.requests.map(({ opcode }) => opcode)).toEqual([3]);
});
