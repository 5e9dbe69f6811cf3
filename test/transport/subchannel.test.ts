import { execFile } from 'node:child_process';
import { createServer as createHttp2Server } from 'node:http2';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { promisify } from 'node:util';

import { describe, expect, it } from '@jest/globals';

import { Code, TenonError } from '../../src/errors/errors.ts';
import { eventually } from '../support/waiting.ts';
import { DeferredWatch } from '../../src/transport/call/deferred-watch.ts';
import { type SharedConnection, Subchannel } from '../../src/transport/call/subchannel.ts';
import { tcpAddresses } from '../../src/transport/sockets/address-scheme.ts';
import { GrpcTransport } from '../../src/transport/grpc.ts';
import { TcpTransport } from '../../src/transport/tcp.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';
import { closing } from '../support/closing.ts';
import { methods } from './support.ts';
import { preamble, rawFrame, hex } from './wire-peer.ts';

const run = promisify(execFile);
/** A server that does `greet` to each connection, and counts them. */
async function serving(greet: (socket: Socket) => void): Promise<{ readonly address: string; count: number }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    seen.count += 1;
    sockets.add(socket);
    socket.on('error', () => {});
    socket.resume();
    greet(socket);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  closing.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  const seen = { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, count: 0 };
  return seen;
}

/** SETTINGS with MAX_CONCURRENT_STREAMS 0, and GOAWAY (RFC 9113, sections 6.5 and 6.8). */
const noStreams = hex('00 00 06 04 00 00 00 00 00  00 03 00 00 00 00');
const goAway = hex('00 00 08 07 00 00 00 00 00  00 00 00 00 00 00 00 00');
/** The same of our own frames: a window of 256 KiB, no calls, 128 fields; and a farewell. */
const noCalls = rawFrame(0, 0, 0, hex('00 04 00 00  00 00 00 00  00 80'));

const servers = [
  ['grpc', GrpcTransport, (socket: Socket) => void socket.write(Buffer.concat([noStreams, goAway]))],
  [
    'tcp',
    TcpTransport,
    (socket: Socket) => {
      socket.write(Buffer.concat([preamble, noCalls]));
      socket.once('data', () => socket.end());
    },
  ],
] as const;

describe.each(servers)('the way to an address, over %s', (_, Transport, greet) => {
  function clientOf() {
    const runtime = virtualRuntime();
    const client = new Transport({ runtime, maxReconnectMs: 5_000 });
    closing.push(() => client.close());
    return { client, timers: runtime.timers };
  }

  /** Real sockets need a while that no clock says. */
  async function rest(): Promise<void> {
    for (let turns = 0; turns < 200; turns += 1) await turn();
  }

  it('backs off from a server that says that it takes no calls, and goes away', async () => {
    const server = await serving(greet);
    const { client, timers } = clientOf();
    const call = client.dial(server.address, { route: methods.unary, waitForReady: true });
    const ending = call.recv().catch((error: unknown) => error);
    await eventually('the first connection', () => server.count === 1);
    await rest();
    expect(server.count).toBe(1);
    for (let ms = 0; ms < 10_000; ms += 50) {
      await timers.advance(50);
      await rest();
    }
    // 100 ms, 160, 256 and so on: eight attempts in the first five seconds.
    expect(server.count).toBeGreaterThan(3);
    expect(server.count).toBeLessThan(12);
    void call.close();
    await ending;
  });

  it('fails calls that do not wait while it backs off from such a server', async () => {
    const server = await serving(greet);
    const { client } = clientOf();
    for (let calls = 0; calls < 50; calls += 1) {
      const failure = await client.dial(server.address, { route: methods.unary }).recv().catch(TenonError.from);
      expect(failure).toMatchObject({ code: Code.Unavailable, reason: 'transport.unreachable' });
    }
    expect(server.count).toBe(1);
  });

  it('backs off from an address that does not answer', async () => {
    const server = await serving((socket) => socket.destroy());
    const { client, timers } = clientOf();
    for (let calls = 0; calls < 20; calls += 1) {
      const failure = await client.dial(server.address, { route: methods.unary }).recv().catch(TenonError.from);
      expect(failure).toMatchObject({ code: Code.Unavailable, reason: 'transport.unreachable' });
    }
    expect(server.count).toBe(1);
    const call = client.dial(server.address, { route: methods.unary, waitForReady: true });
    const ending = call.recv().catch((error: unknown) => error);
    const counts: number[] = [];
    for (let second = 0; second < 10; second += 1) {
      for (let ms = 0; ms < 1_000; ms += 50) {
        await timers.advance(50);
        await rest();
      }
      counts.push(server.count);
    }
    expect(counts.at(-1)).toBeGreaterThan(3);
    expect(counts.at(-1)).toBeLessThan(12);
    // It grows: the first second has more attempts than the five that come last.
    expect((counts[0] as number) - 1).toBeGreaterThan((counts[9] as number) - (counts[4] as number));
    void call.close();
    await ending;
  });
});

