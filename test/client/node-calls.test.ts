import { describe, expect, it } from '@jest/globals';

import type { CallOptions, ClientOptions } from '../../src/client/client.ts';
import { RpcClient } from '../../src/client/rpc-client.ts';
import { Metadata } from '../../src/context/metadata.ts';
import { okStatus } from '../../src/context/status.ts';
import { Code } from '../../src/errors/errors.ts';
import { circuitBreaker, hedge, retry } from '../../src/interceptors/interceptors.ts';
import type { Interceptor, MethodDescriptor } from '../../src/pipeline/pipeline.ts';
import { RoundRobinSelector } from '../../src/selector/round-robin.ts';
import type { EndedCall, NextNode, Selector } from '../../src/selector/selector.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { announce, json, memoryParts, method, type Parts, serveRaw } from '../../src/testing/internal/parts.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';
import { gate } from '../../src/testing/waiting.ts';
import type { Socket } from '../../src/transport/transport.ts';
import { eventually } from '../support/waiting.ts';

const echo = method('Echo', 'unary', { idempotent: true });
const count = method('Count', 'server', { idempotent: true });
const sum = method('Sum', 'client');
const chat = method('Chat', 'bidi');
const routes = [echo, count, sum, chat];
const shapes = [echo, count, sum, chat];

/** Parts whose selector writes down what it is told of each node. */
function counting(select?: (inner: Selector) => Selector['select']): {
  parts: Parts;
  told: string[];
  ended: (EndedCall & { readonly latencyMs: number | undefined })[];
  inFlight: () => number;
} {
  const base = memoryParts();
  const told: string[] = [];
  const ended: (EndedCall & { readonly latencyMs: number | undefined })[] = [];
  let inFlight = 0;
  const selector: Selector = {
    options: {},
    init: () => {},
    select: select?.(base.selector) ?? ((service, options) => base.selector.select(service, options)),
    begin: (service, { id }) => {
      inFlight += 1;
      told.push(`begin ${service} ${id}`);
    },
    firstReply: (_service, { id }, latencyMs) =>
      void told.push(`reply ${id}${latencyMs === undefined ? ' without time' : latencyMs >= 0 ? '' : ' ?'}`),
    mark: (_service, { id }, error, latencyMs, call) => {
      inFlight -= 1;
      ended.push({ answer: call?.answer, deadline: call?.deadline, trailers: call?.trailers, latencyMs });
      told.push(`end ${id} ${error?.reason ?? 'well'}`);
    },
    reset: () => {},
    close: () => Promise.resolve(),
  };
  return { parts: { ...base, selector }, told, ended, inFlight: () => inFlight };
}

function clientOf(parts: Parts, options: ClientOptions = {}): RpcClient {
  const { transport, selector, broker, marshaler, marshalers, runtime, logger } = parts;
  const { clock, random, timers } = runtime;
  return new RpcClient(transport, selector, broker, marshaler, marshalers, clock, random, timers, logger, options);
}

async function* numbers(...values: number[]): AsyncIterable<{ n: number }> {
  for (const n of values) yield { n };
}

async function make(client: RpcClient, descriptor: MethodDescriptor, options?: CallOptions): Promise<void> {
  const input = descriptor.kind === 'client' || descriptor.kind === 'bidi' ? numbers(1) : {};
  const result = client.method(descriptor, 'suite')(input, options);
  if (descriptor.kind === 'unary' || descriptor.kind === 'client') await result;
  else for await (const _reply of result as AsyncIterable<unknown>);
}

async function answer(socket: Socket): Promise<void> {
  await socket.recv();
  void socket.send({ body: json({ n: 1 }), status: okStatus });
}

