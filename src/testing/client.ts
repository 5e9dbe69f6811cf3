import assert from 'node:assert/strict';

import type { Client, ClientOptions } from '../client/client.ts';
import { Context } from '../context/context.ts';
import { Metadata } from '../context/metadata.ts';
import { okStatus } from '../context/status.ts';
import { Code, TenonError } from '../errors/errors.ts';
import type { Interceptor } from '../pipeline/pipeline.ts';
import type { Selector } from '../selector/selector.ts';
import type { Message, Socket, Transport } from '../transport/transport.ts';
import type { Case, TestApi } from './api.ts';
import { clientEndingCases } from './internal/client-ending-cases.ts';
import type { ClientHarness } from './internal/client-harness.ts';
import { failureOf } from './failures.ts';
import { eventually } from './internal/patience.ts';
import { gate } from './waiting.ts';
import { announce, bodies, json, memoryParts, method, parsed, type Parts, serveRaw } from './internal/parts.ts';

const echo = method('Echo');
const count = method('Count', 'server');
const sum = method('Sum', 'client');
const chat = method('Chat', 'bidi');
const routes = [echo, count, sum, chat];

/** Answers a call in the way that the method's name says. A caller that leaves fails nothing here. */
function answer(socket: Socket, name: string): void {
  reply(socket, name).catch(() => {});
}

async function reply(socket: Socket, name: string): Promise<void> {
  const first = await socket.recv();
  if (name === 'Echo') {
    const echoed = { echo: parsed(first?.body), seen: first?.headers?.toJSON() ?? {} };
    void socket.send({
      headers: new Metadata({ 'suite-header': 'h' }),
      body: json(echoed),
      status: { ...okStatus, metadata: new Metadata({ 'suite-trailer': 't' }) },
    });
  } else if (name === 'Count') {
    const { to } = parsed(first?.body) as { to: number };
    for (let n = 1; n <= to; n += 1) await socket.send({ body: json({ n }) });
    void socket.send({ status: okStatus });
  } else if (name === 'Sum') {
    const numbers = [...(first?.body ? [parsed(first.body)] : []), ...(await bodies(socket))] as { n: number }[];
    void socket.send({ body: json({ sum: numbers.reduce((total, { n }) => total + n, 0) }), status: okStatus });
  } else {
    for (let message: Message | undefined = first; message; message = await socket.recv()) {
      if (message.body) await socket.send({ body: message.body });
    }
    void socket.send({ status: okStatus });
  }
}

async function serving(
  harness: ClientHarness,
  options?: ClientOptions,
  replaced?: Partial<Parts>,
): Promise<{ client: Client; parts: Parts }> {
  const parts = memoryParts(replaced);
  await serveRaw(parts, routes, (socket, route) => answer(socket, route.method));
  return { client: harness.make(parts, options), parts };
}

async function all(replies: unknown): Promise<unknown[]> {
  const result: unknown[] = [];
  for await (const reply of replies as AsyncIterable<unknown>) result.push(reply);
  return result;
}

async function* numbers(...values: number[]): AsyncIterable<{ n: number }> {
  for (const n of values) yield { n };
}

