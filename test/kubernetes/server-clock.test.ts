import { describe, expect, it } from '@jest/globals';

import { ServerClock } from '../../src/kubernetes/server-clock.ts';

const never = new AbortController().signal;

/** A clock of a server whose time is that of this machine, plus `aheadMs`. */
function clockOf() {
  const time = { nowMs: 5_000, aheadMs: 1_000_000_000_000 };
  const clock = new ServerClock({ now: () => 0, monotonicMs: () => time.nowMs });
  /** A request that is answered after `tookMs`, with the date of `dateAfterMs`. */
  const ask = async (tookMs: number, { status = 200, dateAfterMs = tookMs, mayTakeLong = false } = {}) => {
    const send = async () => {
      time.nowMs += dateAfterMs;
      const date = new Date(time.nowMs + time.aheadMs).toUTCString();
      time.nowMs += tookMs - dateAfterMs;
      return { status, headers: { date } };
    };
    await clock.timed(send, { signal: never, mayTakeLong });
  };
  const fail = (): Promise<unknown> =>
    clock
      .timed(() => Promise.reject(new Error('refused')), { signal: never, mayTakeLong: false })
      .catch((error: unknown) => error);
  return { time, clock, ask, fail, lateMs: () => time.nowMs + time.aheadMs - (clock.timeMs() ?? Number.NaN) };
}

describe('ServerClock', () => {
  it('knows nothing before the first answer', () => {
    expect(clockOf().clock.timeMs()).toBeUndefined();
  });

  it('is late by a second at most, however late answers are, and never early', async () => {
    const { time, ask, lateMs } = clockOf();
    for (const tookMs of [4_000, 10, 700, 9_000, 20, 30_000]) {
      time.nowMs += 3_210;
      await ask(tookMs, { dateAfterMs: 5, mayTakeLong: true });
      expect(lateMs()).toBeGreaterThanOrEqual(0);
    }
    time.nowMs += 2_345;
    await ask(1);
    expect(lateMs()).toBeLessThanOrEqual(1_001);
    // An answer that was on its way for long says nothing else.
    const before = lateMs();
    await ask(20_000, { dateAfterMs: 0, mayTakeLong: true });
    expect(lateMs()).toBe(before);
  });

  it.each([-3_600_000, 3_600_000])('follows a clock that is set by %d ms', async (byMs) => {
    const { time, ask, lateMs } = clockOf();
    await ask(10);
    time.aheadMs += byMs;
    await ask(10);
    expect(lateMs()).toBeGreaterThanOrEqual(0);
    expect(lateMs()).toBeLessThanOrEqual(1_010);
  });

  it('was away for those whose lease is no longer than its silence', async () => {
    const { time, clock, ask, fail } = clockOf();
    await ask(10);
    expect(clock.restoredAtMs(1)).toBe(Number.NEGATIVE_INFINITY);
    time.nowMs += 20_000;
    await fail();
    await ask(10);
    const restoredAtMs = clock.timeMs();
    expect(clock.restoredAtMs(20_000)).toBe(restoredAtMs);
    expect(clock.restoredAtMs(30_000)).toBe(Number.NEGATIVE_INFINITY);
    // A short interruption later is none for long leases.
    time.nowMs += 5_000;
    await fail();
    await ask(10);
    expect(clock.restoredAtMs(5_000)).toBe(clock.timeMs());
    expect(clock.restoredAtMs(20_000)).toBe(restoredAtMs);
  });

  it.each<[string, boolean, (parts: ReturnType<typeof clockOf>) => Promise<unknown>]>([
    ['a late answer', true, ({ ask }) => ask(1_500)],
    ['a late answer that may take long', false, ({ ask }) => ask(1_500, { mayTakeLong: true })],
    ['a prompt answer', false, ({ ask }) => ask(900)],
    ['status 503', true, ({ ask }) => ask(10, { status: 503 })],
    ['status 429', true, ({ ask }) => ask(10, { status: 429 })],
    ['status 401', true, ({ ask }) => ask(10, { status: 401 })],
    ['status 403', true, ({ ask }) => ask(10, { status: 403 })],
    ['status 404', false, ({ ask }) => ask(10, { status: 404 })],
  ])('counts a silence before %s: %s', async (_what, expected, happen) => {
    const parts = clockOf();
    const { time, clock, ask } = parts;
    await ask(10);
    time.nowMs += 20_000;
    await happen(parts);
    await ask(10);
    expect(clock.restoredAtMs(15_000) > 0).toBe(expected);
  });

  it('counts no silence while events of a watch come', async () => {
    const { time, clock, ask, fail } = clockOf();
    await ask(10);
    for (let times = 0; times < 5; times += 1) {
      time.nowMs += 4_000;
      clock.heard();
    }
    await fail();
    clock.heard();
    expect(clock.restoredAtMs(5_000)).toBe(Number.NEGATIVE_INFINITY);
  });
});
