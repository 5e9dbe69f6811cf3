import { constants } from 'node:http2';
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { Context } from '../../src/context/context.ts';
import { Metadata } from '../../src/context/metadata.ts';
import { okStatus, statusOf } from '../../src/context/status.ts';
import { decodeRichStatus } from '../../src/errors/status-details.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import type { MethodDescriptor, MethodKind } from '../../src/pipeline/pipeline.ts';
import { systemClock, systemTimers } from '../../src/runtime/system.ts';
import { HeldTimers } from '../../src/testing/virtual-time.ts';
import type { Listener, Socket } from '../../src/transport/transport.ts';
import {
  frame,
  grpcNames,
  grpcTransport,
  leavingServer,
  methods,
  type OnStream,
  rawCall,
  rawServer,
  rawSession,
  readAll,
} from './support.ts';

/** Does what the call's headers say. */
async function misbehave(socket: Socket, kind: MethodKind): Promise<void> {
  try {
    const first = await socket.recv();
    const told = first?.headers?.text('say');
    if (told === 'details') {
      const details = [{ type: 'a.B', value: new Uint8Array(Number(first?.headers?.text('size'))) }];
      void socket.send({
        status: statusOf(new TenonError({ code: Code.Aborted, message: 'with details', details })),
      });
    } else if (told === 'surrogate') {
      void socket.send({ status: { code: Code.Internal, message: 'broken \ud800 text' } });
    } else if (told === 'code') {
      void socket.send({ status: { code: 77 as Code, message: 'no such code' } });
    } else if (told === 'twice') {
      void socket.send({ headers: new Metadata({ etag: ['1', '2'] }), body: Buffer.from('x'), status: okStatus });
    } else {
      for (let message = first; message && kind === 'bidi';) message = await socket.recv();
      void socket.send({ body: first?.body ?? Buffer.from('none'), status: okStatus });
    }
  } catch {
    // The call broke off, which is what some of these tests do.
  }
}

