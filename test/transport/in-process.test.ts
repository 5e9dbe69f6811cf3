import { describe, expect, it } from '@jest/globals';

import { RpcClient } from '../../src/client/rpc-client.ts';
import { Metadata } from '../../src/context/metadata.ts';
import { Code } from '../../src/errors/errors.ts';
import { contract, Handler, Rpc, Service, System } from '../../src/index.ts';
import type { Context } from '../../src/index.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { memoryParts, method } from '../../src/testing/internal/parts.ts';
import { collect } from '../../src/testing/recorders.ts';
import { RpcServer } from '../../src/server/rpc-server.ts';
import { GrpcTransport } from '../../src/transport/grpc.ts';
import { InProcessTransport } from '../../src/transport/in-process.ts';
import type { Message, Transport } from '../../src/transport/transport.ts';
import { authority } from '../support/certificates.ts';
import { eventually, gate } from '../support/waiting.ts';

const echo = method('Echo');
const chat = method('Chat', 'bidi');
const bytes = 'application/grpc+bytes';

/** A transport that counts the calls that it carries. */
class Counting extends GrpcTransport {
  calls = 0;

  override dial(...args: Parameters<GrpcTransport['dial']>): ReturnType<GrpcTransport['dial']> {
    this.calls += 1;
    return super.dial(...args);
  }

  override unary(...args: Parameters<GrpcTransport['unary']>): ReturnType<GrpcTransport['unary']> {
    this.calls += 1;
    return super.unary(...args);
  }
}

/** A server with a handler of each kind, and a client, over one transport. */
async function pair(transport: Transport, options: ConstructorParameters<typeof RpcServer>[8] = {}) {
  const parts = memoryParts({ transport });
  const { registry, selector, broker, marshaler, marshalers, runtime, logger } = parts;
  const { clock, random, timers } = runtime;
  const seen: { requests: unknown[]; peers: string[] } = { requests: [], peers: [] };
  const server = new RpcServer(transport, registry, broker, marshalers, clock, random, timers, logger, {
    name: 'suite',
    ...options,
  });
  const handler = server.newHandler(
    'suite.Suite',
    {
      Echo: async (request, ctx) => {
        seen.requests.push(request);
        seen.peers.push(ctx.peer);
        return request;
      },
      Chat: async function* (requests, ctx) {
        seen.peers.push(ctx.peer);
        for await (const request of requests as AsyncIterable<unknown>) {
          seen.requests.push(request);
          yield request;
        }
      },
    },
    { descriptors: [echo, chat] },
  );
  server.handle(handler);
  await server.start();
  await server.register();
  const client = new RpcClient(transport, selector, broker, marshaler, marshalers, clock, random, timers, logger);
  const stop = async (): Promise<void> => {
    await client.close();
    await server.stop();
    await transport.close();
  };
  return { server, client, seen, stop };
}

async function* each<T>(...values: T[]): AsyncIterable<T> {
  yield* values;
}

