import { constants, type IncomingHttpHeaders } from 'node:http2';
import { type AddressInfo, createServer, type Socket } from 'node:net';

import { describe, expect, it } from '@jest/globals';

import { Context } from '../../src/context/context.ts';
import { Metadata } from '../../src/context/metadata.ts';
import { Code } from '../../src/errors/errors.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { GrpcTransport } from '../../src/transport/grpc.ts';
import { eventually } from '../support/waiting.ts';
import type { Message } from '../../src/transport/transport.ts';
import { closing } from '../support/closing.ts';
import { frame, methods, type OnStream, rawServer, type RawServer, readAll } from './support.ts';

function clientOf(...args: ConstructorParameters<typeof GrpcTransport>): GrpcTransport {
  const client = new GrpcTransport(...args);
  closing.push(() => client.close());
  return client;
}

async function serving(onStream: OnStream): Promise<RawServer> {
  const server = await rawServer(onStream);
  closing.push(() => server.close());
  return server;
}

const hi = Buffer.from('hi');
const head = { ':status': 200, 'content-type': 'application/grpc' };

/** Answers with these bytes and trailers, which leave in one packet. */
function answering(bytes: Uint8Array, trailers: Record<string, string>): OnStream {
  return (stream) => {
    stream.respond(head, { waitForTrailers: true });
    stream.once('wantTrailers', () => stream.sendTrailers(trailers));
    stream.end(bytes);
    stream.resume();
  };
}

const good = answering(frame(hi), { 'grpc-status': '0' });

