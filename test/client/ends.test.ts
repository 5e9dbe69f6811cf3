import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';

import { describe, expect, it } from '@jest/globals';

import type { CallOptions, ClientStream } from '../../src/client/client.ts';
import { RpcClient } from '../../src/client/rpc-client.ts';
import { Metadata } from '../../src/context/metadata.ts';
import { okStatus } from '../../src/context/status.ts';
import { Code } from '../../src/errors/errors.ts';
import type { Interceptor, MethodDescriptor } from '../../src/pipeline/pipeline.ts';
import type { Selector } from '../../src/selector/selector.ts';
import { announce, json, memoryParts, method, type Parts, serveRaw } from '../../src/testing/internal/parts.ts';
import { GrpcTransport } from '../../src/transport/grpc.ts';
import type { Socket } from '../../src/transport/transport.ts';
import { countedSignal } from './support.ts';

const echo = method('Echo');
const count = method('Count', 'server');
const sum = method('Sum', 'client');
const chat = method('Chat', 'bidi');
const routes = [echo, count, sum, chat];
const grpcJson = 'application/grpc+json';

function clientOf(parts: Parts, interceptors: readonly Interceptor[] = []): RpcClient {
  const { transport, selector, broker, marshaler, marshalers, runtime, logger } = parts;
  const { clock, random, timers } = runtime;
  return new RpcClient(transport, selector, broker, marshaler, marshalers, clock, random, timers, logger, {
    interceptors,
  });
}

/** Parts whose selector writes down what it is told. */
function marking(replaced: Partial<Parts> = {}): { parts: Parts; marks: string[] } {
  const base = memoryParts(replaced);
  const marks: string[] = [];
  const selector: Selector = {
    options: {},
    init: () => {},
    select: (service, options) => base.selector.select(service, options),
    mark: (_service, node, error) => void marks.push(`${node.id} ${error?.reason ?? 'well'}`),
    reset: () => {},
    close: () => Promise.resolve(),
  };
  return { parts: { ...base, selector }, marks };
}

async function* numbers(...values: number[]): AsyncIterable<{ n: number }> {
  for (const n of values) yield { n };
}

async function make(parts: Parts, descriptor: MethodDescriptor, options?: CallOptions): Promise<unknown> {
  const call = clientOf(parts).method(descriptor, 'suite');
  const input = descriptor.kind === 'client' || descriptor.kind === 'bidi' ? numbers(1) : { to: 1 };
  if (descriptor.kind === 'unary' || descriptor.kind === 'client') return call(input, options);
  const replies: unknown[] = [];
  for await (const reply of call(input, options) as AsyncIterable<unknown>) replies.push(reply);
  return replies;
}

