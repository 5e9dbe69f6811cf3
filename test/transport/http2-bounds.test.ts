import { randomBytes } from 'node:crypto';
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';
import { connect as connectSocket } from 'node:net';

import { describe, expect, it, jest } from '@jest/globals';

import { okStatus } from '../../src/context/status.ts';
import { systemClock } from '../../src/runtime/system.ts';
import { eventually } from '../support/waiting.ts';
import { HeldTimers } from '../../src/testing/virtual-time.ts';
import { GrpcTransport, type GrpcTransportOptions } from '../../src/transport/grpc.ts';
import { ServerStream } from '../../src/transport/http2/server-stream.ts';
import type { Listener, Socket } from '../../src/transport/transport.ts';
import { data, headers, preface, request, settings, windowUpdate } from '../hostile/support/http2-peer.ts';
import { closing } from '../support/closing.ts';
import { frame, methods } from './support.ts';

const replyBytes = 64 * 1024;
const bounds = { maxUnsentBytesPerConnection: 1024 * 1024, maxUnsentBytes: 2 * 1024 * 1024 };

/** Timers whose periods pass when the test says so. */
function manual() {
  const timers = new HeldTimers((_delayMs, isPeriodic) => isPeriodic);
  return { runtime: { clock: systemClock, timers }, pass: () => timers.fire() };
}

async function listening(options: GrpcTransportOptions, handle: (socket: Socket) => void): Promise<Listener> {
  const transport = new GrpcTransport(options);
  const listener = await transport.listen('127.0.0.1:0', { routes: Object.values(methods) });
  listener.accept(handle);
  closing.push(() => listener.close());
  return listener;
}

/** Answers with a large reply, and counts. */
function replying() {
  const made = { replies: 0 };
  const handle = (socket: Socket): void => {
    void socket.recv().then(() => {
      made.replies += 1;
      void socket.send({ body: Buffer.alloc(replyBytes), status: okStatus });
    });
  };
  return { made, handle };
}

/** A peer that gives no window for replies. */
function deaf(listener: Listener): ClientHttp2Session {
  const session = connect(`http://${listener.addr()}`, { settings: { initialWindowSize: 0 } });
  session.on('error', () => {});
  closing.push(() => session.destroy());
  return session;
}

function callOn(session: ClientHttp2Session, headers: Record<string, string> = {}): ClientHttp2Stream {
  const stream = session.request({
    ':method': 'POST',
    ':path': methods.unary.path,
    'content-type': 'application/grpc',
    ...headers,
  });
  stream.on('error', () => {});
  stream.resume();
  stream.end(frame(Buffer.from('hi')));
  return stream;
}

/** A client's first words and calls, on a connection with all the window there is. */
function deafCalls(calls: number): Buffer {
  const most = 2 ** 31 - 1;
  const parts = [preface, settings([constants.NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, most])];
  parts.push(windowUpdate(0, most - 65_535));
  for (let id = 1; id < 2 * calls; id += 2)
    parts.push(headers(id, request(methods.unary.path)), data(id, frame(Buffer.from('hi')), true));
  return Buffer.concat(parts);
}

/** What a server does with what has come is done when it has answered a few pings. */
async function pinged(session: ClientHttp2Session): Promise<void> {
  for (let pings = 0; pings < 3; pings += 1) await new Promise<void>((resolve) => session.ping(() => resolve()));
  for (let turns = 0; turns < 50; turns += 1) await new Promise((resolve) => setImmediate(resolve));
}

