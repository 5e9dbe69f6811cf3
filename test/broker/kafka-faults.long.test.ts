import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { expect, test } from '@jest/globals';

import type { Event } from '../../src/broker/broker.ts';
import { Code } from '../../src/errors/errors.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { closing } from '../support/closing.ts';
import { startKafkaProgram } from '../support/kafka.ts';
import { BackendServer, describeWithServer, startServer } from '../support/servers.ts';
import { clientOf, committed, connected, createTopic, ends, patienceMs, withAdmin } from './kafka-support.ts';
import { collector, eventually, publishAtLast, publishText, text } from './support.ts';

const program = fileURLToPath(new URL('programs/kafka-member.mjs', import.meta.url));
const limitMs = 180_000;

/** Resolves when `look` gives what is expected. */
async function until<T>(what: string, look: () => Promise<T>, expected: T): Promise<void> {
  const wanted = JSON.stringify(expected);
  let seen: string | undefined;
  for (const fromMs = Date.now(); Date.now() - fromMs < patienceMs; await sleep(100)) {
    seen = JSON.stringify(await look());
    if (seen === wanted) return;
  }
  throw new Error(`${what}: ${seen}, and should be ${wanted}`);
}

describeWithServer('KafkaBroker, and what may go wrong', new BackendServer('kafka'), (server) => {
  function startMember(topic: string, options: object = {}) {
    const member = startKafkaProgram(program, {
      args: [JSON.stringify({ address: server.address, topic, ...options })],
    });
    return member;
  }
  const partitionZero = async (topic: string): Promise<number | undefined> => (await committed(server, topic)).get(0);

  test(
    'a new group begins with what was published before, a subscriber without one with what comes',
    async () => {
      const { broker } = await connected(server);
      for (let index = 0; index < 10; index += 1) await publishText(broker, 'earliest', String(index));
      const [group, alone, late] = [collector(), collector(), collector()];
      await broker.subscribe('earliest', alone.receive);
      await broker.subscribe('earliest', group.receive, { queue: 'q' });
      const { broker: ofNow } = await connected(server, { from: 'now' });
      await ofNow.subscribe('earliest', late.receive, { queue: 'late' });
      await publishText(broker, 'earliest', 'next');
      await eventually('all', () => group.texts.length === 11 && alone.texts.length === 1, patienceMs);
      await eventually('the next', () => late.texts.length === 1, patienceMs);
      expect([alone.texts, late.texts]).toEqual([['next'], ['next']]);
    },
    limitMs,
  );

  test(
    'a group that began with what came then misses nothing while its members are away',
    async () => {
      const { broker } = await connected(server, { from: 'now' });
      await publishText(broker, 'away', 'before');
      const first = await broker.subscribe('away', () => undefined, { queue: 'q' });
      await first.unsubscribe();
      await publishText(broker, 'away', 'meanwhile');
      const back = collector();
      await broker.subscribe('away', back.receive, { queue: 'q' });
      await eventually('what came meanwhile', () => back.texts.length === 1, patienceMs);
      expect(back.texts).toEqual(['meanwhile']);
    },
    limitMs,
  );

  test(
    'commits the offset after the last event that is settled, and the one of the first that is not',
    async () => {
      const { broker } = await connected(server, { partitions: 1 });
      const held: Event[] = [];
      await broker.subscribe('prefix', (event) => void held.push(event), { queue: 'q' });
      for (const body of ['a', 'b', 'c', 'd']) await publishText(broker, 'prefix', body);
      await eventually('all', () => held.length === 4, patienceMs);
      await Promise.all([held[1]?.ack(), held[2]?.ack()]);
      expect(await partitionZero('prefix')).toBe(0);
      await held[0]?.ack();
      expect(await partitionZero('prefix')).toBe(3);
      await held[3]?.ack();
      expect(await partitionZero('prefix')).toBe(4);
    },
    limitMs,
  );

  test(
    'many acknowledgements at once are all committed',
    async () => {
      const { broker } = await connected(server, { partitions: 2 });
      const received = collector();
      await broker.subscribe('burst', received.receive, { queue: 'q' });
      const bodies = Array.from({ length: 3_000 }, (_, index) => String(index));
      await Promise.all(bodies.map((body) => publishText(broker, 'burst', body)));
      await eventually('all', () => received.texts.length >= 3_000, patienceMs);
      expect(new Set(received.texts).size).toBe(3_000);
      const end = await ends(server, 'burst');
      expect(end.size).toBe(2);
      await until('the committed offsets', async () => [...(await committed(server, 'burst'))].sort(), [...end].sort());
    },
    limitMs,
  );

  test(
    'a poison event goes to the dead letters after its attempts, and hurts no other',
    async () => {
      const { broker, member } = await connected(server, { partitions: 1 });
      const dead = collector();
      await broker.subscribe('poison.dead-letter', dead.receive, { queue: 'graves' });
      const attempts: string[] = [];
      await member('poison', async (event) => {
        attempts.push(`${text(event)} ${event.attempt}`);
        if (text(event) === 'poison') throw new Error('never');
      });
      for (const body of ['a', 'poison', 'b']) await publishText(broker, 'poison', body);
      await eventually('the dead letter', () => dead.texts.length === 1, patienceMs);
      expect(attempts.filter((one) => !one.startsWith('poison'))).toEqual(['a 1', 'b 1']);
      expect(attempts.filter((one) => one.startsWith('poison'))).toEqual([1, 2, 3, 4].map((one) => `poison ${one}`));
      expect(dead.events[0]?.headers).toMatchObject({ 'tenon-attempts': '4', 'tenon-original-topic': 'poison' });
      await until('it is committed', () => partitionZero('poison'), 3);
    },
    limitMs,
  );

  test(
    'a handler that takes longer than the session keeps its membership, and gets its event once',
    async () => {
      const { broker, member, said } = await connected(server, { partitions: 1, sessionTimeoutMs: 6_000 });
      const [begun, done]: string[][] = [[], []];
      await member('long', async (event) => {
        begun?.push(text(event));
        await sleep(15_000);
        done?.push(text(event));
      });
      const other = await connected(server);
      await other.member('long', async (event) => void begun?.push(`other ${text(event)}`));
      await publishText(broker, 'long', 'x');
      await eventually('its end', () => done?.length === 1, patienceMs);
      await until('it is committed', () => partitionZero('long'), 1);
      expect([begun, said('warn')]).toEqual([['x'], []]);
    },
    limitMs,
  );

  test(
    'an attempt that killed its process is counted, and its neighbours are handled all the same',
    async () => {
      await createTopic(server, 'killer', 1);
      const { broker, member: receive } = await connected(server);
      const dead = collector();
      await broker.subscribe('killer.dead-letter', dead.receive, { queue: 'graves' });
      for (const body of ['n1', 'n2', 'kill', 'n3', 'n4']) await publishText(broker, 'killer', body);
      const begun: string[] = [];
      for (let death = 1; death <= 3; death += 1) {
        const member = startMember('killer', { maxMs: 500 });
        await member.waitForExit(patienceMs);
        begun.push(...member.lines.filter((line) => line.startsWith('begun kill')));
      }
      expect(begun).toEqual([1, 2, 3].map((attempt) => `begun kill at attempt ${attempt}`));
      const handled: [string, number][] = [];
      await receive('killer', async (event) => void handled.push([text(event), event.attempt]));
      await until('all is committed', () => partitionZero('killer'), 5);
      expect(handled).toContainEqual(['kill', 4]);
      // The others were in hand at two of the deaths at most.
      for (const [body, attempt] of handled) if (body !== 'kill') expect(attempt).toBeLessThanOrEqual(3);
      expect(dead.texts).toEqual([]);
    },
    limitMs,
  );

  test('members that come and go under load: no event is lost, keys keep their order, no partition is left', async () => {
    const topic = 'churn';
    await createTopic(server, topic, 4);
    const { broker } = await connected(server);
    const members = [startMember(topic, { maxMs: 100 })];
    const all = [...members];
    let isOver = false;
    const sent = new Map<string, number>();
    const publishing = (async () => {
      for (let number = 0; !isOver; number += 1) {
        const key = `key-${number % 20}`;
        const body = number % 400 === 399 ? `slow 8000 ${key} ${number}` : `${key} ${number}`;
        await broker.publish(topic, { headers: {}, body: Buffer.from(body) }, { orderKey: key });
        sent.set(body, number);
        await sleep(5);
      }
    })();
    const handled = (): string[] => all.flatMap(({ lines }) => lines.filter((line) => line.startsWith('handled ')));
    for (let round = 0; round < 15; round += 1) {
      const before = handled().length;
      if (round % 3 === 2) await members.shift()?.kill('SIGKILL');
      else if (round % 3 === 1) members.push(startMember(topic, { maxMs: 100 }));
      if (members.length === 0) members.push(startMember(topic, { maxMs: 100 }));
      all.push(...members.filter((member) => !all.includes(member)));
      await sleep(2_000);
      await eventually('something is handled', () => handled().length > before, 30_000);
    }
    isOver = true;
    await publishing;
    const bodies = (): Set<string> => new Set(handled().map((line) => line.slice('handled '.length)));
    await eventually(`${sent.size} events`, () => bodies().size === sent.size, 120_000);
    // Each process writes in its own order, and hands its keys over when its events are settled.
    for (const { lines } of all) {
      const lastOfKey = new Map<string, number>();
      for (const line of lines) {
        const [, key = '', number] = /^handled .*(key-\d+) (\d+)$/.exec(line) ?? [];
        if (number === undefined) continue;
        expect(Number(number)).toBeGreaterThan(lastOfKey.get(key) ?? -1);
        lastOfKey.set(key, Number(number));
      }
    }
    const end = await ends(server, topic);
    expect(end.size).toBe(4);
    await until('all is committed', async () => [...(await committed(server, topic))].sort(), [...end].sort());
    const duplicates = handled().length - sent.size;
    expect(duplicates).toBeLessThan(sent.size / 2);
    for (const member of members) await member.kill('SIGKILL');
  }, 400_000);

  test(
    'a member that hangs loses its events to others, and what it settles later does not count',
    async () => {
      await createTopic(server, 'hangs', 1);
      const { broker } = await connected(server);
      const member = startMember('hangs');
      await member.waitForLine(/^ready/, patienceMs);
      await publishText(broker, 'hangs', 'slow 3000 x');
      await member.waitForLine(/^begun/, patienceMs);
      member.signal('SIGSTOP');
      const held: Event[] = [];
      await broker.subscribe('hangs', (event) => void held.push(event), { queue: 'q' });
      await eventually('the event', () => held.length === 1, patienceMs);
      expect(held[0]?.attempt).toBe(2);
      member.signal('SIGCONT');
      await member.waitForLine(/^handled/, patienceMs);
      await member.waitForLog(/a member of a group was taken for dead/, patienceMs);
      expect(await partitionZero('hangs')).toBe(0);
      await held[0]?.ack();
      expect(await partitionZero('hangs')).toBe(1);
      await member.kill('SIGKILL');
    },
    limitMs,
  );

  test(
    'a partition that goes to another member waits for its events in hand, up to the bound',
    async () => {
      await createTopic(server, 'revoked', 2);
      const { broker, said } = await connected(server, { revokeWaitMs: 3_000 });
      const held: Event[] = [];
      await broker.subscribe('revoked', (event) => void held.push(event), { queue: 'q' });
      for (let number = 0; number < 40; number += 1) await publishText(broker, 'revoked', String(number));
      await eventually('all in hand', () => held.length === 40, patienceMs);
      const other = await connected(server);
      const received = collector();
      await other.broker.subscribe('revoked', received.receive, { queue: 'q' });
      await eventually('those of the partition that was given up', () => received.texts.length > 0, patienceMs);
      const warning = 'a partition goes to another member while its events are in hand: they come again there';
      expect(said('warn')).toEqual([warning]);
      await eventually('all of them', () => received.events.every(({ attempt }) => attempt === 2), patienceMs);
      const before = await committed(server, 'revoked');
      await Promise.all(held.map((event) => event.ack()));
      await until(
        'all is committed',
        async () => [...(await committed(server, 'revoked'))].sort(),
        [...(await ends(server, 'revoked'))].sort(),
      );
      expect([...before.values()].filter((offset) => offset <= 0)).toHaveLength(1);
    },
    limitMs,
  );

  test(
    'offsets that are no more are recovered from, and reported as lost',
    async () => {
      const { broker, logger } = await connected(server, { partitions: 1 });
      const first = collector();
      const member = await broker.subscribe('gone', first.receive, { queue: 'q' });
      await publishText(broker, 'gone', 'first');
      await eventually('the first', () => first.texts.length === 1, patienceMs);
      await member.unsubscribe();
      for (let number = 0; number < 100; number += 1) await publishText(broker, 'gone', String(number));
      const partitions = [{ partition: 0, offset: '61' }];
      await withAdmin(server, (admin) => admin.deleteTopicRecords({ topic: 'gone', partitions }));
      const rest = collector();
      await broker.subscribe('gone', rest.receive, { queue: 'q' });
      await eventually('the rest', () => rest.texts.length === 40, patienceMs);
      expect(rest.texts[0]).toBe('60');
      const lost = logger.lines.filter(({ level }) => level === 'error');
      expect(lost.map(({ fields }) => fields)).toEqual([{ topic: 'gone', queue: 'q', partition: 0, events: 60 }]);
      await until('the rest is committed', () => partitionZero('gone'), 101);
    },
    limitMs,
  );

  test(
    'a topic that is deleted while it is in use is made again, and read from its beginning',
    async () => {
      const { broker, said } = await connected(server, { partitions: 1 });
      const [member, alone] = [collector(), collector()];
      await broker.subscribe('deleted', member.receive, { queue: 'q' });
      await broker.subscribe('deleted', alone.receive);
      for (const body of ['a', 'b', 'c']) await publishText(broker, 'deleted', body);
      await eventually('all', () => member.texts.length === 3 && alone.texts.length === 3, patienceMs);
      await withAdmin(server, (admin) => admin.deleteTopics({ topics: ['deleted'] }));
      await publishAtLast(broker, 'deleted', 'd');
      await eventually('what came later', () => member.texts.includes('d') && alone.texts.includes('d'), patienceMs);
      expect(said('error')).toEqual([]);
    },
    limitMs,
  );

  test(
    'an event that is larger than its topic takes is refused, with the limit, and hurts no other',
    async () => {
      await createTopic(server, 'small', 1, { 'max.message.bytes': 2_000 });
      const { broker } = await connected(server);
      const received = collector();
      await broker.subscribe('small', received.receive);
      const bodies = ['a', 'x'.repeat(3_000), 'b', 'c'.repeat(1_500), 'd'.repeat(1_500)];
      const results = await Promise.allSettled(bodies.map((body) => publishText(broker, 'small', body)));
      expect(results.map(({ status }) => status)).toEqual([
        'fulfilled',
        'rejected',
        'fulfilled',
        'fulfilled',
        'fulfilled',
      ]);
      const { reason } = results[1] as PromiseRejectedResult;
      expect(reason).toMatchObject({ code: Code.ResourceExhausted, reason: 'broker.too_large' });
      expect((reason as Error).message).toContain('2000');
      await eventually('the others', () => received.texts.length === 4, patienceMs);
      expect(received.texts.map((body) => body[0])).toEqual(['a', 'b', 'c', 'd']);
    },
    limitMs,
  );

  test(
    'a topic that may not be created is not there, and the error says so',
    async () => {
      const { broker } = await connected(server, { createTopics: false });
      const error = await failureOf(publishText(broker, 'nowhere', 'x'));
      expect(error).toMatchObject({ code: Code.NotFound, reason: 'broker.refused' });
      expect(error.message).toContain('TENON_KAFKA_CREATE_TOPICS');
      expect(await failureOf(broker.subscribe('nowhere', () => undefined))).toMatchObject({ code: Code.NotFound });
      // One that was there, and is deleted, ends its subscriptions.
      await createTopic(server, 'there', 1);
      const alone = await broker.subscribe('there', () => undefined);
      const member = await broker.subscribe('there', () => undefined, { queue: 'q' });
      await withAdmin(server, (admin) => admin.deleteTopics({ topics: ['there'] }));
      expect(await alone.closed).toMatchObject({ code: Code.NotFound, reason: 'broker.refused' });
      expect(await member.closed).toMatchObject({ code: Code.NotFound, reason: 'broker.refused' });
    },
    limitMs,
  );

  test(
    'partitions that are added to a topic are read, from their beginning',
    async () => {
      await createTopic(server, 'grows', 1);
      const { broker } = await connected(server);
      const [member, alone] = [collector(), collector()];
      await broker.subscribe('grows', member.receive, { queue: 'q' });
      await broker.subscribe('grows', alone.receive);
      await withAdmin(server, (admin) => admin.createPartitions({ topicPartitions: [{ topic: 'grows', count: 4 }] }));
      const { broker: publisher } = await connected(server);
      const numbers = Array.from({ length: 50 }, (_, index) => index);
      for (const number of numbers)
        await publisher.publish(
          'grows',
          { headers: {}, body: Buffer.from(String(number)) },
          { orderKey: `key-${number}` },
        );
      await eventually('all', () => member.texts.length === 50 && alone.texts.length === 50, 120_000);
    },
    limitMs,
  );

  test(
    'events of transactions come once they are committed, and not at all if they are aborted',
    async () => {
      await createTopic(server, 'transactions', 1);
      const { broker } = await connected(server);
      const received = collector();
      await broker.subscribe('transactions', received.receive, { queue: 'q' });
      const producer = clientOf(server).producer({ transactionalId: 'test', idempotent: true, maxInFlightRequests: 1 });
      await producer.connect();
      closing.push(() => producer.disconnect());
      for (const [value, ends_] of [
        ['one', 'commit'],
        ['two', 'abort'],
        ['three', 'commit'],
      ] as const) {
        const transaction = await producer.transaction();
        await transaction.send({ topic: 'transactions', messages: [{ value }, { value: `${value} more` }] });
        await transaction[ends_]();
      }
      await publishText(broker, 'transactions', 'last');
      await eventually('the last', () => received.texts.includes('last'), patienceMs);
      expect(received.texts).toEqual(['one', 'one more', 'three', 'three more', 'last']);
    },
    limitMs,
  );

  test(
    'reads what other programs write, and they read what it writes',
    async () => {
      await createTopic(server, 'others', 3);
      const { broker } = await connected(server);
      const received = collector();
      await broker.subscribe('others', received.receive);
      const producer = clientOf(server).producer();
      await producer.connect();
      closing.push(() => producer.disconnect());
      const headers = { plain: 'text', several: ['first', 'last'] };
      const messages = [{ key: 'k', value: 'packed', headers }, { value: null }];
      await producer.send({ topic: 'others', compression: 1, messages });
      await eventually('both', () => received.events.length === 2, patienceMs);
      expect([...received.texts].sort()).toEqual(['', 'packed']);
      const packed = received.events.find((event) => text(event) === 'packed');
      expect(packed?.headers).toEqual({ plain: 'text', several: 'last' });
      const consumer = clientOf(server).consumer({ groupId: 'theirs' });
      await consumer.connect();
      closing.push(() => consumer.disconnect());
      await consumer.subscribe({ topic: 'others', fromBeginning: true });
      const theirs: unknown[] = [];
      await consumer.run({
        eachMessage: async ({ message, partition }) =>
          void theirs.push([
            message.key?.toString(),
            message.value?.toString(),
            message.headers?.['h']?.toString(),
            partition,
          ]),
      });
      await broker.publish('others', { headers: { h: 'ü' }, body: Buffer.from('ours') }, { orderKey: 'foobar' });
      // murmur2 of foobar is -790332482: of three partitions it is the one at 1357151166 modulo 3.
      const ours = ['foobar', 'ours', 'ü', (-790_332_482 & 0x7fff_ffff) % 3];
      await eventually('ours', () => theirs.some((one) => JSON.stringify(one) === JSON.stringify(ours)), patienceMs);
    },
    limitMs,
  );

  test(
    'a group that has members of a program that assigns in another way is refused once',
    async () => {
      await createTopic(server, 'mixed', 1);
      const consumer = clientOf(server).consumer({ groupId: 'mixed' });
      await consumer.connect();
      closing.push(() => consumer.disconnect());
      await consumer.subscribe({ topic: 'mixed' });
      const joined = new Promise((resolve) => consumer.on('consumer.group_join', resolve));
      await consumer.run({ eachMessage: async () => undefined });
      await joined;
      const { broker } = await connected(server);
      const error = await failureOf(broker.subscribe('mixed', () => undefined, { queue: 'mixed' }));
      expect(error).toMatchObject({ code: Code.FailedPrecondition, reason: 'broker.refused' });
      expect(error.message).toContain('give the queue another name');
    },
    limitMs,
  );

  test(
    'a slow subscriber holds back a large backlog, and gets all of it',
    async () => {
      await createTopic(server, 'backlog', 2);
      const { broker } = await connected(server);
      const body = 'x'.repeat(1_000);
      const numbers = Array.from({ length: 20_000 }, (_, index) => index);
      await Promise.all(numbers.map((number) => publishText(broker, 'backlog', `${number} ${body}`)));
      const seen = new Set<string>();
      let [inHand, most] = [0, 0];
      await broker.subscribe(
        'backlog',
        async (event) => {
          most = Math.max(most, (inHand += 1));
          if (seen.size % 500 === 0) await sleep(200);
          seen.add(text(event).split(' ')[0] as string);
          inHand -= 1;
          await event.ack();
        },
        { queue: 'q', maxInFlight: 20 },
      );
      await eventually('all', () => seen.size === 20_000, 150_000);
      expect(most).toBeLessThanOrEqual(20);
    },
    limitMs,
  );
});

