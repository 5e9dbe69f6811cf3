import assert from 'node:assert/strict';

import type { Broker, BrokerCapabilities, Event } from '../broker/broker.ts';
import { Code } from '../errors/errors.ts';
import { systemClock, systemTimers } from '../runtime/system.ts';
import type { Case, TestApi } from './api.ts';
import { type BrokerHarness, leaveInHand, message, publish, refuses, Scene, textOf } from './internal/broker-scene.ts';

export type { BrokerHarness } from './internal/broker-scene.ts';

const numbers = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index));
const aborted = (): AbortSignal => AbortSignal.abort(new Error('enough'));

/** A case with brokers of its own, which are disconnected afterwards. `requires`: capabilities, separated by blanks; `!` before one that must be missing. */
function scene(name: string, requires: string | undefined, run: (scene: Scene) => Promise<void>): Case<BrokerHarness> {
  return {
    name,
    requires,
    async run(harness) {
      const stage = new Scene(harness);
      try {
        await run(stage);
      } finally {
        await stage.end();
      }
    },
  };
}

/** A first event from a pull: its subscription stands at some time after `next()` was called. */
async function firstOf(
  stage: Scene,
  broker: Broker,
  events: AsyncIterator<Event>,
  topic = stage.topic,
): Promise<Event> {
  let first: Event | undefined;
  const next = events.next().then(({ value }) => (first = value as Event));
  for (let tried = 0; !first && tried < 100; tried += 1) {
    await broker.publish(topic, message('first'));
    await systemTimers.sleep(10);
  }
  await stage.within('a first event', next);
  return first as unknown as Event;
}

