import { setTimeout as sleep } from 'node:timers/promises';

import { expect, test } from '@jest/globals';

import { Code } from '../../src/errors/errors.ts';
import { libraryFor } from '../../src/kafka/library.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { closing } from '../support/closing.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';
import { becomes, clientOf, connected, createTopic, partitionZero, patienceMs, withAdmin } from './kafka-support.ts';
import { collector, eventually, publishAtLast, publishText, text } from './support.ts';

const limitMs = 180_000;

describeWithServer('KafkaBroker, and what may happen to its topics', new BackendServer('kafka'), (server) => {
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
      await withAdmin(server, async (admin) => {
        // It looks for the topic first.
        await admin.fetchTopicOffsets('gone');
        await admin.deleteTopicRecords({ topic: 'gone', partitions });
      });
      const rest = collector();
      await broker.subscribe('gone', rest.receive, { queue: 'q' });
      await eventually('the rest', () => rest.texts.length === 40, patienceMs);
      expect(rest.texts[0]).toBe('60');
      const lost = logger.lines.filter(({ level }) => level === 'error');
      expect(lost.map(({ fields }) => fields)).toEqual([{ topic: 'gone', queue: 'q', partition: 0, events: 60 }]);
      await becomes('the rest is committed', () => partitionZero(server, 'gone'), 101);
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
    'a topic that is made again with more events than its group had read is read from its beginning',
    async () => {
      const { broker } = await connected(server, { partitions: 1, from: 'now' });
      const member = collector();
      await broker.subscribe('anew', member.receive, { queue: 'q' });
      for (const body of ['a', 'b', 'c']) await publishText(broker, 'anew', body);
      await eventually('all', () => member.texts.length === 3, patienceMs);
      await withAdmin(server, (admin) => admin.deleteTopics({ topics: ['anew'] }));
      const bodies = Array.from({ length: 20 }, (_, index) => String(index));
      await Promise.all(bodies.map((body) => publishAtLast(broker, 'anew', body)));
      await eventually('all of the new one', () => bodies.every((body) => member.texts.includes(body)), patienceMs);
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
      // Their key is the order key of tenon.
      expect(packed?.headers).toEqual({ plain: 'text', several: 'last', 'tenon-order-key': 'k' });
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
    'records are read in any compression, or end the subscription with what to do',
    async () => {
      await createTopic(server, 'packed', 1, { 'compression.type': 'lz4' });
      const { broker } = await connected(server);
      await publishText(broker, 'packed', 'x'.repeat(1_000));
      const received = collector();
      const subscriber = await broker.subscribe('packed', received.receive, { queue: 'q' });
      if (libraryFor() === 'kafkajs') {
        const error = await subscriber.closed;
        expect(error).toMatchObject({ code: Code.FailedPrecondition, reason: 'broker.refused' });
        expect(error?.message).toMatch(/LZ4.*CompressionCodecs/);
      } else await eventually('the event', () => received.texts.length === 1, patienceMs);
    },
    limitMs,
  );

  test(
    'a slow subscriber holds back a large backlog, and gets all of it',
    async () => {
      await createTopic(server, 'backlog', 2);
      const { broker } = await connected(server, { timeoutMs: 60_000 });
      const body = 'x'.repeat(1_000);
      const numbers = Array.from({ length: 6_000 }, (_, index) => index);
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
      await eventually('all', () => seen.size === 6_000, 150_000);
      expect(most).toBeLessThanOrEqual(20);
    },
    limitMs,
  );
});
