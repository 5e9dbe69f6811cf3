import { describe, expect, it } from '@jest/globals';

import { Code, TenonError } from '../../src/errors/errors.ts';
import { ResumedStream, type ResumedStreamOptions, StreamEnded } from '../../src/etcd/resumed-stream.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';
import { ScriptedStream } from './support.ts';

const timeoutMs = 6_000;
const quietMs = 10_000;
/** Of one of two addresses. */
const attemptMs = timeoutMs / 3;

/** A stream over streams that the test scripts: `opening` says what each attempt meets. */
function scene(
  opening: (stream: ScriptedStream, attempt: number) => void,
  more: Partial<ResumedStreamOptions<string>> = {},
) {
  const runtime = virtualRuntime();
  const streams: ScriptedStream[] = [];
  const log: string[] = [];
  const stream = new ResumedStream<string>({
    runtime,
    addressCount: 2,
    timeoutMs,
    quietMs,
    serverName: 'etcd',
    probe: 'probe',
    open: async () => {
      const one = new ScriptedStream();
      streams.push(one);
      opening(one, streams.length);
      return one;
    },
    begin: () => {},
    onOpened: (reply) => void log.push(`opened ${reply}`),
    onReply: (reply) => void log.push(reply),
    onFailed: () => false,
    onLost: (why) => void log.push(`lost ${why}`),
    ...more,
  });
  const ended = new AbortController();
  const last = (): ScriptedStream => streams.at(-1) as ScriptedStream;
  const start = (): Promise<void> => stream.start(ended.signal);
  return { timers: runtime.timers, stream, streams, log, last, ended, start };
}

const opens = (stream: ScriptedStream): unknown => stream.reply('yes');
const denied = new TenonError({ code: Code.PermissionDenied, reason: 'call.failed', message: 'denied' });
const away = new TenonError({ code: Code.Unavailable, reason: 'call.failed', message: 'away' });