describeWithServer(
  'KafkaBroker, and a server that fails',
  new BackendServer('kafka', { persistent: true }),
  (server) => {
    test(
      'a server that hangs is noticed, publishing fails, and all goes on when it is back',
      async () => {
        const { broker } = await connected(server, { timeoutMs: 2_000, partitions: 1 });
        const [member, alone] = [collector(), collector()];
        await broker.subscribe('hung', member.receive, { queue: 'q' });
        await broker.subscribe('hung', alone.receive);
        await publishText(broker, 'hung', 'before');
        await eventually('the first', () => member.texts.length === 1 && alone.texts.length === 1, patienceMs);
        server.pause();
        await eventually('it is noticed', () => broker.status.state === 'away', patienceMs);
        expect(await failureOf(publishText(broker, 'hung', 'never'))).toMatchObject({
          reason: expect.stringMatching(/^broker\.(unreachable|timeout)$/),
        });
        server.resume();
        await eventually('it is back', () => broker.status.state === 'connected', patienceMs);
        await publishText(broker, 'hung', 'after');
        await eventually(
          'what came after',
          () => member.texts.includes('after') && alone.texts.includes('after'),
          patienceMs,
        );
      },
      limitMs,
    );

    test(
      'a publisher without subscriptions notices a server that hangs, too',
      async () => {
        const { broker } = await connected(server, { timeoutMs: 1_000 });
        await publishText(broker, 'idle', 'x');
        server.pause();
        await eventually('it is noticed', () => broker.status.state === 'away', patienceMs);
        server.resume();
        await eventually('it is back', () => broker.status.state === 'connected', patienceMs);
      },
      limitMs,
    );

    test(
      'a server that is killed and comes back with its data: nothing is lost, what is in hand stays in hand',
      async () => {
        const { broker, said } = await connected(server, { timeoutMs: 2_000, partitions: 1, sessionTimeoutMs: 30_000 });
        const held: Event[] = [];
        await broker.subscribe('killed', (event) => void held.push(event), { queue: 'q' });
        for (const body of ['a', 'b']) await publishText(broker, 'killed', body);
        await eventually('both', () => held.length === 2, patienceMs);
        await server.kill();
        const acknowledged = held[0]?.ack();
        await eventually('it is noticed', () => broker.status.state === 'away', patienceMs);
        await server.start();
        await acknowledged;
        await publishAtLast(broker, 'killed', 'c');
        await eventually('what came later', () => held.length >= 3, patienceMs);
        await held[1]?.ack();
        await held[2]?.ack();
        await until('all is committed', async () => (await committed(server, 'killed')).get(0), 3);
        expect(held.map(text)).toEqual(['a', 'b', 'c']);
        expect(said('error')).toEqual([]);
      },
      limitMs,
    );

    test(
      'a server that comes back without its data: topics and groups are made anew',
      async () => {
        const { broker } = await connected(server, { timeoutMs: 2_000, partitions: 1 });
        const [member, alone] = [collector(), collector()];
        await broker.subscribe('erased', member.receive, { queue: 'q' });
        await broker.subscribe('erased', alone.receive);
        for (const body of ['a', 'b', 'c']) await publishText(broker, 'erased', body);
        await eventually('all', () => member.texts.length === 3 && alone.texts.length === 3, patienceMs);
        await server.kill();
        server.erase();
        await server.start();
        await publishAtLast(broker, 'erased', 'd');
        await eventually('what came later', () => member.texts.includes('d') && alone.texts.includes('d'), patienceMs);
        await until('it is committed', async () => (await committed(server, 'erased')).get(0), 1);
      },
      limitMs,
    );

    test(
      'publishing through a restart loses nothing that was confirmed',
      async () => {
        const { broker } = await connected(server, { timeoutMs: 5_000, partitions: 3 });
        const received = new Set<string>();
        await broker.subscribe('restart', (event) => (received.add(text(event)), event.ack()), { queue: 'q' });
        const confirmed: string[] = [];
        let isOver = false;
        const publishing = (async () => {
          for (let number = 0; !isOver; number += 1) {
            const batch = Array.from({ length: 20 }, (_, index) => `${number}-${index}`);
            const results = await Promise.allSettled(batch.map((body) => publishText(broker, 'restart', body)));
            confirmed.push(...batch.filter((_, index) => results[index]?.status === 'fulfilled'));
            await sleep(20);
          }
        })();
        await eventually('some', () => confirmed.length > 200, patienceMs);
        await server.kill();
        await server.start();
        const before = confirmed.length;
        await eventually('more', () => confirmed.length > before + 200, patienceMs);
        isOver = true;
        await publishing;
        await eventually('all', () => confirmed.every((body) => received.has(body)), patienceMs);
      },
      limitMs,
    );

    test(
      'the first of several addresses that answers is used, and the next when it is gone',
      async () => {
        const { broker } = await connected(server, { address: `127.0.0.1:1,${server.address}` });
        await publishText(broker, 'several', 'x');
        expect(broker.address).toBe(`127.0.0.1:1,${server.address}`);
      },
      limitMs,
    );
  },
);

