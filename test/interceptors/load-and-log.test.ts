import { describe, expect, it } from '@jest/globals';

import { Context } from '../../src/context/context.ts';
import { Metadata } from '../../src/context/metadata.ts';
import { okStatus } from '../../src/context/status.ts';
import { findDetail, RetryInfo } from '../../src/errors/details.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import {
  bulkhead,
  circuitBreaker,
  type CircuitBreakerOptions,
  hedge,
  logging,
  rateLimit,
  timeout,
} from '../../src/interceptors/interceptors.ts';
import type { Interceptor, CallHandler, MethodDescriptor } from '../../src/pipeline/pipeline.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { gate } from '../../src/testing/waiting.ts';
import { json, memoryParts, method } from '../../src/testing/internal/parts.ts';
import { RecordingLogger } from '../../src/testing/recorders.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';
import { all, answers, clientOf, count, echo, fails, get, scripted, serverOf } from './support.ts';

const event = method('onThing', 'event');

function contextOf(metadata: Record<string, string> = {}, deadline?: number): Context {
  return new Context({ service: 'suite.Suite', endpoint: 'Echo', metadata: new Metadata(metadata), deadline });
}

/** One method inside one interceptor, as where calls are served. */
function inside(interceptor: Interceptor, invoke: CallHandler, descriptor: MethodDescriptor = echo) {
  const composed = interceptor(invoke, descriptor);
  return async (ctx: Context = contextOf()): Promise<unknown> => composed({}, ctx);
}

function failing(code: Code): CallHandler {
  return async () => {
    throw new TenonError({ code, message: 'no' });
  };
}

async function codesOf(call: () => Promise<unknown>, times: number): Promise<(string | undefined)[]> {
  const reasons: (string | undefined)[] = [];
  for (let n = 0; n < times; n += 1) {
    const error: unknown = await call().then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    reasons.push(error === undefined ? 'well' : TenonError.from(error).reason);
  }
  return reasons;
}

