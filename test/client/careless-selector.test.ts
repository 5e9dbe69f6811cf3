import { describe, expect, it } from '@jest/globals';

import { RpcClient } from '../../src/client/rpc-client.ts';
import { okStatus } from '../../src/context/status.ts';
import { Code } from '../../src/errors/errors.ts';
import type { NodeFilter, Selector } from '../../src/selector/selector.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { json, memoryParts, method, type Parts, serveRaw } from '../../src/testing/internal/parts.ts';
import { RecordingLogger } from '../../src/testing/recorders.ts';
import type { Socket } from '../../src/transport/transport.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';

expectNothingUncaught();

const echo = method('Echo');
const count = method('Count', 'server');
const sum = method('Sum', 'client');
const chat = method('Chat', 'bidi');
const shapes = [echo, count, sum, chat];

async function answer(socket: Socket): Promise<void> {
  await socket.recv();
  void socket.send({ body: json({ n: 1 }), status: okStatus });
}

async function* numbers(): AsyncIterable<object> {
  yield { n: 1 };
}

/** A client whose selector is that of a user who has not read the contract. */
async function careless(made: object) {
  const logger = new RecordingLogger();
  const base = memoryParts();
  const listener = await serveRaw(base, shapes, (socket) => void answer(socket));
  const selector = {
    options: {},
    init() {},
    select: base.selector.select.bind(base.selector),
    mark() {},
    reset() {},
    close: () => Promise.resolve(),
    toString: () => 'mine',
    ...made,
  } as unknown as Selector;
  const parts: Parts = { ...base, selector, logger };
  const { transport, broker, marshaler, marshalers, runtime } = parts;
  const { clock, random, timers } = runtime;
  const client = new RpcClient(transport, selector, broker, marshaler, marshalers, clock, random, timers, logger);
  const call = async (descriptor = echo, filters?: readonly NodeFilter[]): Promise<void> => {
    const streams = descriptor.kind === 'client' || descriptor.kind === 'bidi';
    const result = client.method(descriptor, 'suite')(streams ? numbers() : {}, { timeoutMs: 60_000, filters });
    if (descriptor === echo || descriptor === sum) await result;
    else for await (const _reply of result as AsyncIterable<unknown>);
  };
  return { call, logger, address: listener.addr() };
}

describe('a selector that does not keep its contract', () => {
  it.each<[string, unknown]>([
    ['nothing', () => undefined],
    ['nothing', () => null],
    ['nothing', () => Promise.resolve()],
    ['a value of type string', () => 'n1'],
    ['an object', () => Promise.resolve({ id: 'n1', address: '127.0.0.1:1' })],
  ])('fails the call if it gives %s to select nodes with', async (what, select) => {
    const { call } = await careless({ select });
    for (const descriptor of shapes) {
      expect(await failureOf(call(descriptor))).toMatchObject({
        code: Code.Internal,
        reason: 'client.bad_selector',
        message: `the selector "mine" gave ${what} for a call: select returns a function, or a promise of one`,
      });
    }
  });

  it.each<[string, () => unknown]>([
    ['nothing', () => undefined],
    ['nothing', () => null],
    ['a promise', async () => ({ id: 'n1', address: '127.0.0.1:1', metadata: {} })],
    ['a promise', () => Promise.reject(new Error('too late'))],
    ['a value of type string', () => '127.0.0.1:1'],
    ['an object without them', () => ({ id: 'n1' })],
    ['an object without them', () => ({ address: '127.0.0.1:1' })],
    ['an object without them', () => ({ id: 1, address: 7 })],
  ])('fails the call if it gives %s as a node', async (what, next) => {
    const { call } = await careless({ select: () => next });
    for (const descriptor of shapes) {
      expect(await failureOf(call(descriptor))).toMatchObject({
        code: Code.Internal,
        reason: 'client.bad_selector',
        message: `the selector "mine" gave ${what} as a node: give a record with an id and an address, at once`,
      });
    }
  });

  it.each<[string, object]>([
    [
      'select throws',
      {
        select: () => {
          throw new Error('it broke');
        },
      },
    ],
    ['select rejects', { select: () => Promise.reject(new Error('it broke')) }],
    [
      'its function throws',
      {
        select: () => () => {
          throw new Error('it broke');
        },
      },
    ],
  ])('fails the call with its error if %s', async (_what, made) => {
    const { call } = await careless(made);
    for (const descriptor of shapes) expect((await failureOf(call(descriptor))).message).toContain('it broke');
  });

  it('has a node called that the registry does not know', async () => {
    const node = { id: 'stranger', address: '127.0.0.1:1', metadata: {} };
    const { call, address } = await careless({ select: () => () => node });
    expect(await failureOf(call())).toMatchObject({
      reason: 'transport.unreachable',
      message: expect.stringContaining('service "suite" at 127.0.0.1:1'),
    });
    node.address = address;
    for (const descriptor of shapes) await call(descriptor);
  });

  it.each(['begin', 'firstReply', 'mark'])(
    'fails no call if its %s throws or rejects, which is logged once',
    async (name) => {
      const throws = (): never => {
        throw new Error('it broke');
      };
      for (const broken of [throws, () => Promise.reject(new Error('it broke'))]) {
        const { call, logger } = await careless({ [name]: broken });
        for (const descriptor of [...shapes, ...shapes]) await call(descriptor);
        const lines = logger.lines.filter(({ message }) => message.includes('the selector "mine" failed'));
        expect(lines).toHaveLength(1);
      }
    },
  );
});

describe('a filter of a call', () => {
  it.each<[string, unknown]>([
    ['nothing', () => undefined],
    ['a promise', async (services: unknown) => services],
    ['a promise', () => Promise.reject(new Error('too late'))],
    ['a value of type boolean', () => true],
  ])('that returns %s fails the call, and says so', async (what, filter) => {
    const { call } = await careless({});
    const filters = [(services: unknown) => services, filter] as readonly NodeFilter[];
    expect(await failureOf(call(echo, filters))).toMatchObject({
      code: Code.InvalidArgument,
      reason: 'selector.invalid_filter',
      message: `filter 2 of the call returned ${what}: a filter returns the records that it keeps, at once`,
    });
  });

  it('that throws fails the call with its error, and one that keeps nothing says why there is no node', async () => {
    const { call } = await careless({});
    const throwing = (): never => {
      throw new Error('it broke');
    };
    expect((await failureOf(call(echo, [throwing]))).message).toContain('it broke');
    expect(await failureOf(call(echo, [() => []]))).toMatchObject({
      code: Code.Unavailable,
      reason: 'selector.none_available',
      message: expect.stringContaining('is excluded by a filter'),
    });
  });
});
