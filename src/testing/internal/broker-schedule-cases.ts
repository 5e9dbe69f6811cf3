import assert from 'node:assert/strict';

import type { Event } from '../../broker/broker.ts';
import { Code } from '../../errors/errors.ts';
import { systemClock, systemTimers } from '../../runtime/system.ts';
import type { Case } from '../api.ts';
import { brokerCase, type BrokerHarness, message, refuses } from './broker-fixture.ts';

/** Cases of events that are delivered later, or no more. */
export const scheduleCases: readonly Case<BrokerHarness>[] = [
  brokerCase('an event with delayMs is delivered after its time', 'ack nack delay', async (fixture) => {
    const broker = await fixture.broker();
    const delayMs = 300;
    const times: number[] = [];
    const received = await fixture.receive(broker, {
      queue: fixture.capabilities.groups ? 'workers' : undefined,
      settle: (event) => (times.push(systemClock.monotonicMs()), event.ack()),
    });
    const publishedMs = systemClock.monotonicMs();
    await broker.publish(fixture.topic, message('late'), { delayMs });
    await broker.publish(fixture.topic, message('now'));
    await received.count(2);
    assert.deepStrictEqual(received.texts, ['now', 'late']);
    assert.equal(received.events[1]?.attempt, 1);
    // Times in headers are whole milliseconds.
    const afterMs = (times[1] ?? 0) - publishedMs;
    assert.ok(afterMs >= delayMs - 3, `it came after ${afterMs} ms`);
  }),
  brokerCase('an event with delayMs is refused by a broker that cannot delay', '!delay', async (fixture) => {
    const broker = await fixture.broker();
    await refuses(broker, Code.FailedPrecondition, 'broker.unsupported', () =>
      broker.publish(fixture.topic, message('late'), { delayMs: 10 }),
    );
  }),
  brokerCase('an event that was not delivered within ttlMs is dropped', undefined, async (fixture) => {
    const broker = await fixture.broker();
    const inHand: Event[] = [];
    const received = await fixture.receive(broker, {
      maxInFlight: 1,
      settle: (event) => void inHand.push(event),
    });
    await broker.publish(fixture.topic, message('first'));
    await received.count(1);
    await broker.publish(fixture.topic, message('short'), { ttlMs: 1 });
    await broker.publish(fixture.topic, message('long'), { ttlMs: 600_000 });
    await systemTimers.sleep(20);
    while (!received.texts.includes('long')) {
      await inHand.shift()?.ack();
      await fixture.until('the next event', () => inHand.length > 0);
    }
    await inHand.shift()?.ack();
    assert.deepStrictEqual(received.texts, ['first', 'long']);
  }),
];