describe('circuitBreaker', () => {
  const rules: CircuitBreakerOptions = { per: 'method', minimumCalls: 4, windowMs: 1_000, openMs: 500 };

  it.each([echo, event])(
    'opens when too many fail, says for how long, and closes after a call goes well: $kind',
    async (descriptor) => {
      const runtime = virtualRuntime();
      let isWell = false;
      let calls = 0;
      const call = inside(
        circuitBreaker({ ...rules, runtime }),
        async (input, ctx) => {
          calls += 1;
          return isWell ? 'well' : failing(Code.Unavailable)(input, ctx);
        },
        descriptor,
      );
      expect(await codesOf(call, 6)).toEqual([
        undefined,
        undefined,
        undefined,
        undefined,
        'interceptors.circuit_open',
        'interceptors.circuit_open',
      ]);
      expect(calls).toBe(4);
      await runtime.timers.advance(200);
      const error = (await call().catch((thrown: unknown) => thrown)) as TenonError;
      expect(error.code).toBe(Code.Unavailable);
      expect(error.message).toMatch(/try again in 300 ms/);
      expect(findDetail(error, RetryInfo)).toEqual({ retryDelayMs: 300 });
      await runtime.timers.advance(300);
      // One may try, and fails.
      expect(await codesOf(call, 2)).toEqual([undefined, 'interceptors.circuit_open']);
      await runtime.timers.advance(500);
      isWell = true;
      expect(await codesOf(call, 3)).toEqual(['well', 'well', 'well']);
      isWell = false;
      // What failed before it opened is forgotten.
      expect(await codesOf(call, 2)).toEqual([undefined, undefined]);
    },
  );

  it('lets no more than halfOpenCalls calls through while it is half open', async () => {
    const runtime = virtualRuntime();
    const waiting = gate();
    let calls = 0;
    const call = inside(circuitBreaker({ ...rules, runtime, halfOpenCalls: 2 }), async (input, ctx) => {
      calls += 1;
      if (calls <= 4) return failing(Code.Internal)(input, ctx);
      await waiting.opened;
      return 'well';
    });
    await codesOf(call, 4);
    await runtime.timers.advance(500);
    const trying = [call(), call()];
    expect(await codesOf(call, 1)).toEqual(['interceptors.circuit_open']);
    waiting.open();
    expect(await Promise.all(trying)).toEqual(['well', 'well']);
    expect(await codesOf(call, 1)).toEqual(['well']);
  });

  it('counts the share of failures of the callee within the window', async () => {
    const runtime = virtualRuntime();
    let code: Code = Code.Unavailable;
    const call = inside(circuitBreaker({ ...rules, runtime }), async (input, ctx) =>
      code === Code.Ok ? 'well' : failing(code)(input, ctx),
    );
    await codesOf(call, 3);
    await runtime.timers.advance(1_200);
    // The three are too old to count.
    expect(await codesOf(call, 3)).toEqual([undefined, undefined, undefined]);
    await runtime.timers.advance(1_200);
    code = Code.Ok;
    await codesOf(call, 7);
    code = Code.Unavailable;
    // Six of thirteen are fewer than half.
    expect(await codesOf(call, 6)).not.toContain('interceptors.circuit_open');
    code = Code.NotFound;
    expect(await codesOf(call, 20)).not.toContain('interceptors.circuit_open');
    code = Code.Cancelled;
    expect(await codesOf(call, 20)).not.toContain('interceptors.circuit_open');
  });

  it('passes over a node whose circuit is open, and refuses when all are', async () => {
    const parts = memoryParts();
    const runtime = virtualRuntime();
    let isWell = true;
    const seen: string[] = [];
    const servers = ['a', 'b'].map((id) =>
      serverOf(
        parts,
        [
          [
            echo,
            async () => {
              seen.push(id);
              if (id === 'b' && isWell) return {};
              throw new TenonError({ code: Code.Unavailable, message: 'no' });
            },
          ],
        ],
        [],
        id,
      ),
    );
    for (const server of servers) {
      await server.start();
      await server.register();
    }
    const interceptors = [circuitBreaker({ minimumCalls: 2, runtime })];
    const call = clientOf(parts, { interceptors }).method(echo, 'suite');
    await codesOf(async () => call({}), 12);
    expect(seen.filter((id) => id === 'a')).toHaveLength(2);
    isWell = false;
    await codesOf(async () => call({}), 12);
    expect(seen.filter((id) => id === 'a')).toHaveLength(2);
    await expect(call({})).rejects.toMatchObject({ reason: 'interceptors.circuit_open' });
    await expect(call({}, { address: servers[0]?.address })).rejects.toMatchObject({
      reason: 'interceptors.circuit_open',
    });
    for (const server of servers) await server.stop();
  });

  it('does not count the cancelled attempt of a hedge within it as a failure of its node', async () => {
    const parts = memoryParts();
    const runtime = virtualRuntime();
    const servers = ['a', 'b'].map((id) =>
      serverOf(parts, [[get, async () => (id === 'a' ? new Promise(() => {}) : { id })]], [], id),
    );
    for (const server of servers) {
      await server.start();
      await server.register();
    }
    const interceptors = [circuitBreaker({ minimumCalls: 1, runtime }), hedge({ delayMs: 0 })];
    const call = clientOf(parts, { interceptors }).method(get, 'suite');
    for (let n = 0; n < 6; n += 1) expect(await call({})).toEqual({ id: 'b' });
    // Were one of the circuits open, this would say so.
    const waiting = call({}, { address: servers[0]?.address, timeoutMs: 20 });
    await expect(waiting).rejects.toMatchObject({ code: Code.DeadlineExceeded });
    for (const server of servers) await server.stop();
  });

  it('counts a stream as a success with its first reply, and not at all if the reader leaves before', async () => {
    const runtime = virtualRuntime();
    const { parts } = await scripted([
      (socket) => {
        void socket.send({ body: json({ n: 1 }) });
        void socket.send(fails(Code.Unavailable));
      },
    ]);
    const interceptors = [circuitBreaker({ ...rules, runtime })];
    const call = clientOf(parts, { interceptors }).method(count, 'suite');
    expect(await codesOf(async () => all(call({})), 20)).not.toContain('interceptors.circuit_open');
  });

  it('refuses options without a meaning', () => {
    expect(() => circuitBreaker({ failureRatio: 0 })).toThrow('failureRatio is 0');
    expect(() => circuitBreaker({ openMs: -1 })).toThrow('openMs is -1');
  });
});

