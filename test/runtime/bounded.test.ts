import { getEventListeners } from 'node:events';

import { describe, expect, it } from '@jest/globals';

import { bounded, endsWithin, pause } from '../../src/runtime/bounded.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';

const reason = new Error('enough');
const never = new Promise<never>(() => {});

describe('bounded', () => {
  it('resolves with the result of the work, and leaves neither timer nor listener', async () => {
    const { timers } = virtualRuntime();
    const { signal } = new AbortController();
    let late = 0;
    const onTimeout = (): unknown => (late += 1);
    expect(await bounded(Promise.resolve(1), { timers, timeoutMs: 10, signal, onTimeout })).toBe(1);
    await expect(bounded(() => Promise.reject(reason), { timers, timeoutMs: 10, signal, onTimeout })).rejects.toBe(
      reason,
    );
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    await timers.advance(100);
    expect(late).toBe(0);
  });

  it('rejects after timeoutMs, and aborts the signal of the work with the same error', async () => {
    const { timers } = virtualRuntime();
    let seen: AbortSignal | undefined;
    const work = bounded(
      (signal) => {
        seen = signal;
        return never;
      },
      { timers, timeoutMs: 10, onTimeout: (ms) => new Error(`${ms} ms are over`) },
    );
    const failed = expect(work).rejects.toThrow('10 ms are over');
    await timers.advance(9);
    expect(seen?.aborted).toBe(false);
    await timers.advance(1);
    await failed;
    expect(seen?.reason).toMatchObject({ message: '10 ms are over' });
  });

  it('rejects with the reason of the signal, or with what onAbort makes of it', async () => {
    const { timers } = virtualRuntime();
    const controller = new AbortController();
    const plain = bounded(never, { timers, signal: controller.signal });
    const made = bounded(never, { timers, signal: controller.signal, onAbort: (why) => ({ why }) });
    controller.abort(reason);
    await expect(plain).rejects.toBe(reason);
    await expect(made).rejects.toEqual({ why: reason });
  });

  it('does not start the work if the signal has aborted', async () => {
    const { timers } = virtualRuntime();
    let begun = 0;
    const work = async (): Promise<void> => void (begun += 1);
    await expect(bounded(work, { timers, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(begun).toBe(0);
  });

  it('ignores how the work ends afterwards, a failure included', async () => {
    const { timers } = virtualRuntime();
    let fail: (error: Error) => void = () => {};
    const work = new Promise<never>((_, reject) => (fail = reject));
    await expect(bounded(work, { timers, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    fail(new Error('too late'));
    await timers.settle();
  });

  it('rejects with what the work throws synchronously', async () => {
    const { timers } = virtualRuntime();
    const work = (): Promise<never> => {
      throw reason;
    };
    await expect(bounded(work, { timers, timeoutMs: 10 })).rejects.toBe(reason);
  });

  it('takes the context of a call instead of a signal, and an infinite timeoutMs', async () => {
    const { timers } = virtualRuntime();
    let abort: (why: unknown) => void = () => {};
    const context = {
      onAbort(listener: (why: unknown) => void) {
        abort = listener;
        return () => {};
      },
    };
    const work = bounded(never, { timers, signal: context });
    abort(reason);
    await expect(work).rejects.toBe(reason);
    expect(await bounded(Promise.resolve(2), { timers, timeoutMs: Number.POSITIVE_INFINITY })).toBe(2);
  });
});

describe('endsWithin', () => {
  it('resolves to true if the work ends in time, and to false otherwise', async () => {
    const { timers } = virtualRuntime();
    expect(await endsWithin(Promise.resolve(), { timers, timeoutMs: 10 })).toBe(true);
    const slow = endsWithin(never, { timers, timeoutMs: 10 });
    await timers.advance(10);
    expect(await slow).toBe(false);
    expect(await endsWithin(never, { timers, signal: AbortSignal.abort() })).toBe(false);
  });

  it('rejects with the error of the work, and aborts the work with the error of onTimeout', async () => {
    const { timers } = virtualRuntime();
    await expect(endsWithin(Promise.reject(reason), { timers, timeoutMs: 10 })).rejects.toBe(reason);
    let seen: AbortSignal | undefined;
    const slow = endsWithin(
      (signal) => {
        seen = signal;
        return never;
      },
      { timers, timeoutMs: 10, onTimeout: () => reason },
    );
    await timers.advance(10);
    expect([await slow, seen?.reason]).toEqual([false, reason]);
  });
});

describe('pause', () => {
  it('ends after its time, or when its signal aborts, and leaves neither timer nor listener', async () => {
    const { timers } = virtualRuntime();
    const controller = new AbortController();
    let ended = 0;
    void pause(timers, 10, controller.signal).then(() => (ended += 1));
    await timers.advance(9);
    expect(ended).toBe(0);
    await timers.advance(1);
    expect(ended).toBe(1);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    const cut = pause(timers, 1_000, controller.signal);
    controller.abort();
    await cut;
    await pause(timers, 1_000, controller.signal);
  });
});
