import { describe, expect, it } from '@jest/globals';

import { LongPoll, type LongPollOptions } from '../../../src/registry/kit/long-poll.ts';
import { virtualRuntime } from '../../../src/testing/virtual-time.ts';

const minReadMs = 250;

type Content = Readonly<Record<string, string>>;

/** A server that answers as the test says, and a LongPoll there. */
function scene(options: Partial<LongPollOptions> = {}) {
  const runtime = virtualRuntime();
  const { timers } = runtime;
  /** The index of each read, in order. */
  const reads: number[] = [];
  const told: string[] = [];
  let held: { answer(index: number, content: Content): void; fail(error: Error): void } | undefined;
  /** Answers every read at once, until it is undefined. */
  const server: { immediate?: (() => { index: number; content: Content }) | undefined } = {};
  const poll = new LongPoll({
    ...runtime,
    minReadMs,
    maxFailures: 1,
    read: (index, signal) => {
      reads.push(index);
      const made = ({ index: next, content }: { index: number; content: Content }) => ({
        index: next,
        content: new Map(Object.entries(content)),
      });
      if (server.immediate) return Promise.resolve(made(server.immediate()));
      return new Promise((resolve, reject) => {
        held = { answer: (next, content) => resolve(made({ index: next, content })), fail: reject };
        signal.addEventListener('abort', () => reject(new Error('aborted')));
      });
    },
    onChange: (keys) => told.push(keys.join(' ')),
    onResumed: () => told.push('resumed'),
    onLost: (error) => told.push(`lost, as ${(error as Error).message}`),
    ...options,
  });
  /** Answers the read that is held, and lets the time pass after which there is another one. */
  const answer = async (index: number, content: Content, afterMs = minReadMs): Promise<void> => {
    held?.answer(index, content);
    await timers.advance(afterMs);
  };
  const fail = async (text: string): Promise<void> => {
    held?.fail(new Error(text));
    await timers.advance(minReadMs);
  };
  /** Starts with content `a`, at index 10. */
  const start = async (index = 10, content: Content = { a: '1' }): Promise<void> => {
    const started = poll.start();
    held?.answer(index, content);
    await started;
    await timers.settle();
  };
  return { poll, timers, reads, told, server, answer, fail, start };
}