describe('bulkhead', () => {
  it('bounds the calls under way and the queue, and admits queued calls in order', async () => {
    const order: string[] = [];
    const gates = [gate(), gate(), gate()];
    const call = inside(bulkhead({ maxConcurrent: 1, maxQueue: 2 }), async (_input, ctx) => {
      const name = ctx.metadata.text('n') ?? '';
      order.push(name);
      await gates[Number(name)]?.opened;
      return name;
    });
    const calls = ['0', '1', '2'].map((n) => call(contextOf({ n })));
    const refused = call(contextOf({ n: '3' }));
    await expect(refused).rejects.toMatchObject({ code: Code.ResourceExhausted, reason: 'interceptors.bulkhead_full' });
    expect(order).toEqual(['0']);
    gates[0]?.open();
    await calls[0];
    await new Promise((resolve) => setImmediate(resolve));
    expect(order).toEqual(['0', '1']);
    gates[1]?.open();
    gates[2]?.open();
    expect(await Promise.all(calls)).toEqual(['0', '1', '2']);
    expect(await call(contextOf({ n: '4' }))).toBe('4');
  });

  it('drops a queued call that is cancelled, or whose deadline passes', async () => {
    const runtime = virtualRuntime();
    const waiting = gate();
    const call = inside(bulkhead({ maxConcurrent: 1, maxQueue: 5, runtime }), () => waiting.opened);
    const running = call();
    const ctx = contextOf();
    const cancelled = call(ctx);
    ctx.abort();
    await expect(cancelled).rejects.toMatchObject({ code: Code.Cancelled });
    const late = call(contextOf({}, 100));
    const lateResult = expect(late).rejects.toMatchObject({ code: Code.DeadlineExceeded });
    await runtime.timers.advance(100);
    await lateResult;
    const last = call();
    waiting.open();
    await Promise.all([running, last]);
  });

  it('counts calls by key, and a stream until it ends', async () => {
    const { parts } = await scripted([(socket) => void socket.send({ body: json({ n: 1 }) })]);
    const interceptors = [bulkhead({ maxConcurrent: 1, key: (ctx) => ctx.metadata.text('x-tenant') ?? '' })];
    const call = clientOf(parts, { interceptors }).method(count, 'suite');
    const first = (call({}, { metadata: { 'x-tenant': 'a' } }) as AsyncIterable<unknown>)[Symbol.asyncIterator]();
    const unread = call({}, { metadata: { 'x-tenant': 'a' } }) as AsyncIterable<unknown>;
    expect(await first.next()).toEqual({ done: false, value: { n: 1 } });
    await expect(unread[Symbol.asyncIterator]().next()).rejects.toMatchObject({ reason: 'interceptors.bulkhead_full' });
    const other = (call({}, { metadata: { 'x-tenant': 'b' } }) as AsyncIterable<unknown>)[Symbol.asyncIterator]();
    await other.next();
    await other.return?.();
    await first.return?.();
    const again = (call({}, { metadata: { 'x-tenant': 'a' } }) as AsyncIterable<unknown>)[Symbol.asyncIterator]();
    expect(await again.next()).toEqual({ done: false, value: { n: 1 } });
    await again.return?.();
  });

  it('refuses options without a meaning', () => {
    expect(() => bulkhead({ maxConcurrent: 0 })).toThrow('maxConcurrent is 0');
    expect(() => bulkhead({ maxConcurrent: 1, maxQueue: -1 })).toThrow('maxQueue is -1');
  });
});

