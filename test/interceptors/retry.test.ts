import { describe, expect, it } from '@jest/globals';

import { okStatus } from '../../src/context/status.ts';
import { retryInfo } from '../../src/errors/details.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { encodeRichStatus } from '../../src/errors/status-details.ts';
import { type RetryOptions, retry, RetryBudget } from '../../src/interceptors/interceptors.ts';
import type { Interceptor } from '../../src/pipeline/pipeline.ts';
import type { Runtime } from '../../src/runtime/runtime.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { announce, json, memoryParts } from '../../src/testing/internal/parts.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';
import { countedSignal } from '../client/support.ts';
import {
  all,
  answers,
  chat,
  clientOf,
  count,
  echo,
  fails,
  get,
  scripted,
  serverOf,
  silent,
  sum,
  tick,
} from './support.ts';

/** Time passes only by waiting, and the waits are written down. */
function waiting(): { runtime: Runtime; waits: number[] } {
  const waits: number[] = [];
  const { clock, random } = virtualRuntime();
  const timers = {
    ...systemRuntime.timers,
    sleep: (delayMs: number) => (waits.push(delayMs), Promise.resolve()),
  };
  return { runtime: { clock, random, timers }, waits };
}

function retrying(options: RetryOptions = {}): { interceptors: readonly Interceptor[]; waits: number[] } {
  const { runtime, waits } = waiting();
  return { interceptors: [retry({ runtime, ...options })], waits };
}

const gone = fails(Code.Unavailable);

