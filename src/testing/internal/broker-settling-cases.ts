import assert from 'node:assert/strict';

import type { Event } from '../../broker/broker.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { systemClock, systemTimers } from '../../runtime/system.ts';
import type { Case } from '../api.ts';
import {
  aborted,
  type BrokerHarness,
  delivered,
  message,
  numbers,
  publish,
  brokerCase,
  textOf,
} from './broker-fixture.ts';

/** Cases of events in flight: acknowledgement, redelivery, limits and order. */
export const settlingCases: readonly Case<BrokerHarness>[] = [
  brokerCase('a callback that fails does not end the subscription', undefined, async (fixture) => {
    const broker = await fixture.broker();
    const received = await fixture.receive(broker, {
      settle: (event) => {
        if (textOf(event) === 'throws') throw new Error('thrown');
        if (textOf(event) === 'rejects') return Promise.reject(new Error('rejected'));
        return event.ack();
      },
    });
    await publish(broker, fixture.topic, ['throws', 'rejects', 'fine']);
    await received.text('fine');
  }),
  brokerCase('an event whose callback failed is redelivered', 'nack', async (fixture) => {
    const broker = await fixture.broker();
    const failed = new Set<string>();
    const received = await fixture.receive(broker, {
      settle: (event) => {
        const text = textOf(event);
        if (failed.has(text)) return event.ack();
        failed.add(text);
        if (text === 'throws') throw new Error('thrown');
        return Promise.reject(new Error('rejected'));
      },
    });
    await publish(broker, fixture.topic, ['throws', 'rejects']);
    await received.count(4);
    assert.deepStrictEqual(received.texts.sort(), ['rejects', 'rejects', 'throws', 'throws']);
  }),
  brokerCase('an acknowledged event is not redelivered', 'ack groups durableOnMemberDeath', async (fixture) => {
    const broker = await fixture.broker();
    const queue = 'workers';
    let acknowledged: Promise<void> | undefined;
    const first = await fixture.receive(broker, { queue, settle: (event) => (acknowledged = event.ack()) });
    await publish(broker, fixture.topic, ['done']);
    await first.count(1);
    await acknowledged;
    await first.stop(aborted());
    const second = await fixture.receive(broker, { queue });
    await publish(broker, fixture.topic, ['next']);
    await second.text('next');
    assert.deepStrictEqual(second.texts, ['next']);
  }),
  brokerCase('a nacked event is redelivered, and its attempts are counted', 'nack attempts', async (fixture) => {
    const broker = await fixture.broker();
    for (const queue of fixture.capabilities.groups ? ['workers', undefined] : [undefined]) {
      const topic = `${fixture.topic}.${queue}`;
      const received = await fixture.receive(broker, {
        topic,
        queue,
        settle: (event) => (event.attempt < 3 ? event.nack() : event.ack()),
      });
      await broker.publish(topic, message('again', { kept: 'yes' }));
      const events = await received.count(3);
      assert.deepStrictEqual(
        events.map(({ attempt }) => attempt),
        [1, 2, 3],
      );
      assert.deepStrictEqual(received.texts, ['again', 'again', 'again']);
      assert.deepStrictEqual(fixture.headersOf(events[2]), { kept: 'yes' });
      await received.stop();
    }
  }),
  brokerCase('an event keeps its id at every attempt', 'nack attempts', async (fixture) => {
    const broker = await fixture.broker();
    const received = await fixture.receive(broker, {
      queue: fixture.capabilities.groups ? 'workers' : undefined,
      settle: (event) => (event.attempt < 3 ? event.nack() : event.ack()),
    });
    await publish(broker, fixture.topic, ['again']);
    const events = await received.count(3);
    assert.equal(new Set(events.map(({ id }) => id)).size, 1);
  }),
  brokerCase('a rejected event is moved to the dead-letter topic, and not redelivered', undefined, async (fixture) => {
    const broker = await fixture.broker();
    const dead = await fixture.receive(broker, { topic: `${fixture.topic}.dead-letter` });
    const grave = await fixture.receive(broker, { topic: `${fixture.topic}.grave` });
    const reason = new TenonError({ code: Code.NotFound, reason: 'broker.rejected', message: 'no such order' });
    const settle = (event: Event): Promise<void> => (textOf(event) === 'last' ? event.ack() : event.reject(reason));
    const queue = fixture.capabilities.groups ? 'workers' : undefined;
    const received = await fixture.receive(broker, { queue, settle });
    await broker.publish(fixture.topic, message('bad', { kept: 'yes' }));
    const [event] = await dead.count(1);
    const { 'tenon-first-failed-at': first, 'tenon-last-failed-at': last, ...headers } = fixture.headersOf(event);
    for (const time of [first, last]) assert.match(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.deepStrictEqual(headers, {
      kept: 'yes',
      'tenon-dead-letter-reason': 'broker.rejected',
      'tenon-dead-letter-code': 'NOT_FOUND',
      'tenon-dead-letter-message': 'no such order',
      'tenon-attempts': '1',
      'tenon-original-topic': fixture.topic,
    });
    await publish(broker, fixture.topic, ['last']);
    await received.text('last');
    assert.deepStrictEqual(received.texts, ['bad', 'last']);
    await received.stop();
    const other = await fixture.receive(broker, { queue, settle, deadLetter: `${fixture.topic}.grave` });
    await publish(broker, fixture.topic, ['named']);
    await grave.text('named');
    await other.stop();
    assert.deepStrictEqual(dead.texts, ['bad']);
  }),
  brokerCase('an event that its handler rejects is not retried', undefined, async (fixture) => {
    const broker = await fixture.broker();
    const dead = await fixture.receive(broker, { topic: `${fixture.topic}.dead-letter` });
    const handled: string[] = [];
    const subscriber = await delivered(fixture, broker, { retry: 3, retryDelayMs: 1 }, async (event) => {
      handled.push(textOf(event));
      if (textOf(event) !== 'bad') return;
      await event.reject(new Error('never'));
      throw new Error('and it fails');
    });
    await publish(broker, fixture.topic, ['bad', 'good']);
    await dead.text('bad');
    await fixture.until('the other event', () => handled.includes('good'));
    await fixture.within('the end of the subscription', subscriber.unsubscribe());
    assert.deepStrictEqual(handled.sort(), ['bad', 'good']);
    assert.equal(fixture.headersOf(dead.events[0])['tenon-dead-letter-message'], 'never');
  }),
  brokerCase(
    'a nacked event is redelivered after its delay, without delaying others',
    'nack delay',
    async (fixture) => {
      const broker = await fixture.broker();
      const delayMs = 200;
      let nackedMs: number | undefined;
      let againMs = 0;
      const received = await fixture.receive(broker, {
        queue: fixture.capabilities.groups ? 'workers' : undefined,
        settle: (event) => {
          if (textOf(event) !== 'late') return event.ack();
          // Counted here: not every broker counts.
          if (nackedMs !== undefined) {
            againMs = systemClock.monotonicMs();
            return event.ack();
          }
          nackedMs = systemClock.monotonicMs();
          return event.nack({ delayMs });
        },
      });
      await publish(broker, fixture.topic, ['late', 'other']);
      await received.count(3);
      assert.deepStrictEqual(received.texts, ['late', 'other', 'late']);
      // Timers count whole milliseconds.
      const afterMs = againMs - (nackedMs ?? 0);
      assert.ok(afterMs >= delayMs - 2, `it came after ${afterMs} ms`);
    },
  ),
  brokerCase('an event settles once', 'ack nack', async (fixture) => {
    const broker = await fixture.broker();
    let isNacked = false;
    const received = await fixture.receive(broker, {
      settle: async (event) => {
        const text = textOf(event);
        if (text === 'nacked' && !isNacked) {
          isNacked = true;
          void event.nack();
          await event.ack();
          return;
        }
        void event.ack();
        await Promise.all([event.nack(), event.nack({ delayMs: 1 }), event.ack()]);
      },
    });
    await publish(broker, fixture.topic, ['acked', 'nacked']);
    await received.count(3);
    await publish(broker, fixture.topic, ['last']);
    await received.text('last');
    assert.deepStrictEqual(received.texts.sort(), ['acked', 'last', 'nacked', 'nacked']);
  }),
  brokerCase('at most maxInFlight events are delivered and not settled', undefined, async (fixture) => {
    const broker = await fixture.broker();
    const inHand = new Set<Event>();
    let most = 0;
    const received = await fixture.receive(broker, {
      maxInFlight: 3,
      settle: (event) => {
        inHand.add(event);
        most = Math.max(most, inHand.size);
      },
    });
    await Promise.all(numbers(20).map((text) => broker.publish(fixture.topic, message(text))));
    for (let settled = 0; settled < 20; settled += 1) {
      await fixture.until('an event in hand', () => inHand.size === Math.min(3, 20 - settled));
      const [event] = inHand as unknown as Iterable<Event>;
      inHand.delete(event as Event);
      await event?.ack();
    }
    assert.equal(most, 3);
    assert.deepStrictEqual(received.texts.sort(), numbers(20).sort());
  }),
  brokerCase('events that wait for their key do not delay other keys', undefined, async (fixture) => {
    const broker = await fixture.broker();
    const handled: string[] = [];
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    const subscriber = await delivered(fixture, broker, { maxInFlight: 2 }, async (event) => {
      if (textOf(event) === 'held 0') await released;
      handled.push(textOf(event));
    });
    const held = numbers(10).map((text) => `held ${text}`);
    await publish(broker, fixture.topic, held, { orderKey: 'a' });
    await publish(broker, fixture.topic, ['free'], { orderKey: 'b' });
    await fixture.until('the event of the other key', () => handled.length > 0);
    assert.deepStrictEqual(handled, ['free']);
    release();
    await fixture.until('the events of the first key', () => handled.length > held.length);
    assert.deepStrictEqual(handled, ['free', ...held]);
    await fixture.within('the end of the subscription', subscriber.unsubscribe());
  }),
  brokerCase('at most maxInFlight handlers run while events wait for retries', undefined, async (fixture) => {
    const broker = await fixture.broker();
    const [failed, handled] = [new Set<string>(), new Set<string>()];
    let [running, most] = [0, 0];
    const options = { maxInFlight: 3, retry: 2, retryDelayMs: 5 };
    const subscriber = await delivered(fixture, broker, options, async (event) => {
      const text = textOf(event);
      running += 1;
      most = Math.max(most, running);
      await systemTimers.sleep(2);
      running -= 1;
      if (Number(text) % 2 === 0 && !failed.has(text)) {
        failed.add(text);
        throw new Error('not yet');
      }
      handled.add(text);
    });
    await Promise.all(
      numbers(40).map((text) => broker.publish(fixture.topic, message(text), { orderKey: `key-${Number(text) % 10}` })),
    );
    await fixture.until('all events', () => handled.size === 40);
    assert.ok(most <= 3, `${most} handlers ran at once`);
    await fixture.within('the end of the subscription', subscriber.unsubscribe());
  }),
  brokerCase('events are delivered in the order of publishing', 'order', async (fixture) => {
    const [publisher, subscriber] = await fixture.two();
    const received = await fixture.receive(subscriber);
    const oneByOne = await fixture.receive(subscriber, {
      maxInFlight: 1,
      settle: async (event) => (await systemTimers.sleep(0), event.ack()),
    });
    await Promise.all(numbers(200).map((text) => publisher.publish(fixture.topic, message(text))));
    await Promise.all([received.count(200), oneByOne.count(200)]);
    assert.deepStrictEqual(received.texts, numbers(200));
    assert.deepStrictEqual(oneByOne.texts, numbers(200));
  }),
  brokerCase('events of one key keep their order', 'order', async (fixture) => {
    const broker = await fixture.broker();
    const received = await fixture.receive(broker, {
      queue: fixture.capabilities.groups ? 'workers' : undefined,
      maxInFlight: 2,
    });
    await Promise.all(
      numbers(60).map((text) => broker.publish(fixture.topic, message(text), { orderKey: `key-${Number(text) % 3}` })),
    );
    await received.count(60);
    for (const rest of [0, 1, 2]) {
      const ofKey = received.texts.map(Number).filter((number) => number % 3 === rest);
      assert.deepStrictEqual(
        ofKey,
        ofKey.toSorted((a, b) => a - b),
      );
    }
  }),
];