test(
  'a server that wants credentials refuses wrong ones once, and says so',
  async () => {
    const credentials = { username: 'tenon', password: 'right' };
    const authorizer = 'authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer';
    const args = [authorizer, 'allow.everyone.if.no.acl.found=true', 'super.users=User:ANONYMOUS'];
    const server = await startServer('kafka', { credentials, args });
    try {
      for (const sasl of ['PLAIN', 'SCRAM-SHA-256'] as const) {
        const { broker } = await connected(server, { credentials, sasl });
        const received = collector();
        await broker.subscribe(`with-${sasl}`, received.receive, { queue: 'q' });
        await publishText(broker, `with-${sasl}`, 'x');
        await eventually('the event', () => received.texts.length === 1, patienceMs);
        const wrong = connected(server, { credentials: { ...credentials, password: 'wrong' }, sasl });
        const error = await failureOf(wrong);
        expect(error).toMatchObject({ code: Code.Unauthenticated, reason: 'broker.refused' });
        expect(error.message).toContain('TENON_BROKER_PASSWORD');
      }
      const unknown = await failureOf(connected(server, { credentials, sasl: 'SCRAM-SHA-512' }));
      expect(unknown).toMatchObject({ code: Code.Unauthenticated, reason: 'broker.refused' });
      expect(unknown.message).toContain('TENON_KAFKA_SASL');
      expect(await failureOf(connected(server, { timeoutMs: 2_000 }))).toMatchObject({
        reason: expect.stringMatching(/^broker\./),
      });
      // Rights.
      const { broker } = await connected(server, { credentials });
      await publishText(broker, 'secret', 'x');
      const reader = await broker.subscribe('secret', () => undefined, { queue: 'q' });
      const acl = [
        '--deny-principal',
        'User:tenon',
        '--operation',
        'Write',
        '--operation',
        'Read',
        '--topic',
        'secret',
      ];
      const as = ['--bootstrap-server', server.address, '--command-config', server.details['clientFile'] ?? ''];
      await server.tool('kafka.admin.AclCommand', ...as, '--add', ...acl);
      let error: unknown;
      await until(
        'it is denied',
        async () => {
          error = await publishText(broker, 'secret', 'x').catch((cause: unknown) => cause);
          return (error as { code?: Code } | undefined)?.code;
        },
        Code.PermissionDenied,
      );
      expect(error).toMatchObject({ reason: 'broker.refused' });
      expect((error as Error).message).toContain('rights');
      expect(await reader.closed).toMatchObject({ code: Code.PermissionDenied, reason: 'broker.refused' });
    } finally {
      await server.dispose();
    }
  },
  limitMs,
);