describe('ResumedStream', () => {
  it('is established with the first reply, and gives each later one', async () => {
    const { start, last, log, timers } = scene(opens);
    await start();
    last().reply('a', 'b');
    await timers.settle();
    expect(log).toEqual(['opened yes', 'a', 'b']);
  });

  it('tries every address and one more time, and rejects with the last error', async () => {
    const { start, streams, timers } = scene((stream, attempt) => stream.fail(new Error(`attempt ${attempt}`)));
    await expect(start()).rejects.toThrow('attempt 3');
    await timers.advance(60_000);
    expect(streams.map(({ isReturned }) => isReturned)).toEqual([true, true, true]);
  });

  it('does not try again what is denied', async () => {
    const { start, streams } = scene((stream) => stream.fail(denied));
    await expect(start()).rejects.toBe(denied);
    expect(streams).toHaveLength(1);
  });

  it('tries again what was mended', async () => {
    const { start, streams } = scene((stream, attempt) => (attempt === 1 ? stream.fail(denied) : opens(stream)), {
      onFailed: (error) => error === denied,
    });
    await start();
    expect(streams).toHaveLength(2);
  });

  it('gives up an attempt that nobody answers, after a share of the time-out', async () => {
    const { start, streams, timers, log } = scene((stream, attempt) => void (attempt > 1 && opens(stream)));
    const starting = start();
    await timers.advance(attemptMs - 1);
    expect(streams).toHaveLength(1);
    await timers.advance(1);
    await starting;
    expect([streams[0]?.isGivenUp, streams[0]?.isReturned, log]).toEqual([true, true, ['opened yes']]);
  });

  it('asks a silent server for a sign of life, and stays with one that gives it', async () => {
    const { start, last, streams, timers } = scene(opens);
    await start();
    for (let round = 1; round <= 5; round += 1) {
      await timers.advance(quietMs - 1);
      expect(last().sent).toHaveLength(round - 1);
      await timers.advance(1);
      expect(last().sent).toHaveLength(round);
      last().reply('alive');
      await timers.settle();
    }
    expect(streams).toHaveLength(1);
  });

  it('leaves a server that gives no sign of life, and goes on elsewhere', async () => {
    const { start, streams, last, timers, log } = scene(opens);
    await start();
    await timers.advance(quietMs + attemptMs);
    expect([streams[0]?.isGivenUp, streams[0]?.isReturned]).toEqual([true, true]);
    await timers.advance(50);
    last().reply('a');
    await timers.settle();
    expect(log).toEqual(['opened yes', 'opened yes', 'a']);
  });

  it.each([
    ['ends', (stream: ScriptedStream) => stream.end(), true],
    ['breaks', (stream: ScriptedStream) => stream.fail(new Error('broken')), false],
    ['cannot serve it any more', (stream: ScriptedStream) => stream.fail(away), true],
  ])('is opened again when its server %s', async (_what, end, isGivenUp) => {
    const { start, streams, last, timers, log } = scene(opens);
    await start();
    end(last());
    await timers.settle();
    expect(streams).toHaveLength(1);
    await timers.advance(50);
    expect(streams).toHaveLength(2);
    expect([streams[0]?.isGivenUp, streams[0]?.isReturned]).toEqual([isGivenUp, true]);
    expect(log).toEqual(['opened yes', 'opened yes']);
  });

  it('backs off from streams that open and break, up to a second, until one has lasted ten', async () => {
    const { start, streams, timers, last } = scene(opens);
    await start();
    const counts: number[] = [];
    for (let passedMs = 0; passedMs < 60_000; passedMs += 10) {
      last().fail(new Error('broken'));
      await timers.advance(10);
      if (passedMs % 10_000 === 0) counts.push(streams.length);
    }
    // 50, 100, 200, 400 and 800 ms, then a second, of each of which chance may leave a half.
    expect(streams.length).toBeGreaterThan(50);
    expect(streams.length).toBeLessThan(140);
    const before = streams.length;
    await timers.advance(11_000);
    last().reply('a');
    last().fail(new Error('broken'));
    await timers.advance(60);
    expect(streams.length - before).toBeGreaterThanOrEqual(2);
  }, 60_000);

  it('backs off as much from an outage that lasts longer than what a stable stream takes', async () => {
    let isAway = false;
    const { start, streams, last, timers } = scene((stream) => (isAway ? stream.fail(away) : opens(stream)), {
      timeoutMs: 60_000,
    });
    await start();
    await timers.advance(9_000);
    isAway = true;
    last().fail(away);
    await timers.advance(50_000);
    expect(streams.length).toBeLessThan(110);
  });

  it('is opened again after a break, however long nothing was to be told before', async () => {
    const { start, streams, last, timers, log } = scene(opens, { quietMs: 100_000 });
    await start();
    await timers.advance(90_000);
    last().fail(new Error('broken'));
    await timers.advance(50);
    expect([streams.length, log]).toEqual([2, ['opened yes', 'opened yes']]);
  });

  it('is lost once, when there was no server for its time-out', async () => {
    let isAway = false;
    const { start, streams, last, timers, log } = scene((stream) => (isAway ? stream.fail(away) : opens(stream)));
    await start();
    isAway = true;
    last().fail(away);
    await timers.advance(timeoutMs - 1_000);
    expect(log).toEqual(['opened yes']);
    await timers.advance(3_000);
    expect(log).toEqual(['opened yes', 'lost as etcd cannot be reached']);
    const { length } = streams;
    await timers.advance(60_000);
    expect([streams.length, log.length, timers.pending]).toEqual([length, 2, 0]);
  });

  it('is lost at once for what another attempt does not mend, with the words of that', async () => {
    const { start, last, timers, log } = scene(opens, {
      onReply: () => {
        throw new StreamEnded('as it was refused');
      },
    });
    await start();
    last().reply('a');
    await timers.advance(10_000);
    expect(log).toEqual(['opened yes', 'lost as it was refused']);
  });

  it('is opened again after a reply that makes no sense', async () => {
    const { start, streams, last, timers, log } = scene(opens, {
      onReply: (reply) => void log.push(reply.toUpperCase()),
    });
    await start();
    last().reply(undefined, 'lost');
    await timers.advance(100);
    last().reply('a');
    await timers.settle();
    expect([log, streams[0]?.isReturned]).toEqual([['opened yes', 'opened yes', 'A'], true]);
  });

  it('ends with its signal: nothing is opened, asked or told any more', async () => {
    const { start, streams, last, timers, log, ended } = scene(opens);
    await start();
    ended.abort();
    last().end();
    await timers.advance(60_000);
    expect([streams.length, last().isReturned, last().sent, log, timers.pending]).toEqual([
      1,
      true,
      [],
      ['opened yes'],
      0,
    ]);
  });

  it('opens nothing after its signal has aborted while it waited for the next attempt', async () => {
    const { start, streams, last, timers, log, ended } = scene(opens);
    await start();
    last().fail(new Error('broken'));
    await timers.settle();
    ended.abort();
    await timers.advance(60_000);
    expect([streams.length, log]).toEqual([1, ['opened yes']]);
  });

  it('sends requests on the stream that is open, and those to begin with on each', async () => {
    const { start, stream, streams, last, timers } = scene(opens, { begin: () => stream.send('begin') });
    stream.send('too early');
    expect(stream.isOpen).toBe(false);
    await start();
    stream.send('more');
    expect(stream.isOpen).toBe(true);
    last().fail(new Error('broken'));
    await timers.settle();
    expect(stream.isOpen).toBe(false);
    stream.send('too late');
    await timers.advance(50);
    expect(streams.map(({ sent }) => sent)).toEqual([['begin', 'more'], ['begin']]);
  });

  describe('where replies are due', () => {
    /** A stream of which a request has to be answered within 400 ms of the last reply. */
    async function asking() {
      const asked = { atMs: Number.POSITIVE_INFINITY };
      const dueAtMs = (heardAtMs: number): number => Math.max(asked.atMs, heardAtMs) + 400;
      const all = scene(opens, { dueAtMs });
      await all.start();
      await all.timers.advance(1_000);
      const ask = (): void => {
        asked.atMs = all.timers.nowMs;
        all.stream.send('ask', asked.atMs + 400);
      };
      return { ...all, asked, ask };
    }

    it('leaves a server that does not answer, and goes on elsewhere', async () => {
      const { ask, streams, timers, log } = await asking();
      ask();
      await timers.advance(399);
      expect(streams[0]?.isReturned).toBe(false);
      await timers.advance(1);
      expect([streams[0]?.isGivenUp, streams[0]?.isReturned]).toEqual([true, true]);
      await timers.advance(50);
      expect(log).toEqual(['opened yes', 'opened yes']);
    });

    it('stays with a server that answers others meanwhile, as it answers in order', async () => {
      const { ask, last, streams, timers } = await asking();
      ask();
      for (let round = 0; round < 10; round += 1) {
        await timers.advance(300);
        last().reply('of another');
        await timers.settle();
      }
      expect(streams[0]?.isGivenUp).toBe(false);
      await timers.advance(400);
      expect(streams[0]?.isGivenUp).toBe(true);
    });

    it('waits no more once all is answered, and from the request for the next', async () => {
      const { ask, asked, last, streams, timers } = await asking();
      ask();
      await timers.advance(100);
      last().reply('answer');
      asked.atMs = Number.POSITIVE_INFINITY;
      await timers.advance(5_000);
      ask();
      await timers.advance(399);
      expect([streams.length, streams[0]?.isGivenUp]).toEqual([1, false]);
      await timers.advance(1);
      expect(streams[0]?.isGivenUp).toBe(true);
    });

    it('waits for the request that is due first', async () => {
      const { asked, stream, streams, timers } = await asking();
      asked.atMs = timers.nowMs - 300;
      stream.send('late', timers.nowMs + 2_000);
      stream.send('early', timers.nowMs + 100);
      await timers.advance(100);
      expect(streams[0]?.isGivenUp).toBe(true);
    });

    it('looks a second time if the process was held up meanwhile: the answer may wait to be read', async () => {
      const { ask, asked, last, streams, timers } = await asking();
      ask();
      timers.nowMs += 900;
      await timers.advance(0);
      expect(streams[0]?.isGivenUp).toBe(false);
      last().reply('answer');
      asked.atMs = Number.POSITIVE_INFINITY;
      await timers.advance(5_000);
      expect(streams[0]?.isGivenUp).toBe(false);
      ask();
      timers.nowMs += 900;
      await timers.advance(0);
      expect(streams[0]?.isGivenUp).toBe(false);
      timers.nowMs += 900;
      await timers.advance(0);
      expect(streams[0]?.isGivenUp).toBe(true);
    });
  });

  it('gives a server whose silence is noticed late a moment more', async () => {
    const { start, last, streams, timers, log } = scene(opens);
    await start();
    timers.nowMs += quietMs + 2 * attemptMs;
    await timers.advance(50);
    expect(streams[0]?.isGivenUp).toBe(false);
    last().reply('a');
    await timers.advance(200);
    expect([streams.length, log]).toEqual([1, ['opened yes', 'a']]);
    timers.nowMs += quietMs + 2 * attemptMs;
    await timers.advance(100);
    expect(streams[0]?.isGivenUp).toBe(true);
  });

  it('tries other addresses before one whose server cannot serve the stream', async () => {
    const { start, streams } = scene((stream, attempt) => (attempt === 1 ? stream.fail(away) : opens(stream)));
    await start();
    expect(streams.map(({ isGivenUp }) => isGivenUp)).toEqual([true, false]);
  });
});
