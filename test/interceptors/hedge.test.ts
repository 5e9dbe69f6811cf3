import { describe, expect, it } from '@jest/globals';

import { okStatus } from '../../src/context/status.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { hedge, type HedgeOptions, RetryBudget } from '../../src/interceptors/interceptors.ts';
import { eventually } from '../support/waiting.ts';
import { json } from '../../src/testing/internal/parts.ts';
import type { Socket } from '../../src/transport/transport.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';
import { countedSignal } from '../client/support.ts';
import { all, answers, clientOf, count, echo, fails, get, type Script, scripted, silent } from './support.ts';

const gone = fails(Code.Unavailable);

async function hedging(script: Script, options: HedgeOptions = {}) {
  const runtime = virtualRuntime();
  const { parts, calls } = await scripted(script);
  const client = clientOf(parts, { interceptors: [hedge({ runtime, delayMs: 100, ...options })], timeoutMs: 0 });
  return { client, calls, timers: runtime.timers };
}

/** Waits for the end of the call without waiting for it. */
function watched(call: unknown): { readonly result: () => unknown } {
  let result: unknown = 'pending';
  Promise.resolve(call).then(
    (value) => (result = value),
    (error: unknown) => (result = error),
  );
  return { result: () => result };
}

describe('hedge', () => {
  it('sends the call again when no answer comes, takes the first, and cancels the other', async () => {
    const ended: string[] = [];
    const waits = (socket: Socket): void => socket.onAbort((error) => ended.push(error.reason ?? ''));
    const { client, calls, timers } = await hedging([waits, answers({ n: 2 })]);
    const call = watched(client.method(get, 'suite')({}));
    await timers.advance(99);
    expect(calls).toHaveLength(1);
    await timers.advance(1);
    expect(call.result()).toEqual({ n: 2 });
    expect(calls.map((headers) => headers.get('grpc-previous-rpc-attempts'))).toEqual([undefined, '1']);
    await eventually('the other is cancelled', () => ended.length === 1);
    expect(ended).toEqual(['call.cancelled']);
  });

  it('takes the first attempt if it answers before the second', async () => {
    let first: Socket | undefined;
    const { client, timers } = await hedging([(socket) => (first = socket), silent]);
    const call = watched(client.method(get, 'suite')({}));
    await timers.advance(100);
    void first?.send(answers({ n: 1 }));
    await timers.settle();
    expect(call.result()).toEqual({ n: 1 });
  });

  it('sends the next attempt at once after a failure that is not fatal, and none after one that is', async () => {
    const { client, calls, timers } = await hedging([gone, fails(Code.NotFound), answers({})], { maxAttempts: 3 });
    const call = watched(client.method(get, 'suite')({}));
    await timers.settle();
    expect(call.result()).toMatchObject({ code: Code.NotFound });
    expect(calls).toHaveLength(2);
  });

  it('fails with the error of the last attempt when all have failed', async () => {
    const { client, calls, timers } = await hedging(
      [fails(Code.Unavailable, { n: '1' }), fails(Code.Unavailable, { n: '2' }), fails(Code.Unavailable, { n: '3' })],
      { maxAttempts: 3 },
    );
    const call = watched(client.method(get, 'suite')({}));
    await timers.advance(1_000);
    expect(call.result()).toMatchObject({ metadata: { n: '3' } });
    expect(calls).toHaveLength(3);
  });

  it('never has two attempts under way of a method that is not declared idempotent', async () => {
    const { client, calls, timers } = await hedging([silent, answers({})], { delayMs: 0 });
    const call = watched(client.method(echo, 'suite')({}));
    await timers.advance(10_000);
    expect([call.result(), calls.length]).toEqual(['pending', 1]);
    await client.close();
  });

  it('delays or stops attempts as the push-back of the server says', async () => {
    const { client, calls, timers } = await hedging(
      [
        fails(Code.Unavailable, { 'grpc-retry-pushback-ms': '500' }),
        fails(Code.Unavailable, { 'grpc-retry-pushback-ms': 'no' }),
        answers({}),
      ],
      { maxAttempts: 3 },
    );
    const call = watched(client.method(get, 'suite')({}));
    await timers.advance(499);
    expect([call.result(), calls.length]).toEqual(['pending', 1]);
    await timers.advance(1);
    expect(call.result()).toMatchObject({ code: Code.Unavailable });
    await timers.advance(10_000);
    expect(calls).toHaveLength(2);
  });

  it('sends no more attempts than its budget allows', async () => {
    const budget = new RetryBudget({ maxTokens: 2, tokenRatio: 0.1 });
    const { client, calls, timers } = await hedging([gone, answers({})], { budget });
    await expect(client.method(get, 'suite')({})).rejects.toMatchObject({ code: Code.Unavailable });
    const call = watched(client.method(get, 'suite')({}));
    await timers.advance(1_000);
    expect([call.result(), calls.length]).toEqual([{}, 2]);
  });

  it('takes the attempt of a stream whose first reply comes first', async () => {
    const stream = (socket: Socket): void => {
      void socket.send({ body: json({ n: 1 }) });
      void socket.send({ body: json({ n: 2 }), status: okStatus });
    };
    const ended: string[] = [];
    const waits = (socket: Socket): void => socket.onAbort((error) => ended.push(error.reason ?? ''));
    const { client, calls, timers } = await hedging([waits, stream]);
    const { signal, listeners } = countedSignal();
    const call = watched(all(client.method(count, 'suite')({}, { signal })));
    await timers.advance(100);
    expect([call.result(), calls.length]).toEqual([[{ n: 1 }, { n: 2 }], 2]);
    await eventually('the other is cancelled', () => ended.length === 1);
    expect(listeners()).toBe(0);
  });

  it('ends all attempts with the caller’s signal', async () => {
    const ended: string[] = [];
    const waits = (socket: Socket): void => socket.onAbort((error) => ended.push(error.reason ?? ''));
    const { client, timers } = await hedging([waits]);
    const { signal, abort, listeners } = countedSignal();
    const call = watched(client.method(get, 'suite')({}, { signal }));
    await timers.advance(100);
    abort();
    await eventually('both are cancelled', () => ended.length === 2);
    await timers.settle();
    expect(call.result()).toMatchObject({ code: Code.Cancelled });
    expect(listeners()).toBe(0);
  });

  it('shows the trailers of the attempt that answered first', async () => {
    const seen: unknown[] = [];
    const { client } = await hedging([fails(Code.Unavailable, { t: 'lost' }), answers({}, { t: 'won' })]);
    await client.method(get, 'suite')({}, { onTrailers: (trailers) => seen.push(trailers.get('t')) });
    expect(seen).toEqual(['won']);
  });

  it('refuses options without a meaning', () => {
    expect(() => hedge({ delayMs: -1 })).toThrow(TenonError);
    expect(() => hedge({ maxAttempts: 0 })).toThrow('maxAttempts is 0');
  });
});
