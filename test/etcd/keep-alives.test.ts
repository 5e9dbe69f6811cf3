import { describe, expect, it } from '@jest/globals';

import { Code, TenonError } from '../../src/errors/errors.ts';
import { KeepAlives } from '../../src/etcd/keep-alives.ts';
import type { EtcdCallBounds, EtcdChannel } from '../../src/etcd/messages.ts';
import { Tokens } from '../../src/etcd/tokens.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';
import type { ConnectionSecurity } from '../../src/tls/connection.ts';
import { ScriptedStream } from './support.ts';

const timeoutMs = 4_000;
const attemptMs = 500;

function refusal(code: Code, message: string): TenonError {
  return new TenonError({ code, reason: 'suite.refused', message });
}

const away = refusal(Code.Unavailable, 'etcdserver: no leader');
const denied = refusal(Code.PermissionDenied, 'etcdserver: permission denied');
const badToken = refusal(Code.Unauthenticated, 'etcdserver: invalid auth token');

/** Renewals over streams that the test scripts. */
function scene({ hasCredentials = false, addressCount = 1 } = {}) {
  const runtime = virtualRuntime();
  const { timers } = runtime;
  const streams: ScriptedStream[] = [];
  const signals: AbortSignal[] = [];
  const server = { tokens: 0, refusal: undefined as Error | undefined };
  const channel: EtcdChannel = {
    unary: async () => {
      if (server.refusal) throw server.refusal;
      return { token: `token ${(server.tokens += 1)}` };
    },
    stream: async (_method, _request, { metadata, signal }) => {
      await metadata();
      const stream = new ScriptedStream();
      streams.push(stream);
      signals.push(signal);
      return stream;
    },
  };
  const security = { hasCredentials, username: 'u', password: 'p' } as unknown as ConnectionSecurity;
  const tokens = new Tokens({ channel, security, timeoutMs, onValidAgain: () => {} });
  const keepAlives = new KeepAlives({ channel, addressCount, runtime, tokens, timeoutMs });
  const log: string[] = [];
  const renew = (id: number, bounds: Partial<EtcdCallBounds> = {}): Promise<void> =>
    keepAlives.renew(BigInt(id), { signal: new AbortController().signal, attemptMs, ...bounds }).then(
      (isAlive) => void log.push(`${id} ${isAlive ? 'lives' : 'is gone'}`),
      (error: Error) => void log.push(`${id} ${error.message}`),
    );
  const last = (): ScriptedStream => streams.at(-1) as ScriptedStream;
  const answer = async (...ids: number[]): Promise<void> => {
    for (const id of ids) last().reply({ ID: BigInt(id), TTL: 10n });
    await timers.settle();
  };
  const begin = async (...ids: number[]): Promise<void> => {
    for (const id of ids) void renew(id);
    await timers.settle();
  };
  const asked = (stream = last()): number[] => stream.sent.map((one) => Number((one as { readonly ID: bigint }).ID));
  return { timers, streams, signals, server, keepAlives, log, renew, last, answer, begin, asked };
}