describe('InProcessTransport', () => {
  it('carries calls to its own listeners without a socket, by both addresses, and others by the inner transport', async () => {
    const inner = new Counting();
    const { server, client, seen, stop } = await pair(new InProcessTransport(inner), {
      address: '0.0.0.0:0',
      advertise: '127.0.0.1',
    });
    const call = client.method(echo, 'suite');
    expect(await call({ n: 1 })).toEqual({ n: 1 });
    expect(await collect(client.method(chat, 'suite')(each({ n: 1 }, { n: 2 })) as AsyncIterable<unknown>)).toEqual([
      { n: 1 },
      { n: 2 },
    ]);
    expect(await call({ n: 2 }, { address: server.address })).toEqual({ n: 2 });
    expect(await call({ n: 3 }, { address: server.advertisedAddress })).toEqual({ n: 3 });
    expect([inner.calls, new Set(seen.peers)]).toEqual([0, new Set(['memory'])]);
    // Another way to the same listener, which is not known to lead here.
    const port = server.address?.split(':').at(-1);
    expect(await call({ n: 4 }, { address: `localhost:${port}` })).toEqual({ n: 4 });
    expect(inner.calls).toBe(1);
    await stop();
  });

  it('is called by other processes as the inner transport is', async () => {
    const { server, seen, stop } = await pair(new InProcessTransport(new GrpcTransport()));
    const other = await pair(new GrpcTransport());
    const call = other.client.method(echo, 'suite');
    expect(await call({ n: 1 }, { address: server.address })).toEqual({ n: 1 });
    expect(seen.peers[0]).toMatch(/^127\.0\.0\.1:/);
    await Promise.all([stop(), other.stop()]);
  });

  it('gives each side bytes of its own', async () => {
    const { client, seen, stop } = await pair(new InProcessTransport(new GrpcTransport()));
    const sent = Uint8Array.of(1, 2, 3);
    const reply = (await client.method(echo, 'suite')(sent, { contentType: bytes })) as Uint8Array;
    const streamed = await collect<Uint8Array>(
      client.method(chat, 'suite')(each(sent, sent), { contentType: bytes }) as AsyncIterable<Uint8Array>,
    );
    const received = seen.requests as Uint8Array[];
    const all = [sent, reply, ...streamed, ...received];
    expect(all).toHaveLength(7);
    for (const [index, one] of all.entries()) one.fill(index);
    for (const [index, one] of all.entries()) expect([...one]).toEqual([index, index, index]);
    await stop();
  });

  it('gives each side metadata of its own', async () => {
    const transport = new InProcessTransport(new GrpcTransport());
    const listener = await transport.listen('127.0.0.1:0', { routes: [echo] });
    const [received, trailers] = [[] as (string | undefined)[], new Metadata({ kept: 'early' })];
    const arrived = gate();
    listener.accept((socket) => {
      void arrived.opened.then(async () => {
        const { headers: metadata = new Metadata() } = (await socket.recv()) ?? {};
        received.push(metadata.text('x-a'), Buffer.from(metadata.get('x-bin') as Uint8Array).toString('hex'));
        await socket.send({ body: Uint8Array.of(1), status: { code: Code.Ok, message: '', metadata: trailers } });
        trailers.set('kept', 'late');
      });
    });
    const bin = Uint8Array.of(1);
    const headers = new Metadata({ 'x-a': 'early', 'x-bin': bin });
    const made = transport.unary?.(listener.addr(), { headers, body: Uint8Array.of(1) }, { route: echo });
    headers.set('x-a', 'late');
    bin[0] = 9;
    arrived.open();
    expect((await made)?.status?.metadata?.text('kept')).toBe('early');
    expect(received).toEqual(['early', '01']);
    await listener.close();
    await transport.close();
  });

  it('leaves an address that two listeners of this process say to the inner transport', async () => {
    const inner = new Counting();
    const transport = new InProcessTransport(inner);
    const listeners = [];
    for (const body of [1, 2]) {
      const listener = await transport.listen('127.0.0.1:0', { routes: [echo] });
      listener.advertise?.('127.0.0.1:1');
      listener.accept(
        (socket) => void socket.send({ body: Uint8Array.of(body), status: { code: Code.Ok, message: '' } }),
      );
      listeners.push(listener);
    }
    const call = (address: string): Promise<Message> | undefined =>
      transport.unary?.(address, { body: Uint8Array.of(0) }, { route: echo });
    for (const [index, listener] of listeners.entries())
      expect((await call(listener.addr()))?.body).toEqual(Buffer.of(index + 1));
    expect(inner.calls).toBe(0);
    expect(await failureOf(call('127.0.0.1:1') as Promise<unknown>)).toMatchObject({ reason: 'transport.unreachable' });
    expect(inner.calls).toBe(1);
    for (const listener of listeners) await listener.close();
    await transport.close();
  });

  it('leaves the listeners of a transport whose capabilities alone say that it speaks TLS', async () => {
    class Own extends Counting {
      static override readonly capabilities = { ...GrpcTransport.capabilities, security: 'tls' as const };
      override get encryption(): never {
        return undefined as never;
      }
    }
    const inner = new Own();
    const { client, stop } = await pair(new InProcessTransport(inner));
    await client.method(echo, 'suite')({});
    expect(inner.calls).toBe(1);
    await stop();
  });

  it('sends no credentials in the clear to whoever has the address of a listener that has left meanwhile', async () => {
    const inner = new Counting();
    const transport = new InProcessTransport(inner);
    let isHere = true;
    const isSecure = transport.isSecure.bind(transport);
    transport.isSecure = (address) => isHere && isSecure(address);
    const { client, stop } = await pair(transport);
    const asked = gate();
    const credentials = {
      metadata: async () => {
        await asked.opened;
        return { authorization: 'Bearer secret' };
      },
    };
    const call = client.method(echo, 'suite');
    const made = failureOf(call({}, { address: '192.0.2.1:80', credentials }) as Promise<unknown>);
    expect(await made).toMatchObject({ reason: 'client.insecure_credentials' });
    transport.isSecure = () => isHere;
    const late = failureOf(call({}, { address: '192.0.2.1:80', credentials }) as Promise<unknown>);
    await eventually('the credentials are asked for', () => inner.calls === 0);
    isHere = false;
    asked.open();
    expect(await late).toMatchObject({ reason: 'client.insecure_credentials' });
    expect(inner.calls).toBe(0);
    await stop();
  });

  it('leaves a listener that drains or is closed to the inner transport', async () => {
    const inner = new Counting();
    const { server, client, stop } = await pair(new InProcessTransport(inner));
    const { address } = server;
    const call = client.method(echo, 'suite');
    await call({}, { address });
    await server.drain();
    expect((await failureOf(call({}, { address }) as Promise<unknown>)).code).toBe(Code.Unavailable);
    expect(inner.calls).toBeGreaterThan(0);
    await server.stop();
    expect(await failureOf(call({}, { address }) as Promise<unknown>)).toMatchObject({
      reason: 'transport.unreachable',
    });
    await stop();
  });

  it('calls a listener that speaks TLS over a connection, which has certificates', async () => {
    const ca = authority();
    const { cert, key } = ca.issue({ name: 'both', names: ['127.0.0.1'] });
    const inner = new Counting({ tls: { ca: ca.cert, cert, key }, serverTls: { ca: ca.cert, cert, key } });
    const transport = new InProcessTransport(inner);
    const { client, seen, stop } = await pair(transport);
    await client.method(echo, 'suite')({});
    expect(inner.calls).toBe(1);
    expect(seen.peers[0]).toMatch(/^127\.0\.0\.1:/);
    expect(transport.encryption).toEqual({ client: true, server: true });
    await stop();
  });

  it('ends calls when it is closed, and takes no more', async () => {
    const transport = new InProcessTransport(new GrpcTransport());
    const { client, server, seen, stop } = await pair(transport);
    const call = client.method(chat, 'suite');
    const replies = (call(each<unknown>({ n: 1 }, new Promise(() => {})), {}) as AsyncIterable<unknown>)[
      Symbol.asyncIterator
    ]();
    await replies.next();
    await transport.close();
    expect((await failureOf(replies.next())).reason).toBe('transport.closed');
    expect(
      (await failureOf(client.method(echo, 'suite')({}, { address: server.address }) as Promise<unknown>)).code,
    ).toBe(Code.FailedPrecondition);
    expect(seen.requests).toHaveLength(1);
    await stop();
  });
});

