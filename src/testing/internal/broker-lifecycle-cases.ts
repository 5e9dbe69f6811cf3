import assert from 'node:assert/strict';

import type { BrokerCapabilities, BrokerOptions } from '../../broker/broker.ts';
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
  brokerCase,
  textOf,
} from './broker-fixture.ts';

/** Cases of the lifecycle of brokers and subscriptions, and of calls that are refused. */
export const lifecycleCases: readonly Case<BrokerHarness>[] = [
  brokerCase('unsubscribe waits for in-flight events', undefined, async (fixture) => {
    const broker = await fixture.broker();
    const received = await fixture.receive(broker, { settle: leaveInHand });
    await publish(broker, fixture.topic, ['a', 'b']);
    const [a, b] = await received.count(2);
    let stopped = false;
    const stop = received.stop().then(() => (stopped = true));
    await a?.ack();
    await systemTimers.sleep(30);
    assert.ok(!stopped, 'it resolved while an event was in hand');
    await b?.ack();
    await stop;
  }),
  brokerCase('no event arrives after unsubscribe', undefined, async (fixture) => {
    const broker = await fixture.broker();
    const left = await fixture.receive(broker);
    const stays = await fixture.receive(broker);
    await publish(broker, fixture.topic, ['before']);
    await Promise.all([left.count(1), stays.count(1)]);
    await left.stop();
    await left.stop();
    await publish(broker, fixture.topic, ['after']);
    await stays.count(2);
    assert.deepStrictEqual(left.texts, ['before']);
  }),
  brokerCase(
    'unsubscribe releases in-flight events when its signal aborts',
    'nack groups durableOnMemberDeath',
    async (fixture) => {
      const [one, other] = await fixture.two();
      const queue = 'workers';
      const first = await fixture.receive(one, { queue, settle: leaveInHand });
      await publish(one, fixture.topic, ['a', 'b']);
      const [a] = await first.count(2);
      const second = await fixture.receive(other, { queue });
      const abort = new AbortController();
      const stop = first.stop(abort.signal);
      abort.abort();
      await stop;
      await second.count(2);
      assert.deepStrictEqual(second.texts.sort(), ['a', 'b']);
      // It is no longer in the hands of the first one.
      await a?.ack();
      await a?.nack();
    },
  ),
  brokerCase(
    'unsubscribe leaves events that wait for a retry to others',
    'persistent ack groups durableOnMemberDeath',
    async (fixture) => {
      const [one, other] = await fixture.two();
      const queue = 'workers';
      const failed: string[] = [];
      const options = { queue, retry: 20, retryDelayMs: 20 };
      const left = await delivered(fixture, one, options, (event) => {
        failed.push(textOf(event));
        return Promise.reject(new Error('not here'));
      });
      await publish(one, fixture.topic, ['key 0', 'key 1', 'key 2'], { orderKey: 'key' });
      await publish(one, fixture.topic, ['free']);
      await fixture.until('attempts of both', () => failed.includes('key 0') && failed.includes('free'));
      await fixture.within('the end of the subscription', left.unsubscribe());
      const attempts = failed.length;
      const handled: string[] = [];
      const back = await delivered(fixture, other, { queue }, async (event) => void handled.push(textOf(event)));
      await fixture.until('what was left', () => new Set(handled).size === 4);
      assert.equal(failed.length, attempts, 'it was tried after the end of its subscription');
      await fixture.within('the end of the other subscription', back.unsubscribe());
    },
  ),
  brokerCase('disconnect releases in-flight events', 'nack groups durableOnMemberDeath', async (fixture) => {
    const [one, other] = await fixture.two();
    const queue = 'workers';
    const first = await fixture.receive(one, { queue, settle: leaveInHand });
    await publish(one, fixture.topic, ['a']);
    await first.count(1);
    const second = await fixture.receive(other, { queue });
    await fixture.within('the end of the connection', one.disconnect());
    await second.text('a');
  }),
  brokerCase('a subscription ends when its signal aborts', undefined, async (fixture) => {
    const broker = await fixture.broker();
    const abort = new AbortController();
    const stopped = await fixture.receive(broker, { signal: abort.signal });
    const stays = await fixture.receive(broker);
    await publish(broker, fixture.topic, ['before']);
    await Promise.all([stopped.count(1), stays.count(1)]);
    abort.abort();
    await stopped.stop();
    await publish(broker, fixture.topic, ['after']);
    await stays.count(2);
    assert.deepStrictEqual(stopped.texts, ['before']);
  }),
  brokerCase('closed resolves when a subscription has ended, for whatever reason', undefined, async (fixture) => {
    const broker = await fixture.broker();
    const abort = new AbortController();
    const ends: [string, { readonly signal?: AbortSignal }, (received: Received) => Promise<void> | void][] = [
      ['unsubscribe', {}, (received) => received.stop()],
      ['its signal', { signal: abort.signal }, () => abort.abort()],
      ['disconnect', {}, () => broker.disconnect()],
    ];
    for (const [name, options, end] of ends) {
      const received = await fixture.receive(broker, options);
      let isClosed = false;
      const closed = received.subscriber?.closed.then((error) => ((isClosed = true), error));
      await publish(broker, fixture.topic, ['x']);
      await received.count(1);
      assert.ok(!isClosed, `it had ended before ${name}`);
      await end(received);
      assert.equal(await fixture.within(`the end by ${name}`, Promise.resolve(closed)), undefined);
    }
  }),
  brokerCase('a queue stores events for members that are away', 'persistent groups', async (fixture) => {
    const [publisher, subscriber] = await fixture.two();
    const queue = 'workers';
    const there = await fixture.receive(subscriber, { queue });
    await publish(publisher, fixture.topic, ['first']);
    await there.count(1);
    await there.stop();
    await publish(publisher, fixture.topic, ['a', 'b']);
    // Stored is stored: nothing hangs on the publisher any more.
    await publisher.disconnect();
    const back = await fixture.receive(subscriber, { queue });
    await back.count(2);
    assert.deepStrictEqual(back.texts, ['a', 'b']);
  }),
  brokerCase('every call fails before connect and after disconnect', undefined, async (fixture) => {
    const broker = fixture.make();
    const refused = async (): Promise<void> => {
      const calls = [
        () => broker.publish(fixture.topic, message('x')),
        () => broker.publish(fixture.topic, message('x'), { timeoutMs: 1_000 }),
        () => broker.subscribe(fixture.topic, leaveInHand),
        () => iterate(broker.pull(fixture.topic)).next(),
        () => iterate(broker.watch(fixture.topic)).next(),
      ];
      for (const call of calls) await refuses(broker, Code.FailedPrecondition, 'broker.not_connected', call);
    };
    await refused();
    await broker.connect();
    await broker.publish(fixture.topic, message('x'));
    await broker.disconnect();
    await refused();
  }),
  brokerCase('connect and disconnect may be called again', undefined, async (fixture) => {
    const broker = fixture.make();
    await Promise.all([broker.connect(), broker.connect()]);
    await broker.connect();
    await broker.disconnect();
    await broker.disconnect();
    await broker.connect();
    const received = await fixture.receive(broker);
    await publish(broker, fixture.topic, ['again']);
    await received.count(1);
  }),
  brokerCase('status has the state, and unwrap the client while connected', undefined, async (fixture) => {
    const broker = fixture.make();
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
  brokerCase('a call whose signal has aborted is cancelled', undefined, async (fixture) => {
    const broker = await fixture.broker();
    const received = await fixture.receive(broker);
    const signal = aborted();
    await refuses(broker, Code.Cancelled, 'call.cancelled', () =>
      broker.publish(fixture.topic, message('never'), { signal }),
    );
    await refuses(broker, Code.Cancelled, 'call.cancelled', () =>
      broker.subscribe(fixture.topic, leaveInHand, { signal }),
    );
    await refuses(broker, Code.Cancelled, 'call.cancelled', () => fixture.make().connect({ signal }));
    await broker.publish(fixture.topic, message('bounded'), { signal: new AbortController().signal, timeoutMs: 5_000 });
    await received.text('bounded');
    assert.deepStrictEqual(received.texts, ['bounded']);
  }),
  brokerCase('options change only while the broker is not connected', undefined, async (fixture) => {
    const broker = fixture.make();
    broker.init({ timeoutMs: 4_000 });
    assert.equal(broker.options.timeoutMs, 4_000);
    await broker.connect();
    await refuses(broker, Code.FailedPrecondition, 'broker.started', async () => broker.init({ timeoutMs: 3_000 }));
    await broker.disconnect();
    broker.init({ timeoutMs: 3_000 });
    assert.equal(broker.options.timeoutMs, 3_000);
  }),
  brokerCase('TLS and credentials that a broker does not take are an error', undefined, async (fixture) => {
    const broker = fixture.make();
    const { tls = false, credentials = [] } = fixture.capabilities;
    const refusesIt = (options: BrokerOptions): Promise<void> =>
      refuses(broker, Code.FailedPrecondition, 'broker.unsupported', async () => broker.init(options));
    if (!tls) await refusesIt({ tls: {} });
    for (const kind of ['password', 'token'] as const) {
      if (!credentials.includes(kind)) await refusesIt({ credentials: { [kind]: 'x' } });
    }
  }),
  brokerCase('TLS that cannot be spoken fails connect, and nothing is sent in the clear', 'tls', async (fixture) => {
    const broker = fixture.make();
    broker.init({ tls: { caFile: '/nowhere/ca.crt' } });
    await refuses(broker, Code.FailedPrecondition, 'tls.invalid', () => broker.connect());
    assert.equal(broker.status.state, 'closed');
  }),
  brokerCase('an empty topic and limits below one are refused', undefined, async (fixture) => {
    const broker = await fixture.broker();
    await refuses(broker, Code.InvalidArgument, 'broker.invalid_topic', () => broker.publish('', message('x')));
    await refuses(broker, Code.InvalidArgument, 'broker.invalid_topic', () => broker.subscribe('', leaveInHand));
    await refuses(broker, Code.InvalidArgument, 'broker.invalid_options', () =>
      broker.subscribe(fixture.topic, leaveInHand, { maxInFlight: 0 }),
    );
  }),
  brokerCase(
    'capabilities are those of the options on the instance, and those of the defaults on the class',
    undefined,
    async (fixture) => {
      const broker = fixture.make();
      type Stated = BrokerCapabilities | ((options: object) => BrokerCapabilities);
      const stated = (broker.constructor as { readonly capabilities?: Stated }).capabilities;
      const ofClass = typeof stated === 'function' ? stated.call(broker.constructor, {}) : stated;
      assert.deepStrictEqual(broker.capabilities ?? ofClass, fixture.capabilities);
      assert.deepStrictEqual(Object.keys(ofClass ?? {}).sort(), Object.keys(fixture.capabilities).sort());
      const { credentials = [], deadLetterQueue = 'unsaid', ...flags } = fixture.capabilities;
      assert.ok(Array.isArray(credentials));
      assert.ok(typeof deadLetterQueue === 'string' && deadLetterQueue !== '');
      assert.ok(Object.values(flags).every((value) => typeof value === 'boolean'));
      assert.notEqual(String(broker), '');
      assert.ok(!String(broker).includes('['), `toString is not implemented: ${String(broker)}`);
      assert.notEqual(broker.address, '');
    },
  ),
];