describe('renewals of leases', () => {
  it('are sent on one stream, and answered by the ids of the leases', async () => {
    const { begin, answer, last, streams, log, asked } = scene();
    await begin(1, 2, 3);
    expect(asked()).toEqual([1, 2, 3]);
    await answer(2, 1);
    last().reply({ ID: 3n, TTL: 0n });
    await answer(99);
    expect(log).toEqual(['2 lives', '1 lives', '3 is gone']);
    await begin(4, 1);
    await answer(4, 1);
    expect([streams.length, asked(), log.slice(3)]).toEqual([1, [1, 2, 3, 4, 1], ['4 lives', '1 lives']]);
  });

  it('are sent once for all who ask for the same lease at a time', async () => {
    const { begin, answer, log, asked } = scene();
    await begin(1, 1);
    await answer(1);
    expect([asked(), log]).toEqual([[1], ['1 lives', '1 lives']]);
  });

  it.each([
    ['breaks', (stream: ScriptedStream) => stream.fail(new Error('broken'))],
    ['ends', (stream: ScriptedStream) => stream.end()],
    ['has no leader', (stream: ScriptedStream) => stream.fail(away)],
    ['is no primary lessor', (stream: ScriptedStream) => stream.fail(refusal(Code.Unknown, 'not a primary lessor'))],
    ['answers with nonsense', (stream: ScriptedStream) => stream.reply(undefined)],
  ])('are sent again, on another stream, where the first %s before it has answered', async (_what, end) => {
    const { begin, answer, last, log, asked, timers } = scene();
    await begin(1, 2, 3);
    await answer(1);
    end(last());
    await timers.advance(50);
    expect(asked()).toEqual([2, 3]);
    await answer(2, 3);
    expect(log).toEqual(['1 lives', '2 lives', '3 lives']);
  });

  it('leave a server that stands silent, and are sent again elsewhere', async () => {
    const { begin, answer, streams, log, asked, timers } = scene({ addressCount: 2 });
    await begin(1);
    await answer(1);
    await timers.advance(10_000);
    await begin(2, 3);
    await timers.advance(attemptMs - 1);
    expect(streams[0]?.isGivenUp).toBe(false);
    await timers.advance(1);
    expect(streams[0]?.isGivenUp).toBe(true);
    await timers.advance(50);
    expect(asked()).toEqual([2, 3]);
    await answer(2, 3);
    expect(log).toEqual(['1 lives', '2 lives', '3 lives']);
  });

  it('leave a server that is silent from the first', async () => {
    const { begin, answer, streams, log, timers } = scene();
    await begin(1);
    await timers.advance(attemptMs);
    expect([streams.length, streams[0]?.isGivenUp]).toEqual([2, true]);
    await answer(1);
    expect(log).toEqual(['1 lives']);
  });

  it('wait for their turn at a server that is slow', async () => {
    const { begin, answer, streams, log, asked, timers } = scene();
    await begin(1, 2, 3, 4, 5);
    for (let id = 1; id <= 5; id += 1) {
      await timers.advance(attemptMs - 100);
      await answer(id);
    }
    expect([streams.length, asked().length, log.length]).toEqual([1, 5, 5]);
  });

  it('end with their time and their signal, and are not sent again then', async () => {
    const { begin, answer, renew, last, log, asked, timers } = scene();
    await begin(1);
    const controller = new AbortController();
    void renew(2, { timeoutMs: 300 });
    void renew(3, { signal: controller.signal });
    await timers.advance(300);
    controller.abort(new Error('enough'));
    await timers.settle();
    expect(log).toEqual(['2 etcd did not answer within 300 ms', '3 enough']);
    last().fail(new Error('broken'));
    await timers.advance(50);
    expect(asked()).toEqual([1]);
    await answer(1);
    expect(log.at(-1)).toBe('1 lives');
  });

  it('are not sent for a caller that has left', async () => {
    const { renew, streams, timers, log } = scene();
    void renew(1, { signal: AbortSignal.abort(new Error('enough')) });
    await timers.advance(10_000);
    expect([streams.length, log, timers.pending]).toEqual([0, ['1 enough'], 0]);
  });

  it('take a refusal as the answer to the oldest one; the others are sent again', async () => {
    const { begin, answer, last, log, asked, timers } = scene();
    await begin(1, 2, 3);
    await answer(1);
    last().fail(denied);
    await timers.advance(50);
    expect(asked()).toEqual([3]);
    await answer(3);
    expect(log).toEqual(['1 lives', `2 ${denied.message}`, '3 lives']);
  });

  it('are not kept waiting, nor denied, by others that are', async () => {
    const { begin, answer, last, log, timers } = scene();
    await begin(1, 2, 3);
    for (let time = 0; time < 2; time += 1) {
      last().fail(denied);
      await timers.advance(50);
    }
    await answer(3);
    expect(log).toEqual([`1 ${denied.message}`, `2 ${denied.message}`, '3 lives']);
    const many = Array.from({ length: 20 }, (_, at) => at + 10);
    await begin(...many, 1);
    for (const _one of many) {
      last().fail(denied);
      await timers.advance(50);
    }
    await answer(1);
    expect(log.at(-1)).toBe('1 lives');
    expect(log.filter((text) => text.endsWith(denied.message))).toHaveLength(22);
  });

  it('all fail with what is said of all', async () => {
    const { begin, server, streams, log, timers } = scene({ hasCredentials: true });
    server.refusal = refusal(Code.InvalidArgument, 'authentication failed, invalid user ID or password');
    await begin(1, 2);
    expect(log).toEqual([`1 ${server.refusal.message}`, `2 ${server.refusal.message}`]);
    await timers.advance(60_000);
    expect([streams.length, timers.pending]).toEqual([0, 0]);
  });

  it('all fail where etcd cannot be reached, and begin anew afterwards', async () => {
    const { begin, answer, last, streams, log, timers } = scene({ addressCount: 2 });
    await begin(1, 2);
    for (let attempt = 1; attempt <= 3; attempt += 1) {
      expect(streams).toHaveLength(attempt);
      last().fail(away);
      await timers.settle();
    }
    expect(log).toEqual([`1 ${away.message}`, `2 ${away.message}`]);
    await begin(1);
    await answer(1);
    expect(log.at(-1)).toBe('1 lives');
  });

  it('come with another token where the first is no longer taken', async () => {
    const { begin, answer, last, server, log, asked, timers } = scene({ hasCredentials: true });
    await begin(1);
    await answer(1);
    await begin(2, 3);
    last().fail(badToken);
    await timers.advance(50);
    expect([server.tokens, asked()]).toEqual([2, [2, 3]]);
    await answer(2, 3);
    expect(log).toEqual(['1 lives', '2 lives', '3 lives']);
  });

  it('open no stream while there is nothing to renew, after one that broke', async () => {
    const { begin, answer, last, streams, log, timers } = scene();
    await begin(1);
    await answer(1);
    last().fail(new Error('broken'));
    await timers.advance(30_000);
    expect([streams.length, timers.pending]).toEqual([1, 0]);
    await begin(1);
    await answer(1);
    expect([streams.length, log]).toEqual([2, ['1 lives', '1 lives']]);
  });

  it('end a stream on which nothing was renewed for a minute, as it keeps the process alive', async () => {
    const { begin, answer, signals, streams, log, timers } = scene();
    await begin(1);
    await answer(1);
    await timers.advance(59_000);
    await begin(1);
    await answer(1);
    await timers.advance(59_000);
    expect([streams.length, signals[0]?.aborted]).toEqual([1, false]);
    await timers.advance(2_000);
    expect(signals[0]?.aborted).toBe(true);
    await begin(1);
    await answer(1);
    expect([streams.length, log]).toEqual([2, ['1 lives', '1 lives', '1 lives']]);
  });

  it('fail when the client is closed', async () => {
    const { begin, keepAlives, signals, log, timers } = scene();
    await begin(1);
    keepAlives.close();
    await timers.settle();
    expect([signals[0]?.aborted, log]).toEqual([true, ['1 as its client was closed']]);
  });
});
