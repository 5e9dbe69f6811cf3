import assert from 'node:assert/strict';

import type { Event } from '../../broker/broker.ts';
import { Code } from '../../errors/errors.ts';
import type { Case } from '../api.ts';
import {
  type BrokerHarness,
  iterate,
  leaveInHand,
  message,
  numbers,
  publish,
  refuses,
  brokerCase,
  textOf,
} from './broker-fixture.ts';

/** Cases of publishing and delivery. */
export const messageCases: readonly Case<BrokerHarness>[] = [
  brokerCase('an event arrives with its bytes and its headers', undefined, async (fixture) => {
    const [publisher, subscriber] = await fixture.two();
    const received = await fixture.receive(subscriber);
    const body = Uint8Array.from({ length: 256 }, (_, index) => index);
    const headers = {
      'Content-Type': 'application/protobuf',
      'x-Case-Kept': 'a, b; c="d"',
      empty: '',
      long: 'x'.repeat(5_000),
    };
    await publisher.publish(fixture.topic, { headers, body });
    const [event] = await received.count(1);
    assert.deepStrictEqual(fixture.headersOf(event), headers);
    assert.deepStrictEqual([...(event?.body ?? [])], [...body]);
    assert.equal(event?.topic, fixture.topic);
    assert.equal(event.attempt, 1);
  }),
  brokerCase('an empty body arrives as an empty body', undefined, async (fixture) => {
    const broker = await fixture.broker();
    const received = await fixture.receive(broker);
    await broker.publish(fixture.topic, { headers: {}, body: new Uint8Array(0) });
    const [event] = await received.count(1);
    assert.equal(event?.body.length, 0);
    assert.deepStrictEqual(fixture.headersOf(event), {});
  }),
  brokerCase('a body of one mebibyte, or of the limit, arrives whole', undefined, async (fixture) => {
    const broker = await fixture.broker();
    const received = await fixture.receive(broker);
    const length = Math.min(1_048_576, fixture.harness.maxBodyBytes ?? Number.POSITIVE_INFINITY);
    const body = Uint8Array.from({ length }, (_, index) => (index * 31) % 251);
    await broker.publish(fixture.topic, { headers: {}, body });
    const [event] = await received.count(1);
    assert.ok(Buffer.from(body).equals(event?.body ?? body.subarray(1)), 'the bytes differ');
  }),
  brokerCase('a body over the limit is refused', 'bodyLimit', async (fixture) => {
    const broker = await fixture.broker();
    const received = await fixture.receive(broker);
    const body = new Uint8Array((fixture.harness.maxBodyBytes ?? 0) + 1);
    await refuses(broker, Code.ResourceExhausted, 'broker.too_large', () =>
      broker.publish(fixture.topic, { headers: {}, body }),
    );
    await publish(broker, fixture.topic, ['small']);
    await received.text('small');
    assert.equal(received.events.length, 1);
  }),
  brokerCase(
    'topics and headers have any text that the broker accepts, and others are refused',
    undefined,
    async (fixture) => {
      const broker = await fixture.broker();
      const { harness } = fixture;
      const takesTopic = (topic: string): boolean => harness.takesTopic?.(topic) ?? true;
      const takesHeader = (name: string, value: string): boolean => harness.takesHeader?.(name, value) ?? true;
      const odd = ['/Größe 日本 🦊 *?[a] {x}', '.x>..#+', '%41 100%', ' ', '\u0000\n'];
      for (const topic of odd.map((text) => fixture.topic + text)) {
        const send = (): Promise<void> => broker.publish(topic, message(topic));
        if (takesTopic(topic)) {
          const received = await fixture.receive(broker, { topic });
          await send();
          const [event] = await received.count(1);
          assert.equal(event?.topic, topic);
          assert.deepStrictEqual(received.texts, [topic]);
        } else {
          await refuses(broker, Code.InvalidArgument, 'broker.invalid_topic', send);
          await refuses(broker, Code.InvalidArgument, 'broker.invalid_topic', () =>
            broker.subscribe(topic, leaveInHand),
          );
        }
      }
      const headers = Object.entries({
        'ключ 🔑': 'Wert\r\nmit "Zeilen"\u0000',
        ['__proto__']: 'a header like others',
        constructor: 'x',
        '%41': '%41 100%',
      });
      const legal = headers.filter(([name, value]) => takesHeader(name, value));
      for (const one of headers.filter((header) => !legal.includes(header))) {
        await refuses(broker, Code.InvalidArgument, 'broker.invalid_headers', () =>
          broker.publish(fixture.topic, message('x', Object.fromEntries([one]))),
        );
      }
      const received = await fixture.receive(broker);
      await broker.publish(fixture.topic, message('x', Object.fromEntries(legal)));
      const [event] = await received.count(1);
      assert.deepStrictEqual(Object.entries(fixture.headersOf(event)), legal);
    },
  ),
  brokerCase('each event has its own id', undefined, async (fixture) => {
    const broker = await fixture.broker();
    const received = await fixture.receive(broker);
    await publish(broker, fixture.topic, numbers(20));
    const ids = (await received.count(20)).map(({ id }) => id);
    assert.ok(ids.every((id) => typeof id === 'string' && id !== ''));
    assert.equal(new Set(ids).size, 20);
  }),
  brokerCase('all receivers of an event get the same id', 'persistent', async (fixture) => {
    const [one, other] = await fixture.two();
    const queue = fixture.capabilities.groups ? 'workers' : undefined;
    const all = [await fixture.receive(one), await fixture.receive(other), await fixture.receive(other, { queue })];
    await publish(one, fixture.topic, numbers(5));
    const idsOf = async (received: (typeof all)[number]): Promise<string[]> =>
      (await received.count(5)).map((event) => `${textOf(event)} is ${event.id}`).sort();
    const [first, ...others] = await Promise.all(all.map(idsOf));
    for (const ids of others) assert.deepStrictEqual(ids, first);
  }),
  brokerCase('a body belongs to its receiver', undefined, async (fixture) => {
    const [publisher, subscriber] = await fixture.two();
    const overwrite = (event: Event): Promise<void> => {
      const text = textOf(event);
      event.body.fill(0);
      seen.push(text);
      return event.ack();
    };
    const seen: string[] = [];
    await fixture.receive(subscriber, { settle: overwrite });
    await fixture.receive(subscriber, { settle: overwrite });
    const sent = message('untouched');
    await publisher.publish(fixture.topic, sent);
    sent.body.fill(1);
    await fixture.until('both events', () => seen.length === 2);
    assert.deepStrictEqual(seen, ['untouched', 'untouched']);
  }),
  brokerCase('every subscriber without a queue gets every event', undefined, async (fixture) => {
    const [one, other] = await fixture.two();
    const all = [await fixture.receive(one), await fixture.receive(one), await fixture.receive(other)];
    await publish(one, fixture.topic, ['a', 'b', 'c']);
    for (const received of all) {
      await received.count(3);
      assert.deepStrictEqual(received.texts, ['a', 'b', 'c']);
    }
  }),
  brokerCase('one member of a queue gets each event', 'groups', async (fixture) => {
    const [one, other] = await fixture.two();
    const queue = 'workers';
    const members = [
      await fixture.receive(one, { queue }),
      await fixture.receive(other, { queue }),
      await fixture.receive(other, { queue }),
    ];
    await publish(one, fixture.topic, numbers(60));
    const texts = (): string[] => members.flatMap((received) => received.texts);
    await fixture.until('60 events', () => texts().length >= 60);
    // Nothing is left: the next event is the only one that still comes.
    await publish(one, fixture.topic, ['last']);
    await fixture.until('the last event', () => texts().includes('last'));
    assert.deepStrictEqual(texts().sort(), [...numbers(60), 'last'].sort());
  }),
  brokerCase('each queue gets every event', 'groups', async (fixture) => {
    const broker = await fixture.broker();
    const all = [
      await fixture.receive(broker, { queue: 'a' }),
      await fixture.receive(broker, { queue: 'b' }),
      await fixture.receive(broker),
    ];
    await publish(broker, fixture.topic, numbers(10));
    for (const received of all) {
      await received.count(10);
      assert.deepStrictEqual(received.texts, numbers(10));
    }
  }),
  brokerCase('a subscription that needs a missing capability is refused', '!groups', async (fixture) => {
    const broker = await fixture.broker();
    await refuses(broker, Code.FailedPrecondition, 'broker.unsupported', () =>
      broker.subscribe(fixture.topic, leaveInHand, { queue: 'workers' }),
    );
    await refuses(broker, Code.FailedPrecondition, 'broker.unsupported', () =>
      iterate(broker.pull(fixture.topic, { queue: 'workers' })).next(),
    );
  }),
  brokerCase('events of one topic do not arrive on another', undefined, async (fixture) => {
    const broker = await fixture.broker();
    const one = await fixture.receive(broker);
    const other = await fixture.receive(broker, { topic: `${fixture.topic}.x` });
    await publish(broker, fixture.topic, ['a', 'b']);
    await publish(broker, `${fixture.topic}.x`, ['c', 'd']);
    await Promise.all([one.count(2), other.count(2)]);
    assert.deepStrictEqual(
      [one.texts, other.texts],
      [
        ['a', 'b'],
        ['c', 'd'],
      ],
    );
  }),
  brokerCase('events published after subscribe has resolved are received', undefined, async (fixture) => {
    const [publisher, subscriber] = await fixture.two();
    for (const name of numbers(10)) {
      const topic = `${fixture.topic}.${name}`;
      const received = await fixture.receive(subscriber, { topic });
      await publisher.publish(topic, message(name));
      await received.count(1);
    }
  }),
  brokerCase('callbacks do not run synchronously within publish', undefined, async (fixture) => {
    const broker = await fixture.broker();
    let publishing = false;
    let within = false;
    const received = await fixture.receive(broker, {
      settle: (event) => {
        within ||= publishing;
        return event.ack();
      },
    });
    for (const text of numbers(5)) {
      publishing = true;
      const published = broker.publish(fixture.topic, message(text));
      publishing = false;
      await published;
    }
    await received.count(5);
    assert.ok(!within, 'a callback ran before publish had returned');
  }),
  brokerCase('a thousand events published at once are all handled', undefined, async (fixture) => {
    const [publisher, subscriber] = await fixture.two();
    const queue = fixture.capabilities.groups ? 'workers' : undefined;
    const received = await fixture.receive(subscriber, {
      queue,
      settle: async (event) => (await Promise.resolve(), event.ack()),
    });
    await Promise.all(numbers(1_000).map((text) => publisher.publish(fixture.topic, message(text))));
    await fixture.until('all events', () => new Set(received.texts).size === 1_000);
  }),
];
