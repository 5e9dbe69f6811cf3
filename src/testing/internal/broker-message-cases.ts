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
  scene,
  textOf,
} from './broker-scene.ts';

/** Cases of publishing, and of who gets it. */
export const messageCases: readonly Case<BrokerHarness>[] = [
  scene('an event arrives with its bytes and its headers', undefined, async (stage) => {
    const [publisher, subscriber] = await stage.two();
    const received = await stage.receive(subscriber);
    const body = Uint8Array.from({ length: 256 }, (_, index) => index);
    const headers = {
      'Content-Type': 'application/protobuf',
      'x-Case-Kept': 'a, b; c="d"',
      empty: '',
      long: 'x'.repeat(5_000),
    };
    await publisher.publish(stage.topic, { headers, body });
    const [event] = await received.count(1);
    assert.deepStrictEqual(stage.headersOf(event), headers);
    assert.deepStrictEqual([...(event?.body ?? [])], [...body]);
    assert.equal(event?.topic, stage.topic);
    assert.equal(event.attempt, 1);
  }),
  scene('an empty body arrives as an empty body', undefined, async (stage) => {
    const broker = await stage.broker();
    const received = await stage.receive(broker);
    await broker.publish(stage.topic, { headers: {}, body: new Uint8Array(0) });
    const [event] = await received.count(1);
    assert.equal(event?.body.length, 0);
    assert.deepStrictEqual(stage.headersOf(event), {});
  }),
  scene('a body of one mebibyte, or of the limit, arrives whole', undefined, async (stage) => {
    const broker = await stage.broker();
    const received = await stage.receive(broker);
    const length = Math.min(1_048_576, stage.harness.maxBodyBytes ?? Number.POSITIVE_INFINITY);
    const body = Uint8Array.from({ length }, (_, index) => (index * 31) % 251);
    await broker.publish(stage.topic, { headers: {}, body });
    const [event] = await received.count(1);
    assert.ok(Buffer.from(body).equals(event?.body ?? body.subarray(1)), 'the bytes differ');
  }),
  scene('a body over the limit is refused', 'bodyLimit', async (stage) => {
    const broker = await stage.broker();
    const received = await stage.receive(broker);
    const body = new Uint8Array((stage.harness.maxBodyBytes ?? 0) + 1);
    await refuses(broker, Code.ResourceExhausted, 'broker.too_large', () =>
      broker.publish(stage.topic, { headers: {}, body }),
    );
    await publish(broker, stage.topic, ['small']);
    await received.text('small');
    assert.equal(received.events.length, 1);
  }),
  scene('topics and headers may hold any text that the broker takes; it refuses others', undefined, async (stage) => {
    const broker = await stage.broker();
    const { harness } = stage;
    const takesTopic = (topic: string): boolean => harness.takesTopic?.(topic) ?? true;
    const takesHeader = (name: string, value: string): boolean => harness.takesHeader?.(name, value) ?? true;
    const odd = ['/Größe 日本 🦊 *?[a] {x}', '.>..#+', '%41 100%', ' ', '\u0000\n'];
    for (const topic of odd.map((text) => stage.topic + text)) {
      const send = (): Promise<void> => broker.publish(topic, message(topic));
      if (takesTopic(topic)) {
        const received = await stage.receive(broker, { topic });
        await send();
        const [event] = await received.count(1);
        assert.equal(event?.topic, topic);
        assert.deepStrictEqual(received.texts, [topic]);
      } else {
        await refuses(broker, Code.InvalidArgument, 'broker.invalid_topic', send);
        await refuses(broker, Code.InvalidArgument, 'broker.invalid_topic', () => broker.subscribe(topic, leaveInHand));
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
        broker.publish(stage.topic, message('x', Object.fromEntries([one]))),
      );
    }
    const received = await stage.receive(broker);
    await broker.publish(stage.topic, message('x', Object.fromEntries(legal)));
    const [event] = await received.count(1);
    assert.deepStrictEqual(Object.entries(stage.headersOf(event)), legal);
  }),
  scene('every event has an id of its own', undefined, async (stage) => {
    const broker = await stage.broker();
    const received = await stage.receive(broker);
    await publish(broker, stage.topic, numbers(20));
    const ids = (await received.count(20)).map(({ id }) => id);
    assert.ok(ids.every((id) => typeof id === 'string' && id !== ''));
    assert.equal(new Set(ids).size, 20);
  }),
  scene('all who receive an event know it by the same id', 'persistent', async (stage) => {
    const [one, other] = await stage.two();
    const queue = stage.capabilities.groups ? 'workers' : undefined;
    const all = [await stage.receive(one), await stage.receive(other), await stage.receive(other, { queue })];
    await publish(one, stage.topic, numbers(5));
    const idsOf = async (received: (typeof all)[number]): Promise<string[]> =>
      (await received.count(5)).map((event) => `${textOf(event)} is ${event.id}`).sort();
    const [first, ...others] = await Promise.all(all.map(idsOf));
    for (const ids of others) assert.deepStrictEqual(ids, first);
  }),
  scene('bodies belong to whoever received them', undefined, async (stage) => {
    const [publisher, subscriber] = await stage.two();
    const overwrite = (event: Event): Promise<void> => {
      const text = textOf(event);
      event.body.fill(0);
      seen.push(text);
      return event.ack();
    };
    const seen: string[] = [];
    await stage.receive(subscriber, { settle: overwrite });
    await stage.receive(subscriber, { settle: overwrite });
    const sent = message('untouched');
    await publisher.publish(stage.topic, sent);
    sent.body.fill(1);
    await stage.until('both events', () => seen.length === 2);
    assert.deepStrictEqual(seen, ['untouched', 'untouched']);
  }),
  scene('every subscriber without a queue gets every event', undefined, async (stage) => {
    const [one, other] = await stage.two();
    const all = [await stage.receive(one), await stage.receive(one), await stage.receive(other)];
    await publish(one, stage.topic, ['a', 'b', 'c']);
    for (const received of all) {
      await received.count(3);
      assert.deepStrictEqual(received.texts, ['a', 'b', 'c']);
    }
  }),
  scene('one member of a queue gets each event', 'groups', async (stage) => {
    const [one, other] = await stage.two();
    const queue = 'workers';
    const members = [
      await stage.receive(one, { queue }),
      await stage.receive(other, { queue }),
      await stage.receive(other, { queue }),
    ];
    await publish(one, stage.topic, numbers(60));
    const texts = (): string[] => members.flatMap((received) => received.texts);
    await stage.until('60 events', () => texts().length >= 60);
    // Nothing is left: the next event is the only one that still comes.
    await publish(one, stage.topic, ['last']);
    await stage.until('the last event', () => texts().includes('last'));
    assert.deepStrictEqual(texts().sort(), [...numbers(60), 'last'].sort());
  }),
  scene('each queue gets every event', 'groups', async (stage) => {
    const broker = await stage.broker();
    const all = [
      await stage.receive(broker, { queue: 'a' }),
      await stage.receive(broker, { queue: 'b' }),
      await stage.receive(broker),
    ];
    await publish(broker, stage.topic, numbers(10));
    for (const received of all) {
      await received.count(10);
      assert.deepStrictEqual(received.texts, numbers(10));
    }
  }),
  scene('a subscription that asks for what the broker cannot do is refused', '!groups', async (stage) => {
    const broker = await stage.broker();
    await refuses(broker, Code.FailedPrecondition, 'broker.unsupported', () =>
      broker.subscribe(stage.topic, leaveInHand, { queue: 'workers' }),
    );
    await refuses(broker, Code.FailedPrecondition, 'broker.unsupported', () =>
      iterate(broker.pull(stage.topic, { queue: 'workers' })).next(),
    );
  }),
  scene('two topics do not mix', undefined, async (stage) => {
    const broker = await stage.broker();
    const one = await stage.receive(broker);
    const other = await stage.receive(broker, { topic: `${stage.topic}.x` });
    await publish(broker, stage.topic, ['a', 'b']);
    await publish(broker, `${stage.topic}.x`, ['c', 'd']);
    await Promise.all([one.count(2), other.count(2)]);
    assert.deepStrictEqual(
      [one.texts, other.texts],
      [
        ['a', 'b'],
        ['c', 'd'],
      ],
    );
  }),
  scene('a subscription stands when subscribe resolves', undefined, async (stage) => {
    const [publisher, subscriber] = await stage.two();
    for (const name of numbers(10)) {
      const topic = `${stage.topic}.${name}`;
      const received = await stage.receive(subscriber, { topic });
      await publisher.publish(topic, message(name));
      await received.count(1);
    }
  }),
  scene('callbacks do not run within publish', undefined, async (stage) => {
    const broker = await stage.broker();
    let publishing = false;
    let within = false;
    const received = await stage.receive(broker, {
      settle: (event) => {
        within ||= publishing;
        return event.ack();
      },
    });
    for (const text of numbers(5)) {
      publishing = true;
      const published = broker.publish(stage.topic, message(text));
      publishing = false;
      await published;
    }
    await received.count(5);
    assert.ok(!within, 'a callback ran before publish had returned');
  }),
  scene('a thousand events published at once are all handled', undefined, async (stage) => {
    const [publisher, subscriber] = await stage.two();
    const queue = stage.capabilities.groups ? 'workers' : undefined;
    const received = await stage.receive(subscriber, {
      queue,
      settle: async (event) => (await Promise.resolve(), event.ack()),
    });
    await Promise.all(numbers(1_000).map((text) => publisher.publish(stage.topic, message(text))));
    await stage.until('all events', () => new Set(received.texts).size === 1_000);
  }),
];
