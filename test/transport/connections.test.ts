import { once } from 'node:events';
import { type ClientHttp2Session, createServer as createHttp2Server } from 'node:http2';
import { type AddressInfo, connect, createServer, type Server, type Socket as NetSocket } from 'node:net';

import { describe, expect, it } from '@jest/globals';

import { okStatus } from '../../src/context/status.ts';
import { Code, type TenonError } from '../../src/errors/errors.ts';
import { systemClock } from '../../src/runtime/system.ts';
import { HeldTimers } from '../../src/testing/virtual-time.ts';
import type { GrpcTransportOptions } from '../../src/transport/grpc.ts';
import type { Listener, Transport, TransportClient } from '../../src/transport/transport.ts';
import { closing } from '../support/closing.ts';
import { frame, type GrpcName, grpcNames, grpcTransport, methods, rawCall, rawSession, readAll } from './support.ts';

function transportOf(options: GrpcTransportOptions = {}, name: GrpcName = 'grpc'): ReturnType<typeof grpcTransport> {
  const transport = grpcTransport(name, options);
  closing.push(() => transport.close());
  return transport;
}

async function listen(options: GrpcTransportOptions, name?: GrpcName): Promise<Listener> {
  const listener = await transportOf(options, name).listen('127.0.0.1:0', { routes: Object.values(methods) });
  closing.push(() => listener.close());
  listener.accept((socket) => {
    void (async () => {
      for (let message = await socket.recv(); message; message = await socket.recv())
        if (message.body) void socket.send({ body: message.body });
      void socket.send({ status: okStatus });
    })().catch(() => {});
  });
  return listener;
}

async function session(listener: Listener): Promise<ClientHttp2Session> {
  const made = rawSession(listener.addr());
  closing.push(() => made.destroy());
  await once(made, 'remoteSettings');
  return made;
}

const closed = (peer: ClientHttp2Session): Promise<void> => new Promise((resolve) => peer.once('close', resolve));

const ping = (peer: ClientHttp2Session): Promise<unknown> =>
  new Promise((resolve) => {
    if (!peer.ping(resolve)) resolve(undefined);
  });

/** Timers that fire when the test says so; those of less than two seconds fire by themselves. */
function manual() {
  const timers = new HeldTimers((delayMs, isPeriodic) => delayMs >= 2_000 && !isPeriodic);
  return { runtime: { clock: systemClock, timers, random: { next: () => 0.75, uuid: () => '' } }, timers };
}

const hi = Buffer.from('hi');

/** A stream on which one message has gone there and back. */
async function opened(listener: Listener, client: Transport = transportOf()): Promise<TransportClient> {
  const call = client.dial(listener.addr(), { route: methods.bidi });
  void call.send({ body: hi });
  for (let message = await call.recv(); !message?.body; message = await call.recv());
  return call;
}

/** A call that crosses the GOAWAY is refused, and may be made again. */
async function openedAtLast(listener: Listener, client: Transport): Promise<TransportClient> {
  for (;;) {
    try {
      return await opened(listener, client);
    } catch (error) {
      expect(error).toMatchObject({ reason: 'transport.unreachable' });
    }
  }
}

