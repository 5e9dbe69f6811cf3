import { describe, expect, it } from '@jest/globals';

import { repeatedly, retrying } from '../../src/runtime/retrying.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';

const backoff = { initialMs: 10, maxMs: 40, factor: 2, jitter: 0.2 } as const;
const reason = new Error('enough');

/** Work that fails so many times; when it was called. */
function failing(times: number, now: () => number): { readonly calls: number[]; work(): Promise<string> } {
  const calls: number[] = [];
  return {
    calls,
    async work() {
      calls.push(now());
      if (calls.length <= times) throw new Error(`failure ${calls.length}`);
      return 'done';
    },
  };
}

describe('retrying', () => {
  it('retries until the work succeeds, after growing delays', async () => {
    const runtime = virtualRuntime();
    const { calls, work } = failing(4, () => runtime.timers.nowMs);
    const done = retrying(work, { runtime, backoff });
    await runtime.timers.advance(1_000);
    expect(await done).toBe('done');
    expect(calls).toEqual([0, 10, 30, 70, 110]);
  });

  it('waits as long as onFailure returns, and rejects with what onFailure throws', async () => {
    const runtime = virtualRuntime();
    const { calls, work } = failing(10, () => runtime.timers.nowMs);
    const told: unknown[] = [];
    const done = retrying(work, {
      runtime,
      backoff,
      onFailure(error, delayMs, { failures }) {
        told.push([(error as Error).message, delayMs, failures]);
        if (failures === 3) throw error;
        return failures === 1 ? 500 : undefined;
      },
    });
    const failed = expect(done).rejects.toThrow('failure 3');
    await runtime.timers.advance(1_000);
    await failed;
    expect(calls).toEqual([0, 500, 520]);
    expect(told).toEqual([
      ['failure 1', 10, 1],
      ['failure 2', 20, 2],
      ['failure 3', 40, 3],
    ]);
  });

  it('starts over with the first delay when onFailure resets the back-off', async () => {
    const runtime = virtualRuntime();
    const { calls, work } = failing(3, () => runtime.timers.nowMs);
    const done = retrying(work, {
      runtime,
      backoff,
      onFailure(_, __, row) {
        if (row.failures < 2) return undefined;
        row.succeeded();
        return row.failed();
      },
    });
    await runtime.timers.advance(1_000);
    await done;
    expect(calls).toEqual([0, 10, 20, 30]);
  });

  it('does not start the work with a signal that has aborted', async () => {
    const runtime = virtualRuntime();
    const { calls, work } = failing(0, () => 0);
    await expect(retrying(work, { runtime, backoff, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(calls).toEqual([]);
  });

  it('rejects with the reason of its signal between two attempts, and after the attempt in progress fails', async () => {
    const runtime = virtualRuntime();
    const between = new AbortController();
    const { calls, work } = failing(9, () => 0);
    const paused = retrying(work, { runtime, backoff, signal: between.signal });
    await runtime.timers.settle();
    between.abort(reason);
    await expect(paused).rejects.toBe(reason);
    expect(calls).toHaveLength(1);

    const within = new AbortController();
    let fail: (error: Error) => void = () => {};
    const working = retrying(() => new Promise((_, reject) => (fail = reject)), {
      runtime,
      backoff,
      signal: within.signal,
    });
    await runtime.timers.settle();
    within.abort(reason);
    fail(new Error('the attempt'));
    await expect(working).rejects.toBe(reason);
  });

  it('resolves with the result of the attempt in progress when its signal aborts', async () => {
    const runtime = virtualRuntime();
    const controller = new AbortController();
    let succeed: (value: number) => void = () => {};
    const working = retrying(() => new Promise<number>((resolve) => (succeed = resolve)), {
      runtime,
      backoff,
      signal: controller.signal,
    });
    await runtime.timers.settle();
    controller.abort(reason);
    succeed(1);
    expect(await working).toBe(1);
  });

  it('rejects with what the pause of its options rejects with', async () => {
    const runtime = virtualRuntime();
    const { work } = failing(9, () => 0);
    const pauses: number[] = [];
    const pause = async (delayMs: number): Promise<void> => {
      pauses.push(delayMs);
      if (pauses.length === 2) throw reason;
    };
    await expect(retrying(work, { runtime, backoff, pause })).rejects.toBe(reason);
    expect(pauses).toEqual([10, 20]);
  });
});

describe('repeatedly', () => {
  it('repeats the work after the delay that it returns, and with back-off after failures', async () => {
    const runtime = virtualRuntime();
    const controller = new AbortController();
    const calls: number[] = [];
    const done = repeatedly(
      async () => {
        calls.push(runtime.timers.nowMs);
        if (calls.length === 2 || calls.length === 3 || calls.length === 5) throw new Error('failed');
        return 100;
      },
      { runtime, backoff, signal: controller.signal },
    );
    await runtime.timers.advance(345);
    controller.abort();
    await done;
    // A success between two failures begins a new row.
    expect(calls).toEqual([0, 100, 110, 130, 230, 240, 340]);
  });

  it('repeats the work at once if it returns no delay, until its signal aborts', async () => {
    const runtime = virtualRuntime();
    const controller = new AbortController();
    let calls = 0;
    await repeatedly(
      async () => {
        calls += 1;
        if (calls === 5) controller.abort();
      },
      { runtime, backoff, signal: controller.signal },
    );
    expect(calls).toBe(5);
  });

  it('does not start the work with a signal that has aborted, and ends within a delay when it aborts', async () => {
    const runtime = virtualRuntime();
    let calls = 0;
    const work = async (): Promise<number> => (calls += 1);
    await repeatedly(work, { runtime, backoff, signal: AbortSignal.abort() });
    expect(calls).toBe(0);
    const controller = new AbortController();
    const done = repeatedly(async () => 1_000, { runtime, backoff, signal: controller.signal });
    await runtime.timers.settle();
    controller.abort();
    await done;
  });

  it('does not report a failure after its abort, and rejects with what onFailure throws', async () => {
    const runtime = virtualRuntime();
    const controller = new AbortController();
    let told = 0;
    await repeatedly(
      async () => {
        controller.abort();
        throw new Error('aborted');
      },
      { runtime, backoff, signal: controller.signal, onFailure: () => void (told += 1) },
    );
    expect(told).toBe(0);
    const ended = repeatedly(() => Promise.reject(reason), {
      runtime,
      backoff,
      signal: new AbortController().signal,
      onFailure(error) {
        throw error;
      },
    });
    await expect(ended).rejects.toBe(reason);
  });
});