describe.each(grpcNames)('a gRPC listener on %s, on the wire', (server) => {
  let listener: Listener;

  beforeAll(async () => {
    listener = await grpcTransport(server).listen('127.0.0.1:0', { routes: Object.values(methods) });
    listener.accept((socket, { kind }) => void misbehave(socket, kind));
  });

  afterAll(() => listener.close());

  async function call(
    headers: Record<string, string> = {},
    body: Uint8Array | null = frame(Buffer.from('hi')),
    path = methods.unary.path,
  ) {
    const session = rawSession(listener.addr());
    try {
      return await rawCall(session, path, body ?? undefined, headers);
    } finally {
      session.destroy();
    }
  }

  it('says nothing on success but that it is one', async () => {
    const { headers, trailers, data } = await call();
    expect(headers).toMatchObject({ ':status': 200, 'content-type': expect.stringMatching(/^application\/grpc/) });
    expect(data).toEqual(frame(Buffer.from('hi')));
    expect(trailers).toMatchObject({ 'grpc-status': '0' });
    expect(trailers?.['grpc-message'] ?? '').toBe('');
  });

  it.each([0, 1, 2, 3, 4, 5])('sends details of %i bytes more without padding, and the same Status', async (size) => {
    const { headers } = await call({ say: 'details', size: String(size) });
    const details = headers['grpc-status-details-bin'] as string;
    expect(details).not.toContain('=');
    expect(decodeRichStatus(Buffer.from(details, 'base64'))).toMatchObject({
      code: Code.Aborted,
      message: 'with details',
      details: [{ type: 'a.B', value: expect.objectContaining({ length: size }) }],
    });
  });

  it('lives through a status that is no Unicode, and a code that does not exist', async () => {
    const { headers } = await call({ say: 'surrogate' });
    expect(headers).toMatchObject({ 'grpc-status': '13' });
    expect(decodeURIComponent(String(headers['grpc-message']))).toBe('broken \ufffd text');
    expect((await call({ say: 'code' })).headers).toMatchObject({ 'grpc-status': '2' });
  });

  it('answers INTERNAL where a handler sends headers that HTTP forbids', async () => {
    expect((await call({ say: 'twice' })).headers).toMatchObject({ 'grpc-status': '13' });
  });

  it('takes neither none nor two messages for a unary method', async () => {
    const two = Buffer.concat([frame(Buffer.from('1')), frame(Buffer.from('2'))]);
    expect((await call({}, two)).headers).toMatchObject({ 'grpc-status': '12' });
    expect((await call({}, null)).headers).toMatchObject({ 'grpc-status': '12' });
  });

  it('waits whether a second message comes for a server stream, but not with a client of Go Micro, which never ends its side', async () => {
    const late = async (headers: Record<string, string>, isSecondSent = false): Promise<unknown> => {
      const session = rawSession(listener.addr());
      const stream = session.request({
        ':method': 'POST',
        ':path': methods.server.path,
        'content-type': 'application/grpc',
        te: 'trailers',
        ...headers,
      });
      const answer = new Promise((resolve) => {
        stream.on('response', (received) => resolve(received['grpc-status'] ?? 'replies'));
      });
      stream.on('error', () => {});
      stream.write(frame(Buffer.from('1')));
      if (isSecondSent) setTimeout(() => stream.write(frame(Buffer.from('2'))), 100);
      try {
        return await answer;
      } finally {
        session.destroy();
      }
    };
    expect(await late({}, true)).toBe('12');
    expect(await late({ 'x-content-type': 'application/grpc+proto' })).toBe('replies');
  });

  it('answers the unknown with UNIMPLEMENTED, and what is not gRPC with 415', async () => {
    expect((await call({}, frame(Buffer.from('x')), '/wire.Wire/Nothing')).headers).toMatchObject({
      'grpc-status': '12',
    });
    expect((await call({ 'content-type': 'application/json' })).headers).toMatchObject({ ':status': 415 });
  });

  it('reads compressed messages, up to its limit', async () => {
    const zipped = (bytes: Uint8Array) => frame(gzipSync(bytes), 1);
    const { data } = await call({ 'grpc-encoding': 'gzip' }, zipped(Buffer.from('small')));
    expect(data).toEqual(frame(Buffer.from('small')));
    const bomb = await call({ 'grpc-encoding': 'gzip' }, zipped(new Uint8Array(8 * 1024 * 1024)));
    expect(bomb.headers).toMatchObject({ 'grpc-status': '8' });
  });

  it.each<[string, Record<string, string>, Buffer]>([
    ['a message that claims to be too large', {}, frame(Buffer.from('x'), 0, 0x7f_ff_ff_ff)],
    ['a message that ends in its middle', {}, frame(Buffer.from('x'), 0, 100)],
    ['half a length', {}, Buffer.from([0, 0])],
    ['a compressed message without an encoding', {}, frame(Buffer.from('x'), 1)],
    ['a compressed message that is none', { 'grpc-encoding': 'gzip' }, frame(Buffer.from('no gzip'), 1)],
    ['an unknown encoding', { 'grpc-encoding': 'zip9' }, frame(Buffer.from('x'), 1)],
    ['a flag that does not exist', {}, frame(Buffer.from('x'), 255)],
    ['a time-out that is none', { 'grpc-timeout': 'soon' }, frame(Buffer.from('x'))],
    ['bytes in a header that are not base64', { 'x-bin': '!!!' }, frame(Buffer.from('x'))],
  ])('lives through %s', async (_, headers, body) => {
    for (const path of [methods.unary.path, methods.bidi.path, methods.server.path]) await call(headers, body, path);
    expect((await call()).trailers).toMatchObject({ 'grpc-status': '0' });
  });

  it('lives through bytes that are no HTTP/2, and connections that are cut', async () => {
    const [host = '', port = ''] = listener.addr().split(':');
    const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
    for (const bytes of ['GET / HTTP/1.1\r\n\r\n', '\0\0\0\0', `${preface}${'\xff'.repeat(64)}`, preface, '']) {
      await new Promise<void>((resolve) => {
        const socket = connect(Number(port), host, () => {
          socket.end(Buffer.from(bytes, 'latin1'));
          socket.resume();
        });
        socket.on('error', () => {});
        socket.on('close', () => resolve());
      });
    }
    expect((await call()).trailers).toMatchObject({ 'grpc-status': '0' });
  });
});

