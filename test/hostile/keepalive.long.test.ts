import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import type { Listener } from '../../src/transport/transport.ts';
import { grpcTransport, methods } from '../transport/support.ts';
import { engines } from './support/cases.ts';
import { connectTo, Flag, frame, FrameType, preface, settings } from './support/http2-peer.ts';

describe.each(engines)('a server on %s that asks whether its peers are there', (server) => {
  const transport = grpcTransport(server, { serverKeepaliveMs: 150, keepaliveTimeoutMs: 150 });
  let listener: Listener;

  beforeAll(async () => {
    listener = await transport.listen('127.0.0.1:0', { routes: Object.values(methods) });
  });

  afterAll(() => listener.close());

  it('closes a connection that says nothing', async () => {
    const peer = await connectTo(listener.addr());
    await peer.closed;
    expect(peer.frames.map(({ type }) => type)).toContain(FrameType.Ping);
  });

  it('closes one that has said its preface, and does not answer', async () => {
    const peer = await connectTo(listener.addr());
    peer.write(preface, settings());
    await peer.closed;
    expect(peer.frames.map(({ type }) => type)).toContain(FrameType.Ping);
  });

  it('keeps one that answers', async () => {
    // With time to answer in, as this process may have other things to do.
    const patient = await grpcTransport(server, { serverKeepaliveMs: 100, keepaliveTimeoutMs: 30_000 }).listen(
      '127.0.0.1:0',
      { routes: Object.values(methods) },
    );
    const peer = await connectTo(patient.addr());
    peer.write(preface, settings());
    for (let asked = 1; asked <= 5; asked += 1) {
      const pings = () => peer.frames.filter(({ type, flags }) => type === FrameType.Ping && flags === 0);
      await peer.until(() => pings()[asked - 1] ?? (peer.isClosed ? true : undefined), 60_000);
      peer.write(frame(FrameType.Ping, Flag.Ack, 0, pings()[asked - 1]?.payload));
    }
    expect(peer.isClosed).toBe(false);
    peer.destroy();
    await patient.close();
  }, 120_000);
});

describe('a server that never asks', () => {
  it.each(engines)('leaves connections alone on %s', async (server) => {
    const transport = grpcTransport(server, {
      serverKeepaliveMs: Number.POSITIVE_INFINITY,
      keepaliveTimeoutMs: 20,
    });
    const listener = await transport.listen('127.0.0.1:0', { routes: Object.values(methods) });
    const peer = await connectTo(listener.addr());
    await peer.until(() => undefined, 200);
    expect(peer.isClosed).toBe(false);
    peer.destroy();
    await listener.close();
  });
});
