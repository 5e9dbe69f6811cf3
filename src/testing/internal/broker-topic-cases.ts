import assert from 'node:assert/strict';

import type { Broker } from '../../broker/broker.ts';
import { Code } from '../../errors/errors.ts';
import type { Case } from '../api.ts';
import {
  brokerCase,
  type BrokerFixture,
  type BrokerHarness,
  delivered,
  firstOf,
  iterate,
  leaveInHand,
  message,
  refuses,
  textOf,
} from './broker-fixture.ts';

/** Patterns after the topic of the fixture, each with what it matches of the topics below. */
const table: readonly (readonly [pattern: string, matched: readonly string[]])[] = [
  ['.a.*', ['.a.b', '.a.c', '.a.x-y_z']],
  ['.a.>', ['.a.b', '.a.c', '.a.x-y_z', '.a.b.c', '.a.b.c.d']],
  ['.*.b', ['.a.b', '.b.b']],
  ['.*.b.>', ['.a.b.c', '.a.b.c.d']],
  ['.*.*.c', ['.a.b.c']],
  ['.a.b', ['.a.b']],
  ['.a.dead-letter', ['.a.dead-letter']],
  ['.*.dead-letter', ['.a.dead-letter']],
];
const published = ['', '.a', '.a.b', '.a.c', '.a.x-y_z', '.a.b.c', '.a.b.c.d', '.b.b', '.ab', '.a.dead-letter'];

/** Publishes one event to each topic of the table. */
async function publishTable(fixture: BrokerFixture, broker: Broker): Promise<void> {
  for (const words of published) await broker.publish(fixture.topic + words, message(words));
}

/** Cases of topics with wildcards. */
export const topicCases: readonly Case<BrokerHarness>[] = [
  brokerCase('each pattern of topics matches the same events on every broker', 'wildcards', async (fixture) => {
    const [publisher, broker] = await fixture.two();
    const receivers = await Promise.all(
      table.map(([pattern]) => fixture.receive(broker, { topic: fixture.topic + pattern })),
    );
    await publishTable(fixture, publisher);
    for (const [index, [pattern, matched]] of table.entries()) {
      const received = receivers[index];
      await received?.count(matched.length);
      assert.deepStrictEqual(received?.texts.toSorted(), matched.toSorted(), `the events of ${pattern}`);
      for (const event of received?.events ?? []) assert.equal(event.topic, fixture.topic + textOf(event));
    }
    // All others would have come by now.
    await publisher.publish(`${fixture.topic}.a.b`, message('.last'));
    for (const received of [receivers[0], receivers[1]]) await received?.text('.last');
    assert.equal(receivers[0]?.events.length, 4);
  }),
  brokerCase('one member of a queue gets each event of a pattern', 'wildcards groups ack', async (fixture) => {
    const [publisher, broker] = await fixture.two();
    const topic = `${fixture.topic}.a.>`;
    const members = [
      await fixture.receive(broker, { topic, queue: 'workers' }),
      await fixture.receive(publisher, { topic, queue: 'workers' }),
    ];
    const others = await fixture.receive(broker, { topic, queue: 'others' });
    for (let round = 0; round < 5; round += 1) await publishTable(fixture, publisher);
    await others.count(25);
    await fixture.until('all events', () => members.reduce((sum, { events }) => sum + events.length, 0) >= 25);
    const texts = members.flatMap((member) => member.texts).toSorted();
    assert.deepStrictEqual(texts, others.texts.toSorted());
    for (const words of published.filter((one) => texts.includes(one)))
      assert.equal(texts.filter((text) => text === words).length, 5, words);
  }),
  brokerCase('an event of a pattern is redelivered with its topic', 'wildcards nack attempts', async (fixture) => {
    const broker = await fixture.broker();
    const received = await fixture.receive(broker, {
      topic: `${fixture.topic}.*`,
      queue: fixture.capabilities.groups ? 'workers' : undefined,
      settle: (event) => (event.attempt < 2 ? event.nack() : event.ack()),
    });
    await broker.publish(`${fixture.topic}.a`, message('again'));
    const events = await received.count(2);
    assert.deepStrictEqual(
      events.map(({ topic, attempt }) => [topic, attempt]),
      [
        [`${fixture.topic}.a`, 1],
        [`${fixture.topic}.a`, 2],
      ],
    );
  }),
  brokerCase('watch and pull see the events of a pattern', 'wildcards', async (fixture) => {
    const broker = await fixture.broker();
    for (const events of [iterate(broker.watch(`${fixture.topic}.*`)), iterate(broker.pull(`${fixture.topic}.*`))]) {
      const event = await firstOf(fixture, broker, events, `${fixture.topic}.seen`);
      assert.equal(event.topic, `${fixture.topic}.seen`);
      await events.return?.();
    }
  }),
  brokerCase('the dead letters of a pattern go to the topic of each event', 'wildcards', async (fixture) => {
    const broker = await fixture.broker();
    const dead = await fixture.receive(broker, { topic: `${fixture.topic}.a.dead-letter` });
    const handled: string[] = [];
    const options = { topic: `${fixture.topic}.>`, retry: 0 };
    const subscriber = await delivered(fixture, broker, options, async (event) => {
      handled.push(event.topic);
      if (event.topic === `${fixture.topic}.a`) throw new Error('no');
    });
    await broker.publish(`${fixture.topic}.a`, message('bad'));
    await dead.count(1);
    await broker.publish(`${fixture.topic}.b`, message('last'));
    await fixture.until('the last event', () => handled.includes(`${fixture.topic}.b`));
    await fixture.within('the end of the subscription', subscriber.unsubscribe());
    // It does not handle its own dead letters.
    assert.deepStrictEqual(handled.toSorted(), [`${fixture.topic}.a`, `${fixture.topic}.b`]);
    assert.equal(dead.events[0]?.headers['tenon-original-topic'], `${fixture.topic}.a`);
  }),
  brokerCase('wildcards are refused where they are not understood', undefined, async (fixture) => {
    const broker = await fixture.broker();
    const invalid = (work: () => Promise<unknown>): Promise<void> =>
      refuses(broker, Code.InvalidArgument, 'broker.invalid_topic', work);
    for (const words of ['.*', '.>', '.*.a', '.>.a']) {
      await invalid(() => broker.publish(fixture.topic + words, message('x')));
    }
    for (const words of ['.>.a', '.*..a', '..>']) {
      await invalid(() => broker.subscribe(fixture.topic + words, leaveInHand));
    }
    // Part of a word, they are characters like others.
    if (fixture.harness.takesTopic?.(`${fixture.topic}.a*>`) ?? true) {
      const received = await fixture.receive(broker, { topic: `${fixture.topic}.a*>` });
      await broker.publish(`${fixture.topic}.ab`, message('other'));
      await broker.publish(`${fixture.topic}.a*>`, message('same'));
      await received.text('same');
      assert.deepStrictEqual(received.texts, ['same']);
    }
  }),
  brokerCase('a subscription with wildcards is refused without the capability', '!wildcards', async (fixture) => {
    const broker = await fixture.broker();
    for (const words of ['.*', '.>']) {
      await refuses(broker, Code.FailedPrecondition, 'broker.unsupported', () =>
        broker.subscribe(fixture.topic + words, leaveInHand),
      );
    }
  }),
];
