import { describe, expect, test } from '@jest/globals';

import type { PublishOptions } from '../../src/broker/broker.ts';
import { deliver } from '../../src/broker/delivery.ts';
import { MemoryBroker } from '../../src/broker/memory.ts';
import { Code } from '../../src/errors/errors.ts';
import { collector, RecordingLogger, text, virtualRuntime } from './support.ts';
import { event, stage as scripted } from './kit/scripted-driver.ts';

async function stage() {
  const runtime = virtualRuntime();
  const logger = new RecordingLogger();
  const broker = new MemoryBroker({ runtime, logger });
  await broker.connect();
  const send = (body: string, options: PublishOptions = {}): Promise<void> =>
    broker.publish('t', { headers: {}, body: Buffer.from(body) }, options);
  return { broker, runtime, timers: runtime.timers, logger, send };
}

describe('delayMs of publish', () => {
  test('delivers an event after its time and not before, to each group, without delaying others', async () => {
    const { broker, timers, send } = await stage();
    const [one, other] = [collector(), collector()];
    await broker.subscribe('t', one.receive, { queue: 'q' });
    await broker.subscribe('t', other.receive);
    await send('late', { delayMs: 1_000 });
    await send('now');
    await timers.advance(999);
    expect([one.texts, other.texts]).toEqual([['now'], ['now']]);
    await timers.advance(1);
    expect([one.texts, other.texts]).toEqual([
      ['now', 'late'],
      ['now', 'late'],
    ]);
    expect(one.events[1]).toMatchObject({ attempt: 1, headers: { 'tenon-deliver-at': '1970-01-01T00:00:01.000Z' } });
  });

  test('leaves an event all its attempts, and its dead letter is not delayed', async () => {
    const { broker, runtime, timers, logger, send } = await stage();
    const dead = collector();
    await broker.subscribe('t.dead-letter', dead.receive);
    const attempts: number[] = [];
    const fails = (one: { readonly attempt: number }): Promise<void> => {
      attempts.push(one.attempt);
      return Promise.reject(new Error('no'));
    };
    await deliver(broker, 't', { retry: 2, retryDelayMs: 10 }, fails, { runtime, logger });
    await send('late', { delayMs: 1_000, ttlMs: 10_000 });
    await timers.advance(2_000);
    expect(attempts).toEqual([1, 2, 3]);
    expect(Object.keys(dead.events[0]?.headers ?? {})).not.toEqual(expect.arrayContaining(['tenon-deliver-at']));
    expect(Object.keys(dead.events[0]?.headers ?? {})).not.toEqual(expect.arrayContaining(['tenon-expires-at']));
  });

  test('is refused by a broker that cannot hold events, and for what is no time', async () => {
    const { broker } = await scripted(() => {}, { delay: false });
    const message = { headers: {}, body: Buffer.from('x') };
    await expect(broker.publish('t', message, { delayMs: 1 })).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      reason: 'broker.unsupported',
      message: expect.stringContaining('delayMs needs a broker with ack, nack and delay'),
    });
    await broker.publish('t', message, { delayMs: 0 });
    for (const options of [{ delayMs: -1 }, { delayMs: Number.NaN }, { ttlMs: -1 }])
      await expect(broker.publish('t', message, options)).rejects.toMatchObject({ reason: 'options.invalid_number' });
  });

  test('gives the rest of its time to the server', async () => {
    const { broker, driver, timers } = await scripted();
    const seen = collector();
    await broker.subscribe('t', seen.receive);
    await timers.advance(400);
    const headers = { 'tenon-deliver-at': '1970-01-01T00:00:01.000Z' };
    driver.last.sink.deliver({ ...event('1'), headers });
    expect([seen.texts, driver.last.log]).toEqual([[], ['nack 1 600']]);
    await timers.advance(600);
    driver.last.sink.deliver({ ...event('1', 2), headers });
    expect(seen.events.map(({ attempt }) => attempt)).toEqual([1]);
  });

  test('is over when its timer ends a moment early: the event is not returned again, and keeps its attempts', async () => {
    const { broker, driver, timers } = await scripted();
    const seen = collector();
    await broker.subscribe('t', seen.receive);
    const headers = { 'tenon-deliver-at': '1970-01-01T00:00:01.000Z' };
    driver.last.sink.deliver({ ...event('1'), headers });
    await timers.advance(998);
    driver.last.sink.deliver({ ...event('1', 2), headers });
    expect(driver.last.log.filter((line) => line.startsWith('nack'))).toEqual(['nack 1 1000']);
    expect(seen.events.map(({ attempt }) => attempt)).toEqual([1]);
  });

  test('ignores a time that cannot be read', async () => {
    const { broker, driver } = await scripted();
    const seen = collector();
    await broker.subscribe('t', seen.receive);
    const headers = { 'tenon-deliver-at': 'soon', 'tenon-expires-at': 'later' };
    driver.last.sink.deliver({ ...event('1'), headers });
    expect(seen.texts).toEqual(['1']);
  });
});

