import type { Transform } from 'node:stream';
import { createGunzip, gzipSync } from 'node:zlib';

import { describe, expect, it } from '@jest/globals';

import { okStatus } from '../../src/context/status.ts';
import { Code, type TenonError } from '../../src/errors/errors.ts';
import { type Context, Handler, Rpc, Service, System } from '../../src/index.ts';
import { eventually } from '../support/waiting.ts';
import { GrpcTransport } from '../../src/transport/grpc.ts';
import type { DialOptions, Listener } from '../../src/transport/transport.ts';
import { closing } from '../support/closing.ts';
import {
  frame,
  type GrpcName,
  grpcNames,
  grpcTransport,
  methods,
  rawCall,
  rawServer,
  rawSession,
  readAll,
} from './support.ts';

function client(): GrpcTransport {
  const transport = new GrpcTransport();
  closing.push(() => transport.close());
  return transport;
}

const hi = { body: Buffer.from('hi') };
const compressing: DialOptions = { route: methods.unary, compress: true };
const streaming: DialOptions = { route: methods.bidi, compress: true };

/**
 * Notes the encoding and the flags of what comes, and answers with `body`; a request in an encoding that it does not
 * know, as gRPC says.
 */
async function stranger(known: readonly string[], body = frame(Buffer.from('ok')), answerIn?: string) {
  const seen: string[] = [];
  const server = await rawServer((stream, _cut, { 'grpc-encoding': encoding = 'none' }) => {
    const chunks: Buffer[] = [];
    const type = { ':status': 200, 'content-type': 'application/grpc' };
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.once('end', () => {
      const bytes = Buffer.concat(chunks);
      let flags = '';
      for (let at = 0; at < bytes.length; at += 5 + bytes.readUInt32BE(at + 1)) flags += String(bytes[at]);
      seen.push(`${String(encoding)} ${flags}`);
      if (encoding !== 'none' && !known.includes(String(encoding))) {
        stream.respond({ ...type, 'grpc-status': '12', 'grpc-accept-encoding': known.join() }, { endStream: true });
        return;
      }
      stream.respond({ ...type, ...(answerIn && { 'grpc-encoding': answerIn }) }, { waitForTrailers: true });
      stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(body);
    });
  });
  closing.push(() => server.close());
  return { address: server.address, seen };
}

/** Sends each message back. */
async function echoing(server: GrpcName): Promise<Listener> {
  const transport = grpcTransport(server);
  const listener = await transport.listen('127.0.0.1:0', { routes: Object.values(methods) });
  closing.push(() => listener.close());
  listener.accept((socket) => {
    void readAll(socket).then(
      (messages) => {
        for (const { body } of messages) void socket.send({ body });
        void socket.send({ status: okStatus });
      },
      () => {},
    );
  });
  return listener;
}

/** Half a gigabyte, in half a megabyte: members of gzip one behind the other are one (RFC 1952, section 2.2). */
function bomb(): Buffer {
  const member = gzipSync(Buffer.alloc(8 * 1024 * 1024), { level: 9 });
  return frame(Buffer.concat(Array.from({ length: 64 }, () => member)), 1);
}

/** The default limit of a message, and what zlib makes at once. */
const maxReceiveBytes = 4 * 1024 * 1024;
const oneChunk = 64 * 1024;

/**
 * Counts the bytes that this process inflates from now on, whoever asks for them: all that zlib makes passes `push`.
 */
function countInflated(): () => number {
  const { prototype } = createGunzip().constructor as unknown as { prototype: Transform };
  let bytes = 0;
  const push = prototype.push;
  prototype.push = function (this: Transform, chunk: Buffer | null, encoding?: BufferEncoding): boolean {
    bytes += chunk?.length ?? 0;
    return push.call(this, chunk, encoding);
  };
  closing.push(() => Reflect.deleteProperty(prototype, 'push'));
  return () => bytes;
}

