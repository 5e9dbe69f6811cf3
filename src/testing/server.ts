import assert from 'node:assert/strict';

import { Context } from '../context/context.ts';
import { Metadata } from '../context/metadata.ts';
import { Code, codeName, TenonError } from '../errors/errors.ts';
import type { HandlerFunction, MethodDescriptor } from '../pipeline/pipeline.ts';
import { nodeState } from '../registry/registry.ts';
import type { Server, ServerOptions } from '../server/server.ts';
import type { Message, Socket } from '../transport/transport.ts';
import type { Case, TestApi } from './api.ts';
import { eventually } from './internal/patience.ts';
import { gate } from './waiting.ts';
import { bodies, json, memoryParts, method, parsed, type Parts } from './internal/parts.ts';

/** Makes the server under test from parts that a case provides. */
export interface ServerHarness {
  make(parts: Parts, options?: ServerOptions): Server;
}

const echo = method('Echo');
const count = method('Count', 'server');
const sum = method('Sum', 'client');
const chat = method('Chat', 'bidi');

const methods: Record<string, HandlerFunction> = {
  Echo: async (input) => input,
  Count: async function* (input) {
    for (let n = 1; n <= (input as { to: number }).to; n += 1) yield { n };
  },
  Sum: async (input) => {
    let total = 0;
    for await (const { n } of input as AsyncIterable<{ n: number }>) total += n;
    return { sum: total };
  },
  Chat: async function* (input) {
    yield* input as AsyncIterable<unknown>;
  },
};

interface ServerFixture {
  readonly parts: Parts;
  readonly server: Server;
  /** Calls a unary method; resolves with the whole answer. */
  readonly call: (descriptor: MethodDescriptor, body?: Uint8Array, headers?: Metadata) => Promise<Message>;
  readonly open: (descriptor: MethodDescriptor, ctx?: Context) => Socket;
}

async function started(
  harness: ServerHarness,
  replaced: Record<string, HandlerFunction> = {},
  options: ServerOptions = {},
  parts = memoryParts(),
): Promise<ServerFixture> {
  await parts.broker.connect();
  const server = harness.make(parts, { name: 'suite', version: '1', id: 'one', ...options });
  server.handle(
    server.newHandler('suite.Suite', { ...methods, ...replaced }, { descriptors: [echo, count, sum, chat] }),
  );
  await server.start();
  return fixtureOf(parts, server);
}

function fixtureOf(parts: Parts, server: Server): ServerFixture {
  const open = (descriptor: MethodDescriptor, ctx?: Context): Socket => {
    assert.ok(server.address, 'a started server has an address');
    return parts.transport.dial(server.address, { route: descriptor, ctx });
  };
  return {
    parts,
    server,
    open,
    async call(descriptor, body = json({}), headers) {
      const socket = open(descriptor);
      void socket.send({ headers: headers ?? new Metadata(), body });
      socket.end();
      return answerOf(socket);
    },
  };
}

async function answerOf(socket: Socket): Promise<Message> {
  let result: Message = {};
  for (let message = await socket.recv(); message; message = await socket.recv())
    result = { ...result, ...defined(message) };
  return result;
}

function defined(message: Message): Message {
  return Object.fromEntries(Object.entries(message).filter(([, value]) => value !== undefined));
}

function statusText({ status }: Message): string {
  return `${codeName(status?.code ?? Code.Unknown)} ${String(status?.metadata?.get('tenon-reason'))}`;
}