/** The cases of the {@link Client} contract. */
export const clientCases: readonly Case<ClientHarness>[] = [
  {
    name: 'a unary call gives the reply',
    async run(harness) {
      const { client } = await serving(harness);
      const reply = (await client.method(echo, 'suite')({ text: 'ä' })) as { echo: unknown };
      assert.deepEqual(reply.echo, { text: 'ä' });
    },
  },
  {
    name: 'a request by name gives the reply',
    async run(harness) {
      const { client } = await serving(harness);
      for (const endpoint of ['suite.Suite/Echo', '/suite.Suite/Echo', 'suite.Suite.Echo']) {
        const reply = (await client.call(client.newRequest('suite', endpoint, { n: 1 }))) as { echo: unknown };
        assert.deepEqual(reply.echo, { n: 1 }, endpoint);
      }
    },
  },
  {
    name: 'a request that names no method is refused',
    async run(harness) {
      const { client } = await serving(harness);
      assert.throws(() => client.newRequest('suite', 'Echo', {}), { reason: 'client.invalid_endpoint' });
    },
  },
  {
    name: 'streams go both ways, in order',
    async run(harness) {
      const { client } = await serving(harness);
      assert.deepEqual(
        await all(client.method(count, 'suite')({ to: 100 })),
        Array.from({ length: 100 }, (_, index) => ({ n: index + 1 })),
      );
      assert.deepEqual(await client.method(sum, 'suite')(numbers(1, 2, 3)), { sum: 6 });
      assert.deepEqual(await all(client.method(chat, 'suite')(numbers(3, 1, 2))), [{ n: 3 }, { n: 1 }, { n: 2 }]);
    },
  },
  {
    name: 'a stream message by message',
    async run(harness) {
      const { client } = await serving(harness);
      const request = { service: 'suite', method: chat, body: undefined, contentType: 'application/grpc+json' };
      const stream = client.stream(request);
      await stream.send({ n: 1 });
      assert.deepEqual(await stream.recv(), { n: 1 });
      await stream.send({ n: 2 });
      assert.deepEqual(await stream.recv(), { n: 2 });
      stream.closeSend();
      assert.equal(await stream.recv(), undefined);
      assert.equal((await failureOf(stream.send({ n: 3 }))).reason, 'client.stream_ended');
    },
  },
  {
    name: 'the status of the server is the error of the call',
    async run(harness) {
      const parts = memoryParts();
      const status = {
        code: Code.NotFound,
        message: 'no such thing',
        metadata: new Metadata({ 'tenon-reason': 'suite.unknown', extra: 'x' }),
      };
      await serveRaw(parts, routes, (socket) => void socket.send({ status }));
      const client = harness.make(parts);
      const calls = [
        () => client.method(echo, 'suite')({}) as Promise<unknown>,
        () => all(client.method(count, 'suite')({ to: 1 })),
      ];
      for (const call of calls) {
        const error = await failureOf(call());
        assert.deepEqual(
          [error.code, error.message, error.reason, error.metadata['extra']],
          [Code.NotFound, 'no such thing', 'suite.unknown', 'x'],
        );
      }
    },
  },
  {
    name: 'an error after replies comes after them',
    async run(harness) {
      const parts = memoryParts();
      await serveRaw(parts, routes, (socket) => {
        void socket.send({ body: json({ n: 1 }) });
        void socket.send({ body: json({ n: 2 }), status: { code: Code.DataLoss, message: 'lost' } });
      });
      const seen: unknown[] = [];
      const reading = (async () => {
        for await (const reply of harness.make(parts).method(count, 'suite')({ to: 9 }) as AsyncIterable<unknown>)
          seen.push(reply);
      })();
      assert.equal((await failureOf(reading)).code, Code.DataLoss);
      assert.deepEqual(seen, [{ n: 1 }, { n: 2 }]);
    },
  },
  {
    name: 'headers and trailers reach the caller',
    async run(harness) {
      const { client } = await serving(harness);
      const seen: unknown[] = [];
      await client.method(echo, 'suite')(
        {},
        {
          metadata: { 'x-suite': 'v' },
          onHeaders: (headers) => seen.push(headers.get('suite-header')),
          onTrailers: (trailers) => seen.push(trailers.get('suite-trailer')),
        },
      );
      assert.deepEqual(seen, ['h', 't']);
    },
  },
  {
    name: 'metadata reaches the server, and of the call being handled only what may travel on',
    async run(harness) {
      const { client } = await serving(harness, { forward: ['x-allowed'] });
      const ctx = new Context({
        service: 's',
        endpoint: 'e',
        metadata: new Metadata({ 'x-allowed': 'a', 'x-secret': 's', 'x-both': 'old' }),
      });
      const reply = (await client.method(echo, 'suite')({}, { ctx, metadata: { 'x-both': 'new' } })) as {
        seen: Record<string, unknown>;
      };
      assert.equal(reply.seen['x-allowed'], 'a');
      assert.equal(reply.seen['x-secret'], undefined);
      assert.equal(reply.seen['x-both'], 'new');
    },
  },
  {
    name: 'a call that takes too long fails with DEADLINE_EXCEEDED',
    async run(harness) {
      const parts = memoryParts();
      await serveRaw(parts, routes, () => {});
      const client = harness.make(parts);
      assert.equal(
        (await failureOf(client.method(echo, 'suite')({}, { timeoutMs: 20 }) as Promise<unknown>)).code,
        Code.DeadlineExceeded,
      );
      assert.equal(
        (await failureOf(all(client.method(count, 'suite')({}, { timeoutMs: 20 })))).code,
        Code.DeadlineExceeded,
      );
    },
  },
  {
    name: 'the deadline travels, and never outlives that of the call being handled',
    async run(harness) {
      const parts = memoryParts();
      const deadlines: (number | undefined)[] = [];
      await serveRaw(parts, routes, (socket) => {
        deadlines.push(socket.deadline);
        void socket.send({ body: json({}), status: okStatus });
      });
      const now = parts.runtime.clock.monotonicMs();
      const ctx = new Context({ service: 's', endpoint: 'e', deadline: now + 20_000 });
      const client = harness.make(parts);
      await client.method(echo, 'suite')({}, { ctx, timeoutMs: 60_000 });
      await client.method(echo, 'suite')({}, { ctx, timeoutMs: 5_000 });
      assert.ok(
        deadlines[0] !== undefined && deadlines[0] <= now + 20_001,
        `the parent's deadline was not kept: ${deadlines[0]}`,
      );
      assert.ok(
        deadlines[1] !== undefined && deadlines[1] <= now + 15_000,
        `the own time-out was not kept: ${deadlines[1]}`,
      );
    },
  },
  {
    name: 'a signal cancels the call, and the server sees it',
    async run(harness) {
      const parts = memoryParts();
      let seen: TenonError | undefined;
      const arrived = gate();
      await serveRaw(parts, routes, (socket) => {
        socket.onAbort((error) => (seen = error));
        arrived.open();
      });
      const controller = new AbortController();
      const call = harness.make(parts).method(echo, 'suite')({}, { signal: controller.signal }) as Promise<unknown>;
      const failed = failureOf(call);
      await arrived.opened;
      controller.abort();
      assert.equal((await failed).code, Code.Cancelled);
      await eventually('the server sees the cancellation', () => seen !== undefined);
    },
  },
  {
    name: 'the end of the call being handled cancels the call',
    async run(harness) {
      const parts = memoryParts();
      const arrived = gate();
      await serveRaw(parts, routes, () => arrived.open());
      const ctx = new Context({ service: 's', endpoint: 'e' });
      const failed = failureOf(harness.make(parts).method(echo, 'suite')({}, { ctx }) as Promise<unknown>);
      await arrived.opened;
      ctx.abort();
      assert.equal((await failed).code, Code.Cancelled);
    },
  },
  {
    name: 'leaving a stream early cancels it',
    async run(harness) {
      const parts = memoryParts();
      let seen: TenonError | undefined;
      await serveRaw(parts, routes, (socket) => {
        socket.onAbort((error) => (seen = error));
        for (let n = 0; n < 10; n += 1) void socket.send({ body: json({ n }) });
      });
      for await (const reply of harness.make(parts).method(count, 'suite')({ to: 10 }) as AsyncIterable<unknown>) {
        assert.deepEqual(reply, { n: 0 });
        break;
      }
      await eventually('the server sees the cancellation', () => seen !== undefined);
    },
  },
  {
    name: 'an address bypasses registry and selector',
    async run(harness) {
      const selector = { ...unusable('the selector was asked'), toString: () => 'unusable' } as unknown as Selector;
      const parts = memoryParts({ selector });
      const listener = await parts.transport.listen('127.0.0.1:0', { routes });
      listener.accept((socket, route) => answer(socket, route.method));
      const reply = (await harness.make(parts).method(echo, 'suite')({ n: 1 }, { address: listener.addr() })) as {
        echo: unknown;
      };
      assert.deepEqual(reply.echo, { n: 1 });
    },
  },
  {
    name: 'a node that cannot be reached is marked, and another one is tried',
    async run(harness) {
      const marks: string[] = [];
      const base = memoryParts();
      const inner = base.selector;
      const selector: Selector = {
        options: {},
        init: () => {},
        select: (service, options) => inner.select(service, options),
        mark: (_service, node, error) => void marks.push(`${node.id} ${error?.reason ?? 'ok'}`),
        reset: () => {},
        close: () => Promise.resolve(),
      };
      const parts: Parts = { ...base, selector };
      await announce(parts, 'dead', '127.0.0.1:1');
      await serveRaw(parts, routes, (socket, route) => answer(socket, route.method), 'alive');
      const client = harness.make(parts);
      for (let n = 0; n < 4; n += 1) await client.method(echo, 'suite')({ n });
      for (let n = 0; n < 4; n += 1) assert.equal((await all(client.method(count, 'suite')({ to: 2 }))).length, 2);
      assert.ok(marks.includes('dead transport.unreachable'), `marks: ${marks.join(', ')}`);
      assert.ok(marks.includes('alive ok'), `marks: ${marks.join(', ')}`);
    },
  },
  {
    name: 'an answer that the handler chose is not held against the node',
    async run(harness) {
      const marks: string[] = [];
      const base = memoryParts();
      const inner = base.selector;
      const selector: Selector = {
        options: {},
        init: () => {},
        select: (service, options) => inner.select(service, options),
        mark: (_service, _node, error) => void marks.push(error ? 'failed' : 'well'),
        reset: () => {},
        close: () => Promise.resolve(),
      };
      const parts: Parts = { ...base, selector };
      const status = {
        code: Code.Unavailable,
        message: 'a service behind this one is away',
        metadata: new Metadata({ 'tenon-reason': 'transport.unreachable' }),
      };
      let calls = 0;
      await serveRaw(parts, routes, (socket) => {
        calls += 1;
        void socket.send({ status });
      });
      const client = harness.make(parts);
      await failureOf(client.method(echo, 'suite')({}) as Promise<unknown>);
      await failureOf(all(client.method(count, 'suite')({ to: 1 })));
      await failureOf(all(client.method(chat, 'suite')(numbers(1))));
      assert.equal(calls, 3, 'a call that was answered was repeated');
      assert.ok(!marks.includes('failed'), `marks: ${marks.join(', ')}`);
    },
  },
  {
    name: 'a node that drains is left for another',
    async run(harness) {
      const parts = memoryParts();
      const draining = {
        code: Code.Unavailable,
        message: 'draining',
        metadata: new Metadata({ 'tenon-reason': 'server.draining' }),
      };
      await serveRaw(parts, routes, (socket) => void socket.send({ status: draining }), 'draining');
      await serveRaw(parts, routes, (socket, route) => answer(socket, route.method), 'serving');
      const client = harness.make(parts);
      for (let n = 0; n < 4; n += 1) await client.method(echo, 'suite')({ n });
    },
  },
  {
    name: 'a call that may have been processed is not repeated',
    async run(harness) {
      let attempts = 0;
      const lost = new TenonError({
        code: Code.Unavailable,
        reason: 'transport.connection_lost',
        message: 'the connection broke',
      });
      const inner = memoryParts().transport;
      const transport: Transport = {
        dial: (address, options) => {
          attempts += 1;
          const socket = inner.dial(address, options);
          socket.recv = () => Promise.reject(lost);
          return socket;
        },
        unary: () => {
          attempts += 1;
          return Promise.reject(lost);
        },
        listen: (address, options) => inner.listen(address, options),
        close: () => inner.close(),
      };
      const parts = memoryParts({ transport });
      await announce(parts, 'a', '127.0.0.1:1');
      await announce(parts, 'b', '127.0.0.1:2');
      const error = await failureOf(harness.make(parts).method(echo, 'suite')({}) as Promise<unknown>);
      assert.deepEqual([error.code, error.reason, attempts], [Code.Unavailable, 'transport.connection_lost', 1]);
      assert.match(error.message, /suite/);
    },
  },
  {
    name: 'a service without nodes is UNAVAILABLE, and the message names it',
    async run(harness) {
      const error = await failureOf(harness.make(memoryParts()).method(echo, 'suite')({}) as Promise<unknown>);
      assert.deepEqual([error.code, error.reason], [Code.Unavailable, 'client.no_node']);
      assert.match(error.message, /"suite"/);
    },
  },
  {
    name: 'waitForReady waits for a node',
    async run(harness) {
      const parts = memoryParts();
      const call = harness.make(parts).method(echo, 'suite')(
        { n: 1 },
        { waitForReady: true, timeoutMs: 5_000 },
      ) as Promise<{ echo: unknown }>;
      await parts.runtime.timers.sleep(20);
      await serveRaw(parts, routes, (socket, route) => answer(socket, route.method));
      assert.deepEqual((await call).echo, { n: 1 });
    },
  },
  {
    name: 'a request that cannot be encoded is not sent',
    async run(harness) {
      const parts = memoryParts();
      let arrived = 0;
      await serveRaw(parts, routes, () => (arrived += 1));
      const error = await failureOf(harness.make(parts).method(echo, 'suite')({ big: 1n }) as Promise<unknown>);
      assert.deepEqual([error.code, error.reason, arrived], [Code.InvalidArgument, 'codec.encode', 0]);
    },
  },
  {
    name: 'a reply that does not decode is INTERNAL',
    async run(harness) {
      const parts = memoryParts();
      await serveRaw(parts, routes, (socket) => void socket.send({ body: Uint8Array.of(0x7b), status: okStatus }));
      const error = await failureOf(harness.make(parts).method(echo, 'suite')({}) as Promise<unknown>);
      assert.deepEqual([error.code, error.reason], [Code.Internal, 'client.bad_reply']);
    },
  },
  {
    name: 'a source of requests that fails cancels the call',
    async run(harness) {
      const { client } = await serving(harness);
      async function* failing(): AsyncIterable<{ n: number }> {
        yield { n: 1 };
        throw new Error('out of numbers');
      }
      const error = await failureOf(client.method(sum, 'suite')(failing()) as Promise<unknown>);
      assert.deepEqual([error.code, error.reason], [Code.Cancelled, 'client.source_failed']);
      assert.match(error.message, /out of numbers/);
    },
  },
  {
    name: 'interceptors are composed once per method, the first outermost',
    async run(harness) {
      const seen: string[] = [];
      const named =
        (name: string): Interceptor =>
        (next, { method: called }) => {
          seen.push(`compose ${name} ${called}`);
          return (input, ctx) => {
            seen.push(name);
            return next(input, ctx);
          };
        };
      const { client } = await serving(harness, { interceptors: [named('outer'), named('inner')] });
      const call = client.method(echo, 'suite');
      await call({});
      await call({});
      assert.deepEqual(seen.filter((one) => one.startsWith('compose')).sort(), [
        'compose inner Echo',
        'compose outer Echo',
      ]);
      assert.deepEqual(
        seen.filter((one) => !one.startsWith('compose')),
        ['outer', 'inner', 'outer', 'inner'],
      );
    },
  },
  {
    name: 'what is published carries its content type and topic',
    async run(harness) {
      const parts = memoryParts();
      await parts.broker.connect();
      const events: { headers: Readonly<Record<string, string>>; body: unknown }[] = [];
      await parts.broker.subscribe('things', async (event) => {
        events.push({ headers: event.headers, body: parsed(event.body) });
        await event.ack();
      });
      const client = harness.make(parts);
      await client.publish(client.newMessage('things', { n: 1 }, { headers: { Colour: 'blue' } }));
      await eventually('the event arrives', () => events.length === 1);
      assert.deepEqual(events[0]?.body, { n: 1 });
      const { headers } = events[0];
      assert.deepEqual(
        [headers['Content-Type'], headers['Micro-Topic'], headers['Colour']],
        ['application/json', 'things', 'blue'],
      );
    },
  },
  {
    name: 'init changes options until the first call',
    async run(harness) {
      const { client } = await serving(harness);
      client.init({ timeoutMs: 1_000 });
      assert.equal(client.options.timeoutMs, 1_000);
      await client.method(echo, 'suite')({});
      assert.throws(() => client.init({ timeoutMs: 1 }), { code: Code.FailedPrecondition, reason: 'client.started' });
    },
  },
  {
    name: 'closing cancels what is under way and refuses what comes',
    async run(harness) {
      const parts = memoryParts();
      const arrived = gate();
      await serveRaw(parts, routes, () => arrived.open());
      const client = harness.make(parts);
      const call = client.method(echo, 'suite');
      const failed = failureOf(call({}) as Promise<unknown>);
      await arrived.opened;
      await client.close();
      await client.close();
      assert.equal((await failed).code, Code.Cancelled);
      assert.equal((await failureOf(call({}) as Promise<unknown>)).reason, 'client.closed');
    },
  },
  ...clientEndingCases,
];

/** Registers the cases of a client with a test runner. */
export function clientConformance(api: TestApi, name: string, harness: ClientHarness): void {
  api.describe(`client: ${name}`, () => {
    for (const one of clientCases) api.it(one.name, () => one.run(harness));
  });
}

function unusable(message: string): object {
  const fail = (): never => assert.fail(message);
  return { options: {}, init: fail, select: fail, mark: () => {}, reset: fail, close: () => Promise.resolve() };
}
