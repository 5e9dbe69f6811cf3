import { describe, expect, it } from '@jest/globals';

import { systemRuntime } from '../../src/runtime/system.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';
import { clientOf, event, ScriptedServer, granted, int, long, packet, reply, stat, text } from './support.ts';

expectNothingUncaught();

const { clock, timers } = systemRuntime;
const none = Buffer.alloc(0);
const opcodes = { exists: 3, getData: 4, getChildren: 12, multi: 14, ping: 11, setWatches: 101 } as const;

const badHandshakes: readonly [what: string, answer: Buffer][] = [
  ['another protocol', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
  ['a negative length', int(-5)],
  ['the largest length', int(2 ** 31 - 1)],
  ['an empty packet', packet()],
  ['another version', packet(int(1), int(4_000), long(7n), int(16), Buffer.alloc(16), Buffer.of(0))],
  ['a session without an id', granted(0n, 4_000)],
  ['a password of 2 bytes', granted(7n, 4_000, Buffer.alloc(2))],
  ['a password longer than the packet', packet(int(0), int(4_000), long(7n), int(1_000))],
  ['a negative length of the password', packet(int(0), int(4_000), long(7n), int(-16))],
  ['more than a handshake', packet(int(0), int(4_000), long(7n), int(16), Buffer.alloc(500))],
];

describe('a server that answers the handshake badly', () => {
  it.each(badHandshakes)('with %s fails the attempt, and is not tried without pause', async (_what, answer) => {
    const server = new ScriptedServer();
    server.onHandshake = (socket) => void socket.write(answer);
    const { client } = clientOf([await server.listen()]);
    await expect(client.exists('/')).rejects.toThrow(/broke the protocol/);
    await timers.sleep(500);
    expect(server.handshakes.length).toBeLessThan(30);
    expect(client.session).toBeUndefined();
  });

  it.each<[what: string, answer: Buffer | undefined]>([
    ['with nothing', undefined],
    ['with an expired session, also a new one', granted(0n, 0)],
    ['with a negative time-out', granted(7n, -1)],
  ])('%s, and closes the connection, fails the attempt, and is not tried without pause', async (_what, answer) => {
    const server = new ScriptedServer();
    server.onHandshake = (socket) => void (answer ? socket.end(answer) : socket.end());
    const { client } = clientOf([await server.listen()]);
    await expect(client.exists('/')).rejects.toThrow(/closed the connection|grants no session/);
    await timers.sleep(500);
    expect(server.handshakes.length).toBeLessThan(60);
  });

  it('and closes every connection after it is not tried without pause, and a read fails in the end', async () => {
    const server = new ScriptedServer();
    server.onRequest = ({ socket }) => void socket.destroy();
    const { client } = clientOf([await server.listen()]);
    const startedAtMs = clock.monotonicMs();
    await expect(client.exists('/')).rejects.toMatchObject({ errorName: 'ConnectionLoss' });
    await timers.sleep(500);
    expect(server.handshakes.length).toBeLessThan(30 + (clock.monotonicMs() - startedAtMs) / 20);
  });
});

const badAnswers: readonly [what: string, answer: (xid: number) => Buffer][] = [
  ['an unknown number', (xid) => reply(xid + 1, stat())],
  ['an old number', (xid) => reply(xid - 1, stat())],
  ['the number of no packet', () => reply(-77, stat())],
  ['a header that ends early', (xid) => packet(int(xid), int(0))],
  ['half of the facts', (xid) => reply(xid, stat().subarray(0, 30))],
  ['a negative number of children', (xid) => reply(xid, stat({ children: -1 }))],
  ['an event that ends early', () => packet(int(-1), long(-1n), int(0), int(1))],
  [
    'an event with a path of 2 billion bytes',
    () => packet(int(-1), long(-1n), int(0), int(1), int(3), int(2 ** 31 - 1)),
  ],
  ['a negative length', () => int(-1)],
];

describe('a server that answers badly', () => {
  it.each(badAnswers)('with %s loses the connection, and the next is used', async (_what, answer) => {
    const server = new ScriptedServer();
    let isBad = true;
    server.onRequest = ({ xid, socket }) => {
      socket.write(isBad ? answer(xid) : reply(xid, stat()));
      isBad = false;
    };
    const { client, told } = clientOf([await server.listen()]);
    const write = client.setData('/a', none, -1);
    await expect(write).rejects.toThrow(/ended before|ends too early|children/);
    await client.exists('/');
    expect(told.sessions).toHaveLength(2);
  });

  it.each<[what: string, body: Buffer]>([
    ['2 billion', Buffer.concat([int(2 ** 31 - 1), text('a')])],
    ['-7', int(-7)],
    ['more than there are', Buffer.concat([int(20), text('a'), stat()])],
  ])('with %s children fails the read', async (_what, body) => {
    const server = new ScriptedServer();
    server.onRequest = ({ xid, opcode, socket }) => {
      socket.write(reply(xid, opcode === opcodes.getChildren ? body : stat()));
    };
    const { client } = clientOf([await server.listen()]);
    await expect(client.getChildren('/')).rejects.toThrow(/length of|ends too early/);
    await client.exists('/');
  });

  it.each<[what: string, body: Buffer]>([
    ['fewer steps', Buffer.concat([int(2), Buffer.of(0), int(0), int(-1), Buffer.of(1), int(-1)])],
    ['no end', Buffer.concat([int(2), Buffer.of(0), int(0), int(2), Buffer.of(0), int(0)])],
    ['more steps', Buffer.concat(Array.from({ length: 9 }, () => Buffer.concat([int(2), Buffer.of(0), int(0)])))],
  ])('a multi with %s fails it', async (_what, body) => {
    const server = new ScriptedServer();
    server.onRequest = ({ xid, opcode, socket }) => {
      socket.write(reply(xid, opcode === opcodes.multi ? body : stat()));
    };
    const { client } = clientOf([await server.listen()]);
    const step = { kind: 'delete', path: '/a', version: 1 } as const;
    await expect(client.multi([step, step])).rejects.toThrow(/number of steps|ends too early/);
    await client.exists('/');
  });

  it('does not get its events through for paths that nobody watches, nor for kinds that do not exist', async () => {
    const server = new ScriptedServer();
    server.onRequest = ({ xid, socket }) => {
      for (const path of ['/b', '/aa', '/', '', '/a/b', '/a'])
        for (const type of [1, 2, 3, 4]) socket.write(event(type, path));
      for (const type of [0, 5, 99, -1]) socket.write(event(type, '/a'));
      socket.write(reply(xid, stat()));
      socket.write(event(3, '/a'));
      socket.write(event(3, '/a'));
    };
    const { client, told } = clientOf([await server.listen()]);
    await client.exists('/a', { watch: true });
    await timers.sleep(50);
    expect(told.events).toEqual(['changed /a']);
    expect(told.sessions).toHaveLength(1);
  });

  it.each<[what: string, onRequest: ScriptedServer['onRequest']]>([
    ['says nothing', () => {}],
    ['sends half an answer', ({ socket, xid }) => void socket.write(reply(xid, stat()).subarray(0, 40))],
    [
      'sends an answer that never ends',
      ({ socket }) => {
        socket.write(Buffer.concat([int(200_000_000), long(0n), long(0n)]));
        const more = setInterval(() => socket.write(Buffer.alloc(10_000)), 10);
        socket.once('close', () => clearInterval(more));
      },
    ],
    [
      'answers pings alone',
      ({ socket, opcode }) => {
        if (opcode === opcodes.ping) socket.write(packet(int(-2), long(0n), int(0)));
      },
    ],
  ])('%s is left for the next, or a read fails with its caller', async (what, onRequest) => {
    const [bad, good] = [new ScriptedServer(), new ScriptedServer()];
    bad.onRequest = onRequest;
    good.onRequest = ({ xid, socket }) => socket.write(reply(xid, stat()));
    const servers = [await bad.listen(), await good.listen()];
    const { client } = clientOf(servers, { sessionTimeoutMs: 4_000, maxSilenceMs: 400 });
    const controller = new AbortController();
    const read = client.exists('/', { signal: controller.signal });
    read.catch(() => {});
    if (what === 'answers pings alone') {
      await timers.sleep(1_000);
      controller.abort(new Error('late'));
      await expect(read).rejects.toThrow('late');
      return;
    }
    await eventually('it is asked no more', () => bad.sockets.size === 0, 10_000);
    // Its own addresses always begin with the bad one.
    await bad.close();
    await read;
    expect(good.requests.length).toBeGreaterThan(0);
  });
});