describe('a connection to a gRPC server', () => {
  it('that floods it with pings is told so and closed; others go on', async () => {
    const listener = await listen({});
    const good = await session(listener);
    const bad = await session(listener);
    const told = new Promise<unknown[]>((resolve) => bad.once('goaway', (...goaway) => resolve(goaway)));
    const gone = closed(bad);
    for (let times = 0; times < 4; times += 1) await ping(bad);
    const [code, , text] = (await told) as [number, number, Buffer];
    expect([code, String(text)]).toEqual([11, 'too_many_pings']);
    await gone;
    expect((await rawCall(good, methods.unary.path, frame(hi))).trailers).toMatchObject({ 'grpc-status': '0' });
  });

  it('may ping as often as there is something sent to it in between', async () => {
    const peer = await session(await listen({}));
    for (let times = 0; times < 8; times += 1) {
      await ping(peer);
      expect((await rawCall(peer, methods.unary.path, frame(hi))).trailers).toMatchObject({ 'grpc-status': '0' });
    }
    const lenient = await session(await listen({ minPingIntervalMs: 0 }));
    for (let times = 0; times < 8; times += 1) await ping(lenient);
    expect(lenient.destroyed).toBe(false);
  });

  it('may ping with every piece of a long message, as grpc-go does to measure the bandwidth', async () => {
    const peer = await session(await listen({}));
    const stream = peer.request({
      ':method': 'POST',
      ':path': methods.unary.path,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    const trailers = new Promise((resolve, reject) => {
      stream.once('trailers', resolve);
      stream.once('error', reject);
    });
    let pings = 0;
    let isWaiting = false;
    stream.on('data', () => {
      if (isWaiting) return;
      isWaiting = true;
      pings += 1;
      peer.ping(() => (isWaiting = false));
    });
    stream.end(frame(Buffer.alloc(4_000_000)));
    expect(await trailers).toMatchObject({ 'grpc-status': '0' });
    expect(pings).toBeGreaterThan(4);
  });

  it('that is quiet for long is let go of, and one that carries a call is not', async () => {
    const { runtime, timers } = manual();
    const listener = await listen({ maxConnectionIdleMs: 60_000, runtime });
    const quiet = await session(listener);
    expect(timers.held.map(({ delayMs }) => delayMs)).toEqual([60_000]);
    const call = await opened(listener);
    expect(timers.held).toHaveLength(1);
    const gone = closed(quiet);
    timers.fire();
    await gone;
    void call.send({ body: hi });
    expect((await call.recv())?.body).toEqual(hi);
    call.end();
    await readAll(call);
    expect(timers.held).toHaveLength(1);
  });

  it('that is old takes no new calls; those under way end by themselves', async () => {
    const { runtime, timers } = manual();
    const listener = await listen({ maxConnectionAgeMs: 100_000, runtime });
    const client = transportOf();
    const call = await opened(listener, client);
    // The tenth by which ages differ.
    expect(timers.held.map(({ delayMs }) => delayMs)).toEqual([105_000]);
    timers.fire();
    const next = await openedAtLast(listener, client);
    expect(timers.held).toHaveLength(1);
    expect(next.remote).toBe(call.remote);
    for (const one of [call, next]) {
      void one.send({ body: hi });
      expect((await one.recv())?.body).toEqual(hi);
      one.end();
      expect((await readAll(one)).at(-1)?.status?.code).toBe(Code.Ok);
    }
  });

  it('that is old loses the calls that outlast its grace', async () => {
    const { runtime, timers } = manual();
    const listener = await listen({ maxConnectionAgeMs: 100_000, maxConnectionAgeGraceMs: 30_000, runtime });
    const call = await opened(listener);
    timers.fire();
    expect(timers.held.map(({ delayMs }) => delayMs)).toEqual([30_000]);
    timers.fire();
    const failure = await readAll(call).catch((error: TenonError) => error);
    expect(failure).toMatchObject({ code: Code.Unavailable, reason: 'transport.connection_lost' });
  });

  it('is not taken for dead because Node sends no pings on one that is drained', async () => {
    const listener = await listen({ serverKeepaliveMs: 40, keepaliveTimeoutMs: 40 });
    const call = await opened(listener, transportOf({ keepaliveMs: 40, keepaliveTimeoutMs: 40 }));
    const drained = listener.drain();
    await new Promise((resolve) => setTimeout(resolve, 300));
    void call.send({ body: hi });
    expect((await call.recv())?.body).toEqual(hi);
    call.end();
    expect((await readAll(call)).at(-1)?.status?.code).toBe(Code.Ok);
    await drained;
  });

  it.each(grpcNames)('on %s says how many calls it takes at a time', async (server) => {
    const peer = await session(await listen({ maxCalls: 7 }, server));
    expect(peer.remoteSettings.maxConcurrentStreams).toBe(7);
  });

  it('takes more calls than fit one after the other', async () => {
    const listener = await listen({ maxCalls: 2 });
    const client = transportOf();
    const calls = Array.from({ length: 10 }, () =>
      client.unary(listener.addr(), { body: hi }, { route: methods.unary }),
    );
    for (const reply of await Promise.all(calls)) expect(reply.body).toEqual(hi);
  });
});

describe('a gRPC client that keeps its connections alive', () => {
  async function started(server: Server | ReturnType<typeof createHttp2Server>): Promise<string> {
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  it('sees that a machine is gone without a word', async () => {
    const listener = await listen({});
    const sockets: NetSocket[] = [];
    const between = createServer((near) => {
      const far = connect(Number(listener.addr().split(':')[1]), '127.0.0.1');
      for (const socket of [near, far]) {
        sockets.push(socket);
        socket.on('error', () => {});
      }
      near.pipe(far).pipe(near);
    });
    const address = await started(between);
    closing.push(() => {
      for (const socket of sockets) socket.destroy();
      between.close();
    });
    const client = transportOf({ keepaliveMs: 50, keepaliveTimeoutMs: 1_000 });
    const call = await opened({ ...listener, addr: () => address }, client);
    for (const socket of sockets) socket.unpipe().pause();
    const failure = await readAll(call).catch((error: TenonError) => error);
    expect(failure).toMatchObject({ code: Code.Unavailable, reason: 'transport.connection_lost' });
  });

  it('pings without calls only where it is told to', async () => {
    const server = createHttp2Server();
    const pings: string[] = [];
    const pinged = new Promise<void>((resolve) => {
      server.on('session', (peer) => {
        peer.on('ping', () => {
          pings.push(String(peer.socket.remotePort));
          if (pings.length === 3) resolve();
        });
      });
    });
    server.on('stream', (stream) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '12' }, { endStream: true });
    });
    const address = await started(server);
    closing.push(() => server.close());
    for (const keepaliveWithoutCalls of [false, true]) {
      const client = transportOf({ keepaliveMs: 10, keepaliveWithoutCalls });
      await client.unary(address, { body: hi }, { route: methods.unary });
    }
    await pinged;
    expect(new Set(pings).size).toBe(1);
  });
});
