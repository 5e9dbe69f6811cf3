import { fileURLToPath } from 'node:url';

import { describe, expect, test } from '@jest/globals';
import type { Redis } from 'ioredis';

import type { Event } from '../../src/broker/broker.ts';
import { RedisStreamsBroker, type RedisStreamsBrokerOptions } from '../../src/broker/redis-streams.ts';
import { silentLogger } from '../../src/logger/logger.ts';
import { startNode } from '../support/process.ts';
import { describeWithRedis } from '../support/servers.ts';
import { collector, publishText, RecordingLogger, eventually } from './support.ts';

const program = fileURLToPath(new URL('programs/subscriber.mjs', import.meta.url));
const sleep = (delayMs: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, delayMs));

describeWithRedis('RedisStreamsBroker', (redis) => {
  const opened: RedisStreamsBroker[] = [];
  async function connected(options: RedisStreamsBrokerOptions = {}): Promise<RedisStreamsBroker> {
    const broker = new RedisStreamsBroker({ address: redis.address, logger: silentLogger, ...options });
    await broker.connect();
    opened.push(broker);
    return broker;
  }
  async function withRedis<T>(work: (client: Redis) => Promise<T>): Promise<T> {
    const client = redis.client();
    try {
      return await work(client);
    } finally {
      client.disconnect();
    }
  }
  const pending = (topic: string): Promise<number> =>
    withRedis(async (client) => Number((await client.xpending(`tenon:events:${topic}`, 'q'))[0]));
  const ownerOf = (topic: string): Promise<string> =>
    withRedis(async (client) => {
      const [[, owner]] = (await client.xpending(`tenon:events:${topic}`, 'q', '-', '+', 1)) as [[string, string]];
      return owner;
    });
  const consumers = (topic: string): Promise<unknown[]> =>
    withRedis(async (client) => (await client.xinfo('CONSUMERS', `tenon:events:${topic}`, 'q')) as unknown[]);

  async function allClosed(): Promise<void> {
    await Promise.all(opened.splice(0).map((broker) => broker.disconnect()));
  }

  describe('a member that dies', () => {
    test('by kill -9 during an event leaves the event to another member', async () => {
      const broker = await connected({ claimIdleMs: 600 });
      const child = startNode(program, { args: [redis.address, 'killed', '600'] });
      await child.waitForLine(/ready/);
      await publishText(broker, 'killed', 'precious', { kept: 'yes' });
      await child.waitForLine(/took precious at attempt 1/);
      const received = collector();
      await broker.subscribe('killed', received.receive, { queue: 'q' });
      // As long as the first one lives it keeps its event, for however long.
      await sleep(1_500);
      expect(received.texts).toEqual([]);
      await child.kill('SIGKILL');
      await eventually('the event', () => received.texts.length === 1);
      expect(received.events[0]).toMatchObject({ attempt: 2, headers: { kept: 'yes' } });
      expect(received.texts).toEqual(['precious']);
      await allClosed();
      expect(await pending('killed')).toBe(0);
    });

    test('or hangs does not take its event back from the member that has claimed it', async () => {
      const broker = await connected({ claimIdleMs: 600 });
      const child = startNode(program, { args: [redis.address, 'hung', '600'] });
      await child.waitForLine(/ready/);
      await publishText(broker, 'hung', 'precious');
      await child.waitForLine(/took precious/);
      child.signal('SIGSTOP');
      const held: Event[] = [];
      const third = await connected({ claimIdleMs: 600 });
      const others = collector();
      await broker.subscribe('hung', (event) => void held.push(event), { queue: 'q', maxInFlight: 1 });
      await eventually('the event', () => held.length === 1);
      const owner = await ownerOf('hung');
      child.signal('SIGCONT');
      await third.subscribe('hung', others.receive, { queue: 'q' });
      // Both confirm what they take to be theirs, several times in this while.
      const owners = new Set<string>();
      for (let looked = 0; looked < 15; looked += 1) {
        owners.add(await ownerOf('hung'));
        await sleep(90);
      }
      expect([...owners]).toEqual([owner]);
      expect([held.length, others.texts, child.lines.filter((line) => line.startsWith('took'))]).toEqual([
        1,
        [],
        ['took precious at attempt 1'],
      ]);
      await held[0]?.ack();
      await child.kill('SIGKILL');
      await allClosed();
    });

    test('leaves an event that waits for redelivery to another member', async () => {
      const first = await connected({ claimIdleMs: 600 });
      const second = await connected({ claimIdleMs: 600 });
      const received = collector();
      const attempts: number[] = [];
      const subscriber = await first.subscribe(
        'waiting',
        (event) => {
          attempts.push(event.attempt);
          return event.nack({ delayMs: 60_000 });
        },
        { queue: 'q' },
      );
      await publishText(first, 'waiting', 'later');
      await eventually('the first attempt', () => attempts.length === 1);
      await second.subscribe('waiting', received.receive, { queue: 'q' });
      await sleep(1_000);
      // Kept for the whole delay, which is longer than the time after which others may take it.
      expect(received.texts).toEqual([]);
      await subscriber.unsubscribe();
      await eventually('the event', () => received.texts.length === 1);
      expect([attempts, received.events[0]?.attempt]).toEqual([[1], 2]);
      await allClosed();
    });
  });

  test('a slow member keeps its event: no other member claims it', async () => {
    const [one, other] = [await connected({ claimIdleMs: 600 }), await connected({ claimIdleMs: 600 })];
    const handled: number[] = [];
    let done = 0;
    const slow = async (event: Event): Promise<void> => {
      handled.push(event.attempt);
      await sleep(2_000);
      await event.ack();
      done += 1;
    };
    await one.subscribe('slow', slow, { queue: 'q' });
    await other.subscribe('slow', slow, { queue: 'q' });
    await publishText(one, 'slow', 'x');
    await eventually('the event', () => done > 0);
    await allClosed();
    expect(handled).toEqual([1]);
    expect(await pending('slow')).toBe(0);
  });

  test('an event with a delay longer than claimIdleMs is redelivered after its delay', async () => {
    const [one, other] = [await connected({ claimIdleMs: 300 }), await connected({ claimIdleMs: 300 })];
    const attempts: [number, number][] = [];
    const receive = (event: Event): Promise<void> => {
      attempts.push([event.attempt, performance.now()]);
      return event.attempt === 1 ? event.nack({ delayMs: 1_000 }) : event.ack();
    };
    await one.subscribe('patient', receive, { queue: 'q' });
    await other.subscribe('patient', receive, { queue: 'q' });
    await publishText(one, 'patient', 'x');
    await eventually('the second attempt', () => attempts.length === 2);
    const [[, first], [second, then]] = attempts as [[number, number], [number, number]];
    expect(second).toBe(2);
    expect(then - first).toBeGreaterThanOrEqual(990);
    await allClosed();
  });

  test('a member that unsubscribes leaves neither a consumer nor pending entries', async () => {
    const broker = await connected();
    const received = collector();
    const subscriber = await broker.subscribe('tidy', received.receive, { queue: 'q' });
    await publishText(broker, 'tidy', 'x');
    await eventually('the event', () => received.texts.length === 1);
    expect(await consumers('tidy')).toHaveLength(1);
    await subscriber.unsubscribe();
    expect([await consumers('tidy'), await pending('tidy')]).toEqual([[], 0]);
    await allClosed();
  });

  test("a group starts at the end of the stream, or at its start with from: 'start'", async () => {
    const [now, start] = [await connected(), await connected({ from: 'start' })];
    await publishText(now, 'history', 'old');
    const [fresh, all, alone] = [collector(), collector(), collector()];
    await now.subscribe('history', fresh.receive, { queue: 'fresh' });
    await start.subscribe('history', all.receive, { queue: 'all' });
    await start.subscribe('history', alone.receive);
    await publishText(now, 'history', 'new');
    await eventually('the new event', () => [fresh, all, alone].every(({ texts }) => texts.includes('new')));
    expect([fresh.texts, all.texts, alone.texts]).toEqual([['new'], ['old', 'new'], ['old', 'new']]);
    await allClosed();
  });

  test('a stream is trimmed to about maxLength', async () => {
    const broker = await connected({ maxLength: 100 });
    await Promise.all(Array.from({ length: 2_000 }, (_, index) => publishText(broker, 'cut', String(index))));
    const length = await withRedis((client) => client.xlen('tenon:events:cut'));
    expect(length).toBeGreaterThanOrEqual(100);
    expect(length).toBeLessThan(400);
    await allClosed();
  });

  test('events that were trimmed before they were handled are logged', async () => {
    const logger = new RecordingLogger();
    const broker = await connected({ claimIdleMs: 300, logger });
    const held: Event[] = [];
    const first = await broker.subscribe('lost', (event) => void held.push(event), { queue: 'q' });
    await publishText(broker, 'lost', 'x');
    await eventually('the event', () => held.length === 1);
    await first.unsubscribe(AbortSignal.abort());
    await withRedis((client) => client.xtrim('tenon:events:lost', 'MAXLEN', 0));
    await broker.subscribe('lost', (event) => event.ack(), { queue: 'q' });
    await eventually('the report', () =>
      logger.lines.some(({ level, message }) => level === 'error' && message.startsWith('events were lost')),
    );
    await allClosed();
  });

  test('entries of other programs are read with their fields as headers', async () => {
    const broker = await connected();
    const received = collector();
    await broker.subscribe('foreign', received.receive, { queue: 'q' });
    await withRedis((client) => client.xadd('tenon:events:foreign', '*', 'colour', 'blue', 'b', 'the body'));
    await withRedis((client) => client.xadd('tenon:events:foreign', '*', 'colour', 'red'));
    await eventually('both', () => received.texts.length === 2);
    expect(received.events.map(({ headers }) => headers)).toEqual([{ colour: 'blue' }, { colour: 'red' }]);
    expect(received.texts).toEqual(['the body', '']);
    await allClosed();
  });

  test('an entry has the header table and the body as its fields', async () => {
    const broker = await connected();
    await publishText(broker, 'wire', 'body', { a: 'b' });
    const entries = await withRedis((client) => client.xrangeBuffer('tenon:events:wire', '-', '+'));
    expect(entries.map(([, fields]) => fields.map((field) => field.toString('latin1')))).toEqual([
      ['h', '\x01a\x01b', 'b', 'body'],
    ]);
    await allClosed();
  });

  test('a client of ioredis can replace the address', async () => {
    const client = redis.client({ lazyConnect: true, db: 3 });
    const broker = await connected({ address: undefined, client });
    await publishText(broker, 'given', 'x');
    expect(broker.address).toBe(redis.address);
    await withRedis(async (other) => {
      await other.select(3);
      expect(await other.xlen('tenon:events:given')).toBe(1);
    });
    expect(client.status).toBe('wait');
    await allClosed();
  });

  test('events of a reply that a broken connection lost are delivered after the reconnect', async () => {
    const broker = await connected({ claimIdleMs: 60_000 });
    const received = collector();
    await broker.subscribe('torn', received.receive, { queue: 'q' });
    await publishText(broker, 'torn', 'first');
    await eventually('the first event', () => received.texts.length === 1);
    await withRedis(async (client) => {
      // Another connection takes an event in the name of this member: as if the reply had been lost on its way.
      const [[, name]] = (await client.xinfo('CONSUMERS', 'tenon:events:torn', 'q')) as [[string, string]];
      const key = 'tenon:events:torn';
      await client
        .multi()
        .xadd(key, '*', 'b', 'torn')
        .call('XREADGROUP', 'GROUP', 'q', name, 'COUNT', '1', 'STREAMS', key, '>')
        .exec();
      await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    });
    await eventually('the event', () => received.texts.includes('torn'));
    expect(received.texts).toEqual(['first', 'torn']);
    await allClosed();
  });
});