describe.each(grpcNames)('a client of %s, before servers that misbehave', (name) => {
  const transport = grpcTransport(name);

  afterAll(() => transport.close());

  const cases: [string, OnStream, object][] = [
    [
      'a web page',
      (stream) => {
        stream.respond({ ':status': 200, 'content-type': 'text/html' });
        stream.end('<html><body>Welcome!</body></html>');
      },
      { code: Code.Unknown, reason: 'transport.not_grpc', message: expect.stringContaining('text/html') },
    ],
    [
      'a stream that is refused',
      (stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM),
      { code: Code.Unavailable, reason: 'transport.unreachable' },
    ],
    [
      'a stream that is reset',
      (stream) => stream.close(constants.NGHTTP2_CANCEL),
      { code: Code.Cancelled, reason: 'call.cancelled' },
    ],
    [
      'a stream that breaks the protocol',
      (stream) => stream.close(constants.NGHTTP2_PROTOCOL_ERROR),
      { code: Code.Internal, reason: 'transport.bad_reply' },
    ],
    [
      'an answer without a status',
      (stream) => {
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
        stream.end(frame(Buffer.from('x')));
      },
      { code: Code.Internal, reason: 'transport.bad_reply' },
    ],
    ['a connection that is cut', (_, cut) => cut(), { code: Code.Unavailable, reason: 'transport.connection_lost' }],
    [
      'a connection that is cut in the middle of the answer',
      (stream, cut) => {
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
        stream.write(frame(Buffer.from('x')), cut);
      },
      { code: Code.Unavailable, reason: 'transport.connection_lost' },
    ],
    [
      'a compressed message without an encoding',
      (stream) => {
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
        stream.write(frame(Buffer.from('x'), 1));
      },
      { code: Code.Internal, reason: 'transport.bad_reply', message: expect.stringContaining('compressed') },
    ],
    [
      'an encoding that nobody announced',
      (stream) => {
        stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-encoding': 'zip9' });
        stream.write(frame(Buffer.from('x'), 1));
      },
      { code: Code.Internal, reason: 'transport.bad_reply', message: expect.stringContaining('compressed') },
    ],
    [
      'a message that claims to be too large',
      (stream) => {
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
        stream.write(frame(Buffer.from('x'), 0, 0x7f_ff_ff_ff));
      },
      {
        code: Code.ResourceExhausted,
        reason: 'transport.message_too_large',
        message: expect.stringContaining('2147483647'),
      },
    ],
  ];

  it.each(cases)('gives an error that says so: %s', async (_, onStream, failure) => {
    const server = await rawServer(onStream);
    try {
      const unary = transport.unary(server.address, { body: Buffer.from('x') }, { route: methods.unary });
      await expect(unary).rejects.toMatchObject(failure);
      const socket = transport.dial(server.address, { route: methods.bidi });
      void socket.send({ body: Buffer.from('x') });
      await expect(readAll(socket)).rejects.toMatchObject(failure);
    } finally {
      await server.close();
    }
  });

  it('takes a status of HTTP for the answer that it is', async () => {
    const server = await rawServer((stream) =>
      stream.respond({ ':status': 503, 'content-type': 'text/plain' }, { endStream: true }),
    );
    const code = await transport.unary(server.address, { body: Buffer.from('x') }, { route: methods.unary }).then(
      ({ status }) => status?.code,
      (error: TenonError) => error.code,
    );
    expect(code).toBe(Code.Unavailable);
    await server.close();
  });

  it('knows a call that its server reset because the deadline has passed there', async () => {
    const deadline = performance.now() + 60_000;
    let now = performance.now();
    const runtime = { timers: systemTimers, clock: { ...systemClock, monotonicMs: () => now } };
    const late = grpcTransport(name, { runtime });
    const server = await rawServer((stream, _cut, headers) => {
      if (headers[':path'] === methods.bidi.path) now = deadline - 1;
      stream.close(constants.NGHTTP2_CANCEL);
    });
    const codeOf = async (route: MethodDescriptor): Promise<unknown> => {
      const socket = late.dial(server.address, { route, ctx: new Context({ service: 's', endpoint: 'e', deadline }) });
      void socket.send({ body: Buffer.from('x') });
      socket.end();
      return readAll(socket).catch((error: unknown) => (error as TenonError).reason);
    };
    try {
      expect(await codeOf(methods.server)).toBe('call.cancelled');
      expect(await codeOf(methods.bidi)).toBe('call.deadline_exceeded');
    } finally {
      await late.close();
      await server.close();
    }
  });

  it('knows a call that a leaving server did not take', async () => {
    const server = await leavingServer();
    const failure = { code: Code.Unavailable, reason: 'transport.unreachable' };
    await expect(
      transport.unary(server.address, { body: Buffer.from('x') }, { route: methods.unary }),
    ).rejects.toMatchObject(failure);
    const socket = transport.dial(server.address, { route: methods.bidi });
    void socket.send({ body: Buffer.from('x') });
    await expect(readAll(socket)).rejects.toMatchObject(failure);
    await server.close();
  });

  it('comes back to a server that comes back', async () => {
    const first = await transport.listen('127.0.0.1:0', { routes: [methods.unary] });
    const address = first.addr();
    const call = () =>
      transport.unary(address, { body: Buffer.from('x') }, { route: methods.unary, waitForReady: true });
    const answer = (listener: Listener): void =>
      listener.accept((socket) => void socket.send({ body: Buffer.from('back'), status: okStatus }));
    answer(first);
    expect((await call()).status?.code).toBe(Code.Ok);
    await first.close();
    await expect(transport.unary(address, { body: Buffer.from('x') }, { route: methods.unary })).rejects.toMatchObject({
      reason: 'transport.unreachable',
    });
    const second = await transport.listen(address, { routes: [methods.unary] });
    answer(second);
    expect((await call()).status?.code).toBe(Code.Ok);
    await second.close();
  });
});

