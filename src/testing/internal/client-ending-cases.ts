import assert from 'node:assert/strict';

import type { CallOptions } from '../../client/client.ts';
import { Context } from '../../context/context.ts';
import { Metadata } from '../../context/metadata.ts';
import { okStatus } from '../../context/status.ts';
import { Code, codeName } from '../../errors/errors.ts';
import type { Interceptor, MethodDescriptor } from '../../pipeline/pipeline.ts';
import type { Selector } from '../../selector/selector.ts';
import type { Socket } from '../../transport/transport.ts';
import type { Case } from '../api.ts';
import { failureOf } from '../failures.ts';
import { eventually } from './patience.ts';
import { gate } from '../waiting.ts';
import type { ClientHarness } from './client-harness.ts';
import { announce, json, memoryParts, method, type Parts, serveRaw } from './parts.ts';

const echo = method('Echo');
const count = method('Count', 'server');
const sum = method('Sum', 'client');
const chat = method('Chat', 'bidi');
const get = method('Get', 'unary', { idempotent: true });
const routes = [echo, count, sum, chat, get];
const shapes = [echo, count, sum, chat];

/** Makes a call of any kind, and resolves with its last reply. */
async function make(
  harness: ClientHarness,
  parts: Parts,
  descriptor: MethodDescriptor,
  options?: CallOptions,
): Promise<unknown> {
  const client = harness.make(parts);
  // One that waits for ever leaves nothing behind that does.
  const giveUp = parts.runtime.timers.after(3_000, () => void client.close());
  try {
    const { kind } = descriptor;
    const input = kind === 'client' || kind === 'bidi' ? unfinished() : {};
    const result = client.method(descriptor, 'suite')(input, options);
    if (kind === 'unary' || kind === 'client') return await result;
    let last: unknown;
    for await (const reply of result as AsyncIterable<unknown>) last = reply;
    return last;
  } finally {
    giveUp.cancel();
  }
}

/** A stream of requests that sends one and never ends. */
async function* unfinished(): AsyncIterable<unknown> {
  yield { n: 1 };
  await new Promise(() => {});
}

/** A selector that records its calls. */
function marking(parts: Parts): { parts: Parts; marks: string[] } {
  const marks: string[] = [];
  const selector: Selector = {
    options: {},
    init: () => {},
    select: (service, options) => parts.selector.select(service, options),
    mark: (_service, _node, error) => void marks.push(error ? (error.reason ?? codeName(error.code)) : 'well'),
    reset: () => {},
    close: () => Promise.resolve(),
  };
  return { parts: { ...parts, selector }, marks };
}

