import { type AddressInfo, connect, Server as NetServer, type Socket as NetSocket } from 'node:net';
import { connect as connectTls } from 'node:tls';

import { describe, expect, it, jest } from '@jest/globals';

import { okStatus } from '../../src/context/status.ts';
import type { Timers } from '../../src/runtime/runtime.ts';
import { systemRuntime, systemTimers } from '../../src/runtime/system.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { bytesOf, echo, textOf } from '../../src/testing/internal/transport-fixture.ts';
import { eventually } from '../support/waiting.ts';
import { GrpcTransport } from '../../src/transport/grpc.ts';
import { GrpcJsTransport } from '../../src/transport/grpc-js.ts';
import { TcpTransport, type TcpTransportOptions } from '../../src/transport/tcp.ts';
import type { Listener, ListenOptions, Socket, SocketServerOptions, Transport } from '../../src/transport/transport.ts';
import type { ServerTlsOptions } from '../../src/tls/tls.ts';
import { UnixTransport } from '../../src/transport/unix.ts';
import { closing } from '../support/closing.ts';
import { authority } from '../support/certificates.ts';
import { methods } from './support.ts';
import { hex, preamble, rawField, rawFrame, settings, WirePeer } from './wire-peer.ts';

type Make = (options: SocketServerOptions) => Transport;
const transports: [string, Make][] = [
  ['grpc', (options) => new GrpcTransport(options)],
  ['grpc-js', (options) => new GrpcJsTransport(options)],
  ['tcp', (options) => new TcpTransport(options)],
  ['unix', (options) => new UnixTransport(options)],
];
const ca = authority();
const { cert, key } = ca.issue({ name: 'server', names: ['127.0.0.1'] });
type MakeTls = (options: SocketServerOptions & { serverTls: ServerTlsOptions }) => Transport;
const overTls: [string, MakeTls][] = [
  ['grpc', (options) => new GrpcTransport({ ...options, tls: { ca: ca.cert } })],
  ['grpc-js', (options) => new GrpcJsTransport({ ...options, tls: { ca: ca.cert } })],
  ['tcp', (options) => new TcpTransport({ ...options, tls: { ca: ca.cert } })],
];

async function listen(transport: Transport, more: Partial<ListenOptions> = {}): Promise<Listener> {
  closing.push(() => transport.close());
  const listener = await transport.listen('127.0.0.1:0', { routes: Object.values(methods), ...more });
  closing.push(() => listener.close());
  listener.accept((socket, route) => void echo(socket, route));
  return listener;
}

function call(transport: Transport, address: string): Promise<string> {
  const socket = transport.dial(address, { route: methods.unary, waitForReady: true });
  void socket.send({ body: bytesOf('hello') });
  socket.end();
  return socket.recv().then(async (message) => {
    let body = message?.body;
    for (let next = await socket.recv(); next; next = await socket.recv()) body ??= next.body;
    return textOf(body!);
  });
}

function open(address: string): NetSocket & { isGone?: boolean } {
  const socket: NetSocket & { isGone?: boolean } = address.startsWith('unix:')
    ? connect(address.slice(5))
    : connect(Number(address.split(':')[1]), '127.0.0.1');
  socket.on('error', () => {});
  socket.on('close', () => (socket.isGone = true));
  socket.resume();
  closing.push(() => socket.destroy());
  return socket;
}

describe.each(transports)('a listener of %s', (_name, make) => {
  it('has no more connections than it may', async () => {
    const listener = await listen(make({ maxConnections: 3 }));
    const silent = Array.from({ length: 3 }, () => open(listener.addr()));
    await Promise.all(silent.map((socket) => new Promise((resolve) => socket.once('connect', resolve))));
    const further = open(listener.addr());
    await eventually('the end of one too many', () => further.isGone === true);
    expect(silent.map(({ isGone }) => isGone === true)).toEqual([false, false, false]);
    silent[0]!.destroy();
    const other = make({});
    closing.push(() => other.close());
    expect(await call(other, listener.addr())).toBe('hello');
  });

  it.each([
    ['as many as told', { backlog: 77 }, 77],
    ['4,096 where nothing is said', {}, 4_096],
  ])('lets connections wait until they are accepted, %s', async (_how, options, backlog) => {
    const spy = jest.spyOn(NetServer.prototype, 'listen');
    closing.push(() => spy.mockRestore());
    await listen(make(options));
    expect(spy.mock.calls.map(([given]) => (given as { backlog?: number }).backlog)).toEqual([backlog]);
  });
});

