import { describe, expect, test } from '@jest/globals';

import type { PublishOptions } from '../../../src/broker/broker.ts';
import { Code } from '../../../src/errors/errors.ts';
import { Refusal, type ScriptedBroker, stage } from './scripted-driver.ts';

const gone = (): Error => new Error('gone');

/** Publishes with `waitForReady`, and notes how it ended. */
function publishing(broker: ScriptedBroker, text = 'x', options: PublishOptions = {}): { outcome: unknown } {
  const noted: { outcome: unknown } = { outcome: undefined };
  broker.publish('orders', { headers: {}, body: Buffer.from(text) }, { waitForReady: true, ...options }).then(
    () => (noted.outcome = 'published'),
    (error: unknown) => (noted.outcome = error),
  );
  return noted;
}

describe('a publish that waits for the broker', () => {
  test('is sent when the broker is back, and those that wait in the order of the calls', async () => {
    const { broker, driver, timers } = await stage((one) => (one.publishing = () => Promise.reject(gone())));
    driver.host?.away(gone());
    const waiting = ['a', 'b', 'c'].map((text) => publishing(broker, text));
    await timers.advance(2_000);
    expect(waiting.map(({ outcome }) => outcome)).toEqual([undefined, undefined, undefined]);
    driver.publishing = () => undefined;
    const tried = driver.batches.length;
    driver.host?.back();
    await timers.settle();
    expect(waiting.map(({ outcome }) => outcome)).toEqual(['published', 'published', 'published']);
    expect(driver.batches.slice(tried).map(([event]) => String(event?.body))).toEqual(['a', 'b', 'c']);
  });

  test('is sent again where the connection was lost before anybody had noticed', async () => {
    let failures = 3;
    const { broker, driver, timers } = await stage((one) => {
      one.publishing = () => (failures-- > 0 ? Promise.reject(gone()) : undefined);
    });
    const waiting = publishing(broker);
    await timers.advance(500);
    expect([waiting.outcome, driver.batches.length]).toEqual(['published', 4]);
  });

  test('fails after its time-out, or that of the broker, and is not sent later', async () => {
    const { broker, driver, timers } = await stage((one) => (one.publishing = () => Promise.reject(gone())));
    driver.host?.away(gone());
    const short = publishing(broker, 'short', { timeoutMs: 100 });
    const long = publishing(broker);
    await timers.advance(101);
    const unreachable = { code: Code.Unavailable, reason: 'broker.unreachable' };
    expect([short.outcome, long.outcome]).toEqual([expect.objectContaining(unreachable), undefined]);
    await timers.advance(4_900);
    expect(long.outcome).toMatchObject(unreachable);
    const tried = driver.batches.length;
    driver.publishing = () => undefined;
    driver.host?.back();
    await timers.advance(10_000);
    expect(driver.batches).toHaveLength(tried);
  });

  test('fails at once with what waiting does not mend, and at the end of the broker', async () => {
    const { broker, driver, timers } = await stage((one) => (one.publishing = () => Promise.reject(new Refusal('no'))));
    const refused = publishing(broker);
    await timers.settle();
    expect(refused.outcome).toMatchObject({ reason: 'broker.refused' });
    driver.publishing = () => Promise.reject(gone());
    driver.host?.away(gone());
    const waiting = publishing(broker);
    await timers.advance(10);
    await broker.disconnect();
    await timers.settle();
    expect(waiting.outcome).toMatchObject({ reason: 'broker.not_connected' });
  });

  test('ends when its signal aborts', async () => {
    const { broker, driver, timers } = await stage((one) => (one.publishing = () => Promise.reject(gone())));
    driver.host?.away(gone());
    const controller = new AbortController();
    const waiting = publishing(broker, 'x', { signal: controller.signal });
    await timers.advance(10);
    controller.abort();
    await timers.settle();
    expect(waiting.outcome).toMatchObject({ code: Code.Cancelled });
  });

  test('fails at once without the option', async () => {
    const { broker, driver } = await stage((one) => (one.publishing = () => Promise.reject(gone())));
    driver.host?.away(gone());
    await expect(broker.publish('orders', { headers: {}, body: Buffer.from('x') })).rejects.toMatchObject({
      reason: 'broker.unreachable',
    });
    expect(driver.batches).toHaveLength(1);
  });
});