describe.each([
  ['grpc', GrpcTransport],
  ['tcp', TcpTransport],
] as const)('a way to an address that rests for no time, over %s', (_, Transport) => {
  it('fails a call when its attempt to connect has failed', async () => {
    const server = await serving((socket) => socket.destroy());
    const client = new Transport({ maxReconnectMs: 0 });
    closing.push(() => client.close());
    for (let calls = 1; calls <= 3; calls += 1) {
      const failure = await client.dial(server.address, { route: methods.unary }).recv().catch(TenonError.from);
      expect(failure).toMatchObject({ code: Code.Unavailable, reason: 'transport.unreachable' });
      expect(server.count).toBe(calls);
    }
  });

  it('goes on trying for a call that waits', async () => {
    const server = await serving((socket) => socket.destroy());
    const client = new Transport({ maxReconnectMs: 0 });
    closing.push(() => client.close());
    const call = client.dial(server.address, { route: methods.unary, waitForReady: true });
    const ending = call.recv().catch((error: unknown) => error);
    await eventually('some attempts', () => server.count > 3);
    void call.close();
    await ending;
  });
});

describe('before there is a connection', () => {
  it.each([
    ['grpc', GrpcTransport],
    ['tcp', TcpTransport],
  ] as const)(
    'a writer is held back by the bytes that wait, and not by their number alone, over %s',
    async (_, Transport) => {
      const server = await serving(() => {});
      const client = new Transport();
      closing.push(() => client.close());
      const call = client.dial(server.address, { route: methods.bidi });
      const ending = call.recv().catch((error: unknown) => error);
      const held = Array.from({ length: 4 }, () => call.send({ body: Buffer.alloc(32 * 1024) }) !== undefined);
      expect(held).toEqual([false, true, true, true]);
      void call.close();
      await ending;
    },
  );
});

describe('a server that says again and again that it is pinged too often', () => {
  it('is pinged half as often from then on, and not never', async () => {
    const tooManyPings = Buffer.concat([
      hex('00 00 16 07 00 00 00 00 00  00 00 00 01 00 00 00 00'),
      Buffer.from('too_many_pings'),
    ]);
    const heard: Buffer[] = [];
    const server = await serving((socket) => {
      socket.write(hex('00 00 00 04 00 00 00 00 00'));
      if (server.count === 1) socket.end(Buffer.concat(Array.from({ length: 60 }, () => tooManyPings)));
      else socket.on('data', (chunk: Buffer) => heard.push(chunk));
    });
    const runtime = virtualRuntime();
    const client = new GrpcTransport({ runtime, keepaliveMs: 1_000, keepaliveTimeoutMs: 1_000 });
    closing.push(() => client.close());
    await client.dial(server.address, { route: methods.unary }).recv().catch(TenonError.from);
    const call = client.dial(server.address, { route: methods.unary });
    const ending = call.recv().catch((error: unknown) => error);
    // A ping that is no answer (RFC 9113, section 6.7).
    const ping = hex('00 00 08 06 00 00 00 00 00');
    await eventually('the call', () => heard.length > 0);
    for (let seconds = 0; seconds < 10 && !Buffer.concat(heard).includes(ping); seconds += 1) {
      await runtime.timers.advance(1_000);
      for (let turns = 0; turns < 100; turns += 1) await turn();
    }
    expect(Buffer.concat(heard).includes(ping)).toBe(true);
    void call.close();
    await ending;
  });
});