/** The cases of the {@link Server} contract. */
export const serverCases: readonly Case<ServerHarness>[] = [
  {
    name: 'a unary method answers',
    async run(harness) {
      const { call, server } = await started(harness);
      const { body, status } = await call(echo, json({ text: 'ä' }));
      assert.deepEqual([parsed(body), status?.code], [{ text: 'ä' }, Code.Ok]);
      await server.stop();
    },
  },
  {
    name: 'streams go both ways, in order',
    async run(harness) {
      const { open, server } = await started(harness);
      const counting = open(count);
      void counting.send({ headers: new Metadata(), body: json({ to: 3 }) });
      counting.end();
      assert.deepEqual(await bodies(counting), [{ n: 1 }, { n: 2 }, { n: 3 }]);
      const summing = open(sum);
      await summing.send({ headers: new Metadata() });
      for (const n of [1, 2, 3]) await summing.send({ body: json({ n }) });
      summing.end();
      assert.deepEqual(await bodies(summing), [{ sum: 6 }]);
      const chatting = open(chat);
      await chatting.send({ headers: new Metadata(), body: json('a') });
      let reply = await chatting.recv();
      while (reply && !reply.body) reply = await chatting.recv();
      assert.equal(parsed(reply?.body), 'a');
      chatting.end();
      assert.deepEqual(await bodies(chatting), []);
      await server.stop();
    },
  },
  {
    name: 'a thrown TenonError is the status',
    async run(harness) {
      const { call, server } = await started(harness, {
        Echo: async () => {
          throw new TenonError({
            code: Code.NotFound,
            reason: 'suite.unknown',
            message: 'no such thing',
            metadata: { extra: 'x' },
          });
        },
      });
      const answer = await call(echo);
      assert.equal(statusText(answer), 'NOT_FOUND suite.unknown');
      assert.equal(answer.status?.message, 'no such thing');
      assert.equal(answer.status?.metadata?.get('extra'), 'x');
      await server.stop();
    },
  },
  {
    name: 'a handler that passes on the refusal of a call of its own does not seem to refuse',
    async run(harness) {
      for (const reason of ['server.draining', 'transport.unreachable']) {
        const refused = new TenonError({ code: Code.Unavailable, reason, message: 'another service is not there' });
        const { call, server } = await started(harness, { Echo: () => Promise.reject(refused) });
        const { status } = await call(echo);
        // Callers repeat what was refused, and this call was not: its handler has run.
        assert.equal(status?.code, Code.Unavailable);
        assert.notEqual(status?.metadata?.get('tenon-reason'), reason);
        assert.doesNotMatch(String(status?.metadata?.get('tenon-reason')), /^server\.draining$|^transport\./);
        await server.stop();
      }
    },
  },
  {
    name: 'whatever else is thrown is INTERNAL, and its text stays here',
    async run(harness) {
      for (const thrown of [new Error('the password is swordfish'), 'swordfish', undefined, { swordfish: true }]) {
        const { call, server } = await started(harness, {
          Echo: () => Promise.reject(thrown),
        });
        const answer = await call(echo);
        assert.equal(statusText(answer), 'INTERNAL server.handler_failed');
        assert.doesNotMatch(answer.status?.message ?? '', /swordfish/);
        await server.stop();
      }
    },
  },
  {
    name: 'exposeErrors tells the text',
    async run(harness) {
      const { call, server } = await started(
        harness,
        { Echo: () => Promise.reject(new Error('out of paper')) },
        { exposeErrors: true },
      );
      assert.match((await call(echo)).status?.message ?? '', /out of paper/);
      await server.stop();
    },
  },
  {
    name: 'a stream that throws sends what it yielded first, then the error',
    async run(harness) {
      const { open, server } = await started(harness, {
        Count: async function* () {
          yield { n: 1 };
          throw new TenonError({ code: Code.DataLoss, message: 'lost' });
        },
      });
      const socket = open(count);
      void socket.send({ headers: new Metadata(), body: json({ to: 2 }) });
      socket.end();
      const seen: unknown[] = [];
      for (let message = await socket.recv(); message; message = await socket.recv()) {
        if (message.body) seen.push(parsed(message.body));
        if (message.status) seen.push(codeName(message.status.code));
      }
      assert.deepEqual(seen, [{ n: 1 }, 'DATA_LOSS']);
      await server.stop();
    },
  },
  {
    name: 'after a call that failed the next one is answered',
    async run(harness) {
      let calls = 0;
      const { call, server } = await started(harness, {
        Echo: async (input) => {
          calls += 1;
          if (calls === 1) throw new Error('first');
          return input;
        },
      });
      await call(echo);
      assert.deepEqual(parsed((await call(echo, json(2))).body), 2);
      assert.equal(server.inFlight, 0);
      await server.stop();
    },
  },
  {
    name: 'a request that does not decode is INVALID_ARGUMENT',
    async run(harness) {
      const { call, server } = await started(harness);
      assert.equal(statusText(await call(echo, Uint8Array.of(0x7b))), 'INVALID_ARGUMENT codec.decode');
      await server.stop();
    },
  },
  {
    name: 'a call in a codec that is not bound is UNIMPLEMENTED',
    async run(harness) {
      const { call, server } = await started(harness);
      const headers = new Metadata({ 'x-content-type': 'application/grpc+morse' });
      assert.equal(statusText(await call(echo, json({}), headers)), 'UNIMPLEMENTED codec.unknown');
      await server.stop();
    },
  },
  {
    name: 'a reply that cannot be encoded is INTERNAL',
    async run(harness) {
      const { call, server } = await started(harness, { Echo: async () => ({ big: 1n }) });
      assert.equal(statusText(await call(echo)), 'INTERNAL server.bad_reply');
      await server.stop();
    },
  },
  {
    name: 'an invalid input is INVALID_ARGUMENT, and names what is wrong',
    async run(harness) {
      const parts = memoryParts();
      const validate = (value: unknown): ReturnType<NonNullable<MethodDescriptor['input']['validate']>> =>
        typeof (value as { n?: unknown }).n === 'number'
          ? { value }
          : { issues: [{ message: 'must be a number', path: ['n'] }] };
      const strict = method('Echo', 'unary', { input: { name: 'Numbered', validate } });
      const server = harness.make(parts, { name: 'suite' });
      server.handle(
        server.newHandler('suite.Suite', { Echo: methods['Echo'] as HandlerFunction }, { descriptors: [strict] }),
      );
      await server.start();
      const { call } = fixtureOf(parts, server);
      assert.equal((await call(strict, json({ n: 1 }))).status?.code, Code.Ok);
      const answer = await call(strict, json({ n: 'x' }));
      assert.equal(statusText(answer), 'INVALID_ARGUMENT call.invalid_input');
      assert.match(answer.status?.message ?? '', /n: must be a number/);
      await server.stop();
    },
  },
  {
    name: 'the context tells of the call, and what it is given is sent',
    async run(harness) {
      const seen: unknown[] = [];
      const { call, server } = await started(harness, {
        Echo: async (input, ctx) => {
          seen.push(ctx.service, ctx.endpoint, ctx.metadata.get('x-suite'));
          ctx.headers.set('suite-header', 'h');
          ctx.trailers.set('suite-trailer', 't');
          return input;
        },
      });
      const answer = await call(echo, json({}), new Metadata({ 'x-suite': 'v' }));
      assert.deepEqual(seen, ['suite.Suite', 'Echo', 'v']);
      assert.deepEqual(
        [answer.headers?.get('suite-header'), answer.status?.metadata?.get('suite-trailer')],
        ['h', 't'],
      );
      await server.stop();
    },
  },
  {
    name: 'a handler can send its headers before it has a reply',
    async run(harness) {
      const mayReply = gate();
      const { open, server } = await started(harness, {
        Count: async function* (_input, ctx) {
          ctx.headers.set('suite-header', 'early');
          ctx.sendHeaders();
          ctx.headers.set('suite-header', 'late');
          ctx.sendHeaders();
          await mayReply.opened;
          yield { n: 1 };
        },
      });
      const socket = open(count);
      void socket.send({ headers: new Metadata(), body: json({ to: 1 }) });
      socket.end();
      assert.equal((await socket.recv())?.headers?.get('suite-header'), 'early');
      mayReply.open();
      const rest = await answerOf(socket);
      assert.deepEqual([rest.headers, parsed(rest.body), rest.status?.code], [undefined, { n: 1 }, Code.Ok]);
      await server.stop();
    },
  },
  {
    name: 'a handler sees that its caller has gone',
    async run(harness) {
      const arrived = gate();
      let seen: unknown;
      const { open, server } = await started(harness, {
        Echo: (_input, ctx) => {
          arrived.open();
          return new Promise((_resolve, reject) => {
            ctx.signal.addEventListener('abort', () => {
              seen = ctx.signal.reason;
              reject(ctx.signal.reason);
            });
          });
        },
      });
      const socket = open(echo);
      void socket.send({ headers: new Metadata(), body: json({}) });
      socket.end();
      await arrived.opened;
      socket.abort(Code.Cancelled);
      await eventually('the handler sees it', () => TenonError.is(seen) && seen.code === Code.Cancelled);
      await eventually('nothing is in flight', () => server.inFlight === 0);
      await server.stop();
    },
  },
  {
    name: 'two handlers for one method are refused',
    async run(harness) {
      const server = harness.make(memoryParts(), { name: 'suite' });
      const handler = server.newHandler('suite.Suite', { Echo: methods['Echo'] as HandlerFunction });
      server.handle(handler);
      assert.throws(() => server.handle(handler), { code: Code.AlreadyExists, reason: 'server.duplicate_method' });
    },
  },
  {
    name: 'handlers, subscriptions and options come before the start',
    async run(harness) {
      const { server } = await started(harness);
      const late = { code: Code.FailedPrecondition, reason: 'server.started' };
      assert.throws(() => server.handle(server.newHandler('suite.Late', {})), late);
      assert.throws(() => server.subscribe(server.newSubscriber('late', () => {})), late);
      assert.throws(() => server.init({ name: 'late' }), late);
      await server.stop();
    },
  },
  {
    name: 'the registry is told of the node, its endpoints and its state',
    async run(harness) {
      const { parts, server } = await started(harness, {}, { metadata: { zone: 'a' } });
      await server.register({ state: 'serving' });
      const [record] = await parts.registry.getService('suite');
      const [node] = record?.nodes ?? [];
      assert.equal(record?.version, '1');
      assert.deepEqual(
        record?.endpoints.map((endpoint) => endpoint.name),
        ['Suite.Chat', 'Suite.Count', 'Suite.Echo', 'Suite.Sum'],
      );
      assert.deepEqual(
        [node?.id, node?.address, node?.metadata['zone'], node && nodeState(node)],
        ['suite-one', server.address, 'a', 'serving'],
      );
      await server.register({ state: 'draining' });
      const [drained] = await parts.registry.getService('suite');
      assert.equal(drained?.nodes[0] && nodeState(drained.nodes[0]), 'draining');
      await server.deregister();
      await assert.rejects(parts.registry.getService('suite'), { code: Code.NotFound });
      await server.stop();
    },
  },
  {
    name: 'a drain waits for calls in flight, and takes no new ones',
    async run(harness) {
      const arrived = gate();
      const leave = gate();
      const { open, call, server } = await started(harness, {
        Echo: async (input) => {
          arrived.open();
          await leave.opened;
          return input;
        },
      });
      const socket = open(echo);
      void socket.send({ headers: new Metadata(), body: json('kept') });
      socket.end();
      await arrived.opened;
      let isDrained = false;
      const drained = server.drain().then(() => (isDrained = true));
      const refused = await call(echo).catch((error: unknown) => error);
      const code = TenonError.is(refused) ? refused.code : (refused as Message).status?.code;
      assert.equal(code, Code.Unavailable);
      assert.equal(isDrained, false, 'the drain did not wait');
      leave.open();
      assert.equal(parsed((await answerOf(socket)).body), 'kept');
      await drained;
      await server.stop();
    },
  },
  {
    name: 'a drain that takes too long rejects with the reason of its signal',
    async run(harness) {
      const arrived = gate();
      const { open, server } = await started(harness, {
        Echo: () => {
          arrived.open();
          return new Promise(() => {});
        },
      });
      const socket = open(echo);
      void socket.send({ headers: new Metadata(), body: json({}) });
      socket.end();
      await arrived.opened;
      await assert.rejects(server.drain(AbortSignal.abort(new Error('too long'))), /too long/);
      // A status or a broken connection: either way the caller can tell.
      const broken = socket.recv().then(
        (message) => message?.status?.code,
        (error: unknown) => TenonError.from(error).code,
      );
      await server.stop();
      assert.equal(await broken, Code.Unavailable);
    },
  },
  {
    name: 'an event is handled once and acknowledged',
    async run(harness) {
      const parts = memoryParts();
      const seen: unknown[] = [];
      const server = harness.make(parts, { name: 'suite' });
      const options = { queue: 'suite' };
      server.subscribe(server.newSubscriber('things', async (event) => void seen.push(event), options));
      await server.start();
      await parts.broker.publish('things', { headers: { 'Content-Type': 'application/json' }, body: json({ n: 1 }) });
      await eventually('the event is handled', () => seen.length > 0);
      await server.stop();
      assert.deepEqual(seen, [{ n: 1 }]);
    },
  },
  {
    name: 'an event whose handler throws is handed out again, then kept as a dead letter',
    async run(harness) {
      const parts = memoryParts();
      await parts.broker.connect();
      const dead: Readonly<Record<string, string>>[] = [];
      await parts.broker.subscribe('things.dead-letter', async (event) => {
        dead.push(event.headers);
        await event.ack();
      });
      let attempts = 0;
      const server = harness.make(parts, { name: 'suite' });
      const failing = (): void => {
        attempts += 1;
        throw new Error('no');
      };
      server.subscribe(
        server.newSubscriber('things', failing, { queue: 'suite', retry: 2, retryDelayMs: 1, deadLetter: true }),
      );
      await server.start();
      await parts.broker.publish('things', {
        headers: { 'Content-Type': 'application/json', Colour: 'blue' },
        body: json({}),
      });
      await eventually('the dead letter arrives', () => dead.length > 0);
      assert.deepEqual([attempts, dead[0]?.['Colour']], [3, 'blue']);
      await server.stop();
    },
  },
  {
    name: 'a start that fails leaves nothing open, and stopping twice is no error',
    async run(harness) {
      const parts = memoryParts();
      const first = await started(harness, {}, { address: '127.0.0.1:7001' }, parts);
      const second = harness.make(parts, { name: 'second', address: '127.0.0.1:7001' });
      await assert.rejects(second.start(), { code: Code.AlreadyExists });
      assert.equal(second.address, undefined);
      await first.server.stop();
      await first.server.stop();
      await second.start();
      assert.ok(second.address);
      await second.stop();
    },
  },
];

/** Registers the cases of a server with a test runner. */
export function serverConformance(api: TestApi, name: string, harness: ServerHarness): void {
  api.describe(`server: ${name}`, () => {
    for (const one of serverCases) api.it(one.name, () => one.run(harness));
  });
}