/** Cases of how calls end: status codes, deadlines, cancellation, attempts. */
export const clientEndingCases: readonly Case<ClientHarness>[] = [
  {
    name: 'every code arrives as it is, whatever the shape of the call',
    async run(harness) {
      const parts = memoryParts();
      let code: Code = Code.Ok;
      await serveRaw(parts, routes, (socket) => {
        const body = code === Code.Ok ? json({ n: 1 }) : undefined;
        void socket.send({ body, status: code === Code.Ok ? okStatus : { code, message: codeName(code) } });
      });
      for (const descriptor of shapes) {
        for (code of Object.values(Code)) {
          const call = make(harness, parts, descriptor);
          if (code === Code.Ok) assert.deepEqual(await call, { n: 1 });
          else {
            const error = await failureOf(call);
            assert.deepEqual([error.code, error.message], [code, codeName(code)], descriptor.method);
          }
        }
      }
    },
  },
  {
    name: 'a deadline ends a stream while nothing comes',
    async run(harness) {
      const parts = memoryParts();
      await serveRaw(parts, routes, (socket) => void socket.send({ body: json({ n: 1 }) }));
      for (const descriptor of [count, sum, chat]) {
        const error = await failureOf(make(harness, parts, descriptor, { timeoutMs: 30 }));
        assert.equal(error.code, Code.DeadlineExceeded, descriptor.method);
      }
    },
  },
  {
    name: 'a call whose time is up is not made',
    async run(harness) {
      const parts = memoryParts();
      let calls = 0;
      await serveRaw(parts, routes, () => void (calls += 1));
      const ctx = new Context({ service: 's', endpoint: 'e', deadline: parts.runtime.clock.monotonicMs() - 1_000 });
      for (const descriptor of shapes) {
        const error = await failureOf(make(harness, parts, descriptor, { ctx, timeoutMs: 60_000 }));
        assert.equal(error.code, Code.DeadlineExceeded, descriptor.method);
      }
      assert.equal(calls, 0);
    },
  },
  {
    name: 'cancelling reaches the server of a stream, by the signal and by the call being handled',
    async run(harness) {
      const parts = memoryParts();
      let seen = 0;
      let arrived = gate();
      await serveRaw(parts, routes, (socket: Socket) => {
        socket.onAbort(() => (seen += 1));
        arrived.open();
      });
      let expected = 0;
      for (const descriptor of [count, sum, chat]) {
        const controller = new AbortController();
        const ctx = new Context({ service: 's', endpoint: 'e' });
        const ways: [CallOptions, () => void][] = [
          [{ signal: controller.signal }, () => controller.abort()],
          [{ ctx }, () => ctx.abort()],
        ];
        for (const [options, cancel] of ways) {
          arrived = gate();
          const failed = failureOf(make(harness, parts, descriptor, options));
          await arrived.opened;
          cancel();
          assert.equal((await failed).code, Code.Cancelled, descriptor.method);
          expected += 1;
          await eventually(`the server of ${descriptor.method} sees it`, () => seen === expected);
        }
      }
    },
  },
  {
    name: 'who waits for a node is let go of by the deadline and by the signal',
    async run(harness) {
      const parts = memoryParts();
      for (const descriptor of shapes) {
        const late = await failureOf(make(harness, parts, descriptor, { waitForReady: true, timeoutMs: 20 }));
        assert.equal(late.code, Code.DeadlineExceeded, descriptor.method);
        const controller = new AbortController();
        const call = failureOf(make(harness, parts, descriptor, { waitForReady: true, signal: controller.signal }));
        await parts.runtime.timers.sleep(5);
        controller.abort();
        assert.equal((await call).code, Code.Cancelled, descriptor.method);
      }
    },
  },
  {
    name: 'waitForReady waits for a node that can be reached',
    async run(harness) {
      const parts = memoryParts();
      await announce(parts, 'dead', '127.0.0.1:1');
      const call = make(harness, parts, echo, { waitForReady: true, timeoutMs: 5_000 });
      await parts.runtime.timers.sleep(20);
      await serveRaw(parts, routes, (socket) => void socket.send({ body: json({ n: 1 }), status: okStatus }), 'alive');
      assert.deepEqual(await call, { n: 1 });
    },
  },
  {
    name: 'a stream is marked once, by its end',
    async run(harness) {
      const { parts, marks } = marking(memoryParts());
      const listener = await serveRaw(parts, routes, (socket) => {
        void socket.send({ body: json({ n: 1 }) });
        void socket.send({ status: okStatus });
      });
      const streams = [count, sum, chat];
      for (const descriptor of streams) await make(harness, parts, descriptor);
      assert.deepEqual(marks.splice(0), ['well', 'well', 'well']);
      await listener.close();
      for (const descriptor of [sum, chat]) await failureOf(make(harness, parts, descriptor));
      assert.deepEqual(marks.splice(0), ['transport.unreachable', 'transport.unreachable']);
      await failureOf(make(harness, parts, count));
      // As many as were tried, and no more.
      assert.deepEqual(new Set(marks), new Set(['transport.unreachable']));
      assert.equal(marks.length, 3);
    },
  },
  {
    name: 'attempts have contexts of their own, and the caller sees the one that is chosen',
    async run(harness) {
      const parts = memoryParts();
      const headers: Metadata[] = [];
      const respond = async (socket: Socket): Promise<void> => {
        const first = await socket.recv();
        headers.push(first?.headers ?? new Metadata());
        const metadata = new Metadata({ attempt: String(headers.length) });
        void socket.send({ headers: metadata, body: json({}), status: { ...okStatus, metadata } });
      };
      await serveRaw(parts, routes, (socket) => void respond(socket));
      const twice: Interceptor = (next) => async (input, ctx) => {
        const attempts = ctx.outgoing?.attempts();
        assert.ok(attempts, 'ctx.outgoing is missing');
        const [one, two] = [attempts.begin(), attempts.begin()];
        one.metadata.set('x-one', '1');
        const reply = await next(input, one);
        await next(input, two);
        assert.equal(attempts.wasRefused(one), false);
        assert.equal(attempts.wasRefused(attempts.begin()), true);
        attempts.commit(one);
        attempts.settle();
        assert.equal(ctx.headers.get('attempt'), '1');
        assert.ok(ctx.peer, 'the peer is missing');
        return reply;
      };
      const seen: unknown[] = [];
      const call = harness.make(parts, { interceptors: [twice] }).method(echo, 'suite');
      await call(
        {},
        {
          metadata: { 'x-both': 'b' },
          onHeaders: (received) => seen.push(received.get('attempt')),
          onTrailers: (received) => seen.push(received.get('attempt')),
        },
      );
      assert.deepEqual(seen, ['1', '1']);
      const sent = headers.map((one) => [one.get('x-both'), one.get('x-one'), one.get('grpc-previous-rpc-attempts')]);
      assert.deepEqual(sent, [
        ['b', '1', undefined],
        ['b', undefined, '1'],
      ]);
    },
  },
  {
    name: 'a service config is obeyed, and repeats only what may be',
    async run(harness) {
      const parts = memoryParts();
      let calls = 0;
      await serveRaw(parts, routes, (socket) => {
        calls += 1;
        if (calls < 3) void socket.send({ status: { code: Code.Unavailable, message: 'not now' } });
        else void socket.send({ body: json({ calls }), status: okStatus });
      });
      const retryPolicy = {
        maxAttempts: 5,
        initialBackoff: '0.001s',
        maxBackoff: '0.001s',
        backoffMultiplier: 1,
        retryableStatusCodes: ['UNAVAILABLE'],
      };
      const client = harness.make(parts, { serviceConfig: { methodConfig: [{ name: [{}], retryPolicy }] } });
      await failureOf(client.method(echo, 'suite')({}) as Promise<unknown>);
      assert.equal(calls, 1, 'a call that is not declared idempotent was repeated');
      assert.deepEqual(await client.method(get, 'suite')({}), { calls: 3 });
    },
  },
];