describe('ttlMs of publish', () => {
  test('drops an event that was not delivered in its time, and acknowledges it', async () => {
    const { broker, timers, logger, send } = await stage();
    // The queue stores events while nobody is there.
    await (await broker.subscribe('t', () => {}, { queue: 'q' })).unsubscribe();
    await send('short', { ttlMs: 1_000 });
    await send('long', { ttlMs: 1_001 });
    await send('endless', { ttlMs: Number.POSITIVE_INFINITY });
    await timers.advance(1_000);
    const seen = collector();
    await broker.subscribe('t', seen.receive, { queue: 'q', maxInFlight: 1 });
    await timers.advance(10);
    expect(seen.events.map(text)).toEqual(['long', 'endless']);
    expect(logger.lines.filter(({ message }) => message.includes('not delivered in its time'))).toHaveLength(1);
    await broker.settled();
  });

  test('does not drop an event that was delivered in its time, and is to be handled again', async () => {
    const { broker, runtime, timers, logger, send } = await stage();
    const attempts: number[] = [];
    const failsFirst = (one: { readonly attempt: number }): Promise<void> => {
      attempts.push(one.attempt);
      return one.attempt === 1 ? Promise.reject(new Error('not yet')) : Promise.resolve();
    };
    await deliver(broker, 't', { retry: 3, retryDelayMs: 2_000 }, failsFirst, { runtime, logger });
    await send('once', { ttlMs: 1_000 });
    await timers.advance(10_000);
    expect(attempts).toEqual([1, 2]);
  });

  test('begins after delayMs', async () => {
    const { broker, timers, send } = await stage();
    const seen = collector();
    await broker.subscribe('t', seen.receive);
    await send('late', { delayMs: 5_000, ttlMs: 1 });
    await timers.advance(5_000);
    expect(seen.texts).toEqual(['late']);
  });
});

describe('settled of MemoryBroker', () => {
  test('resolves when events, those that handlers publish, and retries are over', async () => {
    const { broker, runtime, timers, logger, send } = await stage();
    const seen = collector();
    await broker.subscribe('next', seen.receive);
    let failed = false;
    const handler = async (): Promise<void> => {
      await timers.sleep(100);
      if (!failed) {
        failed = true;
        throw new Error('not yet');
      }
      await broker.publish('next', { headers: {}, body: Buffer.from('after') });
    };
    await deliver(broker, 't', { retry: 1, retryDelayMs: 1_000 }, handler, { runtime, logger });
    await broker.settled();
    await send('a');
    let isSettled = false;
    const ended = broker.settled().then(() => (isSettled = true));
    await timers.advance(1_150);
    expect(isSettled).toBe(false);
    await timers.advance(100);
    await ended;
    expect(seen.texts).toEqual(['after']);
  });

  test('does not wait for events that are stored for nobody', async () => {
    const { broker, send } = await stage();
    const subscriber = await broker.subscribe('t', () => {}, { queue: 'q' });
    await subscriber.unsubscribe();
    await send('stored');
    await broker.settled();
  });

  test('resolves when a subscription with events in hand is left', async () => {
    const { broker, timers, send } = await stage();
    const subscriber = await broker.subscribe('t', () => {});
    await send('in hand');
    await timers.settle();
    let isSettled = false;
    void broker.settled().then(() => (isSettled = true));
    await timers.settle();
    expect(isSettled).toBe(false);
    await subscriber.unsubscribe(AbortSignal.abort());
    await timers.settle();
    expect(isSettled).toBe(true);
  });
});
