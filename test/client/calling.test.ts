import { afterEach, describe, expect, it } from '@jest/globals';

import { RpcClient } from '../../src/client/rpc-client.ts';
import { Context } from '../../src/context/context.ts';
import { Metadata } from '../../src/context/metadata.ts';
import { okStatus } from '../../src/context/status.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import type { Interceptor } from '../../src/pipeline/pipeline.ts';
import { eventually, gate } from '../support/waiting.ts';
import { json, memoryParts, method, type Parts, serveRaw } from '../../src/testing/internal/parts.ts';
import { GrpcTransport } from '../../src/transport/grpc.ts';
import { MemoryTransport } from '../../src/transport/memory.ts';
import type { Listener, Socket } from '../../src/transport/transport.ts';
import { countedSignal } from './support.ts';

const echo = method('Echo');
const count = method('Count', 'server');
const sum = method('Sum', 'client');
const chat = method('Chat', 'bidi');
const routes = [echo, count, sum, chat];

function clientOf(parts: Parts, interceptors: readonly Interceptor[] = []): RpcClient {
  const { transport, selector, broker, marshaler, marshalers, runtime, logger } = parts;
  const { clock, random, timers } = runtime;
  return new RpcClient(transport, selector, broker, marshaler, marshalers, clock, random, timers, logger, {
    interceptors,
  });
}

const opened: { parts: Parts; listener: Listener }[] = [];

async function serving(accept: (socket: Socket) => unknown, parts = memoryParts()): Promise<Parts> {
  opened.push({ parts, listener: await serveRaw(parts, routes, (socket) => void accept(socket)) });
  return parts;
}

afterEach(async () => {
  for (const { parts, listener } of opened.splice(0)) {
    await parts.transport.close();
    await listener.close();
  }
});

it('metadata of a stranger that cannot be sent on is left out, and fails no call', async () => {
  const seen: unknown[] = [];
  const parts = await serving(async (socket) => {
    const { headers } = (await socket.recv()) ?? {};
    seen.push([headers?.get('traceparent'), headers?.getAll('baggage')]);
    void socket.send({ body: json({}), status: okStatus });
  });
  const sent: [string, string][] = [
    ['traceparent', '00-1'],
    ['baggage', 'na\u00efve=1'],
    ['baggage', ' blank=1'],
    ['baggage', 'good=1'],
  ];
  const metadata = Metadata.lazy({ raw: sent, read: (raw) => raw });
  const ctx = new Context({ service: 's', endpoint: 'e', metadata });
  await clientOf(parts).method(echo, 'suite')({}, { ctx });
  expect(seen).toEqual([['00-1', ['good=1']]]);
});

const transports = { memory: () => new MemoryTransport(), grpc: () => new GrpcTransport() };

describe.each(Object.entries(transports))('over %s', (_name, make) => {
  it.each([sum, chat])(
    'the metadata of a stream of requests does not wait for the first of them: $kind',
    async (descriptor) => {
      const seen: unknown[] = [];
      const parts = await serving(
        async (socket) => {
          const first = await socket.recv();
          seen.push(first?.headers?.get('x-suite'));
          void socket.send({ body: json({}), status: okStatus });
        },
        memoryParts({ transport: make() }),
      );
      async function* late(): AsyncIterable<unknown> {
        await parts.runtime.timers.sleep(20);
        yield { n: 1 };
      }
      const replies = clientOf(parts).method(descriptor, 'suite')(late(), { metadata: { 'x-suite': 'v' } });
      if (descriptor === sum) await replies;
      else for await (const reply of replies as AsyncIterable<unknown>) expect(reply).toEqual({});
      expect(seen).toEqual(['v']);
    },
  );

  it.each([sum, chat])('an answer that comes early ends the source of requests: $kind', async (descriptor) => {
    const parts = await serving(
      async (socket) => {
        await socket.recv();
        void socket.send({ body: json({ enough: true }), status: okStatus });
      },
      memoryParts({ transport: make() }),
    );
    let isReturned = false;
    async function* endless(): AsyncIterable<unknown> {
      try {
        for (let n = 0; ; n += 1) {
          yield { n };
          await parts.runtime.timers.sleep(1);
        }
      } finally {
        isReturned = true;
      }
    }
    const replies = clientOf(parts).method(descriptor, 'suite')(endless());
    if (descriptor === sum) expect(await replies).toEqual({ enough: true });
    else for await (const reply of replies as AsyncIterable<unknown>) expect(reply).toEqual({ enough: true });
    await eventually('the source is ended', () => isReturned);
  });

  it('a source that waits is ended with its call', async () => {
    const arrived = gate();
    const parts = await serving(() => arrived.open(), memoryParts({ transport: make() }));
    let returned = 0;
    const source: AsyncIterableIterator<unknown> = {
      next: () => new Promise(() => {}),
      return: async () => ((returned += 1), { done: true, value: undefined }),
      [Symbol.asyncIterator]: () => source,
    };
    const controller = new AbortController();
    const call = clientOf(parts).method(sum, 'suite')(source, { signal: controller.signal });
    await arrived.opened;
    controller.abort();
    await expect(call).rejects.toMatchObject({ code: Code.Cancelled });
    expect(returned).toBe(1);
  });
});

