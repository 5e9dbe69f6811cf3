import assert from 'node:assert/strict';

import type { BrokerCapabilities } from '../../broker/broker.ts';
import { Code } from '../../errors/errors.ts';
import { systemTimers } from '../../runtime/system.ts';
import type { Case } from '../api.ts';
import {
  aborted,
  type BrokerHarness,
  delivered,
  iterate,
  leaveInHand,
  message,
  publish,
  type Received,
  refuses,
  scene,
  textOf,
} from './broker-scene.ts';

/** The life of brokers and subscriptions, and what is refused. */
export const lifeCases: readonly Case<BrokerHarness>[] = [
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
  scene('unsubscribe leaves to others what waits for its next attempt', 'persistent ack groups', async (stage) => {
    const [one, other] = await stage.two();
    const queue = 'workers';
    const failed: string[] = [];
    const options = { queue, retry: 20, retryDelayMs: 20 };
    const left = await delivered(stage, one, options, (event) => {
      failed.push(textOf(event));
      return Promise.reject(new Error('not here'));
    });
    await publish(one, stage.topic, ['key 0', 'key 1', 'key 2'], { orderKey: 'key' });
    await publish(one, stage.topic, ['free']);
    await stage.until('attempts of both', () => failed.includes('key 0') && failed.includes('free'));
    await stage.within('the end of the subscription', left.unsubscribe());
    const attempts = failed.length;
    const handled: string[] = [];
    const back = await delivered(stage, other, { queue }, async (event) => void handled.push(textOf(event)));
    await stage.until('what was left', () => new Set(handled).size === 4);
    assert.equal(failed.length, attempts, 'it was tried after the end of its subscription');
    await stage.within('the end of the other subscription', back.unsubscribe());
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
  scene('a subscription says when it has ended, however it was ended', undefined, async (stage) => {
    const broker = await stage.broker();
    const abort = new AbortController();
    const ends: [string, { readonly signal?: AbortSignal }, (received: Received) => Promise<void> | void][] = [
      ['unsubscribe', {}, (received) => received.stop()],
      ['its signal', { signal: abort.signal }, () => abort.abort()],
      ['disconnect', {}, () => broker.disconnect()],
    ];
    for (const [name, options, end] of ends) {
      const received = await stage.receive(broker, options);
      let isClosed = false;
      const closed = received.subscriber?.closed.then((error) => ((isClosed = true), error));
      await publish(broker, stage.topic, ['x']);
      await received.count(1);
      assert.ok(!isClosed, `it had ended before ${name}`);
      await end(received);
      assert.equal(await stage.within(`the end by ${name}`, Promise.resolve(closed)), undefined);
    }
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
  scene('the broker tells its state, and hands out its client while it has one', undefined, async (stage) => {
    const broker = stage.make();
    const seen = [broker.status];
    assert.equal(broker.unwrap(), undefined);
    await broker.connect();
    seen.push(broker.status);
    await broker.disconnect();
    seen.push(broker.status);
    assert.deepStrictEqual(
      seen.map(({ state }) => state),
      ['closed', 'connected', 'closed'],
    );
    const since = seen.map(({ sinceMs }) => sinceMs);
    assert.deepStrictEqual(
      since,
      since.toSorted((a, b) => a - b),
    );
    assert.equal(broker.unwrap(), undefined);
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
  scene(
    'the broker says what it can do with its options, its class what without, and what it is',
    undefined,
    async (stage) => {
      const broker = stage.make();
      type Stated = BrokerCapabilities | ((options: object) => BrokerCapabilities);
      const stated = (broker.constructor as { readonly capabilities?: Stated }).capabilities;
      const ofClass = typeof stated === 'function' ? stated.call(broker.constructor, {}) : stated;
      assert.deepStrictEqual(broker.capabilities ?? ofClass, stage.capabilities);
      assert.deepStrictEqual(Object.keys(ofClass ?? {}).sort(), Object.keys(stage.capabilities).sort());
      assert.ok(Object.values(stage.capabilities).every((value) => typeof value === 'boolean'));
      assert.notEqual(String(broker), '');
      assert.ok(!String(broker).includes('['), `toString is not implemented: ${String(broker)}`);
      assert.notEqual(broker.address, '');
    },
  ),
];