describe('retry', () => {
  it('sends an idempotent call again, with the number of attempts before it', async () => {
    const { parts, calls } = await scripted([gone, gone, answers({ n: 3 })]);
    const { interceptors, waits } = retrying();
    expect(await clientOf(parts, { interceptors }).method(get, 'suite')({}, { metadata: { 'x-a': '1' } })).toEqual({
      n: 3,
    });
    expect(calls.map((headers) => [headers.get('grpc-previous-rpc-attempts'), headers.getAll('x-a')])).toEqual([
      [undefined, ['1']],
      ['1', ['1']],
      ['2', ['1']],
    ]);
    expect(waits).toEqual([100, 200]);
  });

  it('does not repeat a call that may have been processed', async () => {
    const { parts, calls } = await scripted([gone, answers({})]);
    const { interceptors } = retrying();
    await expect(clientOf(parts, { interceptors }).method(echo, 'suite')({})).rejects.toMatchObject({
      code: Code.Unavailable,
    });
    expect(calls).toHaveLength(1);
  });

  it('repeats a call that no node took, idempotent or not', async () => {
    const parts = memoryParts();
    await announce(parts, 'dead', '127.0.0.1:1');
    const server = serverOf(parts, [[echo, async () => ({ taken: true })]]);
    const interceptors = [
      retry({
        runtime: {
          ...systemRuntime,
          timers: {
            ...systemRuntime.timers,
            // Meanwhile somebody comes.
            sleep: async () => {
              await server.start();
              await server.register();
            },
          },
        },
      }),
    ];
    const call = clientOf(parts, { interceptors, maxAttempts: 1 }).method(echo, 'suite');
    expect(await call({})).toEqual({ taken: true });
    await server.stop();
  });

  it('does not repeat other failures, gives up after maxAttempts, and fails with the last error', async () => {
    const { parts, calls } = await scripted([
      fails(Code.Unavailable, { attempt: '1' }),
      fails(Code.Unavailable, { attempt: '2' }),
      fails(Code.NotFound, { attempt: '3' }),
      fails(Code.Unavailable, { attempt: '4' }),
    ]);
    const { interceptors } = retrying({ maxAttempts: 3 });
    const call = clientOf(parts, { interceptors }).method(get, 'suite');
    await expect(call({})).rejects.toMatchObject({ code: Code.NotFound, metadata: { attempt: '3' } });
    await expect(call({})).rejects.toMatchObject({ code: Code.Unavailable, metadata: { attempt: '4' } });
    expect(calls).toHaveLength(6);
  });

  it('shows the headers and trailers of the last attempt only', async () => {
    const { parts } = await scripted([fails(Code.Unavailable, { t: '1' }), answers({}, { t: '2' })]);
    const seen: unknown[] = [];
    const { interceptors } = retrying();
    const outer: Interceptor = (next) => async (input, ctx) => {
      const reply = await next(input, ctx);
      seen.push(`ctx ${ctx.trailers.get('t') as string}`, ctx.peer !== '');
      return reply;
    };
    await clientOf(parts, { interceptors: [outer, ...interceptors] }).method(get, 'suite')(
      {},
      { onHeaders: () => seen.push('headers'), onTrailers: (trailers) => seen.push(trailers.get('t')) },
    );
    expect(seen).toEqual(['headers', '2', 'ctx 2', true]);
  });

  it('waits as the push-back of the server says, and stops when it forbids attempts', async () => {
    const later = new Uint8Array(
      encodeRichStatus({ code: Code.Unavailable, message: '', details: [retryInfo({ retryDelayMs: 700 })] }),
    );
    const { parts, calls } = await scripted([
      fails(Code.Unavailable, { 'grpc-status-details-bin': later }),
      fails(Code.Unavailable, { 'grpc-retry-pushback-ms': '30' }),
      gone,
      fails(Code.Unavailable, { 'grpc-retry-pushback-ms': '-1' }),
      answers({}),
    ]);
    const { interceptors, waits } = retrying({ maxAttempts: 5 });
    await expect(clientOf(parts, { interceptors }).method(get, 'suite')({})).rejects.toBeInstanceOf(TenonError);
    // The back-off begins anew after a push-back of the server (A6).
    expect([calls.length, waits]).toEqual([4, [700, 30, 100]]);
  });

  it('does not wait beyond the deadline', async () => {
    const { parts, calls } = await scripted([gone]);
    const interceptors = [retry({ initialBackoffMs: 60_000, maxBackoffMs: 60_000 })];
    const call = clientOf(parts, { interceptors }).method(get, 'suite');
    await expect(call({}, { timeoutMs: 10_000 })).rejects.toMatchObject({ code: Code.Unavailable });
    expect(calls).toHaveLength(1);
  });

  it('is ended by the caller’s signal while it waits, and leaves no listener on it', async () => {
    const { parts } = await scripted([gone]);
    const { signal, abort, listeners } = countedSignal();
    const interceptors = [
      retry({
        runtime: {
          ...systemRuntime,
          timers: {
            ...systemRuntime.timers,
            sleep: (delayMs, waited) => {
              setImmediate(abort);
              return systemRuntime.timers.sleep(delayMs, waited);
            },
          },
        },
        initialBackoffMs: 60_000,
        maxBackoffMs: 60_000,
      }),
    ];
    const call = clientOf(parts, { interceptors, timeoutMs: 0 }).method(get, 'suite')({}, { signal });
    await expect(call).rejects.toMatchObject({ code: Code.Cancelled });
    expect(listeners()).toBe(0);
  });

  it('cancels, with the call, the attempts of an interceptor within it', async () => {
    const { signal, abort, listeners } = countedSignal();
    const { parts, calls } = await scripted([fails(Code.Aborted), () => abort()]);
    const again: Interceptor = (next) => async (input, ctx) => {
      try {
        return await next(input, ctx);
      } catch {
        return next(input, ctx);
      }
    };
    const { interceptors } = retrying();
    const call = clientOf(parts, { interceptors: [...interceptors, again] }).method(get, 'suite');
    await expect(call({}, { signal, timeoutMs: 10_000 })).rejects.toMatchObject({ code: Code.Cancelled });
    expect([calls.length, listeners()]).toEqual([2, 0]);
  });

  it('is ended by the close of its client while it waits', async () => {
    const { parts } = await scripted([gone]);
    const { clock, random, timers } = systemRuntime;
    let close = (): void => {};
    const sleep: typeof timers.sleep = (delayMs, signal) => {
      setImmediate(close);
      return timers.sleep(delayMs, signal);
    };
    const runtime = { clock, random, timers: { ...timers, sleep } };
    const interceptors = [retry({ runtime, initialBackoffMs: 60_000, maxBackoffMs: 60_000 })];
    const client = clientOf(parts, { interceptors, timeoutMs: 0 });
    close = () => void client.close();
    await expect(client.method(get, 'suite')({})).rejects.toMatchObject({ reason: 'client.closed' });
  });

  it('repeats a stream of replies until the first of them', async () => {
    const { parts, calls } = await scripted([
      gone,
      (socket) => {
        void socket.send({ body: json({ n: 1 }) });
        void socket.send({ body: json({ n: 2 }), status: okStatus });
      },
      (socket) => {
        void socket.send({ body: json({ n: 1 }) });
        void socket.send(gone);
      },
    ]);
    const { interceptors } = retrying();
    const call = clientOf(parts, { interceptors }).method(count, 'suite');
    expect(await all(call({}))).toEqual([{ n: 1 }, { n: 2 }]);
    expect(calls).toHaveLength(2);
    await expect(all(call({}))).rejects.toMatchObject({ code: Code.Unavailable });
    expect(calls).toHaveLength(3);
    await expect(all(clientOf(parts, { interceptors }).method(tick, 'suite')({}))).rejects.toBeInstanceOf(TenonError);
    expect(calls).toHaveLength(4);
  });

  it('ends when the reader leaves a stream that is not open yet', async () => {
    const { parts } = await scripted([silent]);
    const { interceptors } = retrying();
    const { signal, listeners } = countedSignal();
    const replies = clientOf(parts, { interceptors }).method(count, 'suite')({}, { signal }) as AsyncIterable<unknown>;
    const iterator = replies[Symbol.asyncIterator]();
    const next = iterator.next();
    await new Promise((resolve) => setImmediate(resolve));
    await iterator.return?.();
    expect(await next).toEqual({ done: true, value: undefined });
    expect(listeners()).toBe(0);
  });

  it.each([sum, chat])('sends a stream of requests once: $kind', async (descriptor) => {
    const { parts, calls } = await scripted([gone, answers({})]);
    const { interceptors } = retrying();
    const result = clientOf(parts, { interceptors }).method(descriptor, 'suite')([{ n: 1 }]);
    await expect(descriptor === sum ? result : all(result)).rejects.toMatchObject({ code: Code.Unavailable });
    expect(calls).toHaveLength(1);
  });

  it.each([sum, chat])('waits for a node before it reads a stream of requests: $kind', async (descriptor) => {
    const parts = memoryParts();
    const { clock, random, timers } = systemRuntime;
    const server = serverOf(parts, [
      [
        descriptor,
        descriptor === sum
          ? async (input) => all(input)
          : async function* echoing(input) {
              yield* input as AsyncIterable<unknown>;
            },
      ],
    ]);
    const sleep = async (): Promise<void> => {
      await server.start();
      await server.register();
    };
    const interceptors = [retry({ runtime: { clock, random, timers: { ...timers, sleep } } })];
    const result = clientOf(parts, { interceptors }).method(descriptor, 'suite')([{ n: 1 }]);
    expect(await (descriptor === sum ? result : all(result))).toEqual([{ n: 1 }]);
    await server.stop();
  });

  it('stops when its budget is used up, and goes on once successes refill it', async () => {
    const budget = new RetryBudget({ maxTokens: 4, tokenRatio: 1 });
    const { parts, calls } = await scripted([gone, gone, gone, gone, answers({}), answers({}), gone, answers({})]);
    const { interceptors } = retrying({ budget, maxAttempts: 5 });
    const call = clientOf(parts, { interceptors }).method(get, 'suite');
    // Two tokens of four are left after two failures: half is too little.
    await expect(call({})).rejects.toMatchObject({ code: Code.Unavailable });
    expect(calls).toHaveLength(2);
    await expect(call({})).rejects.toMatchObject({ code: Code.Unavailable });
    expect(calls).toHaveLength(3);
    await expect(call({})).rejects.toMatchObject({ code: Code.Unavailable });
    expect(calls).toHaveLength(4);
    await call({});
    await call({});
    // None were left, two were earned.
    expect(budget.allows('suite')).toBe(false);
    budget.succeeded('suite');
    budget.succeeded('suite');
    expect(budget.allows('suite')).toBe(true);
    expect(await call({})).toEqual({});
    expect(calls).toHaveLength(8);
  });

  it('goes to another node where there is one', async () => {
    const parts = memoryParts();
    const seen: string[] = [];
    const servers = ['a', 'b', 'c'].map((id) =>
      serverOf(
        parts,
        [
          [
            get,
            async () => {
              seen.push(id);
              throw new TenonError({ code: Code.Unavailable, message: 'not now' });
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
    const { interceptors } = retrying({ maxAttempts: 3 });
    const call = clientOf(parts, { interceptors }).method(get, 'suite');
    // Other calls come between the attempts, so that a selector that counts on would come back to the same node.
    await Promise.all([1, 2, 3].map(async () => expect(call({})).rejects.toBeInstanceOf(TenonError)));
    expect(seen.length).toBe(9);
    for (const id of ['a', 'b', 'c']) expect(seen.filter((one) => one === id)).toHaveLength(3);
    for (const server of servers) await server.stop();
  });

  it('fails on a server with an error that says to give it to the client', async () => {
    const parts = memoryParts();
    const server = serverOf(parts, [[get, async () => ({})]], [retry()]);
    await server.start();
    await server.register();
    await expect(clientOf(parts).method(get, 'suite')({})).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      reason: 'interceptors.client_only',
    });
    await server.stop();
  });

  it.each<[RetryOptions, string]>([
    [{ maxAttempts: 0 }, 'maxAttempts is 0'],
    [{ maxAttempts: 1.5 }, 'maxAttempts is 1.5'],
    [{ initialBackoffMs: -1 }, 'initialBackoffMs is -1'],
    [{ backoffMultiplier: Number.NaN }, 'backoffMultiplier is NaN'],
  ])('refuses options that mean nothing: %j', (options, message) => {
    expect(() => retry(options)).toThrow(message);
  });

  it('makes five attempts at most, as gRPC does', async () => {
    const { parts, calls } = await scripted([gone]);
    const { interceptors } = retrying({ maxAttempts: 50 });
    await expect(clientOf(parts, { interceptors }).method(get, 'suite')({})).rejects.toBeInstanceOf(TenonError);
    expect(calls).toHaveLength(5);
  });
});
