import { afterEach, expect, test } from '@jest/globals';

import { deliver } from '../../src/broker/delivery.ts';
import type { NatsConnection } from '../../src/broker/nats/library.ts';
import { NatsBroker, type NatsBrokerOptions } from '../../src/broker/nats.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { collector, eventually, publishText, RecordingLogger } from './support.ts';

expectNothingUncaught();

const open = new Set<NatsBroker>();

afterEach(async () => {
  for (const broker of open) await broker.disconnect();
  open.clear();
});

describeWithServer('patterns of NatsBroker', new BackendServer('nats'), (nats) => {
  async function connected(options: NatsBrokerOptions = {}): Promise<NatsBroker> {
    const broker = new NatsBroker({ address: nats.address, logger: new RecordingLogger(), ...options });
    open.add(broker);
    await broker.connect();
    return broker;
  }

  test('a pattern of everything receives no messages of the server and none that answer a request', async () => {
    const broker = await connected();
    const received = collector();
    await broker.subscribe('>', received.receive);
    const raw = broker.unwrap() as NatsConnection;
    raw.subscribe('asked', {
      callback: (_error, { reply = '' }) => raw.publish(reply, 'the answer'),
    });
    await raw.request('asked', 'a question', { timeout: 5_000 });
    raw.publish('$KV.bucket.key', 'of a store');
    await publishText(broker, 'last', 'the last');
    await eventually('the last', () => received.texts.includes('the last'));
    expect(received.texts).toEqual(['a question', 'the last']);
  });

  test.each(['native', 'go-micro'] as const)(
    'the queue of a pattern takes no event from the same queue of one of its topics, in the dialect %s',
    async (dialect) => {
      const broker = await connected({ dialect });
      const [all, placed, other] = [collector(), collector(), collector()];
      await broker.subscribe(`${dialect}.>`, all.receive, { queue: 'billing' });
      await broker.subscribe(`${dialect}.*`, other.receive, { queue: 'billing' });
      await broker.subscribe(`${dialect}.placed`, placed.receive, { queue: 'billing' });
      const numbers = Array.from({ length: 20 }, (_, number) => String(number));
      for (const number of numbers) await publishText(broker, `${dialect}.placed`, number);
      for (const { texts } of [all, placed, other]) await eventually('the last', () => texts.includes('19'));
      for (const { texts } of [all, placed, other]) expect(texts).toEqual(numbers);
    },
  );

  test('dead letters reach who subscribes to them as the same queue', async () => {
    const broker = await connected();
    const dead = collector();
    await broker.subscribe('shop.one.dead-letter', dead.receive, { queue: 'billing' });
    await deliver(broker, 'shop.>', { queue: 'billing', retry: 0 }, () => Promise.reject(new Error('no')), {
      runtime: systemRuntime,
      logger: new RecordingLogger(),
    });
    const numbers = Array.from({ length: 10 }, (_, number) => String(number));
    for (const number of numbers) await publishText(broker, 'shop.one', number);
    await eventually('the last', () => dead.texts.includes('9'));
    expect(dead.texts.toSorted()).toEqual(numbers);
  });

  test('the members of a pattern that have the same queue are one group', async () => {
    const [one, other] = [await connected(), await connected()];
    const received = collector();
    for (const broker of [one, other]) await broker.subscribe('jobs.*', received.receive, { queue: 'billing' });
    const numbers = Array.from({ length: 20 }, (_, number) => String(number));
    for (const number of numbers) await publishText(one, `jobs.${number}`, number);
    await publishText(one, 'jobs.last', 'last');
    await eventually('the last', () => received.texts.includes('last'));
    await eventually('all', () => received.texts.length >= 21);
    expect(received.texts.toSorted()).toEqual([...numbers, 'last'].toSorted());
  });
});