describe('the last call that waited, when it is given up', () => {
  /** A subchannel whose connection has no room, and the timers that keep the process alive. */
  function waiting() {
    const isWaitedFor: boolean[] = [];
    const alive = new Set<number>();
    let timers = 0;
    const connection: SharedConnection = {
      hasRoom: false,
      isLeaving: false,
      size: 0,
      fail: () => {},
      keepAlive: (isWaited) => void isWaitedFor.push(isWaited),
      finish: () => {},
    };
    const runtime = virtualRuntime();
    const subchannel = new Subchannel('127.0.0.1:1', {
      ...runtime,
      timers: {
        every: () => ({ cancel: () => {} }),
        soon: () => {},
        sleep: () => Promise.resolve(),
        after: (_delayMs, _callback, { keepAlive = false } = {}) => {
          const timer = (timers += 1);
          if (keepAlive) alive.add(timer);
          return { cancel: () => void alive.delete(timer) };
        },
      },
      deferredWatch: new DeferredWatch(runtime.clock, runtime.timers),
      idleMs: 1_000,
      maxReconnectMs: 1_000,
      addresses: tcpAddresses,
      secure: undefined,
      open: () => connection,
    });
    const call = { waitsForReady: true, onConnection: () => {}, fail: () => {} };
    return { subchannel, connection, call, other: { ...call }, isWaitedFor, alive };
  }

  it('leaves nothing on the connection that keeps the process alive', () => {
    const { subchannel, connection, call, other, isWaitedFor } = waiting();
    subchannel.onConnected(connection, '');
    subchannel.start(call);
    subchannel.start(other);
    subchannel.forget(call);
    expect(isWaitedFor.at(-1)).toBe(true);
    subchannel.forget(other);
    expect(isWaitedFor.at(-1)).toBe(false);
  });

  it('leaves no attempt to connect that keeps the process alive', () => {
    const { subchannel, call, other, alive } = waiting();
    subchannel.onConnectFailed(undefined, 'nobody is there', undefined);
    subchannel.start(call);
    subchannel.start(other);
    subchannel.forget(call);
    expect(alive.size).toBe(1);
    subchannel.forget(other);
    expect(alive.size).toBe(0);
    subchannel.start(call);
    expect(alive.size).toBe(1);
  });
});

describe('a call that waits for room on a connection', () => {
  it.each(['grpc', 'tcp'])('keeps its process alive until it has an end, over %s', async (name) => {
    const connections: (() => void)[] = [];
    let address: string;
    if (name === 'grpc') {
      const server = createHttp2Server({ settings: { maxConcurrentStreams: 0 } });
      server.on('session', (session) => connections.push(() => session.destroy()));
      await new Promise<void>((resolve) => {
        server.listen(0, '127.0.0.1', resolve);
      });
      closing.push(() => server.close());
      address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    } else {
      const server = await serving((socket) => void socket.write(Buffer.concat([preamble, noCalls])));
      ({ address } = server);
    }
    const door = new URL(`../../dist/transport/${name}.js`, import.meta.url).href;
    const program = `
      import * as door from ${JSON.stringify(door)};
      const client = new (door.GrpcTransport ?? door.TcpTransport)();
      const route = { service: 'wire.Wire', method: 'Unary', path: '/wire.Wire/Unary', aliases: [], kind: 'unary' };
      const call = client.dial(${JSON.stringify(address)}, { route });
      setTimeout(() => call.close(), 1_000).unref();
      await call.recv().catch((error) => console.log(error.reason));
      await client.close();
    `;
    const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', program]);
    expect(stdout.trim()).toBe('call.cancelled');
    for (const destroy of connections) destroy();
  });
});