describe('rateLimit', () => {
  it.each([echo, event])(
    'lets a burst through, then as many as come back, and says when: $kind',
    async (descriptor) => {
      const runtime = virtualRuntime();
      const call = inside(rateLimit({ perSecond: 2, burst: 3, runtime }), async () => 'well', descriptor);
      expect(await codesOf(call, 4)).toEqual(['well', 'well', 'well', 'interceptors.rate_limited']);
      const error = (await call().catch((thrown: unknown) => thrown)) as TenonError;
      expect(error.code).toBe(Code.ResourceExhausted);
      expect(findDetail(error, RetryInfo)).toEqual({ retryDelayMs: 500 });
      await runtime.timers.advance(500);
      expect(await codesOf(call, 2)).toEqual(['well', 'interceptors.rate_limited']);
      await runtime.timers.advance(60_000);
      expect(await codesOf(call, 4)).toEqual(['well', 'well', 'well', 'interceptors.rate_limited']);
    },
  );

  it('counts calls by key, and forgets keys whose bucket is full again', async () => {
    const runtime = virtualRuntime();
    const call = inside(
      rateLimit({ perSecond: 1, runtime, key: (ctx) => ctx.metadata.text('x-tenant') ?? '' }),
      async () => 'well',
    );
    const as = (tenant: string) => () => call(contextOf({ 'x-tenant': tenant }));
    expect(await codesOf(as('a'), 2)).toEqual(['well', 'interceptors.rate_limited']);
    for (let n = 0; n < 2_500; n += 1) expect(await codesOf(as(`t${n}`), 1)).toEqual(['well']);
    // Those that are not full yet are kept.
    expect(await codesOf(as('a'), 1)).toEqual(['interceptors.rate_limited']);
  });

  it('refuses options without a meaning', () => {
    expect(() => rateLimit({ perSecond: 0 })).toThrow('perSecond is 0');
    expect(() => rateLimit({ perSecond: 1, burst: 0.5 })).toThrow('burst is 0.5');
  });
});

describe('timeout', () => {
  it('sends the server the earlier deadline, and keeps one that is earlier still', async () => {
    const deadlines: (number | undefined)[] = [];
    const { parts } = await scripted([
      (socket) => {
        deadlines.push(socket.deadline);
        void socket.send(answers({}));
      },
    ]);
    const interceptors = [timeout({ timeoutMs: 10_000 })];
    const call = clientOf(parts, { interceptors }).method(echo, 'suite');
    const now = systemRuntime.clock.monotonicMs();
    await call({}, { timeoutMs: 60_000 });
    await call({}, { timeoutMs: 5_000 });
    expect(deadlines[0]).toBeLessThan(now + 30_000);
    expect(deadlines[1]).toBeLessThan(now + 9_000);
  });

  it('bounds each attempt when it is inside of retry', async () => {
    const { retry } = await import('../../src/interceptors/interceptors.ts');
    const { parts, calls } = await scripted([() => {}, answers({ n: 2 })]);
    const interceptors = [retry({ codes: [Code.DeadlineExceeded], initialBackoffMs: 0 }), timeout({ timeoutMs: 50 })];
    expect(await clientOf(parts, { interceptors }).method(get, 'suite')({})).toEqual({ n: 2 });
    expect(calls).toHaveLength(2);
  });

  it.each([echo, event])(
    'ends a handler that takes too long, whether it heeds its signal or not: $kind',
    async (descriptor) => {
      const runtime = virtualRuntime();
      const ctx = contextOf();
      const call = inside(timeout({ timeoutMs: 100, runtime }), () => new Promise(() => {}), descriptor)(ctx);
      const ended = expect(call).rejects.toMatchObject({
        code: Code.DeadlineExceeded,
        reason: 'call.deadline_exceeded',
      });
      expect(ctx.deadline).toBe(100);
      await runtime.timers.advance(100);
      await ended;
      expect(ctx.aborted).toMatchObject({ code: Code.DeadlineExceeded });
    },
  );

  it('ends a stream of replies that takes too long with DEADLINE_EXCEEDED', async () => {
    const parts = memoryParts();
    const runtime = virtualRuntime();
    const endless: CallHandler = async function* replies() {
      yield { n: 1 };
      await new Promise(() => {});
    };
    const server = serverOf(parts, [[count, endless]], [timeout({ timeoutMs: 100, runtime })]);
    await server.start();
    await server.register();
    const replies = (clientOf(parts).method(count, 'suite')({}) as AsyncIterable<unknown>)[Symbol.asyncIterator]();
    expect(await replies.next()).toEqual({ done: false, value: { n: 1 } });
    const ended = expect(replies.next()).rejects.toMatchObject({ code: Code.DeadlineExceeded });
    await runtime.timers.advance(100);
    await ended;
    await server.stop();
  });

  it('leaves no timer and no listener behind a handler that ends in time', async () => {
    const runtime = virtualRuntime();
    const ctx = contextOf();
    expect(await inside(timeout({ timeoutMs: 100, runtime }), async () => 'well')(ctx)).toBe('well');
    await runtime.timers.advance(1_000);
    expect(ctx.aborted).toBeUndefined();
    expect(() => timeout({ timeoutMs: 0 })).toThrow('timeoutMs is 0');
  });
});

