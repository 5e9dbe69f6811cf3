import { setImmediate as turn } from 'node:timers/promises';

import { expect, test } from '@jest/globals';

import type { Event } from '../../src/broker/broker.ts';
import { MemoryBroker, type MemoryBrokerOptions, MemoryHub } from '../../src/broker/memory.ts';
import { Code } from '../../src/errors/errors.ts';
import { silentLogger } from '../../src/logger/logger.ts';
import { collector, publishText, RecordingLogger, text, eventually, virtualRuntime } from './support.ts';

async function connected(options: MemoryBrokerOptions = {}): Promise<MemoryBroker> {
  const broker = new MemoryBroker({ logger: silentLogger, ...options });
  await broker.connect();
  return broker;
}

test('publish waits for room while a slow member is subscribed, and keeps the order', async () => {
  const broker = await connected({ hub: new MemoryHub({ maxQueued: 2 }) });
  const held: Event[] = [];
  await broker.subscribe('t', (event) => void held.push(event), { queue: 'q', maxInFlight: 1 });
  const stored: string[] = [];
  for (const body of ['a', 'b', 'c', 'd', 'e', 'f']) {
    void publishText(broker, 't', body).then(() => stored.push(body));
    await turn();
    await turn();
  }
  // One in hand, two that wait; the others are not taken yet.
  expect(stored).toEqual(['a', 'b', 'c']);
  for (let index = 0; index < 6; index += 1) {
    await eventually('the next event', () => held.length > index);
    await held[index]?.ack();
  }
  expect(held.map(text)).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
  expect(stored).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
});

test('publish rejects after its time limit or its abort, and publishes nothing then', async () => {
  const runtime = virtualRuntime();
  const broker = await connected({ runtime, hub: new MemoryHub({ maxQueued: 1, runtime }) });
  const held: Event[] = [];
  await broker.subscribe('t', (event) => void held.push(event), { maxInFlight: 1 });
  await publishText(broker, 't', 'in hand');
  await runtime.timers.settle();
  await publishText(broker, 't', 'waiting');
  const late = expect(publishText(broker, 't', 'late')).rejects.toMatchObject({
    code: Code.DeadlineExceeded,
    reason: 'broker.timeout',
    message: expect.stringContaining('after 5000 ms'),
  });
  const abort = new AbortController();
  const cancelled = expect(
    broker.publish('t', { headers: {}, body: Buffer.from('cancelled') }, { signal: abort.signal }),
  ).rejects.toMatchObject({ code: Code.Cancelled, reason: 'call.cancelled' });
  abort.abort();
  await runtime.timers.advance(5_000);
  await Promise.all([late, cancelled]);
  for (let index = 0; index < held.length; index += 1) {
    await held[index]?.ack();
    await runtime.timers.settle();
  }
  expect(held.map(text)).toEqual(['in hand', 'waiting']);
});

test('a queue whose members are away keeps the latest events, and logs that it drops others', async () => {
  const logger = new RecordingLogger();
  const broker = await connected({ hub: new MemoryHub({ maxQueued: 3, logger }) });
  await (await broker.subscribe('t', () => {}, { queue: 'q' })).unsubscribe();
  for (const body of ['a', 'b', 'c', 'd', 'e']) await publishText(broker, 't', body);
  const received = collector();
  await broker.subscribe('t', received.receive, { queue: 'q' });
  await eventually('what was kept', () => received.texts.length === 3);
  expect(received.texts).toEqual(['c', 'd', 'e']);
  expect(logger.lines).toEqual([
    {
      level: 'warn',
      message: expect.stringMatching(/^events are dropped/),
      fields: { topic: 't of the queue q', kept: 3 },
    },
  ]);
});

test('brokers share events if they share a hub, and only then', async () => {
  const hub = new MemoryHub();
  const [one, other, stranger] = [await connected({ hub }), await connected({ hub }), await connected()];
  const [received, nothing] = [collector(), collector()];
  await other.subscribe('t', received.receive);
  await stranger.subscribe('t', nothing.receive);
  await publishText(one, 't', 'x');
  await publishText(stranger, 't', 'y');
  await eventually('both', () => received.texts.length === 1 && nothing.texts.length === 1);
  expect([received.texts, nothing.texts]).toEqual([['x'], ['y']]);
});

test('events of a key go to the member that handles an event of that key', async () => {
  const broker = await connected();
  const held: { readonly member: number; readonly event: Event }[] = [];
  for (const member of [0, 1]) {
    await broker.subscribe('t', (event) => void held.push({ member, event }), { queue: 'q', maxInFlight: 4 });
  }
  for (const body of ['1', '2', '3'])
    await broker.publish('t', { headers: {}, body: Buffer.from(body) }, { orderKey: 'k' });
  await publishText(broker, 't', 'other');
  await publishText(broker, 't', 'another');
  await eventually('all', () => held.length === 5);
  const members = held.filter(({ event }) => event.headers['tenon-order-key'] === 'k').map(({ member }) => member);
  expect(new Set(members).size).toBe(1);
  expect(new Set(held.map(({ member }) => member)).size).toBe(2);
  for (const { event } of held) await event.ack();
  // Nobody has it any more: it may go to either.
  await broker.publish('t', { headers: {}, body: Buffer.from('4') }, { orderKey: 'k' });
  await eventually('the next one', () => held.length === 6);
});

test('an event that is given back again and again does not starve the process of I/O', async () => {
  const broker = await connected();
  let attempts = 0;
  const subscriber = await broker.subscribe('t', (event) => {
    attempts = event.attempt;
    return event.nack();
  });
  await publishText(broker, 't', 'poison');
  await eventually('a hundred attempts', () => attempts > 100);
  await subscriber.unsubscribe(AbortSignal.abort());
});

test('subscribers that answer each other do not starve the process of I/O', async () => {
  const broker = await connected();
  let rounds = 0;
  for (const [from, to] of [
    ['ping', 'pong'],
    ['pong', 'ping'],
  ] as const) {
    await broker.subscribe(from, async (event) => {
      rounds += 1;
      await event.ack();
      await publishText(broker, to, 'ball');
    });
  }
  await publishText(broker, 'ping', 'ball');
  await eventually('many rounds', () => rounds > 1_000);
  await broker.disconnect();
});

test('a watch with a slow reader misses the oldest events', async () => {
  const broker = await connected({ watchLag: 3 });
  const watched = broker.watch('t')[Symbol.asyncIterator]();
  const first = watched.next();
  await turn();
  for (const body of ['a', 'b', 'c', 'd', 'e', 'f']) await publishText(broker, 't', body);
  const seen = [text((await first).value as Event)];
  for (let index = 0; index < 3; index += 1) seen.push(text((await watched.next()).value as Event));
  expect(seen).toEqual(['a', 'd', 'e', 'f']);
});

test('a delayed event comes at its time to the group, even if its first member has left', async () => {
  const runtime = virtualRuntime();
  const broker = await connected({ runtime });
  const first = await broker.subscribe('t', (event) => event.nack({ delayMs: 1_000 }), { queue: 'q' });
  await publishText(broker, 't', 'later');
  await runtime.timers.settle();
  await first.unsubscribe();
  const received = collector();
  await broker.subscribe('t', received.receive, { queue: 'q' });
  await runtime.timers.advance(999);
  expect(received.texts).toEqual([]);
  await runtime.timers.advance(1);
  expect(received.events.map(({ attempt }) => attempt)).toEqual([2]);
});