describe('what a selector is told of a call', () => {
  it('is its end, though an observer of its route fails', async () => {
    const { parts, told, inFlight } = counting();
    await announce(parts, 'dead', '127.0.0.1:1');
    const failing: Interceptor = (next) => (input, ctx) => {
      ctx.outgoing?.observeRoute({
        reject: () => undefined,
        onSend: () => {},
        onRefused: () => {
          throw new Error('the observer failed');
        },
      });
      return next(input, ctx);
    };
    const failure = await failureOf(make(clientOf(parts, { interceptors: [failing] }), echo, { timeoutMs: 60_000 }));
    expect(failure.message).toContain('the observer failed');
    expect([inFlight(), told.map((text) => text.split(' ')[0])]).toEqual([0, ['begin', 'end']]);
  });

  it.each([
    [echo, ['begin suite suite-1', 'end suite-1 well']],
    [count, ['begin suite suite-1', 'reply suite-1', 'end suite-1 well']],
    [sum, ['begin suite suite-1', 'end suite-1 well']],
    [chat, ['begin suite suite-1', 'reply suite-1 without time', 'end suite-1 well']],
  ])('is its begin and its end, and the first reply of a stream: $kind', async (descriptor, expected) => {
    const { parts, told, ended } = counting();
    await serveRaw(parts, routes, (socket) => void answer(socket));
    await make(clientOf(parts), descriptor, { timeoutMs: 60_000 });
    expect(told).toEqual(expected);
    const [end] = ended;
    expect(end?.answer).toBe(Code.Ok);
    expect(end?.deadline).toBeGreaterThan(parts.runtime.clock.monotonicMs());
    // A caller that streams decides how long its call takes.
    expect(end?.latencyMs === undefined).toBe(descriptor !== echo);
  });

  it.each([
    [count, 'reply suite-1'],
    [sum, 'reply suite-1 without time'],
    [chat, 'reply suite-1 without time'],
  ])('has the headers of the server as a sign of an answer, before there is one: $kind', async (descriptor, reply) => {
    const { parts, told } = counting();
    const answered = gate<void>();
    await serveRaw(parts, routes, (socket) => {
      void socket.send({ headers: new Metadata({ early: 'yes' }) });
      void answered.opened.then(() => socket.send({ body: json({ n: 1 }), status: okStatus }));
    });
    const made = make(clientOf(parts), descriptor);
    await eventually('it is told', () => told.length === 2);
    expect(told).toEqual(['begin suite suite-1', reply]);
    answered.open();
    await made;
    expect(told).toEqual(['begin suite suite-1', reply, 'end suite-1 well']);
  });

  it.each(shapes)('has the answer of the server and its trailers: $kind', async (descriptor) => {
    const { parts, told, ended } = counting();
    const metadata = new Metadata({ 'endpoint-load-metrics': 'TEXT cpu_utilization=0.5' });
    await serveRaw(parts, routes, (socket) => {
      void socket.send({ status: { code: Code.Internal, message: 'broken', metadata } });
    });
    await failureOf(make(clientOf(parts), descriptor));
    expect(told).toEqual(['begin suite suite-1', 'end suite-1 well']);
    expect(ended.map((end) => [end.answer, end.trailers?.get('endpoint-load-metrics')])).toEqual([
      [Code.Internal, 'TEXT cpu_utilization=0.5'],
    ]);
    expect(ended[0]?.latencyMs === undefined).toBe(descriptor === sum || descriptor === chat);
  });

  it.each([
    [echo, {}, false],
    [count, {}, false],
    [sum, {}, true],
    [chat, {}, true],
    [echo, { maxAttempts: 1 }, true],
    [count, { maxAttempts: 1 }, true],
  ])('says whether it can go on to another node: $kind %j', async (descriptor, options, isSentOnce) => {
    const selected: unknown[] = [];
    const { parts } = counting((inner) => (service, given) => {
      selected.push(given?.isSentOnce);
      return inner.select(service, given);
    });
    await serveRaw(parts, routes, (socket) => void answer(socket));
    await make(clientOf(parts, options), descriptor);
    expect(selected).toEqual([isSentOnce]);
    // One that waits for a node is sent again, unless its requests are on their way.
    await make(clientOf(parts, options), descriptor, { waitForReady: true });
    expect(selected[1]).toBe(descriptor === sum || descriptor === chat);
  });

  it.each([echo, count])('is a begin and an end of each node that was tried: $kind', async (descriptor) => {
    const { parts, told, inFlight } = counting();
    await announce(parts, 'a-dead', '127.0.0.1:1');
    await announce(parts, 'b-dead', '127.0.0.1:2');
    await serveRaw(parts, routes, (socket) => void answer(socket), 'c-alive');
    for (let call = 0; call < 3; call += 1) await make(clientOf(parts), descriptor);
    expect(inFlight()).toBe(0);
    expect(told.filter((line) => line.startsWith('begin')).length).toBe(told.filter((l) => l.startsWith('end')).length);
    expect(told).toContain('end a-dead transport.unreachable');
    expect(told).toContain('end c-alive well');
  });

  it.each(shapes)('ends with the deadline, the signal and the close of the client: $kind', async (descriptor) => {
    const { parts, told, ended, inFlight } = counting();
    await serveRaw(parts, routes, () => {});
    await failureOf(make(clientOf(parts), descriptor, { timeoutMs: 20 }));
    expect(inFlight()).toBe(0);
    const controller = new AbortController();
    const cancelled = failureOf(make(clientOf(parts), descriptor, { signal: controller.signal }));
    await eventually('it is sent', () => inFlight() === 1);
    controller.abort();
    await cancelled;
    expect(inFlight()).toBe(0);
    const client = clientOf(parts);
    const closed = failureOf(make(client, descriptor));
    await eventually('it is sent', () => inFlight() === 1);
    await client.close();
    await closed;
    expect(inFlight()).toBe(0);
    expect(told.filter((line) => line.startsWith('end'))).toEqual([
      'end suite-1 call.deadline_exceeded',
      'end suite-1 call.cancelled',
      'end suite-1 client.closed',
    ]);
    // The missed deadline tells of the node where the caller streams no requests, and the signal of the caller alone.
    expect(ended.slice(0, 2).map(({ latencyMs }) => latencyMs !== undefined)).toEqual([
      descriptor === echo || descriptor === count,
      descriptor === echo,
    ]);
  });

  it('ends when the reader of a stream leaves, even while it is opened', async () => {
    const { parts, inFlight } = counting();
    await serveRaw(parts, routes, (socket) => void socket.send({ body: json({ n: 1 }) }));
    const client = clientOf(parts);
    for await (const _reply of client.method(count, 'suite')({}) as AsyncIterable<unknown>) break;
    expect(inFlight()).toBe(0);
    for (const descriptor of [count, chat]) {
      const replies = client.method(descriptor, 'suite')(numbers(1)) as AsyncIterable<unknown>;
      const iterator = replies[Symbol.asyncIterator]();
      const first = iterator.next();
      await iterator.return?.();
      await first;
      expect(inFlight()).toBe(0);
    }
  });

  it('is nothing of a stream that was left before a node was selected', async () => {
    const selected = gate<NextNode>();
    const { parts, told, inFlight } = counting(() => () => selected.opened);
    await serveRaw(parts, routes, (socket) => void answer(socket));
    const replies = clientOf(parts).method(count, 'suite')({}) as AsyncIterable<unknown>;
    const iterator = replies[Symbol.asyncIterator]();
    const first = iterator.next();
    await iterator.return?.();
    selected.open(() => ({ id: 'late', address: '127.0.0.1:1', metadata: {} }));
    await first;
    await parts.runtime.timers.sleep(1);
    expect([told, inFlight()]).toEqual([[], 0]);
  });

  it('ends when a stream that nobody reads on is cancelled', async () => {
    const { parts, told, inFlight } = counting();
    await serveRaw(parts, routes, (socket) => void socket.send({ body: json({ n: 1 }) }));
    const controller = new AbortController();
    const replies = clientOf(parts).method(count, 'suite')({}, { signal: controller.signal }) as AsyncIterable<unknown>;
    expect(await replies[Symbol.asyncIterator]().next()).toMatchObject({ value: { n: 1 } });
    expect(inFlight()).toBe(1);
    controller.abort();
    expect(inFlight()).toBe(0);
    expect(told).toEqual(['begin suite suite-1', 'reply suite-1', 'end suite-1 call.cancelled']);
  });

  it.each([echo, count])('is exact for retries, and for hedges that are cancelled: $kind', async (descriptor) => {
    const { parts, told, inFlight } = counting();
    let calls = 0;
    await serveRaw(parts, routes, (socket) => {
      calls += 1;
      if (calls < 3) void socket.send({ status: { code: Code.Unavailable, message: 'again' } });
      else void answer(socket);
    });
    const { runtime } = parts;
    await make(
      clientOf(parts, { interceptors: [retry({ runtime, maxAttempts: 5, initialBackoffMs: 1 })] }),
      descriptor,
    );
    expect(inFlight()).toBe(0);
    expect(told.filter((line) => line.startsWith('begin'))).toHaveLength(3);
    const slow = counting();
    const answers: Socket[] = [];
    await serveRaw(slow.parts, routes, (socket) => {
      answers.push(socket);
      if (answers.length === 3) void answer(socket);
    });
    await make(clientOf(slow.parts, { interceptors: [hedge({ runtime, maxAttempts: 3, delayMs: 5 })] }), descriptor);
    await eventually('all have ended', () => slow.inFlight() === 0);
    expect(slow.told.filter((line) => line.startsWith('begin'))).toHaveLength(3);
    expect(slow.told.filter((line) => line.endsWith('call.cancelled'))).toHaveLength(2);
  });

  it.each(shapes)(
    'is exact if an interceptor makes a call twice at once with one context: $kind',
    async (descriptor) => {
      const { parts, told, inFlight } = counting();
      await announce(parts, 'a', '127.0.0.1:1');
      await serveRaw(parts, routes, (socket) => void answer(socket), 'b');
      const twice: Interceptor = (next) => (input, ctx) => {
        const results = [next(input, ctx), next(input, ctx)];
        for (const one of results) if (one instanceof Promise) one.catch(() => {});
        return results[1] as (typeof results)[0];
      };
      const client = clientOf(parts, { interceptors: [twice] });
      for (let call = 0; call < 4; call += 1) await make(client, descriptor).catch(() => {});
      await eventually('all have ended', () => inFlight() === 0);
      for (const id of ['a', 'b'])
        expect(told.filter((line) => line === `begin suite ${id}`)).toHaveLength(
          told.filter((line) => line.startsWith(`end ${id} `)).length,
        );
    },
  );

  it('is no begin of a node that a circuit breaker passes over, which is tried as soon as it may be', async () => {
    const { clock, timers } = virtualRuntime(1_000_000);
    const base = memoryParts();
    const parts = { ...base, selector: new RoundRobinSelector(base.registry, {}, clock) };
    const away = '127.0.0.1:1';
    await announce(parts, 'a', away);
    await serveRaw(parts, routes, (socket) => void answer(socket), 'b');
    const interceptors = [circuitBreaker({ minimumCalls: 1, openMs: 5_000, runtime: { clock } })];
    const client = clientOf(parts, { interceptors });
    for (let call = 0; call < 2; call += 1) await make(client, echo);
    let taken = 0;
    const listener = await parts.transport.listen(away, { routes });
    listener.accept((socket) => {
      taken += 1;
      void answer(socket);
    });
    for (let ms = 0; ms < 5_000; ms += 100) {
      await make(client, echo);
      expect(taken).toBe(0);
      timers.nowMs += 100;
    }
    await make(client, echo);
    expect(taken).toBe(1);
  });

  it('is nothing of a call to an address', async () => {
    const { parts, told } = counting();
    const listener = await serveRaw(parts, routes, (socket) => void answer(socket));
    for (const descriptor of shapes) await make(clientOf(parts), descriptor, { address: listener.addr() });
    expect(told).toEqual([]);
  });
});
