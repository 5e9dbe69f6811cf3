import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  Client,
  credentials,
  Metadata as GrpcMetadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';

import { Metadata } from '../../src/context/metadata.ts';
import { errorOf, okStatus, type Status, statusOf } from '../../src/context/status.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { GrpcTransport } from '../../src/transport/grpc.ts';
import type { Listener, Socket } from '../../src/transport/transport.ts';
import { methods, readAll } from './support.ts';

const identity = (bytes: Buffer): Buffer => bytes;
const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString();

/** Upper case of what came: for each message, or of all at once. */
async function shout(socket: Socket, kind: string): Promise<void> {
  const streams = kind === 'server' || kind === 'bidi';
  const words: string[] = [];
  for (let message = await socket.recv(); message; message = await socket.recv()) {
    if (message.headers?.has('fail')) {
      const details = [{ type: 'google.rpc.ErrorInfo', value: Uint8Array.of(10, 1, 65) }];
      const error = new TenonError({
        code: Code.NotFound,
        reason: 'wire.gone',
        message: 'gone: ü',
        details,
        metadata: { extra: '1' },
      });
      void socket.send({ status: statusOf(error) });
      return;
    }
    if (!message.body) continue;
    words.push(text(message.body).toUpperCase());
    if (streams) await socket.send({ body: Buffer.from(words.at(-1) as string) });
  }
  const status: Status = { code: Code.Ok, message: '', metadata: new Metadata({ count: String(words.length) }) };
  void socket.send(
    streams ? { status } : { headers: new Metadata({ hello: 'there' }), body: Buffer.from(words.join('+')), status },
  );
}

describe('a plain grpc-js client', () => {
  const transport = new GrpcTransport();
  let listener: Listener;
  let client: Client;

  beforeAll(async () => {
    listener = await transport.listen('127.0.0.1:0', { routes: Object.values(methods) });
    listener.accept((socket, { kind }) => void shout(socket, kind));
    client = new Client(listener.addr(), credentials.createInsecure());
  });

  afterAll(async () => {
    client.close();
    await listener.close();
  });

  it('makes a unary call', async () => {
    const seen: Record<string, unknown> = {};
    const reply = await new Promise<Buffer | undefined>((resolve, reject) => {
      const call = client.makeUnaryRequest(
        methods.unary.path,
        identity,
        identity,
        Buffer.from('ping'),
        (error, value) => (error ? reject(error) : resolve(value)),
      );
      call.on('metadata', (metadata: GrpcMetadata) => (seen['hello'] = metadata.get('hello')));
      call.on('status', (status) =>
        Object.assign(seen, { code: status.code, details: status.details, count: status.metadata.get('count') }),
      );
    });
    expect(text(reply)).toBe('PING');
    expect(seen).toEqual({ hello: ['there'], code: 0, details: '', count: ['1'] });
  });

  it('reads a server stream', async () => {
    const call = client.makeServerStreamRequest(methods.server.path, identity, identity, Buffer.from('one'));
    const words: string[] = [];
    for await (const word of call) words.push(text(word as Buffer));
    expect(words).toEqual(['ONE']);
  });

  it('writes a client stream', async () => {
    const reply = await new Promise<Buffer | undefined>((resolve, reject) => {
      const call = client.makeClientStreamRequest(methods.client.path, identity, identity, (error, value) =>
        error ? reject(error) : resolve(value),
      );
      for (const word of ['a', 'b', 'c']) call.write(Buffer.from(word));
      call.end();
    });
    expect(text(reply)).toBe('A+B+C');
  });

  it('talks both ways', async () => {
    const call = client.makeBidiStreamRequest(methods.bidi.path, identity, identity);
    const words: string[] = [];
    for (const word of ['a', 'b', 'c']) call.write(Buffer.from(word));
    call.end();
    for await (const word of call) words.push(text(word as Buffer));
    expect(words).toEqual(['A', 'B', 'C']);
  });

  it('is told of an error with its details', async () => {
    const metadata = new GrpcMetadata();
    metadata.set('fail', '1');
    const error = await new Promise<{ code?: number; details?: string; metadata?: GrpcMetadata }>((resolve) => {
      client.makeUnaryRequest(methods.unary.path, identity, identity, Buffer.from('x'), metadata, (failure) =>
        resolve(failure ?? {}),
      );
    });
    expect(error).toMatchObject({ code: 5, details: 'gone: ü' });
    expect(error.metadata?.get('extra')).toEqual(['1']);
    expect(error.metadata?.get('tenon-reason')).toEqual(['wire.gone']);
    expect(error.metadata?.get('grpc-status-details-bin')).toHaveLength(1);
  });
});