/** The promises of {@link Broker}. */
export const brokerCases: readonly Case<BrokerHarness>[] = [
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
  scene('a body of one mebibyte arrives whole', undefined, async (stage) => {
    const broker = await stage.broker();
    const received = await stage.receive(broker);
    const body = Uint8Array.from({ length: 1_048_576 }, (_, index) => (index * 31) % 251);
    await broker.publish(stage.topic, { headers: {}, body });
    const [event] = await received.count(1);
    assert.ok(Buffer.from(body).equals(event?.body ?? body.subarray(1)), 'the bytes differ');
  }),
  scene('topics and headers may hold any text', undefined, async (stage) => {
    const broker = await stage.broker();
    const topic = `${stage.topic}/Größe 日本 🦊 *?[a] {x}`;
    const received = await stage.receive(broker, { topic });
    const headers = {
      'ключ 🔑': 'Wert\r\nmit "Zeilen"\u0000',
      ['__proto__']: 'a header like others',
      constructor: 'x',
    };
    await broker.publish(topic, { headers, body: new Uint8Array(1) });
    const [event] = await received.count(1);
    assert.equal(event?.topic, topic);
    assert.deepStrictEqual(Object.entries(stage.headersOf(event)), Object.entries(headers));
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
  scene('a callback that fails does not end the subscription', undefined, async (stage) => {
    const broker = await stage.broker();
    const received = await stage.receive(broker, {
      settle: (event) => {
        if (textOf(event) === 'throws') throw new Error('thrown');
        if (textOf(event) === 'rejects') return Promise.reject(new Error('rejected'));
        return event.ack();
      },
    });
    await publish(broker, stage.topic, ['throws', 'rejects', 'fine']);
    await received.text('fine');
  }),
  scene('an event whose callback failed is handed out again', 'nack', async (stage) => {
    const broker = await stage.broker();
    const failed = new Set<string>();
    const received = await stage.receive(broker, {
      settle: (event) => {
        const text = textOf(event);
        if (failed.has(text)) return event.ack();
        failed.add(text);
        if (text === 'throws') throw new Error('thrown');
        return Promise.reject(new Error('rejected'));
      },
    });
    await publish(broker, stage.topic, ['throws', 'rejects']);
    await received.count(4);
    assert.deepStrictEqual(received.texts.sort(), ['rejects', 'rejects', 'throws', 'throws']);
  }),
  scene('an acknowledged event is not handed out again', 'ack groups', async (stage) => {
    const broker = await stage.broker();
    const queue = 'workers';
    let acknowledged: Promise<void> | undefined;
    const first = await stage.receive(broker, { queue, settle: (event) => (acknowledged = event.ack()) });
    await publish(broker, stage.topic, ['done']);
    await first.count(1);
    await acknowledged;
    await first.stop(aborted());
    const second = await stage.receive(broker, { queue });
    await publish(broker, stage.topic, ['next']);
    await second.text('next');
    assert.deepStrictEqual(second.texts, ['next']);
  }),
  scene('a nacked event is handed out again, and its attempts are counted', 'nack attempts', async (stage) => {
    const broker = await stage.broker();
    for (const queue of stage.capabilities.groups ? ['workers', undefined] : [undefined]) {
      const topic = `${stage.topic}.${queue}`;
      const received = await stage.receive(broker, {
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
      assert.deepStrictEqual(stage.headersOf(events[2]), { kept: 'yes' });
      await received.stop();
    }
  }),
  scene('a nacked event waits for its delay, and others do not', 'nack delay', async (stage) => {
    const broker = await stage.broker();
    const delayMs = 200;
    let nackedMs = 0;
    let againMs = 0;
    const received = await stage.receive(broker, {
      queue: stage.capabilities.groups ? 'workers' : undefined,
      settle: (event) => {
        if (textOf(event) !== 'late') return event.ack();
        if (event.attempt > 1) againMs = systemClock.monotonicMs();
        else nackedMs = systemClock.monotonicMs();
        return event.attempt > 1 ? event.ack() : event.nack({ delayMs });
      },
    });
    await publish(broker, stage.topic, ['late', 'other']);
    await received.count(3);
    assert.deepStrictEqual(received.texts, ['late', 'other', 'late']);
    // Timers count whole milliseconds.
    assert.ok(againMs - nackedMs >= delayMs - 2, `it came after ${againMs - nackedMs} ms`);
  }),
  scene('an event settles once', 'ack nack', async (stage) => {
    const broker = await stage.broker();
    const received = await stage.receive(broker, {
      settle: async (event) => {
        const text = textOf(event);
        if (text === 'nacked' && event.attempt === 1) {
          void event.nack();
          await event.ack();
          return;
        }
        void event.ack();
        await Promise.all([event.nack(), event.nack({ delayMs: 1 }), event.ack()]);
      },
    });
    await publish(broker, stage.topic, ['acked', 'nacked']);
    await received.count(3);
    await publish(broker, stage.topic, ['last']);
    await received.text('last');
    assert.deepStrictEqual(received.texts.sort(), ['acked', 'last', 'nacked', 'nacked']);
  }),
  scene('no more than maxInFlight events are in hand', undefined, async (stage) => {
    const broker = await stage.broker();
    const inHand = new Set<Event>();
    let most = 0;
    const received = await stage.receive(broker, {
      maxInFlight: 3,
      settle: (event) => {
        inHand.add(event);
        most = Math.max(most, inHand.size);
      },
    });
    await Promise.all(numbers(20).map((text) => broker.publish(stage.topic, message(text))));
    for (let settled = 0; settled < 20; settled += 1) {
      await stage.until('an event in hand', () => inHand.size === Math.min(3, 20 - settled));
      const [event] = inHand as unknown as Iterable<Event>;
      inHand.delete(event as Event);
      await event?.ack();
    }
    assert.equal(most, 3);
    assert.deepStrictEqual(received.texts.sort(), numbers(20).sort());
  }),
  scene('events arrive in the order they were published', 'order', async (stage) => {
    const [publisher, subscriber] = await stage.two();
    const received = await stage.receive(subscriber);
    const oneByOne = await stage.receive(subscriber, {
      maxInFlight: 1,
      settle: async (event) => (await systemTimers.sleep(0), event.ack()),
    });
    await Promise.all(numbers(200).map((text) => publisher.publish(stage.topic, message(text))));
    await Promise.all([received.count(200), oneByOne.count(200)]);
    assert.deepStrictEqual(received.texts, numbers(200));
    assert.deepStrictEqual(oneByOne.texts, numbers(200));
  }),
  scene('events of one key keep their order', 'order', async (stage) => {
    const broker = await stage.broker();
    const received = await stage.receive(broker, {
      queue: stage.capabilities.groups ? 'workers' : undefined,
      maxInFlight: 2,
    });
    await Promise.all(
      numbers(60).map((text) => broker.publish(stage.topic, message(text), { orderKey: `key-${Number(text) % 3}` })),
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
  scene('unsubscribe waits for what is in hand', undefined, async (stage) => {
    const broker = await stage.broker();
    const received = await stage.receive(broker, { settle: leaveInHand });
    await publish(broker, stage.topic, ['a', 'b']);
    const [a, b] = await received.count(2);
    let stopped = false;
    const stop = received.stop().then(() => (stopped = true));
    await a?.ack();
    await systemTimers.sleep(30);
    assert.ok(!stopped, 'it resolved while an event was in hand');
    await b?.ack();
    await stop;
  }),
  scene('no event arrives after unsubscribe', undefined, async (stage) => {
    const broker = await stage.broker();
    const left = await stage.receive(broker);
    const stays = await stage.receive(broker);
    await publish(broker, stage.topic, ['before']);
    await Promise.all([left.count(1), stays.count(1)]);
    await left.stop();
    await left.stop();
    await publish(broker, stage.topic, ['after']);
    await stays.count(2);
    assert.deepStrictEqual(left.texts, ['before']);
  }),
  scene('unsubscribe gives back what is in hand when its signal aborts', 'nack groups', async (stage) => {
    const [one, other] = await stage.two();
    const queue = 'workers';
    const first = await stage.receive(one, { queue, settle: leaveInHand });
    await publish(one, stage.topic, ['a', 'b']);
    const [a] = await first.count(2);
    const second = await stage.receive(other, { queue });
    const abort = new AbortController();
    const stop = first.stop(abort.signal);
    abort.abort();
    await stop;
    await second.count(2);
    assert.deepStrictEqual(second.texts.sort(), ['a', 'b']);
    // It is no longer in the hands of the first one.
    await a?.ack();
    await a?.nack();
  }),
  scene('disconnect gives back what is in hand', 'nack groups', async (stage) => {
    const [one, other] = await stage.two();
    const queue = 'workers';
    const first = await stage.receive(one, { queue, settle: leaveInHand });
    await publish(one, stage.topic, ['a']);
    await first.count(1);
    const second = await stage.receive(other, { queue });
    await stage.within('the end of the connection', one.disconnect());
    await second.text('a');
  }),
  scene('a subscription ends when its signal aborts', undefined, async (stage) => {
    const broker = await stage.broker();
    const abort = new AbortController();
    const stopped = await stage.receive(broker, { signal: abort.signal });
    const stays = await stage.receive(broker);
    await publish(broker, stage.topic, ['before']);
    await Promise.all([stopped.count(1), stays.count(1)]);
    abort.abort();
    await stopped.stop();
    await publish(broker, stage.topic, ['after']);
    await stays.count(2);
    assert.deepStrictEqual(stopped.texts, ['before']);
  }),
  scene('a queue keeps events for members that are away', 'persistent groups', async (stage) => {
    const [publisher, subscriber] = await stage.two();
    const queue = 'workers';
    const there = await stage.receive(subscriber, { queue });
    await publish(publisher, stage.topic, ['first']);
    await there.count(1);
    await there.stop();
    await publish(publisher, stage.topic, ['a', 'b']);
    // Stored is stored: nothing hangs on the publisher any more.
    await publisher.disconnect();
    const back = await stage.receive(subscriber, { queue });
    await back.count(2);
    assert.deepStrictEqual(back.texts, ['a', 'b']);
  }),
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
  scene('before connect and after disconnect every call is refused', undefined, async (stage) => {
    const broker = stage.make();
    const refused = async (): Promise<void> => {
      const calls = [
        () => broker.publish(stage.topic, message('x')),
        () => broker.publish(stage.topic, message('x'), { timeoutMs: 1_000 }),
        () => broker.subscribe(stage.topic, leaveInHand),
        () => iterate(broker.pull(stage.topic)).next(),
        () => iterate(broker.watch(stage.topic)).next(),
      ];
      for (const call of calls) await refuses(broker, Code.FailedPrecondition, 'broker.not_connected', call);
    };
    await refused();
    await broker.connect();
    await broker.publish(stage.topic, message('x'));
    await broker.disconnect();
    await refused();
  }),
  scene('connect and disconnect may be called again', undefined, async (stage) => {
    const broker = stage.make();
    await Promise.all([broker.connect(), broker.connect()]);
    await broker.connect();
    await broker.disconnect();
    await broker.disconnect();
    await broker.connect();
    const received = await stage.receive(broker);
    await publish(broker, stage.topic, ['again']);
    await received.count(1);
  }),
  scene('a call whose signal has aborted is cancelled', undefined, async (stage) => {
    const broker = await stage.broker();
    const received = await stage.receive(broker);
    const signal = aborted();
    await refuses(broker, Code.Cancelled, 'call.cancelled', () =>
      broker.publish(stage.topic, message('never'), { signal }),
    );
    await refuses(broker, Code.Cancelled, 'call.cancelled', () =>
      broker.subscribe(stage.topic, leaveInHand, { signal }),
    );
    await refuses(broker, Code.Cancelled, 'call.cancelled', () => stage.make().connect({ signal }));
    await broker.publish(stage.topic, message('bounded'), { signal: new AbortController().signal, timeoutMs: 5_000 });
    await received.text('bounded');
    assert.deepStrictEqual(received.texts, ['bounded']);
  }),
  scene('options change only while the broker is not connected', undefined, async (stage) => {
    const broker = stage.make();
    broker.init({ timeoutMs: 4_000 });
    assert.equal(broker.options.timeoutMs, 4_000);
    await broker.connect();
    await refuses(broker, Code.FailedPrecondition, 'broker.started', async () => broker.init({ timeoutMs: 3_000 }));
    await broker.disconnect();
    broker.init({ timeoutMs: 3_000 });
    assert.equal(broker.options.timeoutMs, 3_000);
  }),
  scene('a topic without a name and a bound below one are refused', undefined, async (stage) => {
    const broker = await stage.broker();
    await refuses(broker, Code.InvalidArgument, 'broker.invalid_topic', () => broker.publish('', message('x')));
    await refuses(broker, Code.InvalidArgument, 'broker.invalid_topic', () => broker.subscribe('', leaveInHand));
    await refuses(broker, Code.InvalidArgument, 'broker.invalid_options', () =>
      broker.subscribe(stage.topic, leaveInHand, { maxInFlight: 0 }),
    );
  }),
  scene('the class says what it can do, and the broker what it is', undefined, async (stage) => {
    const broker = stage.make();
    const { capabilities } = broker.constructor as { readonly capabilities?: BrokerCapabilities };
    assert.deepStrictEqual(capabilities, stage.capabilities);
    assert.ok(Object.values(stage.capabilities).every((value) => typeof value === 'boolean'));
    assert.notEqual(String(broker), '');
    assert.ok(!String(broker).includes('['), `toString is not implemented: ${String(broker)}`);
    assert.notEqual(broker.address, '');
  }),
];

function iterate<T>(events: AsyncIterable<T>): AsyncIterator<T> {
  return events[Symbol.asyncIterator]();
}

/** Whether a case concerns a broker of these capabilities. */
export function concerns(requires: string | undefined, capabilities: BrokerCapabilities): boolean {
  const stated = capabilities as unknown as Readonly<Record<string, boolean>>;
  return (requires ?? '')
    .split(' ')
    .filter((one) => one !== '')
    .every((one) => (one.startsWith('!') ? stated[one.slice(1)] === false : stated[one] === true));
}

/** Runs {@link brokerCases} on a broker: those that its capabilities concern. */
export function brokerConformance(api: TestApi, name: string, harness: BrokerHarness): void {
  api.describe(`broker conformance: ${name}`, () => {
    for (const one of brokerCases) {
      if (concerns(one.requires, harness.capabilities)) api.it(one.name, () => one.run(harness));
    }
  });
}
