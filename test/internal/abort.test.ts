import { getEventListeners } from 'node:events';

import { describe, expect, it } from '@jest/globals';

import { onAbort } from '../../src/internal/abort.ts';

const reason = new Error('enough');

describe('onAbort', () => {
  it('calls each listener once with the reason, at once if the signal has aborted', () => {
    const controller = new AbortController();
    const told: unknown[] = [];
    const listener = (why: unknown): void => void told.push(why);
    onAbort(controller.signal, listener);
    onAbort(controller.signal, listener);
    controller.abort(reason);
    controller.abort(new Error('again'));
    expect(told).toEqual([reason, reason]);
    onAbort(controller.signal, listener);
    expect(told).toEqual([reason, reason, reason]);
  });

  it('keeps one listener on the signal for any number of followers, and none when they have left', () => {
    const { signal } = new AbortController();
    const forget = Array.from({ length: 20 }, () => onAbort(signal, () => {}));
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    for (const one of forget) one();
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    const told: unknown[] = [];
    onAbort(signal, () => told.push(1))();
    expect(told).toEqual([]);
  });

  it('removes one of two listeners that are the same function', () => {
    const controller = new AbortController();
    let told = 0;
    const listener = (): void => void (told += 1);
    onAbort(controller.signal, listener)();
    const forget = onAbort(controller.signal, listener);
    onAbort(controller.signal, listener);
    forget();
    forget();
    controller.abort();
    expect(told).toBe(1);
  });

  it('does nothing without a signal', () => {
    expect(() => onAbort(undefined, () => {})()).not.toThrow();
  });

  it('takes the context of a call instead of a signal', () => {
    let told: unknown;
    let isForgotten = false;
    let abort: (why: unknown) => void = () => {};
    const context = {
      onAbort(listener: (why: unknown) => void) {
        abort = listener;
        return () => void (isForgotten = true);
      },
    };
    const forget = onAbort(context, (why) => (told = why));
    abort(reason);
    forget();
    expect([told, isForgotten]).toEqual([reason, true]);
  });
});
