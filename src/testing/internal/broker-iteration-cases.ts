import assert from 'node:assert/strict';

import type { Event } from '../../broker/broker.ts';
import { systemTimers } from '../../runtime/system.ts';
import type { Case } from '../api.ts';
import { type BrokerHarness, firstOf, iterate, publish, brokerCase, textOf } from './broker-fixture.ts';

/** Cases of subscriptions that are iterated: pull and watch. */
export const iterationCases: readonly Case<BrokerHarness>[] = [
  brokerCase('pull delivers an event only when next() asks for one', 'persistent groups competing', async (fixture) => {
    const broker = await fixture.broker();
    const queue = 'workers';
    const pulled = iterate(broker.pull(fixture.topic, { queue }));
    const first = await firstOf(fixture, broker, pulled);
    const second = await fixture.receive(broker, { queue });
    await publish(broker, fixture.topic, ['a', 'b', 'c']);
    for (const text of ['a', 'b', 'c']) await second.text(text);
    await first.ack();
    const third = pulled.next();
    await second.stop();
    await publish(broker, fixture.topic, ['d']);
    const { value } = await fixture.within('the event that was asked for', third);
    assert.equal(textOf(value as Event), 'd');
    await (value as Event).ack();
    await pulled.return?.();
  }),
  brokerCase('pull delivers events one after another, to be settled by the reader', undefined, async (fixture) => {
    const broker = await fixture.broker();
    const pulled = iterate(broker.pull(fixture.topic));
    await (await firstOf(fixture, broker, pulled)).ack();
    await publish(broker, fixture.topic, ['last']);
    for (let text = ''; text !== 'last';) {
      const { value } = await fixture.within('the next event', pulled.next());
      text = textOf(value as Event);
      await (value as Event).ack();
    }
    await pulled.return?.();
    assert.equal((await fixture.within('the end of the iteration', pulled.next())).done, true);
  }),
  brokerCase(
    'leaving a pull releases the events that were not settled',
    'nack groups durableOnMemberDeath',
    async (fixture) => {
      const [one, other] = await fixture.two();
      const queue = 'workers';
      const pulled = iterate(one.pull(fixture.topic, { queue }));
      await (await firstOf(fixture, one, pulled)).ack();
      // Others may be here already: settle until the one that is to be given back.
      await publish(one, fixture.topic, ['kept']);
      for (;;) {
        const { value } = await fixture.within('the next event', pulled.next());
        if (textOf(value as Event) === 'kept') break;
        await (value as Event).ack();
      }
      await pulled.return?.();
      const received = await fixture.receive(other, { queue });
      await received.text('kept');
    },
  ),
  brokerCase('a pull and a watch end when their signal aborts', undefined, async (fixture) => {
    const broker = await fixture.broker();
    for (const open of [broker.pull.bind(broker), broker.watch.bind(broker)]) {
      const abort = new AbortController();
      const events = iterate(open(fixture.topic, { signal: abort.signal }));
      await (await firstOf(fixture, broker, events)).ack();
      let ended = false;
      const drained = (async () => {
        while (!(await events.next()).done);
        ended = true;
      })();
      await systemTimers.sleep(10);
      assert.ok(!ended, 'it ended by itself');
      abort.abort();
      await fixture.within('the end of the iteration', drained);
      assert.equal((await iterate(open(fixture.topic, { signal: abort.signal })).next()).done, true);
    }
  }),
  brokerCase('a pull and a watch end when the broker disconnects', undefined, async (fixture) => {
    const broker = await fixture.broker();
    const iterations = [iterate(broker.pull(fixture.topic)), iterate(broker.watch(fixture.topic))];
    for (const events of iterations) await (await firstOf(fixture, broker, events)).ack();
    const drained = iterations.map(async (events) => {
      while (!(await events.next()).done);
    });
    await broker.disconnect();
    await fixture.within('the end of the iterations', Promise.all(drained));
  }),
  brokerCase('watch does not consume the events of subscribers', undefined, async (fixture) => {
    const [one, other] = await fixture.two();
    const received = await fixture.receive(one, { queue: fixture.capabilities.groups ? 'workers' : undefined });
    const watched = iterate(other.watch(fixture.topic));
    const first = await firstOf(fixture, one, watched);
    await first.nack();
    await publish(one, fixture.topic, ['a', 'b']);
    const seen: string[] = [];
    while (!seen.includes('b')) {
      const { value } = await fixture.within('the next event', watched.next());
      seen.push(textOf(value as Event));
      await (value as Event).ack();
    }
    await received.text('b');
    assert.deepStrictEqual(
      [seen, received.texts].map((texts) => texts.filter((text) => text !== 'first')),
      [
        ['a', 'b'],
        ['a', 'b'],
      ],
    );
    await watched.return?.();
  }),
];