describe.each(transports)('a listener of %s that drains', (_name, make) => {
  it('waits for a call for longer than what was sent has to leave', async () => {
    // The times that it gives to peers that do not read are over at once.
    const timers: Timers = {
      ...systemTimers,
      after: (delayMs, callback, options) => systemTimers.after(delayMs === 1_000 ? 0 : delayMs, callback, options),
    };
    const transport = make({ runtime: { ...systemRuntime, timers } } as SocketServerOptions);
    const listener = await listen(transport);
    let held: Socket | undefined;
    listener.accept((socket) => (held = socket));
    const client = make({});
    closing.push(() => client.close());
    const answered = call(client, listener.addr());
    await eventually('the call', () => held !== undefined);
    let isDrained = false;
    const drained = listener.drain().then(() => (isDrained = true));
    for (let turns = 0; turns < 50; turns += 1) await systemTimers.sleep(1);
    expect(isDrained).toBe(false);
    void held!.send({ body: bytesOf('late'), status: okStatus });
    expect(await answered).toBe('late');
    await drained;
  });
});

describe.each(transports.filter(([name]) => name !== 'unix'))(
  'a listener of %s that has begun to drain',
  (_name, make) => {
    it('takes no call on a connection that the system had accepted before', async () => {
      const spy = jest.spyOn(NetServer.prototype, 'listen');
      const listener = await listen(make({}));
      const [draining] = spy.mock.contexts as NetServer[];
      spy.mockRestore();
      await listener.drain();
      const accepting = new NetServer((socket) => draining!.emit('connection', socket));
      await new Promise<void>((resolve) => accepting.listen(0, '127.0.0.1', resolve));
      closing.push(() => accepting.close());
      const client = make({});
      closing.push(() => client.close());
      const socket = client.dial(`127.0.0.1:${(accepting.address() as AddressInfo).port}`, { route: methods.unary });
      void socket.send({ body: bytesOf('hello') });
      socket.end();
      expect(await failureOf(socket.recv())).toMatchObject({ reason: 'transport.unreachable' });
    });
  },
);

describe.each(overTls)('a listener of %s over TLS', (_name, make) => {
  it('has no more handshakes under way than it may', async () => {
    const transport = make({ maxHandshakes: 2, serverTls: { cert, key } });
    const listener = await listen(transport);
    const silent = [open(listener.addr()), open(listener.addr())];
    await Promise.all(silent.map((socket) => new Promise((resolve) => socket.once('connect', resolve))));
    const further = open(listener.addr());
    await eventually('the end of one too many', () => further.isGone === true);
    expect(silent.map(({ isGone }) => isGone === true)).toEqual([false, false]);
    silent[0]!.destroy();
    // Handshakes that are over do not count, however many there are.
    for (let round = 0; round < 4; round += 1) {
      const other = make({ serverTls: { cert, key } });
      closing.push(() => other.close());
      expect(await call(other, listener.addr())).toBe('hello');
    }
  });
});

describe.each(overTls)('a listener of %s over TLS that has begun to drain', (_name, make) => {
  it('closes a connection whose handshake ends then, and says nothing on it', async () => {
    const listener = await listen(make({ serverTls: { cert, key } }));
    const early = open(listener.addr());
    await new Promise((resolve) => early.once('connect', resolve));
    const other = make({ serverTls: { cert, key } });
    // Connections are accepted in their order.
    expect(await call(other, listener.addr())).toBe('hello');
    await other.close();
    const drained = listener.drain();
    const late = connectTls({ socket: early, ca: ca.cert, host: '127.0.0.1', ALPNProtocols: ['h2', 'tenon/1'] });
    closing.push(() => late.destroy());
    let heard = 0;
    late.on('data', (data) => (heard += data.length));
    late.on('error', () => {});
    await new Promise((resolve) => late.once('close', resolve));
    expect([late.authorized, heard]).toEqual([true, 0]);
    await drained;
  });
});

