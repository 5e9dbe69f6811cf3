import { describe, expect, test } from '@jest/globals';

import { MemoryBroker } from '../../src/broker/memory.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { OutboxDispatcher } from '../../src/outbox/dispatcher.ts';
import { MemoryOutbox } from '../../src/outbox/memory.ts';
import { RecordingLogger } from '../../src/testing/recorders.ts';
import { collector, text, virtualRuntime } from '../broker/support.ts';

async function stage() {
  const runtime = virtualRuntime();
  let uuids = 0;
  runtime.random.uuid = () => `uuid ${(uuids += 1)}`;
  const logger = new RecordingLogger();
  const broker = new MemoryBroker({ runtime, logger });
  await broker.connect();
  const seen = collector();
  await broker.subscribe('orders', seen.receive);
  const outbox = new MemoryOutbox(runtime.random, runtime.timers);
  const dispatcher = new OutboxDispatcher(outbox, broker, { runtime, logger, pollMs: 1_000, maxBatch: 10 });
  const add = (body: string, orderKey?: string, headers: Record<string, string> = {}): Promise<void> =>
    outbox.transaction((tx) => outbox.add(tx, [{ topic: 'orders', headers, body: Buffer.from(body), orderKey }]));
  const failing = (fails: (body: string) => TenonError | undefined): void => {
    const publish = broker.publish.bind(broker);
    broker.publish = async (topic, message, options) => {
      const error = fails(Buffer.from(message.body).toString());
      if (error) throw error;
      return publish(topic, message, options);
    };
  };
  return { runtime, timers: runtime.timers, logger, broker, seen, outbox, dispatcher, add, failing };
}

const away = new TenonError({ code: Code.Unavailable, reason: 'broker.unreachable', message: 'away' });