describe('a stream message by message', () => {
  it.each([sum, chat])('does not hold a sender whose call could not begin: $kind', async (descriptor) => {
    const stream = clientOf(memoryParts()).stream({
      service: 'nobody',
      method: descriptor,
      body: undefined,
      contentType: 'application/grpc+json',
    });
    const sending = (async () => {
      for (let n = 0; n < 100; n += 1) await stream.send({ n });
    })();
    await expect(sending).rejects.toBeInstanceOf(TenonError);
    await expect(stream.recv()).rejects.toMatchObject({ code: Code.Unavailable, reason: 'client.no_node' });
  });

  it('lets go of the caller’s signal when it is closed, or left', async () => {
    const parts = await serving(async (socket) => {
      await socket.recv();
      for (let n = 0; n < 3; n += 1) await socket.send({ body: json({ n }) });
    });
    const client = clientOf(parts);
    const { signal, listeners } = countedSignal();
    const request = { service: 'suite', method: chat, body: undefined, contentType: 'application/grpc+json' };
    const closed = client.stream(request, { signal });
    await closed.send({});
    expect(await closed.recv()).toEqual({ n: 0 });
    closed.close();
    const left = client.stream(request, { signal });
    await left.send({});
    for await (const reply of left) {
      expect(reply).toEqual({ n: 0 });
      break;
    }
    client.stream(request, { signal }).close();
    expect(listeners()).toBe(0);
  });
});

describe('replies that are left', () => {
  it('end for whoever waits for the next one', async () => {
    const parts = await serving(async (socket) => void (await socket.recv()));
    const replies = (clientOf(parts).method(count, 'suite')({}) as AsyncIterable<unknown>)[Symbol.asyncIterator]();
    const next = replies.next();
    await replies.return?.();
    expect(await next).toEqual({ done: true, value: undefined });
  });
});

describe('an interceptor', () => {
  it('that calls again is still cancelled by the signal of the call', async () => {
    let calls = 0;
    const arrived = gate();
    const parts = await serving((socket) => {
      calls += 1;
      if (calls === 1) void socket.send({ status: { code: Code.Aborted, message: 'again', metadata: new Metadata() } });
      else arrived.open();
    });
    const again: Interceptor = (next) => async (input, ctx) => {
      try {
        return await next(input, ctx);
      } catch {
        return next(input, ctx);
      }
    };
    const { signal, abort, listeners } = countedSignal();
    const call = clientOf(parts, [again]).method(echo, 'suite')({}, { signal, timeoutMs: 3_000 });
    await arrived.opened;
    abort();
    await expect(call).rejects.toMatchObject({ code: Code.Cancelled });
    expect(listeners()).toBe(0);
  });

  it('that answers by itself leaves no listener on the signal', async () => {
    const { signal, listeners } = countedSignal();
    const cached: Interceptor = () => async () => 'cached';
    const call = clientOf(memoryParts(), [cached]).method(echo, 'suite');
    for (let n = 0; n < 3; n += 1) expect(await call({}, { signal })).toBe('cached');
    expect(listeners()).toBe(0);
  });
});

describe('publishing', () => {
  it('is cancelled by the call being handled also where a signal is given', async () => {
    const parts = memoryParts();
    const client = clientOf(parts);
    const { OutgoingContext } = await import('../../src/client/internal/outgoing.ts');
    const ctx = new OutgoingContext({ service: 's', endpoint: 'e' });
    ctx.abort();
    const { signal } = new AbortController();
    await expect(client.publish(client.newMessage('things', {}), { ctx, signal })).rejects.toMatchObject({
      code: Code.Cancelled,
    });
  });
});