@Handler('inner.Inner')
class InnerHandler {
  peers: string[] = [];
  user: string | undefined;
  deadline: number | undefined;

  @Rpc() async hello(request: { name: string }, ctx: Context): Promise<{ text: string }> {
    this.peers.push(ctx.peer);
    this.user = ctx.metadata.text('user');
    this.deadline = ctx.deadline;
    return { text: `hello ${request.name}` };
  }
}

@Service({ name: 'inner', handlers: [InnerHandler] })
class Inner {}

const inner = contract<{ hello(request: { name: string }): Promise<{ text: string }> }>('inner.Inner', { hello: {} });

describe('TENON_IN_PROCESS', () => {
  it.each([
    ['true', 'grpc', /^memory$/],
    ['true', 'tcp', /^memory$/],
    ['true', 'unix', /^memory$/],
    ['false', 'grpc', /^127\.0\.0\.1:\d+$/],
    ['', 'grpc', /^127\.0\.0\.1:\d+$/],
  ])('"%s" decides how services of one process call each other: over %s', async (value, transport, peer) => {
    const env = { TENON_TRANSPORT: transport, TENON_IN_PROCESS: value, TENON_LOG_LEVEL: 'silent' };
    const system = await System.start([Inner], { profile: 'local', env });
    const elsewhere = await System.start([], { profile: 'local', env });
    try {
      const handler = system.get(InnerHandler);
      const options = { metadata: { user: 'ada' }, timeoutMs: 60_000 };
      const client = system.client(inner);
      expect(await client.hello({ name: 'Ada' }, options)).toEqual({ text: 'hello Ada' });
      expect(handler.peers[0]).toMatch(peer);
      expect(handler.user).toBe('ada');
      expect((handler.deadline ?? 0) - performance.now()).toBeGreaterThan(1_000);
      const address = system.services[0]?.server().address;
      expect(await elsewhere.client(inner).hello({ name: 'Bob' }, { address })).toEqual({ text: 'hello Bob' });
      expect(handler.peers[1]).not.toMatch(/^memory$/);
    } finally {
      await Promise.all([system.stop(), elsewhere.stop()]);
    }
  });
});
