import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

import { expect, test } from '@jest/globals';
import { Redis } from 'ioredis';

import type { Broker } from '../../src/broker/broker.ts';
import { RedisBroker } from '../../src/broker/redis.ts';
import { RedisStreamsBroker } from '../../src/broker/redis-streams.ts';
import { Code } from '../../src/errors/errors.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import { describeWithRedis, type RedisServer, redisServer } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { collector, publishAtLast, publishText, RecordingLogger, text, eventually } from './support.ts';

expectNothingUncaught();

const brokers: [string, (redis: RedisServer) => Broker][] = [
  ['redis', (redis) => new RedisBroker({ address: redis.address, logger })],
  ['redis-streams', (redis) => new RedisStreamsBroker({ address: redis.address, logger, claimIdleMs: 1_000 })],
];

describeWithRedis('brokers while redis is away', () => {
  test.each(brokers)('%s: a publish that waits for the broker is handled when redis is back', async (_name, make) => {
    const redis = await redisServer({ persistent: true });
    const broker = make(redis);
    await broker.connect();
    const received = collector();
    await broker.subscribe('news', received.receive);
    await redis.kill();
    const options = { waitForReady: true, timeoutMs: 60_000 } as const;
    const waiting = ['a', 'b', 'c'].map((body) =>
      broker.publish('news', { headers: {}, body: Buffer.from(body) }, options),
    );
    await noticed(broker);
    await redis.start();
    await Promise.all(waiting);
    if (broker instanceof RedisStreamsBroker)
      await eventually('all events', () => ['a', 'b', 'c'].every((body) => received.texts.includes(body)));
    await broker.disconnect();
    await redis.dispose();
  });

  test.each(brokers)(
    '%s: calls reject with broker.unreachable, and work again when redis is back',
    async (name, make) => {
      const redis = await redisServer({ persistent: true });
      const broker = make(redis);
      await broker.connect();
      const received = collector();
      await broker.subscribe('news', received.receive);
      await publishText(broker, 'news', 'before');
      await eventually('the first event', () => received.texts.includes('before'));

      await redis.kill();
      await noticed(broker);
      const unreachable = {
        code: Code.Unavailable,
        reason: 'broker.unreachable',
        message: expect.stringMatching(
          new RegExp(`"${name}" at ${redis.address} does not answer\\. Start it, or set TENON_BROKER_ADDRESS`),
        ),
      };
      await expect(publishText(broker, 'news', 'lost')).rejects.toMatchObject(unreachable);
      await expect(
        broker.publish('news', { headers: {}, body: Buffer.from('x') }, { timeoutMs: 5_000 }),
      ).rejects.toMatchObject(unreachable);
      await expect(broker.connect()).rejects.toMatchObject(unreachable);
      await expect(broker.subscribe('more', () => {})).rejects.toMatchObject(unreachable);
      await expect(broker.pull('more')[Symbol.asyncIterator]().next()).rejects.toMatchObject(unreachable);
      const other = make(redis);
      await expect(other.connect()).rejects.toMatchObject(unreachable);
      await other.disconnect();

      await redis.start();
      const errors = await publishAtLast(broker, 'news', 'after 0');
      for (const error of errors) expect(error).toMatchObject({ reason: 'broker.unreachable' });
      // What has no memory may miss what came before it had subscribed again.
      for (let tried = 1; !received.texts.some((one) => one.startsWith('after')) && tried < 500; tried += 1) {
        await publishText(broker, 'news', `after ${tried}`);
        await sleep(10);
      }
      expect(received.texts.some((one) => one.startsWith('after'))).toBe(true);
      expect(received.texts).not.toContain('lost');
      // Events may come again before all connections are back.
      await eventually('it is back', () => broker.status.state === 'connected');
      await broker.connect();
      const more = collector();
      await broker.subscribe('more', more.receive);
      await publishText(broker, 'more', 'x');
      await eventually('an event of a new subscription', () => more.texts.length === 1);
      await broker.disconnect();
      await redis.dispose();
    },
  );

  test.each(brokers)('%s: status goes to away and back, and each is logged once', async (name) => {
    const redis = await redisServer();
    const recorder = new RecordingLogger();
    const kind = name === 'redis' ? RedisBroker : RedisStreamsBroker;
    const broker = new kind({ address: redis.address, logger: recorder });
    await broker.connect();
    for (const topic of ['a', 'b']) await broker.subscribe(topic, (event) => event.ack());
    expect([broker.status.state, broker.unwrap()]).toEqual(['connected', expect.any(Redis)]);
    await redis.kill();
    await eventually('it is away', () => broker.status.state === 'away');
    expect(broker.status.lastError).toMatchObject({ code: Code.Unavailable, reason: 'broker.unreachable' });
    await expect(publishText(broker, 'a', 'x')).rejects.toMatchObject({ reason: 'broker.unreachable' });
    await redis.start();
    await eventually('it is back', () => broker.status.state === 'connected');
    const said = (level: string): unknown[] =>
      recorder.lines.filter((line) => line.level === level && 'broker' in line.fields).map(({ message }) => message);
    expect([said('warn'), said('info')]).toEqual([
      ['the connection to the broker is lost; it is tried again'],
      ['the broker answers again'],
    ]);
    await broker.disconnect();
    expect([broker.status.state, broker.unwrap()]).toEqual(['closed', undefined]);
    await redis.dispose();
  });

  test.each(brokers)('%s: status is away if only the connection for reading is lost', async (_name, make) => {
    const redis = await redisServer();
    const broker = make(redis);
    await broker.connect();
    const received = collector();
    await broker.subscribe('news', received.receive, {});
    const commands = broker.unwrap() as Redis;
    const own = await commands.client('ID');
    // Nobody new is let in, so that what was cut stays cut until the test has seen it.
    await commands.config('SET', 'maxclients', '1');
    const reading = String(await commands.client('LIST'))
      .split('\n')
      .map((line) => / ?id=(\d+) .*name=(\S*)/.exec(line))
      .filter((found) => found?.[2]?.startsWith('tenon:') && found[1] !== String(own));
    expect(reading).toHaveLength(1);
    await commands.call('CLIENT', 'KILL', 'ID', String(reading[0]?.[1]));
    await eventually('it is away', () => broker.status.state === 'away');
    expect(broker.status.lastError).toMatchObject({ reason: 'broker.unreachable' });
    expect(commands.status).toBe('ready');
    await commands.config('SET', 'maxclients', '1000');
    await eventually('it is back', () => broker.status.state === 'connected');
    for (let tried = 1; received.texts.length === 0 && tried < 500; tried += 1) {
      await publishText(broker, 'news', `after ${tried}`);
      await sleep(10);
    }
    expect(received.texts.length).toBeGreaterThan(0);
    // One that is let go of is not missed.
    await broker.disconnect();
    await redis.dispose();
  });

  test.each(brokers)('%s: status stays connected when a subscription ends', async (_name, make) => {
    const redis = await redisServer();
    const broker = make(redis);
    await broker.connect();
    const subscriber = await broker.subscribe('news', () => {}, {});
    await subscriber.unsubscribe(AbortSignal.abort());
    await publishText(broker, 'news', 'x');
    expect(broker.status.state).toBe('connected');
    await broker.disconnect();
    await redis.dispose();
  });

  test('redis-streams: no published event is lost, and no acknowledged one comes again', async () => {
    const redis = await redisServer({ persistent: true });
    const make = (): Broker => new RedisStreamsBroker({ address: redis.address, logger, claimIdleMs: 1_000 });
    const [publisher, first, second, third] = [make(), make(), make(), make()];
    for (const broker of [publisher, first, second, third]) await broker.connect();
    const handled: string[] = [];
    const acknowledged = new Set<string>();
    const again: string[] = [];
    for (const [broker, queue] of [
      [first, 'q'],
      [second, 'q'],
      [third, undefined],
    ] as const) {
      await broker.subscribe(
        'orders',
        async (event) => {
          const name = `${queue} ${text(event)}`;
          if (acknowledged.has(name)) again.push(name);
          handled.push(name);
          await sleep(Math.random() * 10);
          await event.ack().then(() => acknowledged.add(name));
        },
        { queue, maxInFlight: 8 },
      );
    }
    const stored: string[] = [];
    let publishing = true;
    const published = (async () => {
      for (let number = 0; publishing; number += 1) {
        await publishText(publisher, 'orders', String(number)).then(
          () => stored.push(String(number)),
          () => new Promise((resolve) => setTimeout(resolve, 5)),
        );
      }
    })();
    for (let outage = 0; outage < 3; outage += 1) {
      const before = stored.length;
      await eventually('some events', () => stored.length > before + 100);
      await redis.kill();
      await sleep(100);
      await redis.start();
    }
    await eventually('some more events', () => stored.length > 500);
    publishing = false;
    await published;
    const missing = (): string[] => {
      const seen = new Set(handled);
      return stored
        .flatMap((number) => ['q', undefined].map((queue) => `${queue} ${number}`))
        .filter((name) => !seen.has(name));
    };
    await eventually(`all of ${stored.length} events`, () => missing().length === 0).catch(() => undefined);
    expect(missing()).toEqual([]);
    expect(again).toEqual([]);
    // What was acknowledged while redis was away was acknowledged again afterwards.
    const client = redis.client();
    for (let waitedMs = 0; waitedMs < 5_000 && (await pendingOf(client)) > 0; waitedMs += 50) await sleep(50);
    expect(await pendingOf(client)).toBe(0);
    client.disconnect();
    for (const broker of [publisher, first, second, third]) await broker.disconnect();
    await redis.dispose();
  }, 60_000);

  test('redis-streams: groups and readers start over if redis comes back without its data', async () => {
    const redis = await redisServer();
    const broker = new RedisStreamsBroker({ address: redis.address, logger, claimIdleMs: 1_000 });
    await broker.connect();
    const [member, all] = [collector(), collector()];
    await broker.subscribe('news', member.receive, { queue: 'q' });
    await broker.subscribe('news', all.receive);
    await publishText(broker, 'news', 'before');
    await eventually('the first event', () => member.texts.length + all.texts.length === 2);
    await redis.restart();
    await publishAtLast(broker, 'news', 'after');
    await eventually('the event afterwards', () => member.texts.includes('after') && all.texts.includes('after'));
    expect([member.texts, all.texts]).toEqual([
      ['before', 'after'],
      ['before', 'after'],
    ]);
    await run('redis-cli', ['-p', String(redis.port), 'flushall']);
    await publishText(broker, 'news', 'flushed');
    await eventually(
      'the event after FLUSHALL',
      () => member.texts.includes('flushed') && all.texts.includes('flushed'),
    );
    await broker.disconnect();
    await redis.dispose();
  });

  test.each(brokers)(
    '%s: publish to a redis that hangs rejects after its time-out or its abort',
    async (_name, make) => {
      const redis = await redisServer();
      const broker = make(redis);
      broker.init({ timeoutMs: 300 });
      await broker.connect();
      const received = collector();
      await broker.subscribe('news', received.receive);
      redis.pause();
      const bounded = broker.publish('news', { headers: {}, body: Buffer.from('x') }, { timeoutMs: 50 });
      await expect(bounded).rejects.toMatchObject({
        code: Code.DeadlineExceeded,
        reason: 'broker.timeout',
        message: expect.stringContaining(redis.address),
      });
      const abort = new AbortController();
      const cancelled = broker.publish('news', { headers: {}, body: Buffer.from('x') }, { signal: abort.signal });
      abort.abort();
      await expect(cancelled).rejects.toMatchObject({ code: Code.Cancelled, reason: 'call.cancelled' });
      await expect(publishText(broker, 'news', 'x')).rejects.toMatchObject({
        code: Code.DeadlineExceeded,
        reason: 'broker.timeout',
      });
      redis.resume();
      await publishAtLast(broker, 'news', 'back');
      for (let tried = 0; !received.texts.includes('back') && tried < 500; tried += 1) {
        await publishText(broker, 'news', 'back');
        await sleep(10);
      }
      expect(received.texts).toContain('back');
      await broker.disconnect();
      await redis.dispose();
    },
  );

  test.each(brokers)('%s: disconnect ends while redis is away', async (_name, make) => {
    const redis = await redisServer();
    const broker = make(redis);
    await broker.connect();
    await broker.subscribe('news', () => {}, {});
    const pulled = broker.pull('news')[Symbol.asyncIterator]();
    const pending = pulled.next();
    await sleep(50);
    await redis.kill();
    await broker.disconnect();
    expect(await pending).toEqual({ done: true, value: undefined });
    await redis.dispose();
  });

  test('redis-streams: an error of redis is quoted in broker.refused', async () => {
    const redis = await redisServer();
    await run('redis-cli', ['-p', String(redis.port), 'set', 'tenon:events:taken', 'a text']);
    await run('redis-cli', ['-p', String(redis.port), 'config', 'set', 'requirepass', 'secret']);
    const recording = new RecordingLogger();
    const without = new RedisStreamsBroker({ address: redis.address, logger: recording });
    await expect(without.connect()).rejects.toMatchObject({
      code: Code.Unauthenticated,
      reason: 'broker.refused',
      message: expect.stringMatching(/"redis-streams" at 127\.0\.0\.1:\d+ refused it, saying "NOAUTH/),
    });
    const broker = new RedisStreamsBroker({ address: `redis://:secret@${redis.address}/0`, logger: recording });
    await broker.connect();
    expect(broker.address).toBe(redis.address);
    const wrong = {
      code: Code.FailedPrecondition,
      reason: 'broker.refused',
      message: expect.stringContaining('WRONGTYPE'),
    };
    await expect(publishText(broker, 'taken', 'x')).rejects.toMatchObject(wrong);
    await expect(broker.subscribe('taken', () => {}, { queue: 'q' })).rejects.toMatchObject(wrong);
    await broker.disconnect();
    await redis.dispose();
  });
});

async function pendingOf(client: Redis): Promise<number> {
  return Number((await client.xpending('tenon:events:orders', 'q'))[0]);
}

/** Resolves when the broker has noticed that its connection is gone. */
async function noticed(broker: Broker): Promise<void> {
  for (let tried = 0; tried < 500; tried += 1) {
    try {
      await broker.connect();
    } catch {
      return;
    }
    await sleep(10);
  }
  throw new Error('the loss was not noticed');
}

function run(command: string, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    spawn(command, args, { stdio: 'ignore' })
      .once('error', reject)
      .once('exit', () => resolve());
  });
}