describe('a long poll', () => {
  it('waits with the index of the last answer, and tells what came, changed and went, and nothing else', async () => {
    const { start, answer, reads, told, poll } = scene();
    await start();
    expect(poll.keys).toEqual(['a']);
    await answer(11, { a: '1', b: '1' });
    await answer(12, { a: '1', b: '1' });
    await answer(15, { a: '2', b: '1' });
    await answer(16, { b: '1' });
    expect(told).toEqual(['b', 'a', 'a']);
    expect(reads).toEqual([0, 10, 11, 12, 15, 16]);
    expect(poll.keys).toEqual(['b']);
  });

  it('reads at most every minReadMs, however often it is woken', async () => {
    const { poll, timers, reads, server } = scene();
    let index = 10;
    server.immediate = () => ({ index: (index += 1), content: { a: '1' } });
    await poll.start();
    await timers.advance(10_000);
    expect(reads.length).toBeLessThanOrEqual(10_000 / minReadMs + 2);
    expect(reads.length).toBeGreaterThan(10_000 / minReadMs - 2);
  });

  it('asks at once where an answer has taken longer than minReadMs', async () => {
    const { start, answer, timers, reads } = scene();
    await start();
    await timers.advance(10_000);
    await answer(11, { a: '1' }, 0);
    expect(reads).toEqual([0, 10, 11]);
  });

  it('begins anew after a lower index, and tells what is different then', async () => {
    const { start, answer, reads, told } = scene();
    await start();
    await answer(3, { a: '1' });
    await answer(4, { a: '1' });
    expect(told).toEqual([]);
    await answer(2, { a: '2', b: '1' });
    expect(reads).toEqual([0, 10, 0, 4, 0]);
    expect(told).toEqual(['a b']);
  });

  it('is lost once, and for good, where content is gone with a lower index', async () => {
    const { start, answer, timers, reads, told } = scene();
    await start();
    await answer(3, {});
    await timers.advance(60_000);
    expect(told).toEqual(['lost, as it seems to have lost its data']);
    expect(reads).toEqual([0, 10]);
    expect(timers.pending).toBe(0);
  });

  it('polls once a second where the server says no index, and waits again when it says one', async () => {
    const { poll, timers, reads, told, server, answer } = scene();
    let content: Content = { a: '1' };
    server.immediate = () => ({ index: 0, content });
    await poll.start();
    await timers.advance(999);
    expect(reads).toEqual([0]);
    await timers.advance(5_001);
    expect(reads).toEqual([0, 0, 0, 0, 0, 0, 0]);
    content = { a: '2' };
    await timers.advance(1_000);
    expect(told).toEqual(['a']);
    // It is no lower index than one of before.
    content = {};
    await timers.advance(1_000);
    expect(told).toEqual(['a', 'a']);
    server.immediate = undefined;
    await timers.advance(1_000);
    await answer(7, {});
    expect(reads.slice(-2)).toEqual([0, 7]);
  });

  it('does not take a missing index for a lower one', async () => {
    const { start, answer, told, reads } = scene();
    await start();
    await answer(0, {}, 1_000);
    expect(told).toEqual(['a']);
    await answer(5, {}, minReadMs);
    expect(reads).toEqual([0, 10, 0, 5]);
  });

  it('goes on after failures, with pauses, until there are too many in a row', async () => {
    const { start, answer, fail, timers, reads, told } = scene({ maxFailures: 3 });
    await start();
    await fail('one');
    await fail('two');
    await answer(11, { a: '2' });
    await fail('one');
    await fail('two');
    expect(told).toEqual(['resumed', 'a']);
    expect(reads).toEqual([0, 10, 10, 10, 11, 11, 11]);
    await fail('three');
    await timers.advance(60_000);
    expect(told.slice(2)).toEqual(['lost, as three']);
    expect(reads).toHaveLength(7);
    expect(timers.pending).toBe(0);
  });

  it('ends the read that is held when it is stopped, and tells nothing more', async () => {
    const { start, poll, timers, reads, told } = scene();
    await start();
    poll.stop();
    await timers.advance(60_000);
    expect(reads).toEqual([0, 10]);
    expect(told).toEqual([]);
    expect(timers.pending).toBe(0);
  });

  it.each([
    ['between two reads', 11],
    ['between two reads that are not held', 0],
  ])('reads nothing more when it is stopped %s', async (_, index) => {
    const { start, answer, poll, timers, reads } = scene();
    await start();
    await answer(index, { a: '1' }, 10);
    poll.stop();
    await timers.advance(60_000);
    expect(reads).toEqual([0, 10]);
    expect(timers.pending).toBe(0);
  });

  it('does not tell what is answered after it was stopped, whether its server ends reads or not', async () => {
    let resolve: ((read: { index: number; content: ReadonlyMap<string, string> }) => void) | undefined;
    const { poll, timers, told } = scene({ read: () => new Promise((given) => (resolve = given)) });
    const started = poll.start();
    resolve?.({ index: 1, content: new Map() });
    await started;
    await timers.settle();
    poll.stop();
    resolve?.({ index: 2, content: new Map([['a', '1']]) });
    await timers.advance(60_000);
    expect(told).toEqual([]);
    expect(timers.pending).toBe(0);
  });

  it('does not begin when it is stopped during its first read', async () => {
    const { poll, timers, server, reads } = scene({});
    server.immediate = () => ({ index: 5, content: {} });
    const started = poll.start();
    poll.stop();
    await started;
    await timers.advance(60_000);
    expect(reads).toEqual([0]);
  });

  it('rejects as its first read does, and does not begin', async () => {
    const { poll, timers, fail, reads, told } = scene();
    const started = poll.start().catch((error: unknown) => error);
    await fail('away');
    expect(await started).toMatchObject({ message: 'away' });
    await timers.advance(60_000);
    expect(reads).toEqual([0]);
    expect(told).toEqual([]);
  });
});