describe('the mark that the selector gets', () => {
  it.each([sum, chat, count])('is no success for a stream that broke off later: $kind', async (descriptor) => {
    const { parts, marks } = marking({ transport: new GrpcTransport() });
    const server = createServer();
    server.on('stream', (stream) => {
      stream.on('error', () => {});
      stream.on('data', () => stream.session?.destroy());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    await announce(parts, 'suite-1', `127.0.0.1:${(server.address() as AddressInfo).port}`);
    await expect(make(parts, descriptor)).rejects.toMatchObject({ reason: 'transport.connection_lost' });
    expect(marks).toEqual(['suite-1 transport.connection_lost']);
    await parts.transport.close();
    server.close();
  });

  it.each([echo, sum, chat, count])('is made once for a node that cannot be reached: $kind', async (descriptor) => {
    const { parts, marks } = marking();
    await announce(parts, 'dead', '127.0.0.1:1');
    await expect(make(parts, descriptor, { timeoutMs: 5_000 })).rejects.toMatchObject({
      reason: 'transport.unreachable',
    });
    // A single request goes to three nodes, or three times to the only one; a stream of them is on its way by then.
    expect(marks).toEqual(
      Array.from({ length: descriptor === sum || descriptor === chat ? 1 : 3 }, () => 'dead transport.unreachable'),
    );
  });

  it.each([echo, sum, chat, count])('is made once for a call that ended well: $kind', async (descriptor) => {
    const { parts, marks } = marking();
    await serveRaw(parts, routes, (socket) => void answer(socket));
    await make(parts, descriptor);
    expect(marks).toEqual(['suite-1 well']);
  });

  it('is that of a cancelled call for a stream that its reader left', async () => {
    const { parts, marks } = marking();
    await serveRaw(parts, routes, (socket) => void socket.send({ body: json({ n: 1 }) }));
    for await (const reply of clientOf(parts).method(count, 'suite')({}) as AsyncIterable<unknown>) {
      expect(reply).toEqual({ n: 1 });
      break;
    }
    expect(marks).toEqual(['suite-1 call.cancelled']);
  });

  it.each([sum, chat])(
    'is a failure for a node that answers a stream of requests that it drains: $kind',
    async (descriptor) => {
      const { parts, marks } = marking();
      const metadata = new Metadata({ 'tenon-reason': 'server.draining' });
      await serveRaw(parts, routes, (socket) => {
        void socket.send({ status: { code: Code.Unavailable, message: 'draining', metadata } });
      });
      await expect(make(parts, descriptor)).rejects.toMatchObject({ reason: 'server.draining' });
      expect(marks).toEqual(['suite-1 server.draining']);
    },
  );
});

async function answer(socket: Socket): Promise<void> {
  await socket.recv();
  void socket.send({ body: json({ n: 1 }), status: okStatus });
}

describe('the caller’s signal', () => {
  it.each([[[]], [[passing()]]])('is not held by replies that nobody reads, with %j', async (interceptors) => {
    const parts = memoryParts();
    await serveRaw(parts, routes, (socket) => void answer(socket));
    const { signal, listeners } = countedSignal();
    const replies = clientOf(parts, interceptors).method(count, 'suite')({}, { signal }) as AsyncIterable<unknown>;
    expect(listeners()).toBe(0);
    for await (const reply of replies) {
      expect(reply).toEqual({ n: 1 });
      expect(listeners()).toBe(1);
    }
    expect(listeners()).toBe(0);
  });

  it('that was aborted before the first reply is asked for ends the call', async () => {
    const parts = memoryParts();
    let calls = 0;
    await serveRaw(parts, routes, () => void (calls += 1));
    const { signal, abort } = countedSignal();
    const replies = clientOf(parts).method(count, 'suite')({}, { signal }) as AsyncIterable<unknown>;
    abort();
    await expect(replies[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: Code.Cancelled });
    expect(calls).toBe(0);
  });

  it('still ends a stream that an interceptor makes again', async () => {
    const parts = memoryParts();
    let calls = 0;
    const again: Interceptor = (next) =>
      async function* repeat(input, ctx) {
        try {
          yield* next(input, ctx) as AsyncIterable<unknown>;
        } catch {
          yield* next(input, ctx) as AsyncIterable<unknown>;
        }
      };
    const { signal, abort, listeners } = countedSignal();
    await serveRaw(parts, routes, (socket) => {
      calls += 1;
      if (calls === 1) void socket.send({ status: { code: Code.Aborted, message: 'again' } });
      else abort();
    });
    const replies = clientOf(parts, [again]).method(count, 'suite')(
      {},
      { signal, timeoutMs: 10_000 },
    ) as AsyncIterable<unknown>;
    await expect(replies[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: Code.Cancelled });
    expect([calls, listeners()]).toEqual([2, 0]);
  });

  it.each([echo, count])('is let go of by a stream object that was read to its end: $kind', async (descriptor) => {
    const parts = memoryParts();
    await serveRaw(parts, routes, (socket) => void answer(socket));
    const { signal, listeners } = countedSignal();
    const request = { service: 'suite', method: descriptor, body: {}, contentType: grpcJson };
    const stream: ClientStream = clientOf(parts).stream(request, { signal });
    expect(listeners()).toBe(0);
    expect(await stream.recv()).toEqual({ n: 1 });
    if (descriptor === count) expect(await stream.recv()).toBeUndefined();
    expect(listeners()).toBe(0);
  });
});

function passing(): Interceptor {
  return (next) => (input, ctx) => next(input, ctx);
}

describe('a request that says its content type', () => {
  it('keeps it where the options say nothing of it, as an undefined one', async () => {
    const parts = memoryParts();
    const seen: unknown[] = [];
    const accept = async (socket: Socket): Promise<void> => {
      const first = await socket.recv();
      seen.push(first?.headers?.get('x-content-type'));
      void socket.send({ body: new Uint8Array([1]), status: okStatus });
    };
    await serveRaw(parts, routes, (socket) => void accept(socket));
    const request = {
      service: 'suite',
      method: echo,
      body: new Uint8Array([7]),
      contentType: 'application/grpc+bytes',
    };
    const client = clientOf(parts);
    expect(await client.call(request, { contentType: undefined })).toEqual(new Uint8Array([1]));
    expect(await client.stream(request, { contentType: undefined }).recv()).toEqual(new Uint8Array([1]));
    expect(seen).toEqual(['application/grpc+bytes', 'application/grpc+bytes']);
  });
});

describe('a client that was closed', () => {
  it('makes no attempt more of a call that an interceptor repeats', async () => {
    const parts = memoryParts();
    let calls = 0;
    await serveRaw(parts, routes, (socket) => {
      calls += 1;
      void socket.send({ status: { code: Code.Aborted, message: 'again' } });
    });
    const client: RpcClient = clientOf(parts, [
      (next) => async (input, ctx) => {
        await expect(next(input, ctx)).rejects.toMatchObject({ code: Code.Aborted });
        await client.close();
        return next(input, ctx);
      },
    ]);
    await expect(client.method(echo, 'suite')({})).rejects.toMatchObject({ reason: 'client.closed' });
    expect(calls).toBe(1);
  });
});
