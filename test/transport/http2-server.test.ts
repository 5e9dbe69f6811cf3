import { constants } from 'node:http2';
import { gunzipSync, gzipSync } from 'node:zlib';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { okStatus } from '../../src/context/status.ts';
import { GrpcTransport } from '../../src/transport/grpc.ts';
import type { Listener, Message, Socket } from '../../src/transport/transport.ts';
import { frame, methods, rawCall, rawSession } from './support.ts';

const transport = new GrpcTransport();
const text = Buffer.from('many words, '.repeat(100));

afterAll(() => transport.close());

describe('gRPC on node:http2', () => {
  let listener: Listener;
  const seen: Message[] = [];

  beforeAll(async () => {
    listener = await transport.listen('127.0.0.1:0', { routes: Object.values(methods), suggest: true });
    listener.accept((socket, { kind }) => {
      void socket.recv().then((first) => {
        if (first) seen.push(first);
        const says = first?.headers?.text('compress');
        const compressed = says === undefined ? undefined : says === 'yes';
        if (kind === 'server') {
          void socket.send({ body: text, compressed: false });
          void socket.send({ body: text, compressed: true });
          void socket.send({ body: text, compressed: false, status: okStatus });
        } else {
          void socket.send({ body: text, compressed, status: okStatus });
        }
      });
    });
  });

  afterAll(() => listener.close());

  async function call(headers: Record<string, string>, path = methods.unary.path, body = frame(Buffer.from('hi'))) {
    const session = rawSession(listener.addr());
    try {
      return await rawCall(session, path, body, headers);
    } finally {
      session.destroy();
    }
  }

  it('compresses a reply that shall be, for a caller that understands it', async () => {
    const { headers, data, trailers } = await call({ compress: 'yes', 'grpc-accept-encoding': 'identity,gzip' });
    expect(headers['grpc-encoding']).toBe('gzip');
    expect(data[0]).toBe(1);
    expect(gunzipSync(data.subarray(5))).toEqual(text);
    expect(trailers).toMatchObject({ 'grpc-status': '0' });
  });

  it('leaves it as it is for one that does not', async () => {
    for (const accept of [undefined, { 'grpc-accept-encoding': 'identity,zip9' }]) {
      const { headers, data } = await call({ compress: 'yes', ...accept });
      expect(headers['grpc-encoding']).toBeUndefined();
      expect(data).toEqual(frame(text));
    }
  });

  it('keeps messages in their order, compressed or not', async () => {
    const { headers, data } = await call({ 'grpc-accept-encoding': 'gzip' }, methods.server.path);
    expect(headers['grpc-encoding']).toBe('gzip');
    const flags: number[] = [];
    for (let at = 0; at < data.length; at += 5 + data.readUInt32BE(at + 1)) flags.push(data[at] as number);
    expect(flags).toEqual([0, 1, 0]);
  });

  it('tells whether a request came compressed, and understands gzip and no encodings it was not told of', async () => {
    seen.length = 0;
    await call({});
    await call({ 'grpc-encoding': 'gzip' }, methods.unary.path, frame(gzipSync(text), 1));
    expect(seen.map(({ compressed }) => compressed)).toEqual([false, true]);
    expect(seen[1]?.body).toEqual(text);
    const unknown = await call({ 'grpc-encoding': 'zip9' }, methods.unary.path, frame(text, 1));
    expect(unknown.headers).toMatchObject({ 'grpc-status': '12', 'grpc-accept-encoding': 'identity,deflate,gzip' });
  });

  it('answers in the content type it was asked in, and shows it', async () => {
    seen.length = 0;
    const { headers } = await call({ 'content-type': 'application/grpc+json' });
    expect(headers['content-type']).toBe('application/grpc+json');
    expect(seen[0]?.headers?.text('content-type')).toBe('application/grpc+json');
  });

  it('keeps the values of a repeated key apart', async () => {
    seen.length = 0;
    const session = rawSession(listener.addr());
    await rawCall(session, methods.unary.path, frame(text), {
      'x-many': ['a, b', 'c'],
      'x-many-bin': 'YQ,Yg',
    } as never);
    session.destroy();
    expect(seen[0]?.headers?.getAll('x-many')).toEqual(['a, b', 'c']);
    expect(seen[0]?.headers?.getAll('x-many-bin').map(String)).toEqual(['a', 'b']);
  });

  it('names a method of a similar name', async () => {
    const { headers } = await call({}, '/wire.Wire/Unari');
    expect(headers).toMatchObject({ 'grpc-status': '12', 'tenon-reason': 'transport.unknown_method' });
    expect(decodeURIComponent(String(headers['grpc-message']))).toContain('/wire.Wire/Unary');
  });

  it('takes a time-out of years', async () => {
    const { trailers } = await call({ 'grpc-timeout': '99999999H' });
    expect(trailers).toMatchObject({ 'grpc-status': '0' });
  });

  it.each(['reset', 'cut'])('hands over the requests that had come before a call was %s', async (how) => {
    let accepted: ((socket: Socket) => void) | undefined;
    const handled = new Promise<Socket>((resolve) => (accepted = resolve));
    const server = await transport.listen('127.0.0.1:0', { routes: Object.values(methods) });
    server.accept((socket) => accepted?.(socket));
    const session = rawSession(server.addr());
    const stream = session.request({
      ':method': 'POST',
      ':path': methods.bidi.path,
      'content-type': 'application/grpc',
    });
    stream.on('error', () => {});
    stream.write(Buffer.concat(Array.from({ length: 200 }, () => frame(Buffer.alloc(300)))));
    const socket = await handled;
    const aborted = new Promise((resolve) => socket.onAbort(resolve));
    // All of it is there when the server has answered a ping behind it.
    await new Promise((resolve) => session.ping(resolve));
    await new Promise((resolve) => setTimeout(resolve, 50));
    if (how === 'cut') session.destroy();
    else stream.close(constants.NGHTTP2_CANCEL);
    await aborted;
    let bodies = 0;
    await expect(
      (async () => {
        for (;;) if ((await socket.recv())?.body) bodies += 1;
      })(),
    ).rejects.toMatchObject({ reason: 'call.cancelled' });
    expect(bodies).toBe(200);
    session.destroy();
    await server.close();
  });

  it('refuses what is no call of gRPC as HTTP does', async () => {
    const session = rawSession(listener.addr());
    expect((await rawCall(session, methods.unary.path, undefined, { ':method': 'GET' })).headers[':status']).toBe(405);
    expect((await call({ 'content-type': 'application/grpcweb' })).headers[':status']).toBe(415);
    session.destroy();
  });
});