describe('a client on node:http2', () => {
  it('hands over all messages that came before an error status, in one packet with it too', async () => {
    const replies = Buffer.concat([frame(Buffer.from('1')), frame(Buffer.from('2')), frame(Buffer.from('3'))]);
    const { address } = await serving(answering(replies, { 'grpc-status': '9', 'grpc-message': 'no%20more' }));
    const call = clientOf().dial(address, { route: methods.server });
    void call.send({ body: hi });
    call.end();
    // Nobody has read yet when all is there.
    await new Promise((resolve) => setTimeout(resolve, 50));
    const messages = await readAll(call);
    expect(messages.flatMap(({ body }) => (body ? [String(body)] : []))).toEqual(['1', '2', '3']);
    expect(messages.at(-1)?.status).toMatchObject({ code: Code.FailedPrecondition, message: 'no more' });
  });

  it('loses no message that came before the status when the connection breaks while nobody reads', async () => {
    const replies = Buffer.concat(Array.from({ length: 1_500 }, () => frame(Buffer.alloc(32))));
    let isCut = false;
    const { address } = await serving((stream, cut, headers) => {
      answering(replies, { 'grpc-status': '0' })(stream, cut, headers);
      // It has arrived when the client answers a ping behind it.
      stream.once('wantTrailers', () => {
        stream.session?.ping(() => {
          cut();
          isCut = true;
        });
      });
    });
    const call = clientOf().dial(address, { route: methods.server });
    void call.send({ body: hi });
    await eventually('the cut', () => isCut);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const messages = await readAll(call);
    expect(messages.filter(({ body }) => body)).toHaveLength(1_500);
    expect(messages.at(-1)?.status?.code).toBe(Code.Ok);
  });

  const endings: [string, OnStream, string][] = [
    ['the connection is cut', (_stream, cut) => cut(), 'transport.connection_lost'],
    ['the call is reset', (stream) => stream.close(constants.NGHTTP2_INTERNAL_ERROR), 'transport.bad_reply'],
  ];
  it.each(endings)(
    'delivers what had arrived before it says how the call broke off, when %s',
    async (_, breakOff, reason) => {
      const replies = Buffer.concat(Array.from({ length: 200 }, () => frame(Buffer.alloc(300))));
      let broken = false;
      const { address } = await serving((stream, cut, headers) => {
        stream.respond(head);
        // It has left when the client answers the ping behind it.
        stream.write(replies, () => {
          stream.session?.ping(() => {
            breakOff(stream, cut, headers);
            broken = true;
          });
        });
      });
      const call = clientOf().dial(address, { route: methods.server });
      void call.send({ body: hi });
      await eventually('the end', () => broken);
      await new Promise((resolve) => setTimeout(resolve, 50));
      let bodies = 0;
      const failure = await failureOf(
        (async () => {
          for (;;) if ((await call.recv())?.body) bodies += 1;
        })(),
      );
      expect(failure).toMatchObject({ reason });
      expect(bodies).toBe(200);
    },
  );

  it.each([
    ['a message', frame(Buffer.from('whole')).subarray(0, 8)],
    ['the head of a message', frame(Buffer.from('whole')).subarray(0, 3)],
  ])('takes no answer for whole that ends with OK in the middle of %s', async (_, bytes) => {
    const { address } = await serving(answering(bytes, { 'grpc-status': '0' }));
    const call = clientOf().dial(address, { route: methods.server });
    void call.send({ body: hi });
    expect(await failureOf(readAll(call))).toMatchObject({ code: Code.Internal, reason: 'transport.bad_reply' });
  });

  it('says what the messages are, how long it waits, and who it is', async () => {
    const seen: IncomingHttpHeaders[] = [];
    const { address } = await serving((stream, cut, headers) => {
      seen.push(headers);
      good(stream, cut, headers);
    });
    const client = clientOf();
    const year = 365 * 24 * 3_600_000;
    const ctx = new Context({ service: 's', endpoint: 'e', deadline: performance.now() + year });
    const message: Message = { body: hi, headers: new Metadata({ 'user-agent': 'mine/1' }) };
    await client.unary(address, message, { route: methods.unary, contentType: 'application/grpc+json', ctx });
    await client.unary(address, { body: hi }, { route: methods.unary });
    expect(seen[0]).toMatchObject({
      'content-type': 'application/grpc+json',
      te: 'trailers',
      'user-agent': 'mine/1 grpc-node-tenon',
    });
    const [, digits, unit] = /^(\d{1,8})(S)$/.exec(String(seen[0]?.['grpc-timeout'])) ?? [];
    expect([Math.round(Number(digits) / 10), unit]).toEqual([year / 10_000, 'S']);
    expect(seen[1]).toMatchObject({ 'content-type': 'application/grpc', 'user-agent': 'grpc-node-tenon' });
    expect(seen[1]).not.toHaveProperty('grpc-timeout');
  });

  it('keeps one connection to an address, whatever its calls may receive and compress', async () => {
    const server = await serving(good);
    const client = clientOf();
    for (const options of [{}, { maxReceiveBytes: 1_000 }, { compress: true }])
      await client.unary(server.address, { body: hi }, { route: methods.unary, ...options });
    expect(server.connections()).toBe(1);
  });

  it('keeps the values of a repeated key apart, and unpacks those of bytes', async () => {
    const { address } = await serving((stream) => {
      stream.respond({ ...head, twice: ['a, b', 'c'], 'raw-bin': 'AAE,/w==' });
      stream.close(constants.NGHTTP2_CANCEL);
    });
    const call = clientOf().dial(address, { route: methods.server });
    void call.send({ body: hi });
    const headers = (await call.recv())?.headers;
    expect(headers?.getAll('twice')).toEqual(['a, b', 'c']);
    expect(headers?.getAll('raw-bin')).toEqual([Buffer.from([0, 1]), Buffer.from([255])]);
  });

  it('has an answer before all was sent, and sends no more', async () => {
    let isClosed = false;
    const { address } = await serving((stream) => {
      stream.once('close', () => (isClosed = true));
      stream.respond({ ...head, 'grpc-status': '8', 'grpc-message': 'too much' }, { endStream: true });
    });
    const { status } = await clientOf().unary(address, { body: Buffer.alloc(4_000_000) }, { route: methods.unary });
    expect(status).toMatchObject({ code: Code.ResourceExhausted, message: 'too much' });
    while (!isClosed) await new Promise((resolve) => setTimeout(resolve, 5));
  });

  it('does not call a call unprocessed that was answered, whatever the reset says', async () => {
    const { address } = await serving((stream) => {
      stream.respond(head);
      stream.write(frame(hi), () => setTimeout(() => stream.close(constants.NGHTTP2_REFUSED_STREAM), 20));
    });
    const call = clientOf().dial(address, { route: methods.server });
    void call.send({ body: hi });
    expect(await failureOf(readAll(call))).toMatchObject({ reason: 'transport.bad_reply' });
  });

  it('does not wait for a connection that was given up, to close, before it makes another', async () => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      socket.on('error', () => {});
      // Takes in what is sent, as far as the machine does, and never answers.
      if (sockets.push(socket) === 1)
        socket.once('data', () => socket.pause().write(Buffer.from('000000040000000000', 'hex')));
      else socket.destroy();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closing.push(
      () => server.close(),
      () => sockets.forEach((socket) => socket.destroy()),
    );
    const client = clientOf({ keepaliveMs: 50, keepaliveTimeoutMs: 50 });
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const upload = client.dial(address, { route: methods.client });
    void (async () => {
      for (let index = 0; index < 200; index += 1) await upload.send({ body: Buffer.alloc(60_000) });
    })();
    expect(await failureOf(readAll(upload))).toMatchObject({ reason: 'transport.connection_lost' });
    const next = client.unary(address, { body: hi }, { route: methods.unary });
    expect(await failureOf(next)).toMatchObject({ reason: 'transport.unreachable' });
    expect(sockets.length).toBeGreaterThan(1);
  });

  it('takes a reset with NO_ERROR, on a connection that goes away, for the loss of the connection', async () => {
    const { address } = await serving((stream) => {
      stream.session?.goaway(constants.NGHTTP2_NO_ERROR);
      setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), 20);
    });
    const call = clientOf().dial(address, { route: methods.bidi });
    void call.send({ body: hi });
    expect(await failureOf(readAll(call))).toMatchObject({ reason: 'transport.connection_lost' });
  });

  it('lets calls wait for room on the connection, and for as long as their deadline', async () => {
    const { address } = await rawServerOf(2, closing);
    const client = clientOf();
    const calls = Array.from({ length: 6 }, () => client.unary(address, { body: hi }, { route: methods.unary }));
    for (const { status } of await Promise.all(calls)) expect(status?.code).toBe(Code.Ok);
    const held = [1, 2].map(() => client.dial(address, { route: methods.bidi }));
    for (const call of held) void call.send({ body: hi });
    const ctx = new Context({ service: 's', endpoint: 'e', deadline: performance.now() + 50 });
    const late = client.unary(address, { body: hi }, { route: methods.unary, ctx });
    expect(await failureOf(late)).toMatchObject({ code: Code.DeadlineExceeded });
    for (const call of held) void call.close();
  });
});

/** Takes so many calls at a time; answers unary ones after a moment, and others never. */
async function rawServerOf(maxCalls: number, after: (() => unknown)[]): Promise<{ readonly address: string }> {
  const transport = new GrpcTransport({ maxCalls });
  const listener = await transport.listen('127.0.0.1:0', { routes: Object.values(methods) });
  after.push(() => listener.close());
  listener.accept((socket, { kind }) => {
    if (kind === 'unary') setTimeout(() => void socket.send({ body: hi, status: { code: 0, message: '' } }), 5);
  });
  return { address: listener.addr() };
}