describe('a server of frames', () => {
  const bounded = async (
    options: TcpTransportOptions,
    accept: (socket: Socket) => void,
  ): Promise<{ listener: Listener; transport: TcpTransport }> => {
    const transport = new TcpTransport(options);
    const listener = await listen(transport);
    listener.accept((socket) => accept(socket));
    return { listener, transport };
  };
  const greet = async (address: string, introduction = settings): Promise<WirePeer> => {
    const peer = WirePeer.dial(address);
    closing.push(() => peer.socket.destroy());
    peer.send(preamble, introduction);
    await peer.hears(preamble.length + settings.length);
    return peer;
  };
  const calls = (from: number, to: number): Buffer => {
    const path = rawField(':path', '/wire.Wire/Unary');
    const one = Buffer.concat([path, Buffer.from('x')]);
    return Buffer.concat(Array.from({ length: to - from + 1 }, (_, index) => rawFrame(1, 0x81, from + index, one)));
  };
  const large = new Uint8Array(200_000);
  const answer = (socket: Socket): void => {
    void socket.recv().then(
      () => {
        void socket.send({ body: large, status: okStatus });
        void socket.close();
      },
      () => void socket.close(),
    );
  };
  // The smallest window: of each reply three parts leave, and the rest waits.
  const narrow = rawFrame(0, 0, 0, hex('00 01 00 00  00 00 27 10  00 80'));
  const waitingOfEach = 200_000 - 3 * 16_384;

  it('has no more strangers than handshakes may be under way', async () => {
    const { listener } = await bounded({ maxHandshakes: 2 }, answer);
    const known = await greet(listener.addr());
    const strangers = [open(listener.addr()), open(listener.addr())];
    await Promise.all(strangers.map((socket) => new Promise((resolve) => socket.once('connect', resolve))));
    const further = open(listener.addr());
    await eventually('the end of one too many', () => further.isGone === true);
    expect([...strangers.map(({ isGone }) => isGone === true), known.isClosed]).toEqual([false, false, false]);
    strangers[0]!.destroy();
    await eventually('room', () => strangers[0]!.isGone === true);
    for (let round = 0; round < 5; round += 1) {
      const other = new TcpTransport();
      closing.push(() => other.close());
      const { body } = await other.unary(
        listener.addr(),
        { body: bytesOf('x') },
        { route: methods.unary, waitForReady: true },
      );
      expect(body).toHaveLength(large.length);
    }
  });

  it('begins no more calls of a client that gives no credit for the replies, and goes on when there is room', async () => {
    const maxUnsentBytesPerConnection = 4_000_000;
    let begun = 0;
    const { listener } = await bounded({ maxUnsentBytesPerConnection }, (socket) => {
      begun += 1;
      answer(socket);
    });
    const peer = await greet(listener.addr(), narrow);
    peer.send(calls(1, 2_000));
    await eventually('the bound', () => begun * waitingOfEach >= maxUnsentBytesPerConnection);
    await new Promise((resolve) => setTimeout(resolve, 100));
    // Not 400 MB: as much as the bound, and what began before the size of a reply was known.
    const most = Math.ceil(maxUnsentBytesPerConnection / waitingOfEach) + 16 + 20;
    expect(begun).toBeLessThanOrEqual(most);
    const before = begun;
    // The client loses interest in some of them.
    for (let id = 1; id <= before; id += 1) peer.send(rawFrame(3, 0, id, hex('01')));
    await eventually('further calls', () => begun >= before + 20);
    expect(begun).toBeLessThanOrEqual(before + most);
  });

  it('begins no more calls while all of its connections have too much unsent, together', async () => {
    const begun = new Map<string, number>();
    const { listener } = await bounded({ maxUnsentBytes: 6_000_000 }, (socket) => {
      begun.set(socket.remote, (begun.get(socket.remote) ?? 0) + 1);
      answer(socket);
    });
    const all = (): number => [...begun.values()].reduce((sum, count) => sum + count, 0);
    const peers: WirePeer[] = [];
    for (let index = 0; index < 5; index += 1) {
      const peer = await greet(listener.addr(), narrow);
      peers.push(peer);
      peer.send(calls(1, 10));
      await eventually(
        'ten calls, or the bound',
        () => all() === (index + 1) * 10 || all() * waitingOfEach >= 6_000_000,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(begun.size).toBe(4);
    const before = all();
    expect(before).toBeLessThan(50);
    peers[0]!.socket.destroy();
    await eventually('the others', () => begun.size === 5 && all() === 50);
  });

  it('answers every call of a client that reads, however small its bounds are', async () => {
    const bounds = { maxUnsentBytesPerConnection: 1, maxUnsentBytes: 300_000 };
    const { listener } = await bounded(bounds, answer);
    const client = new TcpTransport();
    closing.push(() => client.close());
    const replies = await Promise.all(
      Array.from({ length: 100 }, () =>
        client.unary(listener.addr(), { body: bytesOf('x') }, { route: methods.unary }),
      ),
    );
    expect(replies.map(({ body }) => body?.length)).toEqual(Array.from({ length: 100 }, () => large.length));
  });

  it('forgets calls that are reset while they wait for their beginning', async () => {
    let begun = 0;
    const { listener } = await bounded({ maxUnsentBytesPerConnection: 1_000_000, maxCalls: 20 }, (socket) => {
      begun += 1;
      answer(socket);
    });
    const peer = await greet(listener.addr(), narrow);
    peer.send(calls(1, 10));
    await eventually('the bound', () => begun * waitingOfEach >= 1_000_000);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const before = begun;
    for (let id = 11; id <= 5_000; id += 1) peer.send(calls(id, id), rawFrame(3, 0, id, hex('01')));
    peer.send(rawFrame(5, 0, 0));
    await peer.sees('the pong', ({ type }) => type === 6);
    expect(begun).toBe(before);
    expect(peer.frames.some(({ type }) => type === 3)).toBe(false);
  });

  it('lets go of a client that takes nothing of what it is sent', async () => {
    const { listener } = await bounded({ sendTimeoutMs: 100 }, answer);
    const peer = await greet(listener.addr());
    peer.socket.pause();
    peer.send(calls(1, 500));
    // A closed socket is not seen by who does not read: writing is.
    await eventually('the end', () => {
      peer.socket.write(rawFrame(6, 0, 0));
      return peer.isClosed;
    });
  });

  it('lets go of a client whose calls wait since it gives no credit, and of no other', async () => {
    const { listener } = await bounded({ sendTimeoutMs: 200, maxUnsentBytesPerConnection: 1_000_000 }, answer);
    const idle = await greet(listener.addr());
    const slow = await greet(listener.addr(), narrow);
    slow.send(calls(1, 1));
    const greedy = await greet(listener.addr(), narrow);
    greedy.send(calls(1, 100));
    await greedy.closes();
    expect([idle.isClosed, slow.isClosed]).toEqual([false, false]);
  });

  it('finds out that a peer is gone without a word, and keeps one that answers', async () => {
    const { listener } = await bounded({ serverKeepaliveMs: 50, keepaliveTimeoutMs: 2_000 }, answer);
    const alive = await greet(listener.addr());
    let answered = 0;
    alive.socket.on('data', () => {
      alive.send(rawFrame(6, 0, 0));
      answered += 1;
    });
    const gone = await greet(listener.addr());
    await gone.sees('a ping', ({ type }) => type === 5);
    await gone.closes();
    expect(answered).toBeGreaterThan(1);
    expect(alive.isClosed).toBe(false);
  });
});