describe('logging', () => {
  async function linesOf(invoke: CallHandler, descriptor: MethodDescriptor): Promise<RecordingLogger['lines']> {
    const logger = new RecordingLogger();
    const runtime = virtualRuntime();
    const parts = memoryParts({ logger });
    const server = serverOf(parts, [[descriptor, invoke]], [logging({ runtime })]);
    await server.start();
    await server.register();
    const result = clientOf(parts).method(descriptor, 'suite')({});
    await (descriptor.kind === 'server' ? all(result) : (result as Promise<unknown>)).catch(() => {});
    await server.stop();
    return logger.lines.filter(({ message }) => message === 'call');
  }

  it('writes one line for each call, at the level of its code', async () => {
    expect(await linesOf(async () => ({}), echo)).toMatchObject([
      { level: 'info', fields: { method: '/suite.Suite/Echo', code: 'OK', durationMs: 0, peer: expect.any(String) } },
    ]);
    expect(await linesOf(failing(Code.NotFound), echo)).toMatchObject([
      { level: 'info', fields: { code: 'NOT_FOUND', message: 'no' } },
    ]);
    expect(await linesOf(failing(Code.Unavailable), echo)).toMatchObject([{ level: 'warn' }]);
    const thrown: CallHandler = async () => {
      throw new Error('a secret');
    };
    expect(await linesOf(thrown, echo)).toMatchObject([{ level: 'error', fields: { code: 'INTERNAL' } }]);
    const two: CallHandler = async function* replies() {
      yield {};
      yield {};
    };
    expect(await linesOf(two, count)).toMatchObject([{ level: 'info', fields: { code: 'OK' } }]);
  });

  it('names the node on the client, and the handler of an event', async () => {
    const logger = new RecordingLogger();
    const { parts } = await scripted([{ body: json({}), status: okStatus }], { logger });
    await clientOf(parts, { interceptors: [logging()] }).method(echo, 'suite')({});
    expect(logger.lines).toMatchObject([{ message: 'call', fields: { peer: expect.stringContaining(':') } }]);
    const ctx = new Context({ service: 'things', endpoint: 'onThing', logger });
    await inside(logging({ level: () => 'debug' }), async () => undefined, event)(ctx);
    await inside(logging({ level: () => 'silent' }), async () => undefined, event)(ctx);
    expect(logger.lines.slice(1)).toMatchObject([{ level: 'debug', message: 'event', fields: { code: 'OK' } }]);
  });

  it('writes CANCELLED for a stream that its reader leaves', async () => {
    const logger = new RecordingLogger();
    const { parts } = await scripted([(socket) => void socket.send({ body: json({}) })], { logger });
    const replies = clientOf(parts, { interceptors: [logging()] }).method(count, 'suite')({}) as AsyncIterable<unknown>;
    for await (const _reply of replies) break;
    expect(logger.lines).toMatchObject([{ fields: { code: 'CANCELLED' } }]);
  });
});
