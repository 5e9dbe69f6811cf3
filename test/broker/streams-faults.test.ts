import { setTimeout as sleep } from 'node:timers/promises';

import { expect, test } from '@jest/globals';

import type { Event } from '../../src/broker/broker.ts';
import { deliver } from '../../src/broker/delivery.ts';
import { RedisStreamsBroker, type RedisStreamsBrokerOptions } from '../../src/broker/redis-streams.ts';
import type { Timers } from '../../src/runtime/runtime.ts';
import { systemRuntime, systemTimers } from '../../src/runtime/system.ts';
import { describeWithRedis, type RedisServer, redisServer } from '../support/servers.ts';
import { collector, publishAtLast, publishText, RecordingLogger, text, eventually } from './support.ts';

const patienceMs = 60_000;
/** Timers whose heartbeats never come: as those of a process that is too busy. */
const withoutHeartbeats: Timers = {
  after: (...args) => systemTimers.after(...args),
  soon: (callback) => systemTimers.soon(callback),
  sleep: (...args) => systemTimers.sleep(...args),
  every: (periodMs, callback, options) =>
    periodMs < 60 ? systemTimers.every(periodMs, callback, options) : { cancel: () => undefined },
};

describeWithRedis('RedisStreamsBroker when redis or a handler fails', (redis) => {
  async function stage(topic: string, options: RedisStreamsBrokerOptions = {}, server: RedisServer = redis) {
    const logger = new RecordingLogger();
    const broker = new RedisStreamsBroker({ address: server.address, logger, ...options });
    await broker.connect();
    const client = server.client();
    client.on('error', () => undefined);
    const key = `tenon:events:${topic}`;
    return {
      broker,
      client,
      key,
      logger,
      said: (level: string): string[] =>
        logger.lines.filter((line) => line.level === level).map((line) => line.message),
      fill: async (count: number) => {
        const adding = client.pipeline();
        for (let number = 0; number < count; number += 1) adding.xadd(key, '*', 'b', String(number));
        await adding.exec();
      },
      pending: async (): Promise<number> => Number((await client.xpending(key, 'q'))[0]),
      end: async () => {
        await broker.disconnect();
        client.disconnect();
      },
    };
  }

  test('a member whose handlers fail takes at most maxInFlight and maxWaiting events', async () => {
    const { broker, client, key, fill, pending, end } = await stage('failing');
    await client.xgroup('CREATE', key, 'q', '0', 'MKSTREAM');
    await fill(2_000);
    let handled = 0;
    const options = { queue: 'q', maxInFlight: 8, maxWaiting: 50, retryDelayMs: 60_000 };
    const seams = { runtime: systemRuntime, logger: new RecordingLogger() };
    await deliver(broker, 'failing', options, () => ((handled += 1), Promise.reject(new Error('no'))), seams);
    await eventually('as many as may wait', () => handled >= 50, patienceMs);
    await sleep(300);
    expect(await pending()).toBeLessThanOrEqual(58);
    expect(handled).toBe(await pending());
    // Those who can handle them get the others.
    const other = collector();
    await broker.subscribe('failing', other.receive, { queue: 'q' });
    await eventually('the other events', () => other.texts.length >= 2_000 - handled, patienceMs);
    await end();
  }, 120_000);

  test('a subscriber without a queue whose handlers fail takes at most maxWaiting events', async () => {
    const { broker, fill, end } = await stage('failing-alone', { from: 'start' });
    await fill(500);
    let handled = 0;
    const nack = (event: Event): Promise<void> => ((handled += 1), event.nack({ delayMs: 60_000 }));
    await broker.subscribe('failing-alone', nack, { maxInFlight: 8, maxWaiting: 50 });
    await eventually('as many as may wait', () => handled >= 50, patienceMs);
    await sleep(300);
    expect(handled).toBe(50);
    await end();
  }, 120_000);

  test('events that were trimmed before the group read them are logged with their number', async () => {
    const { broker, client, key, fill, logger, end } = await stage('cut-unread');
    const [first, second] = [collector(), collector()];
    const member = await broker.subscribe('cut-unread', first.receive, { queue: 'q' });
    await fill(10);
    await eventually('the first ones', () => first.texts.length === 10, patienceMs);
    await member.unsubscribe();
    await fill(100);
    await client.xtrim(key, 'MAXLEN', 30);
    await broker.subscribe('cut-unread', second.receive, { queue: 'q' });
    await eventually('what is left', () => second.texts.length === 30, patienceMs);
    const reports = (): unknown[] => logger.lines.filter(({ level }) => level === 'error').map(({ fields }) => fields);
    expect(reports()).toEqual([{ key, group: 'q', events: 70 }]);
    // It is said once, and what is cut off later is counted anew; that all is gone is found out as well.
    await fill(5);
    await eventually('more', () => second.texts.length === 35, patienceMs);
    await client.multi().xadd(key, '*', 'b', 'gone').xtrim(key, 'MAXLEN', 0).exec();
    await publishText(broker, 'cut-unread', 'last');
    await eventually('the last', () => second.texts.includes('last'), patienceMs);
    expect(reports()).toHaveLength(1);
    await end();
  }, 120_000);

  test('a group that has read all, or did not exist, logs no trimmed events', async () => {
    const { broker, client, key, fill, said, end } = await stage('cut-read', { from: 'start' });
    await fill(50);
    await client.xtrim(key, 'MAXLEN', 20);
    const [member, alone] = [collector(), collector()];
    await broker.subscribe('cut-read', member.receive, { queue: 'q' });
    await broker.subscribe('cut-read', alone.receive);
    await eventually('all', () => member.texts.length === 20 && alone.texts.length === 20, patienceMs);
    await client.xtrim(key, 'MAXLEN', 0);
    await fill(200);
    await eventually('all', () => member.texts.length === 220 && alone.texts.length === 220, patienceMs);
    expect(said('error')).toEqual([]);
    await end();
  }, 120_000);

  test('a slow subscriber without a queue logs events that were trimmed', async () => {
    const { broker, client, key, fill, logger, end } = await stage('cut-alone');
    const held: Event[] = [];
    await broker.subscribe('cut-alone', (event) => void held.push(event), { maxInFlight: 1 });
    await fill(50);
    await eventually('one in hand', () => held.length === 1, patienceMs);
    await client.xtrim(key, 'MAXLEN', 10);
    await held[0]?.ack();
    await eventually('the next', () => held.length === 2, patienceMs);
    expect(held.map(text)).toEqual(['0', '40']);
    expect(logger.lines.filter(({ level }) => level === 'error').map(({ fields }) => fields)).toEqual([
      { key, group: undefined, events: 39 },
    ]);
    await end();
  }, 120_000);

  test('an acknowledgement that redis refuses is retried, logged and rejected; its event comes again', async () => {
    const { broker, client, said, pending, end } = await stage('refused', { claimIdleMs: 300 });
    const events: Event[] = [];
    await broker.subscribe('refused', (event) => void events.push(event), { queue: 'q' });
    await publishText(broker, 'refused', 'x');
    await eventually('the event', () => events.length === 1, patienceMs);
    await client.call('ACL', 'SETUSER', 'default', '-xack');
    await expect(events[0]?.ack()).rejects.toThrow(/xack/i);
    expect(said('warn').filter((one) => one.startsWith('the broker refuses an acknowledgement'))).toHaveLength(4);
    expect(said('error').filter((one) => one.startsWith('the broker refuses an acknowledgement'))).toHaveLength(1);
    await client.call('ACL', 'SETUSER', 'default', '+xack');
    await eventually('it again', () => events.length === 2, patienceMs);
    await events[1]?.ack();
    expect([events[1]?.attempt, await pending()]).toEqual([2, 0]);
    await end();
  }, 120_000);

  test('a group that was destroyed is created again, and its members keep their in-flight events', async () => {
    const { broker, client, key, said, pending, end } = await stage('removed', { claimIdleMs: 600 });
    const attempts: string[] = [];
    const held: Event[] = [];
    const receive = (event: Event): Promise<void> | undefined => {
      attempts.push(`${text(event)} ${event.attempt}`);
      if (text(event) === 'held') return void held.push(event);
      return event.attempt < 3 ? event.nack({ delayMs: 1_500 }) : event.ack();
    };
    await broker.subscribe('removed', receive, { queue: 'q' });
    await publishText(broker, 'removed', 'retried');
    await publishText(broker, 'removed', 'held');
    await eventually('both', () => attempts.length === 2, patienceMs);
    await client.xgroup('DESTROY', key, 'q');
    await eventually('it is said', () => said('warn').includes('the group was gone, and is made anew'), patienceMs);
    await eventually('the retries', () => attempts.includes('retried 3'), patienceMs);
    expect(attempts).toEqual(['retried 1', 'held 1', 'retried 2', 'retried 3']);
    await eventually('nothing but the one in hand', () => true);
    expect(await pending()).toBe(1);
    await held[0]?.ack();
    expect(await pending()).toBe(0);
    await publishText(broker, 'removed', 'later');
    await eventually('what comes later', () => attempts.includes('later 1'), patienceMs);
    await end();
  }, 120_000);

  test('a member does not claim its own in-flight events, even if its heartbeat is late', async () => {
    const runtime = { ...systemRuntime, timers: withoutHeartbeats };
    const { broker, client, end } = await stage('own', { claimIdleMs: 200, runtime });
    const events: Event[] = [];
    await broker.subscribe('own', (event) => void events.push(event), { queue: 'q' });
    await publishText(broker, 'own', 'x');
    await eventually('the event', () => events.length === 1, patienceMs);
    const looks = async (): Promise<number> =>
      Number(/cmdstat_xautoclaim:calls=(\d+)/.exec(await client.info('commandstats'))?.[1] ?? 0);
    const before = await looks();
    for (let waited = 0; (await looks()) < before + 8 && waited < 600; waited += 1) await sleep(50);
    expect(events.map(({ attempt }) => attempt)).toEqual([1]);
    // Nor when its connections are new.
    await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await publishAtLast(broker, 'own', 'y');
    await eventually('the other event', () => events.length === 2, patienceMs);
    expect(events.map(text)).toEqual(['x', 'y']);
    await end();
  }, 120_000);

  test('acknowledgements that fail in an outage are sent when redis is back', async () => {
    const server = await redisServer({ persistent: true });
    // None comes again meanwhile: only the acknowledgement itself can take it off.
    const { broker, client, pending, end } = await stage('late', { claimIdleMs: 600_000 }, server);
    const events: Event[] = [];
    await broker.subscribe('late', (event) => void events.push(event), { queue: 'q' });
    for (const body of ['a', 'b', 'c']) await publishText(broker, 'late', body);
    await eventually('the events', () => events.length === 3, patienceMs);
    await server.kill();
    const acknowledged = Promise.all(events.map((event) => event.ack()));
    await sleep(100);
    await server.start();
    await acknowledged;
    await client.ping().catch(() => undefined);
    expect(await pending()).toBe(0);
    expect(events).toHaveLength(3);
    await end();
    await server.dispose();
  }, 120_000);

  test('an event whose dead-letter topic cannot be written stays unacknowledged, and goes there later', async () => {
    const { broker, client, pending, end } = await stage('buried');
    const logger = new RecordingLogger();
    await client.set('tenon:events:grave', 'a text');
    const options = { queue: 'q', retry: 0, retryDelayMs: 20, deadLetter: 'grave' };
    const fails = (): Promise<void> => Promise.reject(new Error('no'));
    await deliver(broker, 'buried', options, fails, { runtime: systemRuntime, logger });
    await publishText(broker, 'buried', 'x');
    await eventually(
      'some attempts',
      () => logger.lines.filter(({ level }) => level === 'warn').length >= 3,
      patienceMs,
    );
    expect(await pending()).toBe(1);
    await client.del('tenon:events:grave');
    await eventually('the end', () => logger.lines.some(({ level }) => level === 'error'), patienceMs);
    expect([await client.xlen('tenon:events:grave'), await pending()]).toEqual([1, 0]);
    await end();
  }, 120_000);

  test('two groups each receive all events, even if redis pauses', async () => {
    const { broker, client, fill, said, end } = await stage('groups');
    const [one, two] = [collector(), collector()];
    await broker.subscribe('groups', one.receive, { queue: 'one' });
    await broker.subscribe('groups', two.receive, { queue: 'two', maxInFlight: 2 });
    await fill(100);
    await client.call('CLIENT', 'PAUSE', '500', 'WRITE');
    await fill(100);
    await eventually('all', () => new Set(one.texts).size === 100 && two.texts.length >= 200, patienceMs);
    await eventually('all of the first', () => one.texts.length >= 200, patienceMs);
    expect([one.texts.length, two.texts.length]).toEqual([200, 200]);
    expect(said('error')).toEqual([]);
    await end();
  }, 120_000);

  test('thousands of in-flight events are kept alive in batches, and no other member claims them', async () => {
    const count = 3_000;
    const { broker, client, key, fill, said, end } = await stage('many', { claimIdleMs: 3_000 });
    await client.xgroup('CREATE', key, 'q', '0', 'MKSTREAM');
    await fill(count);
    let inHand = 0;
    await broker.subscribe('many', () => void (inHand += 1), { queue: 'q', maxInFlight: count });
    await eventually('all in hand', () => inHand === count, patienceMs);
    const commands = await client.monitor();
    let [looks, parts, longest] = [0, 0, 0];
    commands.on('monitor', (_time: string, [name = '', ...args]: string[]) => {
      if (name.toLowerCase() === 'xautoclaim') looks += 1;
      if (name.toLowerCase() !== 'eval') return;
      if (args.length > 500) parts += 1;
      longest = Math.max(longest, args.length);
    });
    const other = await stage('many', { claimIdleMs: 3_000 });
    const robbed = collector();
    await other.broker.subscribe('many', robbed.receive, { queue: 'q' });
    // Four heartbeats, of six parts each, take longer than others wait before they take what nobody has kept.
    await eventually('heartbeats, and looks for events of the dead', () => parts >= 24 && looks >= 7, patienceMs);
    expect([robbed.texts, said('warn')]).toEqual([[], []]);
    // Redis does nothing else while it works off one of them.
    expect(longest).toBeLessThan(1_100);
    commands.disconnect();
    await other.end();
    await end();
  }, 120_000);

  test('heartbeats that fail are logged as one warning per outage', async () => {
    const { broker, client, said, pending, end } = await stage('beats', { claimIdleMs: 300 });
    const failed = 'events in hand could not be kept: others may be given them as well';
    const events: Event[] = [];
    await broker.subscribe('beats', (event) => void events.push(event), { queue: 'q' });
    await publishText(broker, 'beats', 'x');
    await eventually('it is in hand', () => events.length === 1, patienceMs);
    const kept = async (): Promise<number> =>
      Number(/cmdstat_xclaim:calls=(\d+)/.exec(await client.info('commandstats'))?.[1] ?? 0);
    const failures = (level: string): number => said(level).filter((one) => one === failed).length;
    for (const warnings of [1, 2]) {
      const before = failures('debug');
      await client.call('ACL', 'SETUSER', 'default', '-xclaim');
      await eventually('more failures', () => failures('debug') >= before + 2, patienceMs);
      expect(failures('warn')).toBe(warnings);
      await client.call('ACL', 'SETUSER', 'default', '+xclaim');
      const soFar = await kept();
      for (let waited = 0; (await kept()) < soFar + 2 && waited < 600; waited += 1) await sleep(50);
    }
    await events[0]?.ack();
    expect([events.length, await pending()]).toEqual([1, 0]);
    await end();
  }, 120_000);

  test.each([undefined, 'q'])(
    'an event that was read while its slot was taken is delivered later (queue %s)',
    async (queue) => {
      const { broker, end } = await stage(`taken-${queue}`);
      const handled: string[] = [];
      let release = (): void => undefined;
      const released = new Promise<void>((resolve) => (release = resolve));
      let tries = 0;
      const handle = async (event: Event): Promise<void> => {
        if (text(event) === 'first' && (tries += 1) === 1) throw new Error('not yet');
        if (text(event) === 'first') await released;
        handled.push(`${text(event)} ${event.attempt}`);
      };
      const seams = { runtime: systemRuntime, logger: new RecordingLogger() };
      await deliver(broker, `taken-${queue}`, { queue, maxInFlight: 1, retryDelayMs: 50 }, handle, seams);
      await broker.publish(`taken-${queue}`, { headers: {}, body: Buffer.from('first') }, { orderKey: 'a' });
      await eventually('the second attempt', () => tries === 2, patienceMs);
      await publishText(broker, `taken-${queue}`, 'second');
      await publishText(broker, `taken-${queue}`, 'third');
      // It reads meanwhile what it has no place for.
      await sleep(200);
      release();
      await eventually('all', () => handled.length === 3, patienceMs);
      expect(handled).toEqual(['first 1', 'second 1', 'third 1']);
      await end();
    },
    120_000,
  );
});