describe('a gRPC client that compresses', () => {
  it('says so, and leaves a message as it is where it is told to', async () => {
    const { address, seen } = await stranger(['gzip']);
    const transport = client();
    await transport.unary(address, hi, compressing);
    await transport.unary(address, { ...hi, compressed: false }, compressing);
    await transport.unary(address, hi, { route: methods.unary });
    const socket = transport.dial(address, streaming);
    for (const compressed of [undefined, false, true]) void socket.send({ ...hi, compressed });
    socket.end();
    await readAll(socket);
    expect(seen).toEqual(['gzip 1', 'gzip 0', 'none 0', 'gzip 101']);
  });

  it('sends a server that does not understand it no more of it, and repeats a unary call that was refused for it', async () => {
    const { address, seen } = await stranger(['identity', 'deflate']);
    const transport = client();
    const reply = await transport.unary(address, hi, compressing);
    expect(String(reply.body)).toBe('ok');
    await transport.unary(address, hi, compressing);
    expect(seen).toEqual(['gzip 1', 'none 0', 'none 0']);
  });

  it('tells of a stream that was refused, and opens the next one without', async () => {
    const { address, seen } = await stranger(['identity']);
    const transport = client();
    const answers: (Code | undefined)[] = [];
    for (let times = 0; times < 2; times += 1) {
      const socket = transport.dial(address, streaming);
      void socket.send(hi);
      socket.end();
      answers.push((await readAll(socket)).at(-1)?.status?.code);
    }
    expect(answers).toEqual([Code.Unimplemented, Code.Ok]);
    expect(seen).toEqual(['gzip 1', 'none 0']);
  });

  it('is held back by what waits to be compressed, and goes on when that has left', async () => {
    const listener = await echoing('grpc');
    const socket = client().dial(listener.addr(), streaming);
    void socket.send({ body: Buffer.from('first') });
    await eventually('the connection', () => socket.remote !== '');
    const rooms = Array.from({ length: 8 }, () => socket.send({ body: Buffer.alloc(30_000) }));
    expect(rooms.map((room) => room !== undefined)).toEqual([false, false, true, true, true, true, true, true]);
    for (const room of rooms) await room;
    // There is room, and not only less of what waits than before.
    expect(socket.send({ body: Buffer.of(1) })).toBeUndefined();
    socket.end();
    expect((await readAll(socket)).filter(({ body }) => body)).toHaveLength(10);
  });

  it('takes no more of a compressed reply than it was told', async () => {
    const { address } = await stranger([], bomb(), 'gzip');
    const inflated = countInflated();
    const failure = client()
      .unary(address, hi, { route: methods.unary })
      .catch((error: TenonError) => error);
    expect(await failure).toMatchObject({
      code: Code.ResourceExhausted,
      reason: 'transport.message_too_large',
      message: expect.stringContaining('maxReceiveBytes of the client'),
    });
    expect(inflated()).toBeGreaterThan(0);
    expect(inflated()).toBeLessThan(maxReceiveBytes + oneChunk);
  });
});

describe.each(grpcNames)('a gRPC server on %s that is sent what is compressed', (server) => {
  it('has the messages in their order, however long each takes', async () => {
    const listener = await echoing(server);
    const socket = client().dial(listener.addr(), streaming);
    const sizes = Array.from({ length: 40 }, (_, index) => (index % 2 === 0 ? 60_000 : 1));
    const sent = (async () => {
      for (const [index, size] of sizes.entries()) await socket.send({ body: Buffer.alloc(size, index) });
      socket.end();
    })();
    const bodies = (await readAll(socket)).flatMap(({ body }) => (body ? [body] : []));
    await sent;
    expect(bodies.map((body) => [body.length, body[0]])).toEqual(sizes.map((size, index) => [size, index]));
  });

  it('takes no more of it than it was told', async () => {
    const listener = await echoing(server);
    const session = rawSession(listener.addr());
    closing.push(() => session.destroy());
    const inflated = countInflated();
    for (const path of [methods.unary.path, methods.bidi.path]) {
      const { headers, trailers } = await rawCall(session, path, bomb(), { 'grpc-encoding': 'gzip' });
      expect({ ...headers, ...trailers }).toMatchObject({ 'grpc-status': '8' });
    }
    expect(inflated()).toBeGreaterThan(0);
    expect(inflated()).toBeLessThan(2 * (maxReceiveBytes + oneChunk));
  });
});

@Handler('zip.Zip')
class ZipHandler {
  @Rpc() async take(_request: object, ctx: Context): Promise<{ compressed: boolean | undefined }> {
    return { compressed: ctx.wasCompressed };
  }
  @Rpc({ stream: 'client' }) async takeAll(requests: AsyncIterable<object>, ctx: Context): Promise<object> {
    for await (const _ of requests);
    return { compressed: ctx.wasCompressed };
  }
}

@Service({ name: 'zip', handlers: [ZipHandler] })
class Zip {}

it('a client compresses the calls that it is told to compress', async () => {
  const system = await System.start([Zip], {
    profile: 'local',
    env: { TENON_LOG_LEVEL: 'silent', TENON_CLIENT_COMPRESS: 'true' },
  });
  closing.push(() => system.stop());
  const zip = system.client(ZipHandler);
  expect(await zip.take({})).toEqual({ compressed: true });
  expect(await zip.take({}, { compress: false })).toEqual({ compressed: false });
  expect(await zip.takeAll([{}], { compress: true })).toEqual({ compressed: true });
  expect(await zip.takeAll([{}], { compress: false })).toEqual({ compressed: false });
});
