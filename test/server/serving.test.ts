import { describe, expect, it } from '@jest/globals';

import type { Context } from '../../src/context/context.ts';
import { Metadata } from '../../src/context/metadata.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import type { CallHandler, MethodDescriptor } from '../../src/pipeline/pipeline.ts';
import { RpcServer } from '../../src/server/rpc-server.ts';
import { eventually, gate } from '../support/waiting.ts';
import { json, memoryParts, method, parsed, type Parts } from '../../src/testing/internal/parts.ts';
import type { Socket, Transport } from '../../src/transport/transport.ts';

function serverOf(parts: Parts): RpcServer {
  const { transport, registry, broker, marshalers, runtime, logger } = parts;
  const { clock, random, timers } = runtime;
  return new RpcServer(transport, registry, broker, marshalers, clock, random, timers, logger, { name: 'suite' });
}

async function serving(
  descriptor: MethodDescriptor,
  invoke: CallHandler,
): Promise<{ server: RpcServer; socket: Socket }> {
  const parts = memoryParts();
  const server = serverOf(parts);
  server.handle(server.newHandler('suite.Suite', { [descriptor.method]: invoke }, { descriptors: [descriptor] }));
  await server.start();
  return { server, socket: parts.transport.dial(server.address ?? '', { route: descriptor }) };
}

describe('a handler whose error carries what cannot be metadata', () => {
  const unsendable = [{ who: 'Zoë' }, { 'a key': 'x' }, { 'who-bin': 'text' }];

  it.each(unsendable)('answers its call all the same: %j', async (metadata) => {
    const { server, socket } = await serving(method('Echo'), async () => {
      throw new TenonError({ code: Code.NotFound, reason: 'suite.unknown', message: 'no such thing', metadata });
    });
    void socket.send({ headers: new Metadata(), body: json({}) });
    socket.end();
    const answer = await socket.recv();
    expect(answer?.status).toMatchObject({ code: Code.NotFound, message: 'no such thing' });
    expect(answer?.status?.metadata?.get('tenon-reason')).toBe('suite.unknown');
    await eventually('nothing is in flight', () => server.inFlight === 0);
    await server.stop();
  });
});

describe('a caller that leaves a stream of replies', () => {
  it('ends the iteration even while it waits for its next reply', async () => {
    const waiting = gate();
    let returned = 0;
    const replies: AsyncIterableIterator<unknown> = {
      next: () => {
        waiting.open();
        return new Promise(() => {});
      },
      return: async () => {
        returned += 1;
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]: () => replies,
    };
    const { server, socket } = await serving(method('Count', 'server'), () => replies);
    void socket.send({ headers: new Metadata(), body: json({}) });
    socket.end();
    await waiting.opened;
    socket.abort(Code.Cancelled);
    await eventually('the iteration is ended', () => returned > 0);
    await eventually('nothing is in flight', () => server.inFlight === 0);
    expect(returned).toBe(1);
    await server.stop();
  });

  it('runs the finally of a generator that waits for its next reply', async () => {
    const waiting = gate();
    let isCleanedUp = false;
    const { server, socket } = await serving(method('Count', 'server'), async function* (_input, ctx: Context) {
      try {
        waiting.open();
        await new Promise((resolve) => ctx.onAbort(resolve));
        yield {};
        await new Promise(() => {});
      } finally {
        isCleanedUp = true;
      }
    });
    void socket.send({ headers: new Metadata(), body: json({}) });
    socket.end();
    await waiting.opened;
    socket.abort(Code.Cancelled);
    await eventually('the generator is ended', () => isCleanedUp);
    await eventually('nothing is in flight', () => server.inFlight === 0);
    await server.stop();
  });
});

describe('a server that is stopped while it starts', () => {
  it('does not listen afterwards', async () => {
    const inner = memoryParts().transport;
    const asked = gate();
    const go = gate();
    const closed: string[] = [];
    const transport: Transport = {
      dial: (address, options) => inner.dial(address, options),
      async listen(address, options) {
        asked.open();
        await go.opened;
        const listener = await inner.listen(address, options);
        return {
          addr: () => listener.addr(),
          accept: (accept) => listener.accept(accept),
          drain: (signal) => listener.drain(signal),
          close: () => {
            closed.push(listener.addr());
            return listener.close();
          },
        };
      },
      close: () => inner.close(),
    };
    const server = serverOf(memoryParts({ transport }));
    const starting = server.start();
    await asked.opened;
    const stopping = server.stop();
    go.open();
    await expect(starting).rejects.toMatchObject({ code: Code.Unavailable, reason: 'server.stopped' });
    await stopping;
    expect(server.address).toBeUndefined();
    expect(closed).toHaveLength(1);
  });
});

describe('a handler that answers one method twice', () => {
  it('is refused', () => {
    const server = serverOf(memoryParts());
    const once = { descriptor: method('Echo'), invoke: async () => ({}) };
    expect(() =>
      server.handle({ name: 'suite.Suite', methods: [once, { ...once, descriptor: method('Echo') }] }),
    ).toThrow(expect.objectContaining({ reason: 'server.duplicate_method' }));
  });
});

describe('two concurrent reads of one stream of requests', () => {
  it('get one request each', async () => {
    const pairs: CallHandler = async (input) => {
      const requests = (input as AsyncIterable<unknown>)[Symbol.asyncIterator]();
      const results = await Promise.all([requests.next(), requests.next(), requests.next()]);
      return results.map(({ value }) => value ?? null);
    };
    const { server, socket } = await serving(method('Pair', 'client'), pairs);
    void socket.send({ headers: new Metadata(), body: json({ n: 1 }) });
    void socket.send({ body: json({ n: 2 }) });
    socket.end();
    const answer = await socket.recv();
    expect(parsed(answer?.body)).toEqual([{ n: 1 }, { n: 2 }, null]);
    await server.stop();
  });
});

describe('a stream of replies that an interceptor ends', () => {
  it('answers at once with the error that it was ended with', async () => {
    const endless: CallHandler = async function* replies(_input, ctx: Context) {
      yield { n: 1 };
      ctx.abort(new TenonError({ code: Code.DeadlineExceeded, reason: 'suite.too_long', message: 'too long' }));
      await new Promise(() => {});
    };
    const { server, socket } = await serving(method('Endless', 'server'), endless);
    void socket.send({ headers: new Metadata(), body: json({}) });
    socket.end();
    expect(parsed((await socket.recv())?.body)).toEqual({ n: 1 });
    expect((await socket.recv())?.status).toMatchObject({ code: Code.DeadlineExceeded, message: 'too long' });
    await server.stop();
  });
});
