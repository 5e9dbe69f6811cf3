import { describe, expect, it } from '@jest/globals';

import { Metadata } from '../../src/context/metadata.ts';
import { okStatus, statusOf } from '../../src/context/status.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import type { GrpcTransportOptions } from '../../src/transport/grpc.ts';
import type { Listener, Message, Socket } from '../../src/transport/transport.ts';
import { closing } from '../support/closing.ts';
import { frame, type GrpcName, grpcNames, grpcTransport, methods, rawCall, rawSession, readAll } from './support.ts';

function transportOf(options: GrpcTransportOptions = {}, name: GrpcName = 'grpc'): ReturnType<typeof grpcTransport> {
  const transport = grpcTransport(name, options);
  closing.push(() => transport.close());
  return transport;
}

async function listen(
  options: GrpcTransportOptions,
  answer: (socket: Socket) => Message,
  name?: GrpcName,
): Promise<Listener> {
  const listener = await transportOf(options, name).listen('127.0.0.1:0', { routes: Object.values(methods) });
  closing.push(() => listener.close());
  listener.accept((socket) => {
    void readAll(socket).then(
      () => socket.send(answer(socket)),
      () => {},
    );
  });
  return listener;
}

const hi = Buffer.from('hi');
const big = (bytes: number): Metadata => new Metadata({ big: 'x'.repeat(bytes) });
const route = methods.unary;

async function outcome(promise: Promise<Message>): Promise<unknown> {
  return promise.then(
    ({ status }) => ({ code: status?.code, reason: status?.metadata?.text('tenon-reason'), message: status?.message }),
    ({ code, reason, message }: TenonError) => ({ code, reason, message }),
  );
}

describe.each(grpcNames)('metadata of a server on %s', (server) => {
  it('that is larger than the client may send is not sent', async () => {
    const heads: unknown[] = [];
    const listener = await listen({}, () => (heads.push(1), { body: hi, status: okStatus }), server);
    const client = transportOf({ maxMetadataBytes: 1_000 });
    const sized = (bytes: number): Promise<Message> =>
      client.unary(listener.addr(), { headers: big(bytes), body: hi }, { route });
    // RFC 9113, section 6.5.2: 32 and the name beside it.
    expect((await sized(1_000 - 35)).status?.code).toBe(Code.Ok);
    expect(await outcome(sized(1_000 - 34))).toMatchObject({
      code: Code.ResourceExhausted,
      reason: 'metadata.too_large',
      message: expect.stringContaining('1001 bytes, more than the 1000'),
    });
    expect(heads).toHaveLength(1);
  });

  it('that is too large for an answer leaves an error its code and text, and refuses what is no error', async () => {
    const answers: Message[] = [
      {
        status: statusOf(
          new TenonError({
            code: Code.NotFound,
            message: 'no such thing',
            details: [{ type: 'a.B', value: new Uint8Array(60_000) }],
          }),
        ),
      },
      { body: hi, status: { ...okStatus, metadata: big(60_000) } },
      { headers: big(60_000), body: hi, status: okStatus },
      { status: { code: Code.Aborted, message: '%'.repeat(1_000_000) } },
    ];
    const listener = await listen({}, () => answers.shift() as Message, server);
    const client = transportOf();
    const call = (): Promise<unknown> => outcome(client.unary(listener.addr(), { body: hi }, { route }));
    expect(await call()).toEqual({ code: Code.NotFound, reason: undefined, message: 'no such thing' });
    const refused = { code: Code.ResourceExhausted, reason: 'metadata.too_large' };
    expect(await call()).toMatchObject(refused);
    expect(await call()).toMatchObject(refused);
    expect(await call()).toMatchObject({ code: Code.Aborted, message: expect.stringMatching(/^%{4096}…$/) });
  });
});

describe('metadata of a server on http2', () => {
  it('that is larger than the server takes resets the call, and no other', async () => {
    const listener = await listen({ maxMetadataBytes: 8_192 }, () => ({ body: hi, status: okStatus }));
    const client = transportOf({ maxMetadataBytes: 1_000_000 });
    const call = (headers?: Metadata): Promise<Message> =>
      client.unary(listener.addr(), { headers, body: hi }, { route });
    const beside = client.dial(listener.addr(), { route: methods.bidi });
    void beside.send({ body: hi });
    for (const bytes of [13_000, 60_000]) {
      expect(await outcome(call(big(bytes)))).toMatchObject({
        code: Code.ResourceExhausted,
        reason: 'transport.enhance_your_calm',
        message: expect.stringContaining(listener.addr()),
      });
    }
    expect((await call()).status?.code).toBe(Code.Ok);
    beside.end();
    expect((await readAll(beside)).at(-1)?.status?.code).toBe(Code.Ok);
  });

  it('of which one field is larger than HTTP/2 libraries take costs the connection, and not the server', async () => {
    const listener = await listen({}, () => ({ body: hi, status: okStatus }));
    const client = transportOf({ maxMetadataBytes: 1_000_000 });
    const call = (headers?: Metadata): Promise<Message> =>
      client.unary(listener.addr(), { headers, body: hi }, { route, waitForReady: true });
    expect(await outcome(call(big(300_000)))).toMatchObject({ reason: 'transport.connection_lost' });
    expect((await call()).status?.code).toBe(Code.Ok);
  });

  it('is bounded by its bytes, not by its number', async () => {
    const listener = await listen({}, () => ({ body: hi, status: okStatus }));
    const session = rawSession(listener.addr());
    closing.push(() => session.destroy());
    const many = (count: number): Record<string, string> =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, 'v']));
    expect((await rawCall(session, route.path, frame(hi), many(500))).trailers).toMatchObject({ 'grpc-status': '0' });
    expect((await rawCall(session, route.path, frame(hi), many(2_000))).resetCode).toBe(11);
    expect((await rawCall(session, route.path, frame(hi))).trailers).toMatchObject({ 'grpc-status': '0' });
  });
});