describe('a plain grpc-js server', () => {
  const transport = new GrpcTransport();
  const server = new Server();
  let address: string;

  beforeAll(async () => {
    const definition = (path: string, requestStream: boolean, responseStream: boolean) => ({
      path,
      requestStream,
      responseStream,
      requestSerialize: identity,
      requestDeserialize: identity,
      responseSerialize: identity,
      responseDeserialize: identity,
    });
    server.addService(
      {
        unary: definition(methods.unary.path, false, false),
        server: definition(methods.server.path, false, true),
        client: definition(methods.client.path, true, false),
        bidi: definition(methods.bidi.path, true, true),
      },
      {
        unary: (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => {
          const fail = text(call.request);
          if (fail === 'unavailable') reply({ code: 14, details: 'Connection dropped' });
          else if (fail === 'strange') reply({ code: 99 as never, details: 'no such code' });
          else if (fail === 'details') {
            const status = statusOf(
              new TenonError({ code: Code.Aborted, message: 'm', details: [{ type: 'a.B', value: Uint8Array.of(1) }] }),
            );
            const metadata = new GrpcMetadata();
            metadata.set(
              'grpc-status-details-bin',
              Buffer.from(status.metadata?.get('grpc-status-details-bin') as Uint8Array),
            );
            reply({ code: 10, details: 'm', metadata });
          } else reply(null, Buffer.from(`${fail} of ${String(call.metadata.get('who')[0])}`));
        },
        server: (call: ServerWritableStream<Buffer, Buffer>) => {
          for (const word of ['a', 'b', 'c']) call.write(Buffer.from(word));
          if (text(call.request) === 'fail') call.emit('error', { code: 15, details: 'the rest is lost' });
          else call.end();
        },
        client: (call: ServerReadableStream<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => {
          const words: string[] = [];
          call.on('data', (word: Buffer) => words.push(text(word)));
          call.on('end', () => reply(null, Buffer.from(words.join('+'))));
        },
        bidi: (call: ServerDuplexStream<Buffer, Buffer>) => {
          call.on('data', (word: Buffer) => call.write(word));
          call.on('end', () => call.end());
        },
      },
    );
    // What breaks the rules of a unary method: a handler of streams under its path.
    server.register(
      '/wire.Wire/Twice',
      (call: ServerDuplexStream<Buffer, Buffer>) => {
        call.write(Buffer.from('1'));
        call.write(Buffer.from('2'));
        call.end();
      },
      identity,
      identity,
      'bidi',
    );
    server.register(
      '/wire.Wire/Never',
      (call: ServerDuplexStream<Buffer, Buffer>) => call.end(),
      identity,
      identity,
      'bidi',
    );
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      );
    });
    address = `127.0.0.1:${port}`;
  });

  afterAll(async () => {
    await transport.close();
    server.forceShutdown();
  });

  const unary = (body: string, path?: string) =>
    transport.unary(
      address,
      { headers: new Metadata({ who: 'ada' }), body: Buffer.from(body) },
      { route: methods.unary, path },
    );

  it('answers a unary call', async () => {
    const { body, status } = await unary('hello');
    expect(text(body)).toBe('hello of ada');
    expect(status).toMatchObject({ code: 0, message: '' });
  });

  it('answers each kind of stream', async () => {
    const words: Record<string, string[]> = {};
    for (const kind of ['server', 'client', 'bidi'] as const) {
      const socket = transport.dial(address, { route: methods[kind] });
      void socket.send({ body: Buffer.from('x') });
      if (kind !== 'server') void socket.send({ body: Buffer.from('y') });
      socket.end();
      words[kind] = (await readAll(socket)).flatMap(({ body }) => (body ? [text(body)] : []));
    }
    expect(words).toEqual({ server: ['a', 'b', 'c'], client: ['x+y'], bidi: ['x', 'y'] });
  });

  it('may say UNAVAILABLE in words of grpc-js: it has answered all the same', async () => {
    const { status } = await unary('unavailable');
    expect(status).toMatchObject({ code: Code.Unavailable, message: 'Connection dropped' });
  });

  it('may use a code that does not exist, which is UNKNOWN', async () => {
    const { status } = await unary('strange');
    expect(status).toMatchObject({ code: Code.Unknown, message: 'no such code' });
  });

  it('sends details with padding, and they are read', async () => {
    const { status } = await unary('details');
    expect(errorOf(status ?? okStatus).details).toEqual([
      { type: 'a.B', value: expect.objectContaining({ length: 1 }) },
    ]);
  });

  it('sends an error after messages, and they are read first', async () => {
    const socket = transport.dial(address, { route: methods.server });
    void socket.send({ body: Buffer.from('fail') });
    socket.end();
    const messages = await readAll(socket);
    expect(messages.flatMap(({ body }) => (body ? [text(body)] : []))).toEqual(['a', 'b', 'c']);
    expect(messages.at(-1)?.status).toMatchObject({ code: Code.DataLoss, message: 'the rest is lost' });
  });

  it('fails a unary call that it answers with two messages, or with none', async () => {
    const failure = { code: Code.Unimplemented, reason: 'transport.wrong_reply_count' };
    await expect(unary('x', '/wire.Wire/Twice')).rejects.toMatchObject(failure);
    await expect(unary('x', '/wire.Wire/Never')).rejects.toMatchObject(failure);
    const socket = transport.dial(address, { route: methods.unary, path: '/wire.Wire/Twice' });
    void socket.send({ body: Buffer.from('x') });
    socket.end();
    await expect(readAll(socket)).rejects.toMatchObject(failure);
  });

  it('is spared metadata that would end the whole connection', async () => {
    const other = transport.dial(address, { route: methods.bidi });
    void other.send({ body: Buffer.from('still') });
    const twice = new Metadata({ authorization: ['a', 'b'] });
    await expect(
      transport.unary(address, { headers: twice, body: Buffer.from('x') }, { route: methods.unary }),
    ).rejects.toMatchObject({
      code: Code.InvalidArgument,
      reason: 'metadata.invalid',
    });
    const reserved = new Metadata({ connection: 'close', te: 'gzip', 'transfer-encoding': 'chunked', who: 'eve' });
    expect(
      text(
        (await transport.unary(address, { headers: reserved, body: Buffer.from('x') }, { route: methods.unary })).body,
      ),
    ).toBe('x of eve');
    other.end();
    const bodies = (await readAll(other)).flatMap(({ body }) => (body ? [text(body)] : []));
    expect(bodies).toEqual(['still']);
  });
});