describe.each(grpcNames)('connections of a client of %s', (name) => {
  it('are shared by the calls to an address, and let go of when nobody calls it any more', async () => {
    let nowMs = 0;
    const clock = { now: () => 1_000_000 + nowMs, monotonicMs: () => nowMs };
    const timers = new HeldTimers((_delayMs, isPeriodic) => isPeriodic);
    const client = grpcTransport(name, { idleMs: 60_000, runtime: { clock, timers } });
    const answer: OnStream = (stream) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(frame(Buffer.from('x')));
    };
    const [one, two] = [await rawServer(answer), await rawServer(answer)];
    const call = (address: string) => client.unary(address, { body: Buffer.from('x') }, { route: methods.unary });
    await Promise.all([call(one.address), call(one.address), call(one.address)]);
    expect(one.connections()).toBe(1);
    nowMs = 60_001;
    // A period in which it is called, and others in which it is not.
    const passing = setInterval(() => timers.fire(), 5);
    await call(two.address);
    await one.closed;
    clearInterval(passing);
    await call(one.address);
    expect(one.connections()).toBe(2);
    await client.close();
    await Promise.all([one.close(), two.close()]);
  });

  it('are not opened for a call that begins after the transport was closed', async () => {
    const client = grpcTransport(name);
    const socket = client.dial('127.0.0.1:1', { route: methods.bidi });
    await client.close();
    void socket.send({ body: Buffer.from('x') });
    await expect(socket.recv()).rejects.toMatchObject({ code: Code.Unavailable, reason: 'transport.closed' });
  });
});
