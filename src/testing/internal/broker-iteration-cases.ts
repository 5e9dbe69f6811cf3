import assert from 'node:assert/strict';

import type { Event } from '../../broker/broker.ts';
import { systemTimers } from '../../runtime/system.ts';
import type { Case } from '../api.ts';
import { type BrokerHarness, firstOf, iterate, publish, scene, textOf } from './broker-scene.ts';

/** Pull and watch. */
export const iterationCases: readonly Case<BrokerHarness>[] = [
  scene('a pull hands out an event only when it is asked for one', 'persistent groups', async (stage) => {
    const broker = await stage.broker();
    const queue = 'workers';
    const pulled = iterate(broker.pull(stage.topic, { queue }));
    const first = await firstOf(stage, broker, pulled);
    const second = await stage.receive(broker, { queue });
    await publish(broker, stage.topic, ['a', 'b', 'c']);
    for (const text of ['a', 'b', 'c']) await second.text(text);
    await first.ack();
    const third = pulled.next();
    await second.stop();
    await publish(broker, stage.topic, ['d']);
    const { value } = await stage.within('the event that was asked for', third);
    assert.equal(textOf(value as Event), 'd');
    await (value as Event).ack();
    await pulled.return?.();
  }),
  scene('a pull hands out events one after another, to be settled by hand', undefined, async (stage) => {
    const broker = await stage.broker();
    const pulled = iterate(broker.pull(stage.topic));
    await (await firstOf(stage, broker, pulled)).ack();
    await publish(broker, stage.topic, ['last']);
    for (let text = ''; text !== 'last';) {
      const { value } = await stage.within('the next event', pulled.next());
      text = textOf(value as Event);
      await (value as Event).ack();
    }
    await pulled.return?.();
    assert.equal((await stage.within('the end of the iteration', pulled.next())).done, true);
  }),
  scene('a pull that is left gives back what was not settled', 'nack groups', async (stage) => {
    const [one, other] = await stage.two();
    const queue = 'workers';
    const pulled = iterate(one.pull(stage.topic, { queue }));
    await (await firstOf(stage, one, pulled)).ack();
    // Others may be here already: settle until the one that is to be given back.
    await publish(one, stage.topic, ['kept']);
    for (;;) {
      const { value } = await stage.within('the next event', pulled.next());
      if (textOf(value as Event) === 'kept') break;
      await (value as Event).ack();
    }
    await pulled.return?.();
    const received = await stage.receive(other, { queue });
    await received.text('kept');
  }),
  scene('a pull and a watch end when their signal aborts', undefined, async (stage) => {
    const broker = await stage.broker();
    for (const open of [broker.pull.bind(broker), broker.watch.bind(broker)]) {
      const abort = new AbortController();
      const events = iterate(open(stage.topic, { signal: abort.signal }));
      await (await firstOf(stage, broker, events)).ack();
      let ended = false;
      const drained = (async () => {
        while (!(await events.next()).done);
        ended = true;
      })();
      await systemTimers.sleep(10);
      assert.ok(!ended, 'it ended by itself');
      abort.abort();
      await stage.within('the end of the iteration', drained);
      assert.equal((await iterate(open(stage.topic, { signal: abort.signal })).next()).done, true);
    }
  }),
  scene('a pull and a watch end when the broker disconnects', undefined, async (stage) => {
    const broker = await stage.broker();
    const iterations = [iterate(broker.pull(stage.topic)), iterate(broker.watch(stage.topic))];
    for (const events of iterations) await (await firstOf(stage, broker, events)).ack();
    const drained = iterations.map(async (events) => {
      while (!(await events.next()).done);
    });
    await broker.disconnect();
    await stage.within('the end of the iterations', Promise.all(drained));
  }),
  scene('watching takes nothing from those who subscribe', undefined, async (stage) => {
    const [one, other] = await stage.two();
    const received = await stage.receive(one, { queue: stage.capabilities.groups ? 'workers' : undefined });
    const watched = iterate(other.watch(stage.topic));
    const first = await firstOf(stage, one, watched);
    await first.nack();
    await publish(one, stage.topic, ['a', 'b']);
    const seen: string[] = [];
    while (!seen.includes('b')) {
      const { value } = await stage.within('the next event', watched.next());
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
