import { describe, expect, test } from '@jest/globals';

import type { BrokerCapabilities } from '../../src/broker/broker.ts';
import { MemoryBroker } from '../../src/broker/memory.ts';
import { redrive } from '../../src/broker/redrive.ts';
import { RedisBroker } from '../../src/broker/redis.ts';
import { RedisStreamsBroker } from '../../src/broker/redis-streams.ts';
import { Code } from '../../src/errors/errors.ts';
import { silentLogger } from '../../src/logger/logger.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { describeWithRedis } from '../support/servers.ts';
import { collector, eventually, publishText, text, virtualRuntime } from './support.ts';

const queue = 'operators';

async function stage() {
  const runtime = virtualRuntime();
  const broker = new MemoryBroker({ runtime, logger: silentLogger });
  await broker.connect();
  // The queue has subscribed to the dead letters: they are stored for it.
  await (await broker.subscribe('orders.dead-letter', () => {}, { queue })).unsubscribe();
  const seen = collector();
  await broker.subscribe('orders', seen.receive);
  const run: unknown = expect.any(String);
  const bury = async (body: string, headers: Record<string, string> = {}): Promise<void> =>
    publishText(broker, 'orders.dead-letter', body, {
      'tenon-dead-letter-reason': 'stock.empty',
      'tenon-dead-letter-code': 'RESOURCE_EXHAUSTED',
      'tenon-dead-letter-message': 'nothing left',
      'tenon-attempts': '4',
      'tenon-first-failed-at': '1970-01-01T00:00:00.000Z',
      'tenon-last-failed-at': '1970-01-01T00:00:00.000Z',
      'tenon-original-topic': 'orders',
      ...headers,
    });
  /** Runs it until it has ended by itself. */
  const ended = async <T>(work: Promise<T>): Promise<T> => {
    let isOver = false;
    const over = work.finally(() => (isOver = true));
    over.catch(() => undefined);
    for (let turn = 0; turn < 100 && !isOver; turn += 1) await runtime.timers.advance(100);
    return over;
  };
  return { broker, timers: runtime.timers, seen, run, bury, ended };
}