describe('a server on node:http2', () => {
  it('makes no more replies for a peer that reads none than its bound allows, and the rest when it does', async () => {
    const { made, handle } = replying();
    const listener = await listening(bounds, handle);
    const session = deaf(listener);
    let ended = 0;
    for (let calls = 0; calls < 500; calls += 1) callOn(session).on('end', () => (ended += 1));
    await eventually('replies', () => made.replies > 0);
    await pinged(session);
    expect(made.replies * replyBytes).toBeGreaterThanOrEqual(bounds.maxUnsentBytesPerConnection);
    expect(made.replies * replyBytes).toBeLessThan(2 * bounds.maxUnsentBytesPerConnection);
    session.settings({ initialWindowSize: 65_535 });
    await eventually('all replies', () => ended === 500);
    expect(made.replies).toBe(500);
  });

  it('begins no calls on any connection while too much is unsent on all of them, and does when some is taken', async () => {
    const { made, handle } = replying();
    const listener = await listening(bounds, handle);
    const sessions = [deaf(listener), deaf(listener), deaf(listener), deaf(listener), deaf(listener)];
    let ended = 0;
    for (const session of sessions)
      for (let calls = 0; calls < 50; calls += 1) callOn(session).on('end', () => (ended += 1));
    for (const session of sessions) await pinged(session);
    expect(made.replies * replyBytes).toBeLessThan(2 * bounds.maxUnsentBytes);
    for (const session of sessions) session.settings({ initialWindowSize: 65_535 });
    await eventually('all replies', () => ended === 250);
  });

  it.each([
    ['as they are', false],
    ['compressed', true],
  ])('counts what streams have not sent, %s, and lets long quiet ones hold up nobody', async (_, compressed) => {
    const { made, handle } = replying();
    const streams: Socket[] = [];
    const listener = await listening(bounds, (socket) => {
      if (streams.length === 30) handle(socket);
      else streams.push(socket);
    });
    const session = connect(`http://${listener.addr()}`);
    closing.push(() => session.destroy());
    for (let calls = 0; calls < 30; calls += 1) callOn(session, { 'grpc-accept-encoding': 'gzip' });
    await eventually('the streams', () => streams.length === 30);
    for (const socket of streams) {
      await socket.recv();
      void socket.send({ body: randomBytes(Math.ceil(bounds.maxUnsentBytesPerConnection / 20)), compressed });
    }
    let ended = 0;
    for (let calls = 0; calls < 20; calls += 1) callOn(session).on('end', () => (ended += 1));
    await eventually('the replies', () => ended === 20);
    expect(made.replies).toBe(20);
  });

  it('forgets what was unsent of calls that their clients gave up, and begins others', async () => {
    const { made, handle } = replying();
    const listener = await listening({ ...bounds, minPingIntervalMs: 0 }, handle);
    const sessions = [deaf(listener), deaf(listener), deaf(listener)];
    for (let rounds = 0; rounds < 3; rounds += 1) {
      const before = made.replies;
      const streams = sessions.flatMap((session) => Array.from({ length: 50 }, () => callOn(session)));
      for (const session of sessions) await pinged(session);
      expect((made.replies - before) * replyBytes).toBeGreaterThanOrEqual(bounds.maxUnsentBytes);
      expect((made.replies - before) * replyBytes).toBeLessThan(2 * bounds.maxUnsentBytes);
      for (const stream of streams) stream.close(constants.NGHTTP2_CANCEL);
      for (const session of sessions) await pinged(session);
    }
  });

  it('keeps no call that is reset while it waits for its beginning', async () => {
    const begin = jest.spyOn(ServerStream.prototype, 'begin');
    closing.push(() => begin.mockRestore());
    const { made, handle } = replying();
    const listener = await listening({ ...bounds, minPingIntervalMs: 0 }, handle);
    const session = deaf(listener);
    const streams = Array.from({ length: 100 }, () => callOn(session));
    await pinged(session);
    expect(made.replies).toBeLessThan(50);
    for (const stream of streams.slice(50)) stream.close(constants.NGHTTP2_CANCEL);
    await pinged(session);
    session.settings({ initialWindowSize: 65_535 });
    await eventually('the other replies', () => made.replies === 50);
    await pinged(session);
    expect(begin).toHaveBeenCalledTimes(50);
  });

  it('lets go of a peer that takes nothing while calls wait for that, and of no other', async () => {
    const { runtime, pass } = manual();
    const { made, handle } = replying();
    const listener = await listening({ ...bounds, runtime, serverKeepaliveMs: Number.POSITIVE_INFINITY }, handle);
    const stubborn = deaf(listener);
    const slow = deaf(listener);
    for (let calls = 0; calls < 100; calls += 1) callOn(stubborn);
    callOn(slow);
    await pinged(stubborn);
    await pinged(slow);
    const before = made.replies;
    for (let looks = 0; looks < 3; looks += 1) pass();
    expect(stubborn.destroyed).toBe(false);
    for (let looks = 0; looks < 2; looks += 1) pass();
    await eventually('the end of the connection', () => stubborn.destroyed);
    expect(made.replies).toBe(before);
    expect(slow.destroyed).toBe(false);
  });

  it('lets go of the socket of a peer that does not read it', async () => {
    const { runtime, pass } = manual();
    const { made, handle } = replying();
    const options = { ...bounds, runtime, serverKeepaliveMs: Number.POSITIVE_INFINITY };
    const listener = await listening(options, handle);
    const [host, port] = listener.addr().split(':');
    const session = deaf(listener);
    callOn(session);
    await eventually('the first reply', () => made.replies > 0);
    const raw = connectSocket(Number(port), host as string);
    closing.push(() => raw.destroy());
    raw.on('error', () => {});
    raw.pause();
    raw.write(deafCalls(600));
    const sockets = (): number => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
    const before = made.replies;
    await eventually('replies', () => made.replies > before);
    await pinged(session);
    const open = sockets();
    for (let looks = 0; looks < 6; looks += 1) pass();
    await eventually('the end of the socket', () => sockets() < open);
    expect(session.destroyed).toBe(false);
  });

  it('counts a call that its client gave up as long as its handler runs', async () => {
    const running: Socket[] = [];
    let most = 0;
    const listener = await listening({ maxCalls: 10 }, (socket) => {
      running.push(socket);
      most = Math.max(most, running.length);
    });
    const session = connect(`http://${listener.addr()}`);
    session.on('error', () => {});
    closing.push(() => session.destroy());
    for (let round = 0; round < 50; round += 1) {
      const streams = Array.from({ length: 10 }, () => callOn(session));
      await new Promise<void>((resolve) => session.ping(() => resolve()));
      for (const stream of streams) stream.close(constants.NGHTTP2_CANCEL);
    }
    await pinged(session);
    expect(most).toBe(10);
    const refused = callOn(session);
    await eventually('the refusal', () => refused.closed);
    expect(refused.rstCode).toBe(constants.NGHTTP2_REFUSED_STREAM);
    // The handlers come to their ends.
    for (const socket of running.splice(0)) void socket.close();
    callOn(session);
    await eventually('another call', () => running.length === 1);
  });
});