describe('the outbox', () => {
  test('publishes the events of committed transactions, in the order of their commits, and of no others', async () => {
    const { timers, seen, outbox, dispatcher, add } = await stage();
    dispatcher.start();
    await add('a');
    await expect(
      outbox.transaction(async (tx) => {
        await outbox.add(tx, [{ topic: 'orders', headers: {}, body: Buffer.from('rolled back') }]);
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    await add('b', 'key', { kept: 'yes' });
    await timers.advance(100);
    expect(seen.texts).toEqual(['a', 'b']);
    expect(seen.events[1]?.headers).toEqual({ 'tenon-dedupe-key': 'uuid 2', kept: 'yes', 'tenon-order-key': 'key' });
    expect(outbox.events).toEqual([]);
    await dispatcher.stop();
  });

  test('keeps an event until the broker has confirmed it, and publishes it again with the same key', async () => {
    const { timers, seen, outbox, dispatcher, add, failing, logger } = await stage();
    const keys: unknown[] = [];
    let isAway = true;
    failing(() => (isAway ? away : undefined));
    dispatcher.start();
    await add('a');
    await timers.advance(5_000);
    expect([seen.texts, outbox.events.length]).toEqual([[], 1]);
    expect(logger.texts).toContain('warn events of the outbox could not be published; it is tried again');
    isAway = false;
    await timers.advance(20_000);
    keys.push(seen.events[0]?.headers['tenon-dedupe-key']);
    expect([seen.texts, keys]).toEqual([['a'], ['uuid 1']]);
    await dispatcher.stop();
  });

  test('keeps the order of a key when an event fails, and does not hold up others', async () => {
    const { timers, seen, dispatcher, add, failing } = await stage();
    let refused = 3;
    failing((body) => (body === 'a1' && (refused -= 1) >= 0 ? away : undefined));
    for (const body of ['a1', 'a2', 'b1']) await add(body, body.slice(0, 1));
    await add('free');
    dispatcher.start();
    await timers.advance(50);
    expect(seen.texts.toSorted()).toEqual(['b1', 'free']);
    await timers.advance(20_000);
    expect(seen.events.map(text).filter((body) => body.startsWith('a'))).toEqual(['a1', 'a2']);
    await dispatcher.stop();
  });

  test('goes on behind events of a topic or a key that is refused, however many they are', async () => {
    const { timers, seen, dispatcher, add, failing, logger, outbox } = await stage();
    const refused = new TenonError({ code: Code.PermissionDenied, reason: 'broker.refused', message: 'no right' });
    let isRefused = true;
    failing((body) => (isRefused && (body.startsWith('refused') || body === 'key 0') ? refused : undefined));
    const numbered = (name: string, count: number): string[] =>
      Array.from({ length: count }, (_, index) => `${name} ${index}`);
    // More than a batch of each.
    for (const body of numbered('refused', 25)) await add(body);
    for (const body of numbered('key', 25)) await add(body, 'key');
    for (const body of numbered('good', 25)) await add(body);
    dispatcher.start();
    await timers.advance(20);
    expect(seen.texts.toSorted()).toEqual(numbered('good', 25).toSorted());
    await add('late');
    await timers.advance(20);
    expect(seen.texts.at(-1)).toBe('late');
    isRefused = false;
    await timers.advance(30_000);
    expect([seen.texts.length, outbox.events]).toEqual([76, []]);
    expect(seen.texts.filter((body) => body.startsWith('key'))).toEqual(numbered('key', 25));
    expect(logger.texts).toContain('warn some events of the outbox could not be published; they are tried again');
    await dispatcher.stop();
  });

  test('sets aside what the broker will never take, and goes on', async () => {
    const { timers, seen, outbox, dispatcher, add, failing, logger } = await stage();
    const tooLarge = new TenonError({ code: Code.ResourceExhausted, reason: 'broker.too_large', message: 'too large' });
    failing((body) => (body === 'huge' ? tooLarge : undefined));
    for (const body of ['huge', 'next']) await add(body, 'key');
    dispatcher.start();
    await timers.advance(100);
    expect([seen.texts, outbox.events, outbox.aside.map(({ reason }) => reason)]).toEqual([
      ['next'],
      [],
      ['too large'],
    ]);
    expect(logger.texts).toContain('error an event of the outbox is set aside: the broker refuses it');
    await dispatcher.stop();
  });

  test('is read by one process at a time, and by the next when it stops', async () => {
    const { runtime, timers, broker, seen, outbox, dispatcher, add, logger } = await stage();
    const other = new OutboxDispatcher(outbox, broker, { runtime, logger });
    dispatcher.start();
    dispatcher.start();
    other.start();
    for (const body of ['a', 'b']) await add(body);
    await timers.advance(100);
    expect(seen.texts).toEqual(['a', 'b']);
    await dispatcher.stop();
    await add('c');
    await timers.advance(100);
    expect(seen.texts).toEqual(['a', 'b', 'c']);
    await other.stop();
    await add('d');
    await timers.advance(10_000);
    expect(seen.texts).toHaveLength(3);
  });

  test('is read again after a failure of its store', async () => {
    const { timers, seen, outbox, dispatcher, add, logger } = await stage();
    const lead = outbox.lead.bind(outbox);
    let failures = 2;
    outbox.lead = (signal) => ((failures -= 1) >= 0 ? Promise.reject(new Error('no database')) : lead(signal));
    dispatcher.start();
    await add('a');
    await timers.advance(10_000);
    expect(seen.texts).toEqual(['a']);
    expect(logger.texts.filter((line) => line.includes('cannot be read'))).toHaveLength(2);
    await dispatcher.stop();
  });

  test('publishes again what was confirmed and not removed, with the same key', async () => {
    const { timers, seen, outbox, dispatcher, add } = await stage();
    const lead = outbox.lead.bind(outbox);
    let failures = 1;
    outbox.lead = async (signal) => {
      const lease = await lead(signal);
      // The process dies between the two.
      const remove: typeof lease.remove = (ids) =>
        (failures -= 1) >= 0 ? Promise.reject(new Error('killed')) : lease.remove(ids);
      return { ...lease, remove };
    };
    dispatcher.start();
    await add('a');
    await timers.advance(10_000);
    expect(seen.texts).toEqual(['a', 'a']);
    expect(new Set(seen.events.map(({ headers }) => headers['tenon-dedupe-key'])).size).toBe(1);
    await dispatcher.stop();
  });
});

describe('the inbox', () => {
  test('notes a key exactly if its transaction is committed', async () => {
    const { outbox } = await stage();
    const handle = (fails: boolean): Promise<boolean> =>
      outbox.transaction(async (tx) => {
        const isNew = await outbox.record(tx, 'event 1');
        expect(await outbox.record(tx, 'event 1')).toBe(false);
        if (fails) throw new Error('no');
        return isNew;
      });
    await expect(handle(true)).rejects.toThrow('no');
    expect(await handle(false)).toBe(true);
    await expect(outbox.transaction((tx) => outbox.record(tx, 'event 1'))).resolves.toBe(false);
  });
});