describe('redrive', () => {
  test('publishes each dead letter to its topic, with its own headers alone, and acknowledges it', async () => {
    const { broker, timers, seen, run, bury, ended } = await stage();
    await bury('a', { kept: 'yes', 'tenon-order-key': 'k' });
    await bury('b', { 'tenon-redrives': '1' });
    expect(await ended(redrive(broker, 'orders.dead-letter', { queue, timers }))).toEqual({ moved: 2, skipped: 0 });
    expect(seen.events.map((event) => [text(event), event.headers])).toEqual([
      ['a', { kept: 'yes', 'tenon-order-key': 'k', 'tenon-redrives': '1', 'tenon-redrive': run }],
      ['b', { 'tenon-redrives': '2', 'tenon-redrive': run }],
    ]);
    expect(await ended(redrive(broker, 'orders.dead-letter', { queue, timers }))).toEqual({ moved: 0, skipped: 0 });
  });

  test('leaves what the filter refuses, and what does not say where it came from', async () => {
    const { broker, timers, seen, bury, ended } = await stage();
    await bury('bad');
    await publishText(broker, 'orders.dead-letter', 'foreign');
    await bury('good');
    const filter = (event: Parameters<typeof text>[0]): boolean => text(event) !== 'bad';
    const first = redrive(broker, 'orders.dead-letter', { queue, timers, filter });
    expect(await ended(first)).toEqual({ moved: 1, skipped: 2 });
    expect(seen.texts).toEqual(['good']);
    const other = collector();
    await broker.subscribe('elsewhere', other.receive);
    const second = redrive(broker, 'orders.dead-letter', { queue, timers, to: 'elsewhere' });
    expect(await ended(second)).toEqual({ moved: 2, skipped: 0 });
    expect(other.texts.toSorted()).toEqual(['bad', 'foreign']);
  });

  test('moves an event once, though its handler fails again, and the next call moves it again', async () => {
    const { broker, timers, seen, bury, ended } = await stage();
    await broker.subscribe('failing', (event) => event.reject(new Error('it cannot be handled')), {
      deadLetter: 'orders.dead-letter',
    });
    await bury('bad', { 'tenon-original-topic': 'failing' });
    await bury('good');
    const outcome = { moved: 2, skipped: 1 };
    expect(await ended(redrive(broker, 'orders.dead-letter', { queue, timers }))).toEqual(outcome);
    expect(seen.texts).toEqual(['good']);
    expect(await ended(redrive(broker, 'orders.dead-letter', { queue, timers }))).toEqual({ moved: 1, skipped: 1 });
  });

  test('waits for the first event for as long as a broker takes to make a group', async () => {
    const { broker, timers, seen, bury, ended } = await stage();
    const capabilities: BrokerCapabilities = { ...MemoryBroker.capabilities, competing: false };
    Object.defineProperty(broker, 'capabilities', { value: capabilities });
    const moving = redrive(broker, 'orders.dead-letter', { queue, timers });
    await timers.advance(10_000);
    await bury('late');
    expect(await ended(moving)).toEqual({ moved: 1, skipped: 0 });
    expect(seen.texts).toEqual(['late']);
  });

  test('moves at most limit events', async () => {
    const { broker, timers, seen, bury, ended } = await stage();
    for (const body of ['a', 'b', 'c']) await bury(body);
    expect(await ended(redrive(broker, 'orders.dead-letter', { queue, timers, limit: 2 }))).toEqual({
      moved: 2,
      skipped: 0,
    });
    expect(seen.texts).toEqual(['a', 'b']);
  });

  test('keeps an event that could not be published, and rejects with the error', async () => {
    const { broker, timers, seen, bury, ended } = await stage();
    await bury('a');
    const publish = broker.publish.bind(broker);
    broker.publish = () => Promise.reject(new Error('away'));
    await expect(ended(redrive(broker, 'orders.dead-letter', { queue, timers }))).rejects.toThrow('away');
    broker.publish = publish;
    expect(await ended(redrive(broker, 'orders.dead-letter', { queue, timers }))).toEqual({ moved: 1, skipped: 0 });
    expect(seen.texts).toEqual(['a']);
  });

  test('ends when its signal aborts', async () => {
    const { broker, timers } = await stage();
    const controller = new AbortController();
    const running = redrive(broker, 'orders.dead-letter', { queue, timers, signal: controller.signal });
    await timers.settle();
    controller.abort();
    expect(await running).toEqual({ moved: 0, skipped: 0 });
  });

  test('does not leave out headers that the server acts on alone: they are not published again', async () => {
    const { broker, timers, seen, run, bury, ended } = await stage();
    Object.assign(broker, { isControlHeader: (name: string) => name.startsWith('nats-') });
    await bury('a', { 'nats-ttl': '1', kept: 'yes' });
    await ended(redrive(broker, 'orders.dead-letter', { queue, timers }));
    expect(seen.events[0]?.headers).toEqual({ kept: 'yes', 'tenon-redrives': '1', 'tenon-redrive': run });
  });

  test('reads the queue for which the broker stores dead letters, unless another is named', async () => {
    const { broker, timers, seen, bury, ended } = await stage();
    await bury('a');
    const capabilities: BrokerCapabilities = { ...MemoryBroker.capabilities, deadLetterQueue: queue };
    Object.defineProperty(broker, 'capabilities', { value: capabilities });
    expect(await ended(redrive(broker, 'orders.dead-letter', { timers }))).toEqual({ moved: 1, skipped: 0 });
    expect(seen.texts).toEqual(['a']);
  });

  test('is refused without a queue that has the dead letters, and where none are stored', async () => {
    const { broker } = await stage();
    const unsupported = { code: Code.FailedPrecondition, reason: 'broker.unsupported' };
    await expect(redrive(broker, 'orders.dead-letter')).rejects.toMatchObject({
      ...unsupported,
      message: expect.stringContaining('needs the option queue'),
    });
    const channels = new RedisBroker({ logger: silentLogger });
    await expect(redrive(channels, 'orders.dead-letter', { queue })).rejects.toMatchObject(unsupported);
    const capabilities: BrokerCapabilities = { ...MemoryBroker.capabilities, groups: false };
    Object.defineProperty(broker, 'capabilities', { value: capabilities });
    await expect(redrive(broker, 'orders.dead-letter', { queue })).rejects.toMatchObject(unsupported);
  });
});

describeWithRedis('redrive over redis-streams', (redis) => {
  test('moves dead letters that were stored before anybody read them', async () => {
    const broker = new RedisStreamsBroker({ address: redis.address, logger: silentLogger });
    await broker.connect();
    const topic = `orders ${systemRuntime.random.uuid()}`;
    const seen = collector();
    await broker.subscribe(topic, (event) => {
      if (event.headers['tenon-redrives'] !== undefined) return seen.receive(event);
      return event.reject(new Error('not yet'));
    });
    for (const body of ['a', 'b']) await publishText(broker, topic, body);
    await eventually('the dead letters', async () => {
      const { moved } = await redrive(broker, `${topic}.dead-letter`, { idleMs: 200 });
      return moved > 0 && seen.texts.length === 2;
    });
    expect(seen.texts.toSorted()).toEqual(['a', 'b']);
    await broker.disconnect();
  });
});
